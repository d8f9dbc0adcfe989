"""Signal metrics of paired waveforms: STFT distances, PESQ and STOI, one float per clip.

Waveforms are float32 [sample] in [−1, 1], rates are in Hz."""

from __future__ import annotations

from functools import lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from ..audio.io import resample
from ..checks import check_array, check_number, check_whole, checked

if TYPE_CHECKING:
    from torch import Tensor

    from ..audio.spectral import LogMel

RATE = partial(check_number, least=1000)  # a check of sample rates


@lru_cache(maxsize=4)
def _log_mel(rate: int) -> LogMel:
    from ..audio.spectral import LogMel

    return LogMel(rate)


def require_package(package: str):
    """Imports an optional package of the extra `speech`. Raises ValueError with the install command if it is
    missing."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(f"this metric needs the package {package}: pip install 'audiocm[speech]' ({error})") from error


def check_wav(name: str, value: np.ndarray) -> np.ndarray:
    """Returns a wav as float32 [sample]. Raises ValueError for anything else."""
    return check_array(name, value, ("sample",)).astype(np.float32)


def comparable_lengths(reference: float, estimate: float) -> bool:
    """Returns whether two lengths differ by at most 10 %, so that the clips are compared over the shorter one."""
    return abs(reference - estimate) <= 0.1 * reference


def _pair(reference: np.ndarray, estimate: np.ndarray) -> tuple[Tensor, Tensor]:
    import torch

    reference, estimate = check_wav("reference", reference), check_wav("estimate", estimate)
    if not comparable_lengths(len(reference), len(estimate)):
        samples = f"{len(reference)} and {len(estimate)} samples"
        raise ValueError(f"paired clips differ in length by more than 10 %: {samples}")
    length = min(len(reference), len(estimate))
    return tuple(torch.from_numpy(np.asarray(wav[:length], np.float32)) for wav in (reference, estimate))


def _magnitude(wav: Tensor, n_fft: int) -> Tensor:
    import torch

    window = torch.hann_window(n_fft)
    return torch.stft(wav, n_fft, n_fft // 4, window=window, pad_mode="constant", return_complex=True).abs()


def multi_resolution_stft(reference: np.ndarray, estimate: np.ndarray) -> float:
    """Computes spectral convergence plus the L1 distance of log magnitudes (floor 1e-5), averaged over three FFT sizes.

    Yamamoto et al. 2020, eq. 3 to 5."""
    x, y = _pair(reference, estimate)
    total = 0.0
    for size in (512, 1024, 2048):
        a, b = _magnitude(x, size), _magnitude(y, size)
        convergence = (a - b).norm() / a.norm().clamp_min(1e-8)
        logarithmic = (a.clamp_min(1e-5).log() - b.clamp_min(1e-5).log()).abs().mean()
        total += float(convergence + logarithmic)
    return total / 3


@checked(n_fft=partial(check_whole, least=4))
def log_spectral_distance(reference: np.ndarray, estimate: np.ndarray, n_fft: int = 2048) -> float:
    """Computes the log-spectral distance in dB: the RMS over frequency of the ratio of power spectra, averaged over
    frames.

    Gray & Markel 1976. Power is floored 80 dB below the reference's maximum, so that digital silence does not
    dominate."""
    x, y = _pair(reference, estimate)
    a, b = _magnitude(x, n_fft).square(), _magnitude(y, n_fft).square()
    floor = float(a.max()) * 1e-8 + 1e-12
    ratio = 10 * (a.clamp_min(floor) / b.clamp_min(floor)).log10()
    return float(ratio.square().mean(dim=0).sqrt().mean())


@checked(rate=RATE)
def log_mel_l1(reference: np.ndarray, estimate: np.ndarray, rate: int = 24000) -> float:
    """Computes the mean absolute difference of the codec's log-mel spectrograms (natural log, 100 bands, floor
    1e-5)."""
    import torch

    x, y = _pair(reference, estimate)
    keep = len(x) // 256 * 256
    mel = _log_mel(rate)
    with torch.inference_mode():
        return float((mel(x[None, :keep]) - mel(y[None, :keep])).abs().mean())


@checked(rate=RATE)
def pesq_wideband(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Computes wideband PESQ (ITU-T P.862.2) at 16 kHz. Raises ValueError if a clip is silent or has no speech."""
    pesq = require_package("pesq")
    x, y = (resample(check_wav(n, w), rate, 16000) for n, w in (("reference", reference), ("estimate", estimate)))
    if not (np.abs(x).max() > 0 and np.abs(y).max() > 0):
        raise ValueError("PESQ is undefined for a silent clip")
    try:
        return float(pesq.pesq(16000, x, y, "wb"))
    except pesq.PesqError as error:
        raise ValueError(f"PESQ: {error}") from error


@checked(rate=RATE)
def stoi(reference: np.ndarray, estimate: np.ndarray, rate: int) -> float:
    """Computes short-time objective intelligibility, 0 to 1. Taal et al. 2011."""
    x, y = _pair(reference, estimate)
    return float(require_package("pystoi").stoi(x.numpy(), y.numpy(), rate))
