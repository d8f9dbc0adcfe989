"""Library of the codec's recipes: training crops of several corpora, held-out crops, and whitening of a trained VAE."""

from pathlib import Path

import torch
from torch import Tensor

from audiocm.audio.spectral import LogMel
from audiocm.codec.vae import MelVAE
from audiocm.data.manifest import Clip, read_manifest
from audiocm.data.wave_batches import WaveBatches

RATE = 24000
SHARES = {"effect": 0.42, "speech": 0.33, "instrument": 0.2, "music": 0.05}  # of crops


def clips(corpora: str, split: str) -> list[Clip]:
    """Returns the clips of one split of all comma-separated corpus folders. Raises ValueError if there are none."""
    manifests = [Path(root) / "manifest.jsonl" for root in corpora.split(",")]
    found = [clip for manifest in manifests for clip in read_manifest(manifest) if clip.split == split]
    if not found:
        raise ValueError(f"no {split} clip in {corpora}: build the corpora first (recipes/corpora)")
    return found


def waves(corpora: str, seconds: float, batch: int, seed: int, device: torch.device) -> WaveBatches:
    """Returns random crops for training; kinds are drawn by `SHARES`, clips of a kind by length."""
    train = clips(corpora, "train")
    total: dict[str, float] = {}
    for clip in train:
        total[clip.kind] = total.get(clip.kind, 0.0) + max(clip.seconds, seconds)

    def weight(clip: Clip) -> float:
        return SHARES.get(clip.kind, 0.05) * max(clip.seconds, seconds) / total[clip.kind]

    return WaveBatches(train, RATE, seconds, batch, gain=(-12.0, 3.0), weight=weight, seed=seed, device=device)


def held_out(corpora: str, device: torch.device, count: int = 64, seconds: float = 1.365333) -> Tensor:
    """Returns validation crops [count, sample], the same at every call, all kinds alike."""
    valid = clips(corpora, "valid")
    share = {kind: 1 / sum(clip.kind == kind for clip in valid) for kind in {clip.kind for clip in valid}}
    source = WaveBatches(valid, RATE, seconds, count, weight=lambda clip: share[clip.kind], seed=1, device=device)
    return next(source)[0]


@torch.no_grad()
def whiten(vae: MelVAE, mel: LogMel, batches: WaveBatches, count: int = 64) -> MelVAE:
    """Measures mean and std of unwhitened latents over `count` training batches and stores them in the VAE."""
    raw = torch.cat([vae.posterior(mel(next(batches)[0]))[0].transpose(1, 2).flatten(0, 1) for _ in range(count)])
    vae.whiten(raw.mean(0), raw.std(0))
    return vae
