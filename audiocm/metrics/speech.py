"""Speech metrics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..audio.io import resample
from ..audio.pitch import track_pitch
from .signal import _pair, require_package


def dnsmos(wav: np.ndarray, rate: int) -> dict[str, float]:
    """DNSMOS P.835 and P.808 (Reddy et al. 2022) at 16 kHz: `overall`, `signal`, `background`, `p808`."""
    found = require_package("speechmos.dnsmos").run(np.clip(resample(wav, rate, 16000), -1, 1), 16000)
    names = {"overall": "ovrl_mos", "signal": "sig_mos", "background": "bak_mos", "p808": "p808_mos"}
    return {name: float(found[key]) for name, key in names.items()}


@lru_cache(maxsize=1)
def _normaliser():
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


def normalize_words(text: str) -> str:
    """What both sides of a word error rate go through: Whisper's English normaliser (case, punctuation, contractions,
    titles, spelled-out numbers), after 5:45 → 545 (as "five forty-five" becomes) and p.m. → pm."""
    text = re.sub(r"(\d):(?=\d\d\b)", r"\1", text)
    text = re.sub(r"\b[A-Za-z](?:\.[A-Za-z])+\b\.?", lambda match: match[0].replace(".", ""), text)
    return " ".join(word for word in _normaliser()(text).split() if re.search(r"\w", word))


def word_errors(expected: str, heard: str) -> dict[str, tuple[int, int]]:
    """{"WER": (wrong, of), "CER": (wrong, of)} of one English transcript (jiwer), both sides as `plain_words` writes them.

    Counts, so that the rate of a set is all its errors over all its words. Raises ValueError for an empty `expected`."""
    jiwer = require_package("jiwer")
    expected, heard = normalize_words(expected), normalize_words(heard)
    if not expected:
        raise ValueError("the expected transcript is empty")
    found = {"WER": jiwer.process_words(expected, heard), "CER": jiwer.process_characters(expected, heard)}
    return {
        name: (one.substitutions + one.deletions + one.insertions, one.hits + one.substitutions + one.deletions)
        for name, one in found.items()
    }


def pitch_statistics(wav: np.ndarray, rate: int) -> tuple[float, float]:
    """(geometric mean of F0 in Hz, its standard deviation in semitones) over voiced frames.

    Raises ValueError where no frame is voiced."""
    f0, voiced = track_pitch(wav, rate)
    if not voiced.any():
        raise ValueError("no frame is voiced")
    octaves = np.log2(f0[voiced])
    return float(2 ** octaves.mean()), float(12 * octaves.std())


def pitch_errors(reference: np.ndarray, estimate: np.ndarray, rate: int) -> dict[str, float]:
    """Root mean square error of F0 (`pitch`) in cents where both are voiced, and the share of frames whose voicing differs.

    Raises ValueError where no frame is voiced in both."""
    (f0, voiced), (made, spoken) = (track_pitch(wav.numpy(), rate) for wav in _pair(reference, estimate))
    both = voiced & spoken
    if not both.any():
        raise ValueError("no frame is voiced in both clips")
    cents = 1200 * np.log2(made[both] / f0[both])
    return {"f0_rmse_cents": float(np.sqrt(np.mean(cents**2))), "voicing_error": float(np.mean(voiced != spoken))}


def pitch_tracks(wav: np.ndarray, rate: int, asked: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Asked and made F0 in Hz of each frame of wav, [frame] both: 0 is unvoiced, nan in `asked` (None) is free.

    `asked` lies evenly over the clip; made F0 is `yin.f0_of`'s, whose short windows meet a moving F0 where it is."""
    from ..audio.pitch import estimate_f0

    made = estimate_f0(wav, rate)
    asked = np.array([np.nan if value is None else value for value in asked], dtype=np.float64)
    at = (np.arange(len(made)) + 0.5) * len(asked) / len(made)
    return asked[at.astype(int)], made
