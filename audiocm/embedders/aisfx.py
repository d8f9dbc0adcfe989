"""The aiSFX sound-effect embedding."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files import content_digest
from .checkpoints import load_without_code, package_file, power_frames, split_in_blocks


class _EffectsNet(nn.Module):
    """aiSFX's embedding net (Ma & Lerch, ISMIR 2022): four double 3 × 3 convolution blocks with batch norm, max-pooled
    by 2, 2, 2 and 1; mean over frequency, maximum over time. [block, 100, 96] → [block, 512]."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 64, 128, 256, 512]
        for k, (narrow, wide) in enumerate(itertools.pairwise(widths), start=1):
            block = nn.Module()
            block.conv1 = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
            block.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
            block.bn1, block.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)
            setattr(self, f"conv_block{k}", block)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)
        for k in (1, 2, 3, 4):
            block = getattr(self, f"conv_block{k}")
            x = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))))
            x = F.max_pool2d(x, 2) if k < 4 else x
        return x.mean(dim=3).amax(dim=2)


class Aisfx:
    """aiSFX (X-Sequential-CE), 512-d at 44.1 kHz, mean over blocks of 2.3 s every 1.16 s.

    Front end of the paper (essentia): 2048-sample symmetric Hann frames every 1024, 96 HTK mel bands of power with
    weights that sum to 1, log10(10,000 x + 1), divided by 9.4578."""

    name, sample_rate = "aisfx", 44100

    def __init__(self, source: str | Path | None = None, device: str = "cpu", batch: int = 4) -> None:
        import librosa

        packed = package_file("aisfx", "models/checkpoint.pth", source)
        weights, _ = load_without_code(packed)
        prefix = "embedding_net."
        net = _EffectsNet()
        net.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)})
        self._net, self._batch = net.eval().to(device, memory_format=torch.channels_last), batch
        self._window = torch.hann_window(2048, periodic=False)
        filters = librosa.filters.mel(sr=44100, n_fft=2048, n_mels=96, fmin=0, fmax=22050, htk=True, norm=1)
        self._filters = torch.from_numpy(filters)
        self.digest = content_digest(packed, "hann2048s/1024 htk96 norm1 log10 100/50")

    def spectrum(self, wav: np.ndarray) -> Tensor:
        """[sample] → normalised log-mel [frame, 96]."""
        wav = torch.from_numpy(np.ascontiguousarray(wav)).float()
        power = power_frames(wav, 2048, 1024, self._window, True).square()
        return (power @ self._filters.T * 1e4 + 1).log10() / 9.457798957824707

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        parts = [split_in_blocks(self.spectrum(wav), 100, 50, 0.0) for wav in wavs]
        device = next(self._net.parameters()).device
        outputs = [self._net(part.to(device)).cpu() for part in torch.cat(parts).split(self._batch)]
        by_clip = torch.cat(outputs).split([len(p) for p in parts])
        return {"embedding": torch.stack([part.mean(dim=0) for part in by_clip]).numpy()}
