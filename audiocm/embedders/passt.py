"""PaSST, the embedder and tagger of FD, KL and IS in Stable Audio's, TangoFlux's and MMAudio's tables, from a user's
weight file: "passt-s-f128-p16-s10-ap.476-swa.pt" or another of the models for 10 s at 32 kHz."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..files import content_digest
from .checkpoints import load_strictly, read_weights
from .layers import kaldi_mel_filters

PATCH, BINS, FRAMES = 16, 128, 1000  # side of a patch; mel bands; frames of 10 ms in the window
STRIDES = {(12, 99): 10, (8, 62): 16}  # sizes of the position tables -> stride of the patches


class _Block(nn.Module):
    """A pre-norm transformer block, [clip, token, width] to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn = nn.ModuleDict({"qkv": nn.Linear(width, 3 * width), "proj": nn.Linear(width, width)})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.attn["qkv"](self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.attn["proj"](F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class _Passt(nn.Module):
    """PaSST: log-mel [clip, 128, frame] to features [clip, width] and logits [clip, class]. Koutini et al. 2022.

    Patchout is of training only; at evaluation every patch is seen."""

    def __init__(self, stride: int, grid: tuple[int, int], depth: int, classes: int, width: int = 768) -> None:
        super().__init__()
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(1, width, PATCH, stride)})
        tables = {"cls_token": (1, 1, width), "dist_token": (1, 1, width), "new_pos_embed": (1, 2, width)}
        tables |= {"freq_new_pos_embed": (1, width, grid[0], 1), "time_new_pos_embed": (1, width, 1, grid[1])}
        for name, shape in tables.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(shape)))
        self.blocks = nn.Sequential(*(_Block(width, width // 64) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        x = self.patch_embed["proj"](log_mel.unsqueeze(1))
        x = x + self.time_new_pos_embed[..., : x.shape[-1]] + self.freq_new_pos_embed
        tokens = torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed
        x = torch.cat((tokens.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)), dim=1)
        features = self.norm(self.blocks(x))[:, :2].mean(dim=1)
        return features, self.head(features)


class Passt:
    """PaSST at 32 kHz, as stable-audio-metrics calls it: windows of 10 s every 5 s, the last one filled up with silence,
    and the mean of their features and logits. A clip of at most 1.5 s is not filled up.

    The front end is the original's: pre-emphasis 0.97, symmetric Hann frames of 800 samples every 320, power, 128
    Kaldi mel bands up to 15 kHz, (log(x + 1e-5) + 4.5) / 5. Papers scale clips to a peak of −1 dB first: that is
    preprocessing (`--loudness peak`). Raises ValueError if the file is another network's."""

    name, sample_rate = "passt", 32000

    def __init__(self, file: str | Path, device: str = "cpu", batch: int = 4) -> None:
        state, data = read_weights(file)
        tables = [state.get(f"{axis}_new_pos_embed") for axis in ("freq", "time")]
        grid = tuple(table.shape[dim] for table, dim in zip(tables, (2, 3), strict=True) if table is not None)
        if grid not in STRIDES or "head.1.weight" not in state:
            raise ValueError(f"{file}: not a PaSST of windows of 10 s and a hop of 320 samples, with a classifier")
        depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
        classes, width = state["head.1.weight"].shape
        net = _Passt(STRIDES[grid], grid, depth, classes, width)
        self._net, self._device, self._batch = load_strictly(net, state, file).to(device), device, batch
        self._window = torch.hann_window(800, periodic=False)
        self._filters = kaldi_mel_filters(BINS, 1024, self.sample_rate, 0.0, 15000.0)
        self.digest = content_digest(data, "passt 1024/320/800 kaldi128 10 s/5 s")

    def log_mel(self, wav: Tensor) -> Tensor:
        """Computes the normalised log-mel spectrogram [128, frame] of wav [sample]."""
        wav = wav[1:] - 0.97 * wav[:-1]
        spectrum = torch.stft(wav, 1024, 320, 800, self._window, center=True, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(dim=-1)
        return ((self._filters.T @ power + 1e-5).log() + 4.5) / 5

    def windows(self, wav: np.ndarray) -> list[Tensor]:
        """Cuts wav [sample] into windows of 10 s every 5 s, the last one filled up with silence."""
        wav, size = torch.from_numpy(np.ascontiguousarray(wav)).float(), 10 * self.sample_rate
        step, parts = size // 2, []
        for start in range(0, max(step, len(wav) - step), step):
            part = wav[start : start + size]
            least = size if len(part) > 0.15 * size else 320 * (PATCH - 1) + 1  # 16 frames at least
            parts.append(F.pad(part, (0, max(0, least - len(part)))))
        return parts

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 768], and "probabilities" (sigmoid) and "distribution" (softmax) [clip, class], of
        wavs [sample] at 32 kHz."""
        embeddings, logits = [], []
        for wav in wavs:
            mels = torch.stack([self.log_mel(part) for part in self.windows(wav)])
            outputs = [self._net(part.to(self._device)) for part in mels.split(self._batch)]
            features, scores = (torch.cat(parts).mean(dim=0).cpu() for parts in zip(*outputs, strict=True))
            embeddings.append(features)
            logits.append(scores)
        logits = torch.stack(logits)
        features = {"embedding": torch.stack(embeddings), "probabilities": logits.sigmoid()}
        return {key: value.numpy() for key, value in (features | {"distribution": logits.softmax(dim=1)}).items()}
