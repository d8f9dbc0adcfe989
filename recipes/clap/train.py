"""The bundled small CLAP, by contrast between sounds and their captions, the sentence encoder frozen.

    audiocm train recipes/clap/train.py --output runs/small_clap [--minutes 5] [--corpora data/corpus,data/rendered]
    python -m recipes.clap.evaluate --clap runs/small_clap/model --results samples/clap_scores.json

Crops of 4 s (shorter clips somewhere in silence), random level, tilt, and masks of bands and frames; one caption of
the clip at random. Captions that mean the same to the sentence encoder share their target.
"""

import copy
import operator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audiocm.data.batches import WaveBatches, _pick, encode_captions
from audiocm.data.manifest import Clip, in_split, read_manifest
from audiocm.diffusion.denoiser import Condition
from audiocm.embedders.small_clap import SmallClap, contrastive_loss
from audiocm.models.text_encoder import TextConditioner
from audiocm.training.run import Run, best_device

RATE, SECONDS = 24000, 4.0
SHARES = {"effect": 0.62, "instrument": 0.25, "music": 0.05, "speech": 0.08}  # of samples


def clips_of(corpora: str, split: str) -> list[Clip]:
    """Captioned clips of one split of all comma-separated corpora, of the kinds that SHARES names."""
    found = [c for root in corpora.split(",") for c in read_manifest(Path(root) / "manifest.jsonl", in_split(split))]
    return [clip for clip in found if clip.captions and clip.kind in SHARES]


class Told(WaveBatches):
    """Endless (wav [batch, sample], Condition with the sentence vector of one of each clip's captions)."""

    def __init__(self, clips: list[Clip], batch: int, conditioner, seed: int, device: torch.device) -> None:
        names: dict[tuple[str, str], int] = {}
        for clip in clips:  # inside a kind, clips that share a name with n others count 1 / sqrt(n)
            names[clip.kind, clip.captions[0]] = names.get((clip.kind, clip.captions[0]), 0) + 1
        raw = {c.path: names[c.kind, c.captions[0]] ** -0.5 for c in clips}
        total = {kind: sum(raw[c.path] for c in clips if c.kind == kind) for kind in SHARES}

        def weight(clip: Clip) -> float:
            return SHARES[clip.kind] * raw[clip.path] / total[clip.kind]

        super().__init__(clips, RATE, SECONDS, batch, gain=(-15.0, 6.0), weight=weight, seed=seed, device=device)
        self.words = encode_captions(self.clips, conditioner, device)

    def __next__(self) -> tuple[Tensor, Condition]:
        wav, _ = super().__next__()
        clip = _pick(np.random.default_rng([self.seed, self.rank, self.step - 1]), self.chances, self.batch)  # as drawn
        generator = np.random.default_rng([self.seed, self.rank, self.step - 1, 1])
        first, after = self.words.first[clip], self.words.first[clip + 1]
        (rows,) = self.put(self.words.ids[first + (generator.random(self.batch) * (after - first)).astype(np.int64)])
        return wav, Condition(pooled=self.words.pooled[rows].float())


def roughened(image: Tensor) -> Tensor:
    """Random tilt over frequency, and two masked stripes of bands and of frames each (SpecAugment, Park et al. 2019)."""
    batch, _, bins, frames = image.shape
    tilt = torch.randn(batch, 1, 1, 1, device=image.device) * 0.3
    image = image + tilt * torch.linspace(-1, 1, bins, device=image.device)[None, None, :, None]
    for size, widest, shape in ((bins, bins // 8, (1, bins, 1)), (frames, frames // 8, (1, 1, frames))):
        at = torch.arange(size, device=image.device)
        for _ in range(2):
            width = torch.rand(batch, 1, device=image.device) * widest
            start = torch.rand(batch, 1, device=image.device) * (size - width)
            inside = (at >= start) & (at < start + width)
            image = image.masked_fill(inside.view(batch, *shape), -2.0)
    return image


class Contrast:
    """InfoNCE of a batch; captions whose sentence vectors are nearly equal count as one."""

    def __init__(self, net: SmallClap, alike: float = 0.95) -> None:
        self.front, self.alike = net, alike

    def loss(self, student, target, x: Tensor, cond: Condition, progress) -> Tensor:
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            image = roughened(self.front.image(x))
        same = cond.pooled @ cond.pooled.T > self.alike
        return contrastive_loss(*student(image, cond.pooled), same)


@torch.no_grad()
def retrieval(net: SmallClap, waves: Tensor, sentences: Tensor, truth: Tensor) -> dict[str, float]:
    """Held-out R@1, 5 and 10, text → audio and audio → text, over unique captions; `truth` [clip] is a caption's row."""
    audio = torch.cat([net.hear(net.image(part)) for part in waves.split(64)])
    similarity = net.read(sentences) @ audio.T  # [caption, clip]
    fits = F.one_hot(truth, len(sentences)).T.bool()
    values = {}
    for top in (1, 5, 10):
        best = similarity.topk(min(top, len(audio)), dim=1).indices
        values[f"text_audio_{top}"] = float(fits.gather(1, best).any(1).float().mean())
        best = similarity.T.topk(min(top, len(sentences)), dim=1).indices
        values[f"audio_text_{top}"] = float(fits.T.gather(1, best).any(1).float().mean())
    return values | {"mean_recall": sum(values.values()) / len(values)}


def run(
    corpora: str = "data/corpus,data/rendered",
    minutes: float = 5.0,
    steps: int = 12_000,
    batch: int = 256,
    lr: float = 1e-3,
    widths: str = "64,128,256,384",
    depths: str = "2,2,4,2",
    precision: str = "bf16",
    seed: int = 0,
) -> Run:
    """`minutes` of training in all calls together; the best averaged net by held-out mean recall is kept, in float16."""
    device = best_device()
    widths_, depths_ = (tuple(int(n) for n in text.split(",")) for text in (widths, depths))
    net = SmallClap(widths=widths_, depths=depths_).to(device)
    conditioner = TextConditioner.from_pretrained().to(device)
    batches = Told(clips_of(corpora, "train"), batch, conditioner, seed, device)
    held = WaveBatches(clips_of(corpora, "valid"), RATE, SECONDS, 1, device=device)
    waves = torch.stack([_first(held, i) for i in range(len(held.clips))])
    captions = sorted({clip.captions[0] for clip in held.clips})
    truth = torch.tensor([captions.index(clip.captions[0]) for clip in held.clips], device=device)
    sentences = conditioner(captions).pooled.to(device).float()

    def export(trained: torch.nn.Module, folder: Path) -> None:
        copy.deepcopy(trained).half().save_pretrained(folder, variant="fp16")

    return Run(
        "small_clap", net, Contrast(net), batches, steps=steps, lr=lr, warmup=100, weight_decay=0.05,
        betas=(0.9, 0.98), ema=0.998, precision=precision, seed=seed, budget=60 * minutes, save_every=2000,
        validate=lambda tower: retrieval(tower, waves, sentences, truth), validate_every=250,
        keep_best="mean_recall", better=operator.gt, export=export,
    )  # fmt: skip


def _first(held: WaveBatches, i: int) -> Tensor:
    """The first SECONDS of held-out clip i, zeros after a shorter one: [sample]."""
    start, length = held.starts[i], min(int(held.lengths[i]), held.samples)
    return F.pad(held.waves[start : start + length].float() / 32767, (0, held.samples - length))
