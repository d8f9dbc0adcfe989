"""The bundled small CLAP: a convolutional audio tower trained contrastively beside a frozen sentence encoder.

It is for evaluation only: no generator of audiocm is trained with it. See recipes/clap/train.py and
recipes/clap/evaluate.py.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..audio.spectral import LogMel
from ..files import content_digest
from ..models.folders import PRETRAINED, weight_file
from ..models.text_encoder import TextConditioner
from ..models.weights import StoredWeights
from ..schema import Rule, list_of, number, whole
from .clap import ClapScorer
from .layers import apply_by_clip

BUNDLED = PRETRAINED / "small-clap"
MEL_MEAN, MEL_STD = -5.0, 3.0  # approximate statistics of natural-log mels, so that inputs are of order 1


class _Block(nn.Module):
    """Two-dimensional ConvNeXt block: depthwise 7 × 7, norm, pointwise × 4, learned scale. Liu et al. 2022."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.wide, self.narrow = nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.narrow(F.gelu(self.wide(self.norm(self.depthwise(x)))))


class SmallClap(StoredWeights, ModelMixin, ConfigMixin):
    """Audio and text towers with a joint embedding space: unit vectors [clip, dim] and [text, dim].

    `words` is the width of the frozen sentence encoder's vectors, `seconds` the length of the training clips."""

    config_rules: ClassVar[dict[str, Rule]] = {
        "widths": list_of(whole(1, 4096), 1, 8),
        "depths": list_of(whole(0, 64), 1, 8),
        **dict.fromkeys(("dim", "words"), whole(1, 16384)),
        "sample_rate": whole(1000, 384_000),
        "seconds": number(0.1, 600),
        "mel_bins": whole(1, 512),
    }

    @register_to_config
    def __init__(
        self,
        widths: tuple[int, ...] = (64, 128, 256, 384),
        depths: tuple[int, ...] = (2, 2, 4, 2),
        dim: int = 256,
        words: int = 384,
        sample_rate: int = 24000,
        seconds: float = 4.0,
        mel_bins: int = 100,
    ) -> None:
        super().__init__()
        self.mel = LogMel(sample_rate, 1024, 256, mel_bins)
        stages, before = [nn.Conv2d(1, widths[0], 4, stride=4)], widths[0]
        for width, depth in zip(widths, depths, strict=True):
            if width != before:
                stages += [nn.GroupNorm(1, before), nn.Conv2d(before, width, 2, stride=2)]
            stages += [_Block(width) for _ in range(depth)]
            before = width
        self.body = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(2 * before)
        self.project = nn.Sequential(nn.Linear(2 * before, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))
        self.project_words = nn.Linear(words, dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def image(self, wav: Tensor) -> Tensor:
        """Computes normalized log-mel spectrograms [clip, 1, mel, frame] of wavs [clip, sample]."""
        wav = F.pad(wav, (0, -wav.shape[1] % 256))
        return (self.mel(wav).unsqueeze(1) - MEL_MEAN) / MEL_STD

    def embed_audio(self, image: Tensor) -> Tensor:
        """Maps log-mel spectrograms [clip, 1, mel, frame] to unit vectors [clip, dim]."""
        x = self.body(image)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.mean(dim=2).amax(dim=2)], dim=1)
        return F.normalize(self.project(self.norm(pooled)).float(), dim=1)

    def embed_text(self, sentences: Tensor) -> Tensor:
        """Maps sentence vectors [text, words] to unit vectors [text, dim]."""
        return F.normalize(self.project_words(sentences).float(), dim=1)

    def forward(self, image: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns both towers' vectors and the inverse temperature, capped at 100, for training."""
        return self.embed_audio(image), self.embed_text(sentences), self.log_scale.clamp(max=math.log(100)).exp()


def contrastive_loss(audio: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Computes the symmetric InfoNCE loss, a scalar. Radford et al. 2021.

    `same`, bool [clip, text], marks the texts that match a clip; they share the target's weight."""
    logits = scale * audio @ text.T
    weight = same.float()
    by_clip = -(weight / weight.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    by_text = -(weight / weight.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (by_clip + by_text) / 2


def split_in_windows(wav: Tensor, size: int) -> Tensor:
    """Cuts wav [sample] into half-overlapping windows [window, size], the last ending with the clip; pads short
    clips."""
    if len(wav) <= size:
        return F.pad(wav, (0, size - len(wav)))[None]
    starts = [*range(0, len(wav) - size, size // 2), len(wav) - size]
    return torch.stack([wav[start : start + size] for start in starts])


def small_clap_scorer(net: SmallClap, conditioner: TextConditioner, digest: str, batch: int = 16) -> ClapScorer:
    """Builds a ClapScorer of a network and its sentence encoder; longer clips are averaged over windows."""
    size = round(net.config.seconds * net.config.sample_rate)

    @torch.inference_mode()
    def embed_audio(wavs: Sequence[np.ndarray]) -> np.ndarray:
        parts = [split_in_windows(torch.from_numpy(np.ascontiguousarray(wav)).float(), size) for wav in wavs]
        by_clip = apply_by_clip(lambda windows: net.embed_audio(net.image(windows)), parts, batch, net.device)
        return F.normalize(torch.stack([part.mean(dim=0) for part in by_clip]), dim=1).numpy()

    @torch.inference_mode()
    def embed_text(texts: Sequence[str]) -> np.ndarray:
        return net.embed_text(conditioner(list(texts)).pooled.to(net.device)).cpu().numpy()

    return ClapScorer(embed_audio, embed_text, "small-clap", net.config.sample_rate, digest)


def load_small_clap(folder: str | Path = BUNDLED, device: str = "cpu") -> ClapScorer:
    """Loads a trained SmallClap folder with the bundled sentence encoder. Raises ValueError naming a missing file."""
    if not (Path(folder) / "config.json").exists():
        raise ValueError(f"{folder} holds no small-clap: train it with recipes/clap/train.py, or name another embedder")
    net = SmallClap.from_pretrained(folder).to(device)
    digest = content_digest(weight_file(Path(folder)).read_bytes(), "windows/2")
    return small_clap_scorer(net, TextConditioner.from_pretrained(), digest)
