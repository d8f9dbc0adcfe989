"""What the codec's recipes share: waves of several corpora, held-out crops, and the whitening of a trained VAE."""

from pathlib import Path

import torch
from torch import Tensor

from audiocm.audio.spectral import LogMel
from audiocm.codec.vae import MelVAE
from audiocm.data.batches import WaveBatches
from audiocm.data.manifest import Clip, read_manifest

RATE = 24000
SHARES = {"effect": 0.42, "speech": 0.33, "instrument": 0.2, "music": 0.05}  # of crops


def clips(corpora: str, split: str) -> list[Clip]:
    """Clips of one split of all comma-separated corpus folders. ValueError where there is none."""
    found = [
        clip
        for root in corpora.split(",")
        for clip in read_manifest(Path(root) / "manifest.jsonl")
        if clip.split == split
    ]
    if not found:
        raise ValueError(
            f"no {split} clip in {corpora}: build the corpora first (recipes/corpora/debian/build.py, rendered.py, speech_corpus.py)"
        )
    return found


def waves(corpora: str, seconds: float, batch: int, seed: int, device: torch.device) -> WaveBatches:
    """Random crops for training; kinds come up by `SHARES`, clips of a kind by length."""
    train = clips(corpora, "train")
    total: dict[str, float] = {}
    for clip in train:
        total[clip.kind] = total.get(clip.kind, 0.0) + max(clip.seconds, seconds)
    return WaveBatches(
        train,
        RATE,
        seconds,
        batch,
        gain=(-12.0, 3.0),
        weight=lambda clip: SHARES.get(clip.kind, 0.05) * max(clip.seconds, seconds) / total[clip.kind],
        seed=seed,
        device=device,
    )


def held_out(corpora: str, device: torch.device, count: int = 64, seconds: float = 1.365333) -> Tensor:
    """The same validation crops `[count, sample]` at every call."""
    valid = clips(corpora, "valid")
    per_kind = {kind: 1 / sum(c.kind == kind for c in valid) for kind in {c.kind for c in valid}}
    source = WaveBatches(valid, RATE, seconds, count, weight=lambda clip: per_kind[clip.kind], seed=1, device=device)
    return next(source)[0]


@torch.no_grad()
def whitened(vae: MelVAE, mel: LogMel, batches: WaveBatches, count: int = 64) -> MelVAE:
    """Measure mean and std of raw latents over `count` training batches and store them in the VAE."""
    raw = torch.cat([vae.posterior(mel(next(batches)[0]))[0].transpose(1, 2).flatten(0, 1) for _ in range(count)])
    vae.whiten(raw.mean(0), raw.std(0))
    return vae
