"""The small CLAP: an audio tower trained by contrast with captions, whose sentence encoder stays frozen.

    audiocm train recipes/clap/train.py

The defaults made the bundled `small-clap`: 38 minutes on one core of a shared CPU, 1,176 steps. On 924 held-out
recordings: text to audio R@1 0.14 and R@10 0.443, zero-shot accuracy 0.264 (samples/clap_scores.json, by
recipes.clap.evaluate).

Training sees crops of 4 s, shorter clips in silence, at random level and tilt, with masked bands and frames, each with
one of its clip's captions. Captions with nearly equal sentence vectors count as equal.
"""

import copy
import operator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiocm.audio.augmentation import add_white_noise, change_speed, mask_spectrogram
from audiocm.data.captions import encode_captions
from audiocm.data.manifest import Clip
from audiocm.data.wave_batches import WaveBatches
from audiocm.diffusion.denoiser import Condition
from audiocm.embedders.small_clap import SmallClap, contrastive_loss
from audiocm.metrics.similarity import recalls
from audiocm.models.text_encoder import TextConditioner
from audiocm.training.run import Run, best_device
from recipes.text_to_audio.data import captioned_clips, clip_weights

RATE, SECONDS = 24000, 4.0
SHARES = {"effect": 0.62, "instrument": 0.25, "music": 0.05, "speech": 0.08}  # of training samples, by kind
CORPORA = [Path("data/corpus"), Path("data/rendered")]


class CaptionedWaves(WaveBatches):
    """An endless source of (wav [batch, sample], Condition with the sentence vector of one of each clip's captions)."""

    def __init__(self, clips: list[Clip], batch: int, conditioner: TextConditioner, seed: int, device: torch.device):
        weights = clip_weights(clips, SHARES)
        sampling = {"gain": (-15.0, 6.0), "weight": lambda clip: weights[clip.file, clip.source]}
        super().__init__(clips, RATE, SECONDS, batch, seed=seed, device=device, **sampling)
        self.captions = encode_captions(self.clips, conditioner, device)

    def __next__(self) -> tuple[Tensor, Condition]:
        generator = self.step_generator()
        clips = self.draw_clips(generator)
        wav = self.crops(clips, generator)
        uniform = np.random.default_rng([self.seed, self.rank, self.step - 1, 1]).random(self.batch)
        (rows,) = self.columns_to_device(self.captions.choose(clips, uniform))
        return wav, Condition(pooled=self.captions.pooled[rows].float())


def augment(image: Tensor) -> Tensor:
    """Tilts mels [batch, 1, bin, frame] over frequency and masks two bands and spans."""
    tilt = torch.randn(len(image), 1, 1, 1, device=image.device) * 0.3
    image = image + tilt * torch.linspace(-1, 1, image.shape[2], device=image.device)[None, None, :, None]
    return mask_spectrogram(image, -2.0)


class Contrast:
    """The InfoNCE loss of a batch. Captions with sentence vectors of a cosine above `threshold` count as equal."""

    def __init__(self, net: SmallClap, threshold: float = 0.95, perturb: bool = False) -> None:
        self.net, self.threshold, self.perturb = net, threshold, perturb

    def loss(self, student: nn.Module, target: Any, x: Tensor, cond: Condition, progress: Any) -> Tensor:
        """Returns the loss of waves and the sentence vectors of their captions."""
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            if self.perturb:
                x = add_white_noise(change_speed(x, RATE))
            image = augment(self.net.image(x))
        equal = cond.pooled @ cond.pooled.T > self.threshold
        return contrastive_loss(*student(image, cond.pooled), equal)


@torch.no_grad()
def retrieval(net: SmallClap, waves: Tensor, sentences: Tensor, truth: np.ndarray) -> dict[str, float]:
    """Returns held-out R@1, 5 and 10 both ways over unique captions; truth [clip] is the row of a clip's caption."""
    audio = torch.cat([net.embed_audio(net.image(part)) for part in waves.split(64)])
    similarity = (net.embed_text(sentences) @ audio.T).float().cpu().numpy()  # [caption, clip]
    relevant = truth == np.arange(len(sentences))[:, None]
    values = {}
    for top in (1, 5, 10):
        values[f"text_audio_{top}"] = float(recalls(similarity, relevant, top).mean())
        values[f"audio_text_{top}"] = float(recalls(similarity.T, relevant.T, top).mean())
    return values | {"mean_recall": sum(values.values()) / len(values)}


def first_crop(waves: WaveBatches, clip: int) -> Tensor:
    """Returns the first seconds of a clip, with silence after a shorter one: [sample]."""
    start, length = waves.starts[clip], min(int(waves.lengths[clip]), waves.samples)
    return F.pad(waves.waves[start : start + length].float() / 32767, (0, waves.samples - length))


def export(net: nn.Module, folder: Path) -> None:
    """Writes a folder like the bundled small-clap, in float16."""
    copy.deepcopy(net).half().save_pretrained(folder, variant="fp16")


def run(
    corpora: list[Path] = CORPORA,
    minutes: float = 38.0,
    steps: int = 12_000,
    batch: int = 128,
    lr: float = 2e-3,
    widths: tuple[int, ...] = (24, 48, 96, 192),
    depths: tuple[int, ...] = (1, 1, 3, 2),
    precision: str = "bf16",
    perturb: bool = False,
    seed: int = 0,
) -> Run:
    """Returns the training: `minutes` in all calls together; the average with the best mean recall is exported.

    `perturb` also changes the speed of the clips and adds noise to them; the bundled one was trained without."""
    device = best_device()
    net, conditioner = SmallClap(widths=widths, depths=depths).to(device), TextConditioner.from_pretrained().to(device)
    batches = CaptionedWaves(captioned_clips(corpora, "train", SHARES), batch, conditioner, seed, device)
    held_out = WaveBatches(captioned_clips(corpora, "valid", SHARES), RATE, SECONDS, 1, device=device)
    waves = torch.stack([first_crop(held_out, i) for i in range(len(held_out.clips))])
    captions = sorted({clip.captions[0] for clip in held_out.clips})
    truth = np.array([captions.index(clip.captions[0]) for clip in held_out.clips])
    sentences = conditioner(captions).pooled.to(device).float()
    settings = {"lr": lr, "warmup": 100, "weight_decay": 0.05, "betas": (0.9, 0.98), "ema": 0.998, "seed": seed}
    settings |= {"train_seconds": 60 * minutes, "save_every": 2000, "precision": precision, "export": export}
    settings |= {"validate": lambda net: retrieval(net, waves, sentences, truth), "validate_every": 250}
    settings |= {"keep_best": "mean_recall", "is_better": operator.gt}
    return Run("small_clap", net, Contrast(net, perturb=perturb), batches, steps=steps, **settings)
