"""Layers and framing shared by the embedders."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DoubleConvBlock(nn.Module):
    """Two 3 × 3 convolutions with batch norm and ReLU: [batch, narrow, height, width] to [batch, wide, height,
    width]."""

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


def apply_by_clip(net: Callable, parts: Sequence[Tensor], batch: int, device: str | torch.device) -> tuple[Tensor, ...]:
    """Applies `net` to the blocks [block, ...] of all clips in batches, and returns its outputs by clip on the CPU."""
    outputs = [net(blocks.to(device)).cpu() for blocks in torch.cat(list(parts)).split(batch)]
    return torch.cat(outputs).split([len(part) for part in parts])


def kaldi_mel_filters(bins: int, n_fft: int, rate: int, low: float, high: float) -> Tensor:
    """Returns Kaldi's mel filters, [n_fft // 2 + 1, bins]: triangles linear in HTK mel, not in Hz, as in TensorFlow's
    AudioSet models too; the row of half the rate is zero."""
    from torchaudio.compliance.kaldi import get_mel_banks

    triangles, _ = get_mel_banks(bins, n_fft, float(rate), low, high, 100.0, -500.0, 1.0)
    return F.pad(triangles, (0, 1)).T


def split_in_blocks(frames: Tensor, size: int, hop: int, fill: float) -> Tensor:
    """Cuts frames [frame, bin] into blocks [block, size, bin]; fewer frames than `size` are padded with `fill`."""
    if len(frames) < size:
        frames = F.pad(frames, (0, 0, 0, size - len(frames)), value=fill)
    return frames.unfold(0, size, hop).transpose(1, 2)


def magnitude_frames(wav: Tensor, n_fft: int, hop: int, window: Tensor, center: bool) -> Tensor:
    """Computes STFT magnitudes [frame, n_fft // 2 + 1] of wav [sample]; a wav shorter than a frame is padded with
    zeros."""
    if len(wav) < n_fft:
        wav = F.pad(wav, (0, n_fft - len(wav)))
    mode = "constant" if center else "reflect"
    return torch.stft(wav, n_fft, hop, len(window), window, center=center, pad_mode=mode, return_complex=True).abs().T
