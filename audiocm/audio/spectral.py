"""Short-time spectra: the one home of framing, mel filters and their inverses. Everything is `[batch, ...]`, float32.

A signal of `frames * hop` samples has exactly `frames` spectra (reflect padding of (n_fft - hop) / 2 on both sides), so mel frames and
samples line up without an odd frame at the end, and `istft(stft(y)) == y` holds to rounding everywhere.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOOR = 1e-5


@lru_cache(maxsize=8)
def mel_filters(sample_rate: int, n_fft: int, bins: int) -> Tensor:
    """Slaney's mel filterbank `[bins, n_fft // 2 + 1]`, float32: triangles of unit area per Hz, from 0 Hz to half the rate.

    To the bit librosa's, without its import; equal to torchaudio's to 3.4e-7. The mel scale is linear up to 1 kHz (15 mel) and
    logarithmic above, with 27 mel for a factor of 6.4.
    """
    linear, growth = 200 / 3, math.log(6.4) / 27
    highest = sample_rate / 2
    top = 15 + math.log(highest / 1000) / growth if highest >= 1000 else highest / linear
    mels = np.linspace(0, top, bins + 2)
    edges = np.where(mels >= 15, 1000 * np.exp(growth * (mels - 15)), linear * mels)  # Hz
    width, above = np.diff(edges)[:, None], np.fft.rfftfreq(n_fft, 1 / sample_rate) - edges[:, None]
    triangles = np.maximum(0, np.minimum(above[:-2] / width[:-1], -above[2:] / width[1:])).astype(np.float32)
    return torch.from_numpy((triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32))


def stft(wav: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """`[batch, frames * hop]` -> complex `[batch, n_fft // 2 + 1, frames]`."""
    pad = (n_fft - hop) // 2
    padded = F.pad(wav.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
    return torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)


def istft(spectrum: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Least-squares inverse of `stft` (Griffin & Lim 1984, eq. 6): complex `[batch, bin, frames]` -> `[batch, frames * hop]`.

    Raises ValueError if n_fft is not a multiple of hop.
    """
    if n_fft % hop:
        raise ValueError(f"n_fft must be a multiple of hop, got n_fft={n_fft}, hop={hop}")
    pad = (n_fft - hop) // 2
    frames = torch.fft.irfft(spectrum.transpose(1, 2), n=n_fft) * window
    envelope = window.square().expand(1, frames.shape[1], n_fft)
    wav, weight = overlap_add(frames, hop), overlap_add(envelope, hop)
    return (wav / weight.clamp_min(1e-8))[:, pad : wav.shape[1] - pad]


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """`[batch, frame, n_fft]` -> `[batch, (frame - 1) * hop + n_fft]`: n_fft / hop shifted sums instead of a scatter."""
    batch, count, n_fft = frames.shape
    parts = frames.view(batch, count, n_fft // hop, hop)
    last = n_fft // hop - 1
    return sum(F.pad(parts[:, :, k], (0, 0, k, last - k)) for k in range(last + 1)).reshape(batch, -1)  # type: ignore[union-attr]


class LogMel(nn.Module):
    """wav `[batch, frames * hop]` in [-1, 1] -> natural-log mel magnitudes `[batch, bins, frames]`, floored at 1e-5."""

    def __init__(self, sample_rate: int = 24000, n_fft: int = 1024, hop: int = 256, bins: int = 100):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", mel_filters(sample_rate, n_fft, bins).clone(), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        return self.of_spectrum(self.stft(wav))

    def of_spectrum(self, spectrum: Tensor) -> Tensor:
        """Complex `[batch, bin, frames]` -> log mel `[batch, bins, frames]`."""
        power = spectrum.real.square() + spectrum.imag.square()
        return (self.filters @ power.clamp_min(1e-14).sqrt()).clamp_min(FLOOR).log()

    def stft(self, wav: Tensor) -> Tensor:
        return stft(wav.float(), self.n_fft, self.hop, self.window)

    def istft(self, spectrum: Tensor) -> Tensor:
        return istft(spectrum, self.n_fft, self.hop, self.window)

    def magnitude(self, log_mel: Tensor, iterations: int = 0) -> Tensor:
        """Non-negative magnitudes `[batch, bin, frames]` with this mel (Lee & Seung multiplicative updates)."""
        mel = log_mel.exp()
        spread = self.filters / self.filters.sum(0, keepdim=True).clamp_min(1e-8)
        guess = spread.T @ (mel / self.filters.sum(1, keepdim=True).clamp_min(1e-8))
        for _ in range(iterations):
            guess = guess.clamp_min(1e-7)
            guess = guess * (self.filters.T @ mel) / (self.filters.T @ (self.filters @ guess)).clamp_min(1e-8)
        return guess.clamp_min(1e-7)

    def level(self, log_mel: Tensor) -> Tensor:
        """RMS `[batch, frames]` of the sound with this mel, by Parseval; within a few dB (a mel does not say where in its band a line is)."""
        power = 2 * self.magnitude(log_mel).square().sum(1) / self.n_fft
        return (power / self.window.square().sum()).sqrt()

    def limited(self, log_mel: Tensor, loudest: float, reach: int = 4) -> Tensor:
        """A limiter: frames with an RMS over `loudest` are turned down to it, their neighbours gradually, all bands alike."""
        over = (self.level(log_mel) / loudest).log().clamp_min(0)[:, None]
        held = F.max_pool1d(over, 2 * reach + 1, 1, reach)
        return log_mel - F.avg_pool1d(held, 2 * reach + 1, 1, reach, count_include_pad=False)

    def consistent(self, spectrum: Tensor, log_mel: Tensor) -> Tensor:
        """Rescale every bin so that the spectrum's mel moves to `log_mel`; phases and fine structure stay."""
        ratio = (log_mel - self.of_spectrum(spectrum)).clamp(-4.0, 4.0).exp()
        cover = self.filters.sum(0)[:, None]
        gain = torch.where(cover > 1e-8, (self.filters.T @ ratio) / cover.clamp_min(1e-8), torch.ones_like(cover))
        return spectrum * gain


def griffin_lim(mel: LogMel, log_mel: Tensor, spectrum: Tensor, iterations: int, momentum: float = 0.99) -> Tensor:
    """Fast Griffin-Lim (Perraudin et al. 2013) from a given start.

    `spectrum` complex `[batch, bin, frames]` gives the magnitudes to keep (moved to `log_mel` first) and the first phases.
    Returns wav `[batch, frames * hop]`.
    """
    spectrum = mel.consistent(spectrum, log_mel)
    magnitude, before = spectrum.abs(), None
    for _ in range(iterations):
        now = mel.stft(mel.istft(spectrum))
        ahead = now if before is None else now - momentum / (1 + momentum) * before
        spectrum, before = magnitude * ahead / ahead.abs().clamp_min(1e-8), now
    return mel.istft(spectrum)
