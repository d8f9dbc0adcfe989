"""Speech metrics: DNSMOS, word and character errors, and pitch."""

import re
from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np

from ..audio.io import resample
from ..audio.pitch import estimate_f0, track_pitch
from ..checks import check_instance, check_number, checked
from .signal import RATE, _pair, check_wav, require_package


@checked(wav=check_wav, rate=RATE)
def dnsmos(wav: np.ndarray, rate: int) -> dict[str, float]:
    """Predicts DNSMOS P.835 and P.808 scores (Reddy et al. 2022) at 16 kHz: `overall`, `signal`, `background`,
    `p808`."""
    scores = require_package("speechmos.dnsmos").run(np.clip(resample(wav, rate, 16000), -1, 1), 16000)
    names = {"overall": "ovrl_mos", "signal": "sig_mos", "background": "bak_mos", "p808": "p808_mos"}
    return {name: float(scores[key]) for name, key in names.items()}


@lru_cache(maxsize=1)
def _normalizer():
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


@checked(text=partial(check_instance, kind=str))
def normalize_words(text: str) -> str:
    """Normalizes a text for word error rates by Whisper's English normalizer (case, punctuation, contractions,
    numbers).

    Before it, 5:45 becomes 545, as the normalizer writes "five forty-five", and p.m. becomes pm."""
    text = re.sub(r"(\d):(?=\d\d\b)", r"\1", text)
    text = re.sub(r"\b[A-Za-z](?:\.[A-Za-z])+\b\.?", lambda match: match[0].replace(".", ""), text)
    return " ".join(word for word in _normalizer()(text).split() if re.search(r"\w", word))


@checked(expected=partial(check_instance, kind=str), transcript=partial(check_instance, kind=str))
def word_errors(expected: str, transcript: str) -> dict[str, tuple[int, int]]:
    """Counts the word and character errors of one English transcript: {"WER": (errors, words), "CER": (errors,
    characters)}.

    Both texts go through `normalize_words`. The rate of a set is the sum of its errors over the sum of its words.
    Raises ValueError if `expected` is empty."""
    jiwer = require_package("jiwer")
    expected, transcript = normalize_words(expected), normalize_words(transcript)
    if not expected:
        raise ValueError("the expected transcript is empty")
    errors = {}
    for name, align in (("WER", jiwer.process_words), ("CER", jiwer.process_characters)):
        counts = align(expected, transcript)
        changed = counts.substitutions + counts.deletions
        errors[name] = (changed + counts.insertions, changed + counts.hits)
    return errors


@checked(wav=check_wav, rate=RATE)
def pitch_statistics(wav: np.ndarray, rate: int) -> tuple[float, float]:
    """Returns the geometric mean of F0 in Hz and its standard deviation in semitones, over voiced frames.

    Raises ValueError if no frame is voiced."""
    f0, voiced = track_pitch(wav, rate)
    if not voiced.any():
        raise ValueError("no frame is voiced")
    octaves = np.log2(f0[voiced])
    return float(2 ** octaves.mean()), float(12 * octaves.std())


@checked(rate=RATE)
def pitch_errors(reference: np.ndarray, estimate: np.ndarray, rate: int) -> dict[str, float]:
    """Computes the RMS error of F0 in cents where both clips are voiced, and the share of frames whose voicing differs.

    Raises ValueError if no frame is voiced in both."""
    (f0, voiced), (f0_estimate, voiced_estimate) = (track_pitch(w.numpy(), rate) for w in _pair(reference, estimate))
    both = voiced & voiced_estimate
    if not both.any():
        raise ValueError("no frame is voiced in both clips")
    cents, differing = 1200 * np.log2(f0_estimate[both] / f0[both]), voiced != voiced_estimate
    return {"f0_rmse_cents": float(np.sqrt(np.mean(cents**2))), "voicing_error": float(np.mean(differing))}


@checked(wav=check_wav, rate=RATE)
def pitch_tracks(wav: np.ndarray, rate: int, target: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the requested and the measured F0 in Hz of each frame of a clip, both [frame].

    0 means unvoiced; None or nan in `target`, whose values are spread evenly over the clip, means unconstrained and is
    nan. F0 is measured by `audio.pitch.estimate_f0`, whose short windows follow a moving F0."""
    for value in check_instance("target", target, list | tuple, "a list of F0 in Hz"):
        if value is not None and value == value:
            check_number("target", value, least=0)
    measured = estimate_f0(wav, rate)
    target = np.array([np.nan if value is None else value for value in target], dtype=np.float64)
    position = (np.arange(len(measured)) + 0.5) * len(target) / len(measured)
    return target[position.astype(int)], measured
