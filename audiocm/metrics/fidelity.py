"""Wav against wav, and speech on its own. One float per clip; wavs are [sample] float32 in [−1, 1], rates in Hz.

Everything that a maintained package does is that package's: pesq, pystoi, speechmos, jiwer, librosa, soxr."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from importlib import import_module

import numpy as np
import torch
from torch import Tensor


def needed(package: str):
    """An optional package of the extra [speech]. Raises ValueError saying how to install it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(f"this metric needs the package {package}: pip install 'audiocm[speech]' ({error})") from error


def resampled(wav: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """soxr, high quality; float32. The one resampler of all scores."""
    import soxr

    wav = np.asarray(wav, dtype=np.float32)
    return wav if rate == wanted else soxr.resample(wav, rate, wanted, quality="HQ").astype(np.float32)


def comparable_lengths(reference: float, estimate: float) -> bool:
    """Whether two lengths are alike enough to compare one wav with the other, sample by sample, over the shorter."""
    return abs(reference - estimate) <= 0.1 * reference


def _pair(reference: np.ndarray, estimate: np.ndarray) -> tuple[Tensor, Tensor]:
    if not comparable_lengths(len(reference), len(estimate)):
        raise ValueError(f"paired wavs differ in length: {len(reference)} and {len(estimate)} samples")
    length = min(len(reference), len(estimate))
    return torch.from_numpy(np.asarray(reference[:length], np.float32)), torch.from_numpy(
        np.asarray(estimate[:length], np.float32)
    )


def _magnitude(wav: Tensor, n_fft: int) -> Tensor:
    spectrum = torch.stft(
        wav, n_fft, n_fft // 4, window=torch.hann_window(n_fft), pad_mode="constant", return_complex=True
    )
    return spectrum.abs()


def multi_resolution_stft(reference: np.ndarray, estimate: np.ndarray, sizes: tuple[int, ...] = (512, 1024, 2048)):
    """Spectral convergence + L1 of log magnitudes, mean over FFT sizes (Yamamoto et al. 2020, eq. 3-5); floor 1e-5."""
    x, y = _pair(reference, estimate)
    total = 0.0
    for size in sizes:
        a, b = _magnitude(x, size), _magnitude(y, size)
        convergence = (a - b).norm() / a.norm().clamp_min(1e-8)
        logarithmic = (a.clamp_min(1e-5).log() - b.clamp_min(1e-5).log()).abs().mean()
        total += float(convergence + logarithmic)
    return total / len(sizes)


def log_spectral_distance(reference: np.ndarray, estimate: np.ndarray, n_fft: int = 2048) -> float:
    """Root mean square over frequency of the two power spectra's ratio in dB, mean over frames (Gray & Markel 1976);
    power floored 80 dB under the reference's maximum, so that digital silence does not decide."""
    x, y = _pair(reference, estimate)
    a, b = _magnitude(x, n_fft).square(), _magnitude(y, n_fft).square()
    floor = float(a.max()) * 1e-8 + 1e-12
    ratio = 10 * (a.clamp_min(floor) / b.clamp_min(floor)).log10()
    return float(ratio.square().mean(dim=0).sqrt().mean())


@lru_cache(maxsize=4)
def _log_mel(rate: int):
    from ..spectral import LogMel

    return LogMel(sample_rate=rate)


@torch.inference_mode()
def log_mel_l1(reference: np.ndarray, estimate: np.ndarray, rate: int = 24000) -> float:
    """Mean absolute difference of natural-log mels (100 bands, floor 1e-5): the codec's own mel."""
    x, y = _pair(reference, estimate)
    keep = len(x) // 256 * 256
    mel = _log_mel(rate)
    return float((mel(x[None, :keep]) - mel(y[None, :keep])).abs().mean())


def pesq_wideband(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """PESQ-WB (ITU-T P.862.2) at 16 kHz. Raises ValueError where the algorithm finds no speech."""
    pesq = needed("pesq")
    x, y = (resampled(w, rate, 16000) for w in (reference, estimate))
    if not (np.abs(x).max() > 0 and np.abs(y).max() > 0):
        raise ValueError("PESQ: a silent clip")
    try:
        return float(pesq.pesq(16000, x, y, "wb"))
    except pesq.PesqError as error:
        raise ValueError(f"PESQ: {error}") from error


def stoi(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Short-time objective intelligibility (Taal et al. 2011), 0 to 1."""
    x, y = _pair(reference, estimate)
    return float(needed("pystoi").stoi(x.numpy(), y.numpy(), rate))


def dnsmos(wav: np.ndarray, rate: int) -> dict[str, float]:
    """DNSMOS P.835 and P.808 (Reddy et al. 2022) at 16 kHz: `overall`, `signal`, `background`, `p808`."""
    found = needed("speechmos.dnsmos").run(np.clip(resampled(wav, rate, 16000), -1, 1), 16000)
    names = {"overall": "ovrl_mos", "signal": "sig_mos", "background": "bak_mos", "p808": "p808_mos"}
    return {name: float(found[key]) for name, key in names.items()}


@lru_cache(maxsize=1)
def _normaliser():
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    return EnglishTextNormalizer({})


def plain_words(text: str) -> str:
    """What both sides of a word error rate go through: Whisper's English normaliser (case, punctuation, contractions,
    titles, spelled-out numbers), after 5:45 → 545 (as "five forty-five" becomes) and p.m. → pm."""
    text = re.sub(r"(\d):(?=\d\d\b)", r"\1", text)
    text = re.sub(r"\b[A-Za-z](?:\.[A-Za-z])+\b\.?", lambda match: match[0].replace(".", ""), text)
    return " ".join(word for word in _normaliser()(text).split() if re.search(r"\w", word))


def word_errors(expected: str, heard: str) -> dict[str, tuple[int, int]]:
    """{"WER": (wrong, of), "CER": (wrong, of)} of one English transcript (jiwer), both sides as `plain_words` writes them.

    Counts, so that the rate of a set is all its errors over all its words. Raises ValueError for an empty `expected`."""
    jiwer = needed("jiwer")
    expected, heard = plain_words(expected), plain_words(heard)
    if not expected:
        raise ValueError("the expected transcript is empty")
    found = {"WER": jiwer.process_words(expected, heard), "CER": jiwer.process_characters(expected, heard)}
    return {
        name: (one.substitutions + one.deletions + one.insertions, one.hits + one.substitutions + one.deletions)
        for name, one in found.items()
    }


def pitch(wav: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """F0 in Hz and whether it is voiced, [frame] both, by librosa's pYIN (Mauch & Dixon 2014), 65-500 Hz."""
    import librosa

    return librosa.pyin(np.asarray(wav, np.float32), fmin=65, fmax=500, sr=rate)[:2]


def pitch_statistics(wav: np.ndarray, rate: int) -> tuple[float, float]:
    """(geometric mean of F0 in Hz, its standard deviation in semitones) over voiced frames.

    Raises ValueError where no frame is voiced."""
    f0, voiced = pitch(wav, rate)
    if not voiced.any():
        raise ValueError("no frame is voiced")
    octaves = np.log2(f0[voiced])
    return float(2 ** octaves.mean()), float(12 * octaves.std())


def pitch_errors(reference: np.ndarray, estimate: np.ndarray, rate: int) -> dict[str, float]:
    """Root mean square error of F0 (`pitch`) in cents where both are voiced, and the share of frames whose voicing differs.

    Raises ValueError where no frame is voiced in both."""
    (f0, voiced), (made, spoken) = (pitch(wav.numpy(), rate) for wav in _pair(reference, estimate))
    both = voiced & spoken
    if not both.any():
        raise ValueError("no frame is voiced in both clips")
    cents = 1200 * np.log2(made[both] / f0[both])
    return {"f0_rmse_cents": float(np.sqrt(np.mean(cents**2))), "voicing_error": float(np.mean(voiced != spoken))}


def followed(wav: np.ndarray, rate: int, asked: Sequence[float | None]) -> tuple[np.ndarray, np.ndarray]:
    """Asked and made F0 in Hz of each frame of wav, [frame] both: 0 is unvoiced, nan in `asked` (None) is free.

    `asked` lies evenly over the clip; made F0 is `yin.f0_of`'s, whose short windows meet a moving F0 where it is."""
    from .yin import f0_of

    made = f0_of(wav, rate)
    asked = np.array([np.nan if value is None else value for value in asked], dtype=np.float64)
    at = (np.arange(len(made)) + 0.5) * len(asked) / len(made)
    return asked[at.astype(int)], made
