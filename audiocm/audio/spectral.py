"""Short-time Fourier and mel spectra and their inverses. Everything is `[batch, ...]`, float32.

A signal of `frames * hop` samples has exactly `frames` spectra (reflect padding of (n_fft - hop) / 2 on both sides), so
mel frames and samples line up without an odd frame at the end, and `istft(stft(y)) == y` holds to rounding everywhere.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOOR = 1e-5


@lru_cache(maxsize=8)
def mel_filters(
    sample_rate: int,
    n_fft: int,
    bins: int,
    low: float = 0.0,
    high: float | None = None,
    htk: bool = False,
    norm: str | None = "slaney",
) -> Tensor:
    """Returns a mel filterbank `[bins, n_fft // 2 + 1]`: triangles over hertz from `low` to `high` (None: half the
    rate).

    norm "slaney": triangles of unit area per Hz; "sum": of unit sum; None: of unit height. The mel scale is Slaney's,
    linear up to 1 kHz (15 mel) and logarithmic above, with 27 mel for a factor of 6.4, or with `htk` that of HTK.
    Equals librosa's to the bit, whose import compiles code for half a minute, and torchaudio's to 1e-5."""
    highest = sample_rate / 2 if high is None else high
    linear, growth = 200 / 3, math.log(6.4) / 27
    if htk:
        mels = np.linspace(*(2595.0 * np.log10(1.0 + np.array([low, highest]) / 700.0)), bins + 2)
        edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)  # Hz
    else:
        ends = [15 + math.log(hz / 1000) / growth if hz >= 1000 else hz / linear for hz in (low, highest)]
        mels = np.linspace(*ends, bins + 2)
        edges = np.where(mels >= 15, 1000 * np.exp(growth * (mels - 15)), linear * mels)
    width, above = np.diff(edges)[:, None], np.fft.rfftfreq(n_fft, 1 / sample_rate) - edges[:, None]
    triangles = np.maximum(0, np.minimum(above[:-2] / width[:-1], -above[2:] / width[1:])).astype(np.float32)
    if norm == "slaney":
        triangles = (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)
    elif norm == "sum":
        triangles = (triangles / triangles.sum(1, dtype=np.float64, keepdims=True)).astype(np.float32)
    return torch.from_numpy(triangles)


def stft(wav: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Computes the spectra of a wav: `[batch, frames * hop]` -> complex `[batch, n_fft // 2 + 1, frames]`."""
    pad = (n_fft - hop) // 2
    padded = F.pad(wav.unsqueeze(1), (pad, pad), mode="reflect").squeeze(1)
    return torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)


def istft(spectrum: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Computes the least-squares inverse of `stft` (Griffin & Lim 1984, eq. 6), exact for the spectrum of a wav.

    complex `[batch, bin, frames]` -> `[batch, frames * hop]`. Raises ValueError if n_fft is not a multiple of hop."""
    if n_fft % hop:
        raise ValueError(f"n_fft must be a multiple of hop, got n_fft={n_fft}, hop={hop}")
    weight = overlap_weight(spectrum.shape[2], window, hop)
    return _istft_rows(spectrum.transpose(1, 2), hop, window, weight)


def overlap_weight(frames: int, window: Tensor, hop: int) -> Tensor:
    """Returns the inverse of the sum of the squared windows of so many frames, `[1, (frames - 1) * hop + n_fft]`."""
    return overlap_add(window.square().expand(1, frames, len(window)), hop).clamp_min(1e-8).reciprocal()


def _istft_rows(spectrum: Tensor, hop: int, window: Tensor, weight: Tensor) -> Tensor:
    """`istft` of spectra as rows, `[batch, frame, bin]`, with their `overlap_weight`."""
    pad = (len(window) - hop) // 2
    wav = overlap_add(torch.fft.irfft(spectrum, n=len(window)) * window, hop) * weight
    return wav[:, pad : wav.shape[1] - pad]


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Adds overlapping frames: `[batch, frame, n_fft]` -> `[batch, (frame - 1) * hop + n_fft]`, as n_fft / hop shifted
    sums."""
    parts = frames.unflatten(2, (-1, hop)).unbind(2)
    shifted = [F.pad(part, (0, 0, k, len(parts) - 1 - k)) for k, part in enumerate(parts)]
    return sum(shifted[1:], shifted[0]).flatten(1)


class LogMel(nn.Module):
    """Log-mel analysis of a wav and its approximate inverses.

    wav `[batch, frames * hop]` in [-1, 1] -> natural log of mel magnitudes, at least 1e-5, `[batch, bins, frames]`."""

    def __init__(self, sample_rate: int = 24000, n_fft: int = 1024, hop: int = 256, bins: int = 100):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", mel_filters(sample_rate, n_fft, bins).clone(), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        return self.from_spectrum(self.stft(wav))

    def from_spectrum(self, spectrum: Tensor) -> Tensor:
        """Computes the log mel `[batch, bins, frames]` of a complex spectrum `[batch, bin, frames]`."""
        return self.from_power(spectrum.real.square() + spectrum.imag.square())

    def from_power(self, power: Tensor) -> Tensor:
        """Computes the log mel `[batch, bins, frames]` of squared magnitudes `[batch, bin, frames]`."""
        return (self.filters @ power.clamp_min(1e-14).sqrt()).clamp_min(FLOOR).log()

    def stft(self, wav: Tensor) -> Tensor:
        return stft(wav.float(), self.n_fft, self.hop, self.window)

    def istft(self, spectrum: Tensor) -> Tensor:
        return istft(spectrum, self.n_fft, self.hop, self.window)

    def magnitude(self, log_mel: Tensor, iterations: int = 0) -> Tensor:
        """Estimates magnitudes `[batch, bin, frames]` with this mel, refined by Lee & Seung's multiplicative
        updates."""
        mel = log_mel.exp()
        spread = self.filters / self.filters.sum(0, keepdim=True).clamp_min(1e-8)
        guess = spread.T @ (mel / self.filters.sum(1, keepdim=True).clamp_min(1e-8))
        for _ in range(iterations):
            guess = guess.clamp_min(1e-7)
            guess = guess * (self.filters.T @ mel) / (self.filters.T @ (self.filters @ guess)).clamp_min(1e-8)
        return guess.clamp_min(1e-7)

    def rms(self, log_mel: Tensor) -> Tensor:
        """Estimates the RMS `[batch, frames]` of the wav with this mel by Parseval's theorem.

        It is right within a few dB, since where in its band a partial lies is not known from a mel bin."""
        power = 2 * self.magnitude(log_mel).square().sum(1) / self.n_fft
        return (power / self.window.square().sum()).sqrt()

    def limit(self, log_mel: Tensor, max_rms: float, reach: int = 4) -> Tensor:
        """Lowers frames whose RMS exceeds `max_rms` to it, in all bands alike, and the `reach` frames around them
        gradually."""
        over = (self.rms(log_mel) / max_rms).log().clamp_min(0)[:, None]
        held = F.max_pool1d(over, 2 * reach + 1, 1, reach)
        return log_mel - F.avg_pool1d(held, 2 * reach + 1, 1, reach, count_include_pad=False)

    def match_mel(self, spectrum: Tensor, log_mel: Tensor) -> Tensor:
        """Rescales the magnitudes so that the spectrum's mel approaches `log_mel`; phases and fine structure stay."""
        return spectrum * self.gain(self.from_spectrum(spectrum), log_mel)

    def gain(self, given: Tensor, wanted: Tensor) -> Tensor:
        """Returns gains of magnitudes, `[batch, bin, frames]`, with which the log mel `given` approaches `wanted`."""
        ratio = (wanted - given).clamp(-4.0, 4.0).exp()
        cover = self.filters.sum(0)[:, None]
        return torch.where(cover > 1e-8, (self.filters.T @ ratio) / cover.clamp_min(1e-8), torch.ones_like(cover))


def griffin_lim(
    mel: LogMel,
    log_mel: Tensor,
    spectrum: Tensor,
    iterations: int,
    momentum: float = 0.99,
    known: Tensor | None = None,
    known_spectrum: Tensor | None = None,
) -> Tensor:
    """Reconstructs a wav `[batch, frames * hop]` by the fast Griffin-Lim algorithm (Perraudin et al. 2013).

    `spectrum`, complex `[batch, bin, frames]`, has the first phases and, once they match `log_mel`, the magnitudes.
    Where `known`, bool, broadcastable to it, the spectrum is set to `known_spectrum` in every iteration, so that the
    phases around fit the sound that is there."""
    share = momentum / (1 + momentum)
    rows = None if known is None else (known.expand(spectrum.shape).transpose(1, 2), known_spectrum.transpose(1, 2))

    def with_known(estimate: Tensor) -> Tensor:
        return estimate if rows is None else torch.where(rows[0], rows[1], estimate)

    spectrum = with_known(mel.match_mel(spectrum, log_mel).transpose(1, 2).contiguous())
    weight = overlap_weight(spectrum.shape[1], mel.window, mel.hop)
    magnitude, previous = spectrum.abs(), None
    for _ in range(iterations):  # spectra as rows, as the transforms take them
        wav = _istft_rows(spectrum, mel.hop, mel.window, weight)
        current = mel.stft(wav).transpose(1, 2)
        accelerated = current if previous is None else torch.sub(current, previous, alpha=share)
        spectrum = with_known(accelerated * (magnitude / accelerated.abs().clamp_min(1e-8)))
        previous = current
    return _istft_rows(spectrum, mel.hop, mel.window, weight)
