"""Clips of constant level, a codec whose latents a test can compute itself, and a text encoder of two numbers."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm.data.latents import Latents, cached_latents
from audiocm.data.manifest import read_manifest
from audiocm.diffusion.denoiser import Condition

RATE, FRAME = 8000, 100


class MeanCodec:
    """A latent frame is the mean and the mean square of 100 samples; `encoded` counts the sounds."""

    sample_rate, samples_per_frame, channels = RATE, FRAME, 2

    def __init__(self):
        self.encoded = 0

    def encode(self, wav):
        self.encoded += len(wav)
        blocks = torch.nn.functional.pad(wav, (0, -wav.shape[1] % FRAME)).unflatten(1, (-1, FRAME))
        return torch.stack([blocks.mean(2), blocks.square().mean(2)], 1)


def encode_prompts(prompts: list[str]) -> Condition:
    """A text conditioner: token state 0 is the length of the prompt, pooled its first letter's code."""
    tokens = torch.tensor([[[float(len(p)), 0.0]] * 3 for p in prompts])
    return Condition(
        tokens=tokens,
        token_mask=torch.ones(len(prompts), 3, dtype=torch.bool),
        pooled=torch.tensor([[float(ord(p[0]))] for p in prompts]),
    )


def write_corpus(folder: Path) -> Path:
    """Writes twelve clips of constant level i / 20 and 300 + 130 i samples, captions "a..", "aa..", per clip; returns the manifest."""
    lines = []
    for i in range(12):
        soundfile.write(folder / f"{i}.flac", np.full(300 + 130 * i, i / 20, np.float32), RATE)
        captions = [chr(97 + i) * (1 + k) for k in range(1 + i % 3)]
        split = "test" if i == 11 else "train"
        lines.append({"file": f"{i}.flac", "seconds": (300 + 130 * i) / RATE, "split": split, "captions": captions})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def frame_count(i: int) -> int:
    """The latent frames of clip i."""
    return -(-(300 + 130 * int(i)) // FRAME)


def latents_of(manifest: Path, codec: MeanCodec | None = None) -> Latents:
    """The latents of a manifest, cached beside it."""
    return cached_latents(read_manifest(manifest), codec or MeanCodec(), "k", manifest.parent / "cache", batch=5)
