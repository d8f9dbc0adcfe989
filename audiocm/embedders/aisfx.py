"""aiSFX, an embedding of sound effects, from the package aisfx: `pip install --no-deps aisfx==0.1.2`.

It is an optional tool for evaluation and not a dependency; its weights are CC-BY-4.0.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.spectral import mel_filters
from ..files import content_digest
from .checkpoints import load_strictly, package_file, read_state
from .layers import DoubleConvBlock, apply_by_clip, magnitude_frames, split_in_blocks


class _EffectsNet(nn.Module):
    """aiSFX's embedding network, [block, 100, 96] to [block, 512]. Ma & Lerch, ISMIR 2022.

    Four double convolution blocks, the first three followed by 2 × 2 max pooling; mean over frequency, maximum over
    time."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 64, 128, 256, 512]
        for k in (1, 2, 3, 4):
            setattr(self, f"conv_block{k}", DoubleConvBlock(widths[k - 1], widths[k]))

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)
        for k in (1, 2, 3, 4):
            x = getattr(self, f"conv_block{k}")(x)
            x = F.max_pool2d(x, 2) if k < 4 else x
        return x.mean(dim=3).amax(dim=2)


class Aisfx:
    """aiSFX (X-Sequential-CE): 512-d at 44.1 kHz, averaged over blocks of 2.3 s every 1.16 s.

    The front end is the paper's: symmetric Hann frames of 2048 samples every 1024, 96 HTK mel bands of power whose
    weights sum to 1, log10(10,000 x + 1), divided by 9.4578."""

    name, sample_rate = "aisfx", 44100

    def __init__(self, source: str | Path | None = None, device: str = "cpu", batch: int = 4) -> None:
        packed = package_file("aisfx", "models/checkpoint.pth", source)
        weights = read_state(packed, source or "aisfx")  # the first of weights and settings
        state = {key.removeprefix("embedding_net."): value for key, value in weights.items()}
        net = load_strictly(_EffectsNet(), state, "aisfx")
        self._net, self._device, self._batch = net.to(device, memory_format=torch.channels_last), device, batch
        self._window = torch.hann_window(2048, periodic=False)
        self._filters = mel_filters(44100, 2048, 96, htk=True, norm="sum")
        self.digest = content_digest(packed, "hann2048s/1024 htk96 norm1 log10 100/50")

    def spectrum(self, wav: np.ndarray) -> Tensor:
        """Computes the normalized log-mel spectrogram [frame, 96] of wav [sample]."""
        wav = torch.from_numpy(np.ascontiguousarray(wav)).float()
        power = magnitude_frames(wav, 2048, 1024, self._window, True).square()
        return (power @ self._filters.T * 1e4 + 1).log10() / 9.457798957824707

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 512] of wavs [sample] at 44.1 kHz."""
        parts = [split_in_blocks(self.spectrum(wav), 100, 50, 0.0) for wav in wavs]
        by_clip = apply_by_clip(self._net, parts, self._batch, self._device)
        return {"embedding": torch.stack([part.mean(dim=0) for part in by_clip]).numpy()}
