"""The bundled small CLAP: a 2-D convolutional audio tower beside a frozen sentence encoder, trained by contrast.

It judges; no generator here is trained on it. Recipe: recipes/clap/train.py, report: recipes/clap/evaluate.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from ..audio.spectral import LogMel
from ..files import content_digest
from ..models.weights import StoredWeights, weight_file
from .clap import ClapScorer

MEL_MEAN, MEL_STD = -5.0, 3.0  # of natural-log mels; rough, so that inputs are of order 1


class _Block(nn.Module):
    """ConvNeXt block in two dimensions (Liu et al. 2022): depthwise 7 × 7, norm, pointwise × 4, learned scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.GroupNorm(1, width)
        self.wide, self.narrow = nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1)
        self.scale = nn.Parameter(torch.full((1, width, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.narrow(F.gelu(self.wide(self.norm(self.depthwise(x)))))


class SmallClap(StoredWeights, ModelMixin, ConfigMixin):
    """wav [clip, sample] → unit vector [clip, dim]; sentence vector [text, words] → unit vector [text, dim]."""

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
        """[clip, sample] → normalised log-mel [clip, 1, mel, frame]."""
        wav = F.pad(wav, (0, -wav.shape[1] % 256))
        return (self.mel(wav).unsqueeze(1) - MEL_MEAN) / MEL_STD

    def hear(self, image: Tensor) -> Tensor:
        x = self.body(image)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.mean(dim=2).amax(dim=2)], dim=1)
        return F.normalize(self.project(self.norm(pooled)).float(), dim=1)

    def read(self, sentences: Tensor) -> Tensor:
        return F.normalize(self.project_words(sentences).float(), dim=1)

    def forward(self, image: Tensor, sentences: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both towers' vectors and the (capped) inverse temperature, for training."""
        return self.hear(image), self.read(sentences), self.log_scale.clamp(max=math.log(100)).exp()


def contrastive_loss(audio: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """Symmetric InfoNCE (Radford et al. 2021) where `same` (bool [clip, text]) says which texts fit a clip equally well:
    their targets share the weight. Scalar."""
    logits = scale * audio @ text.T
    weight = same.float()
    by_clip = -(weight / weight.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    by_text = -(weight / weight.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return (by_clip + by_text) / 2


def split_in_windows(wav: Tensor, size: int) -> Tensor:
    """[sample] → [window, size], half overlapping, the last one ending with the clip; a short clip in one, zeros after."""
    if len(wav) <= size:
        return F.pad(wav, (0, size - len(wav)))[None]
    starts = [*range(0, len(wav) - size, size // 2), len(wav) - size]
    return torch.stack([wav[start : start + size] for start in starts])


def small_clap_scorer(net: SmallClap, conditioner, digest: str, batch: int = 16) -> ClapScorer:
    """The net and a TextConditioner as a ClapScorer; longer clips are heard in windows whose vectors are averaged."""
    size = round(net.config.seconds * net.config.sample_rate)

    @torch.inference_mode()
    def hear(wavs: Sequence[np.ndarray]) -> np.ndarray:
        parts = [split_in_windows(torch.from_numpy(np.ascontiguousarray(wav)).float(), size) for wav in wavs]
        device = next(net.parameters()).device
        vectors = torch.cat([net.hear(net.image(p.to(device))).cpu() for p in torch.cat(parts).split(batch)])
        means = torch.stack([part.mean(dim=0) for part in vectors.split([len(p) for p in parts])])
        return F.normalize(means, dim=1).numpy()

    @torch.inference_mode()
    def read(texts: Sequence[str]) -> np.ndarray:
        sentences = conditioner(list(texts)).pooled
        return net.read(sentences.to(next(net.parameters()).device)).cpu().numpy()

    return ClapScorer(hear, read, "small-clap", net.config.sample_rate, digest)


def load_small_clap(folder: str | Path, device: str = "cpu") -> ClapScorer:
    """A trained SmallClap folder with the bundled sentence encoder. Raises ValueError naming a missing file."""
    from ..models.text_encoder import TextConditioner

    net = SmallClap.from_pretrained(folder).to(device)
    return small_clap_scorer(
        net, TextConditioner.from_pretrained(), content_digest(weight_file(Path(folder)).read_bytes(), "windows/2")
    )


def load_bundled_clap(device: str = "cpu") -> ClapScorer:
    """The scorer that ships with audiocm."""
    from ..models.weights import PRETRAINED

    if not (PRETRAINED / "small-clap" / "config.json").exists():
        raise ValueError("small-clap is not bundled with this copy: train it by recipes/clap/train.py, or name another")
    return load_small_clap(PRETRAINED / "small-clap", device)
