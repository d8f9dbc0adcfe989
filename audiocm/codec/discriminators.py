"""Critics of mels and wavs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ..audio.spectral import stft
from .vae import MEL_MEAN, MEL_STD

QUIET = 1e-3  # magnitudes below it (16-bit rounding noise) count as silence: their logs have gradients without bound
Features = list[list[Tensor]]  # per discriminator: hidden layers, then the score map


class PatchCritic(nn.Module):
    """Scores patches of an image `[batch, 1, row, column]`; rows are told apart by a coordinate channel."""

    def __init__(self, widths: Sequence[int], strides: Sequence[tuple[int, int]], kernel: tuple[int, int] = (3, 5)):
        super().__init__()
        pad = (kernel[0] // 2, kernel[1] // 2)
        sizes = [2, *widths]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(sizes[i], sizes[i + 1], kernel, stride, pad)) for i, stride in enumerate(strides)
        )
        self.last = weight_norm(nn.Conv2d(sizes[-1], 1, 3, padding=1))

    def forward(self, image: Tensor) -> list[Tensor]:
        row = torch.linspace(-1, 1, image.shape[2], device=image.device, dtype=image.dtype)
        h = torch.cat([image, row[:, None].expand_as(image)], dim=1).contiguous(memory_format=torch.channels_last)
        hidden = []
        for layer in self.layers:
            h = F.leaky_relu(layer(h), 0.1)
            hidden.append(h)
        return [*hidden, self.last(h)]


class MelCritic(nn.Module):
    """Patch discriminators on log-mels `[batch, bins, frame]` with a small and a large receptive field."""

    def __init__(self, width: int = 48):
        super().__init__()
        w = width
        self.critics = nn.ModuleList(
            [
                PatchCritic((w, 2 * w, 4 * w, 4 * w), ((1, 1), (2, 2), (2, 2), (1, 1)), (3, 3)),
                PatchCritic((w, 2 * w, 4 * w, 4 * w, 4 * w), ((2, 2), (2, 2), (2, 2), (2, 2), (1, 1)), (5, 5)),
            ]
        )

    def forward(self, log_mel: Tensor) -> Features:
        image = ((log_mel - MEL_MEAN) / MEL_STD).unsqueeze(1)
        return [critic(image) for critic in self.critics]


class WaveCritic(nn.Module):
    """Multi-period and multi-resolution spectrogram discriminators on wav `[batch, sample]`."""

    def __init__(
        self,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        resolutions: Sequence[int] = (2048, 1024, 512),
        width: int = 32,
    ):
        super().__init__()
        self.periods, self.resolutions = tuple(periods), tuple(resolutions)
        w = width
        self.by_period = nn.ModuleList(
            PatchCritic((w, 2 * w, 4 * w, 8 * w, 8 * w), ((3, 1), (3, 1), (3, 1), (3, 1), (1, 1)), (5, 1))
            for _ in periods
        )
        self.by_resolution = nn.ModuleList(
            PatchCritic((w, w, w, w, w), ((1, 1), (2, 1), (2, 1), (2, 1), (1, 1)), (9, 3)) for _ in resolutions
        )
        for n_fft in self.resolutions:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def forward(self, wav: Tensor) -> Features:
        out = []
        for period, critic in zip(self.periods, self.by_period, strict=True):
            padded = F.pad(wav, (0, -wav.shape[1] % period))
            out.append(critic(padded.view(wav.shape[0], 1, -1, period)))
        for n_fft, critic in zip(self.resolutions, self.by_resolution, strict=True):
            spectrum = stft(wav.float(), n_fft, n_fft // 4, getattr(self, f"window_{n_fft}"))
            out.append(critic(spectrum.abs().clamp_min(QUIET).pow(0.3).unsqueeze(1)))
        return out


def critic_loss(real: Features, fake: Features) -> Tensor:
    """Least-squares discriminator loss (Mao et al. 2017): real to 1, fake to 0."""
    terms = [
        (1 - r[-1].float()).square().mean() + f[-1].float().square().mean() for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(terms).mean()


def fooling_loss(fake: Features) -> Tensor:
    """Least-squares generator loss."""
    return torch.stack([(1 - f[-1].float()).square().mean() for f in fake]).mean()


def feature_loss(real: Features, fake: Features) -> Tensor:
    """L1 between hidden layers, each relative to the real layer's own mean magnitude."""
    terms = []
    for r, f in zip(real, fake, strict=True):
        for a, b in zip(r[:-1], f[:-1], strict=True):
            scale = a.detach().float().abs().mean().clamp_min(1e-4)
            terms.append((a.detach().float() - b.float()).abs().mean() / scale)
    return torch.stack(terms).mean()
