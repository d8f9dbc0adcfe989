"""Batches for training, gathered on the device where all data stays: latents with words, and crops of waveforms.

What a step gets is a function of (seed, rank, step) alone: a resumed run, or the same run on another device, sees the
same batches, and ranks of one run see different ones.
"""

from __future__ import annotations

import torch
import numpy as np
import os
from torch import Tensor
from dataclasses import dataclass
from collections.abc import Sequence
from collections.abc import Callable
from ..diffusion.denoiser import Condition
from .manifest import Clip, read_waves, warn_of_skipped
from .latents import Latents


class StepSeededBatches:
    """Counts steps and hands out each step's random generator. Clips are drawn with replacement, by weight."""

    def __init__(self, seed: int, device: torch.device | str, rank: int | None):
        self.seed, self.device, self.step = seed, torch.device(device), 0
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank

    def __iter__(self):
        return self

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step, "seed": self.seed, "rank": self.rank}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after state's step. ValueError if it is of another seed or rank."""
        for name in ("seed", "rank"):
            if state[name] != getattr(self, name):
                raise ValueError(
                    f"the checkpoint's batches were drawn with {name} {state[name]}, not {getattr(self, name)}"
                )
        self.step = state["step"]

    def draw(self) -> np.random.Generator:
        self.step += 1
        return np.random.default_rng([self.seed, self.rank, self.step - 1])

    def put(self, *columns: np.ndarray) -> Tensor:
        """Integer columns [batch] to the device in one copy that nothing waits for: [column, batch]."""
        table = torch.from_numpy(np.stack(columns).astype(np.int64))
        return table.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else table


def _chances(weights: np.ndarray) -> np.ndarray:
    """Cumulative shares; ValueError where weights are no weights."""
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("clip weights must be finite, not negative and not all zero")
    return np.cumsum(weights) / weights.sum()


def _pick(generator: np.random.Generator, chances: np.ndarray, count: int) -> np.ndarray:
    return np.searchsorted(chances, generator.random(count), side="right").clip(max=len(chances) - 1)


@dataclass
class CaptionTable:
    """Every caption of some clips, encoded once. Row i of the tensors is caption i."""

    captions: list[str]
    tokens: Tensor  # float16 [caption, token, dim]
    token_mask: Tensor  # bool [caption, token]
    pooled: Tensor  # float16 [caption, dim]
    first: np.ndarray  # [clip + 1]: clip i's captions are ids[first[i]:first[i + 1]]
    ids: np.ndarray

    def condition(self, rows: Tensor, null: Tensor, mask: Tensor) -> Condition:
        """rows: caption of each sample [batch]."""
        return Condition(self.tokens[rows].float(), self.token_mask[rows], self.pooled[rows].float(), mask, null=null)


def encode_captions(
    clips: Sequence[Clip],
    conditioner: Callable[[list[str]], Condition],
    device: torch.device | str = "cpu",
    batch: int = 256,
) -> CaptionTable:
    """All captions through a frozen text conditioner, in float16 on `device`. ValueError if a clip has no caption."""
    captions: dict[str, int] = {}
    ids, first = [], [0]
    for clip in clips:
        if not clip.captions:
            raise ValueError(f"{clip.file} has no caption")
        ids += [captions.setdefault(words, len(captions)) for words in clip.captions]
        first.append(len(ids))
    unique = list(captions)
    parts = [conditioner(unique[i : i + batch]).to(device, torch.float16) for i in range(0, len(unique), batch)]
    whole = Condition.cat(parts)
    return CaptionTable(unique, whole.tokens, whole.token_mask, whole.pooled, np.array(first), np.array(ids))


class LatentBatches(StepSeededBatches):
    """Endless (x [batch, channel, frame], Condition with tokens, token_mask, pooled, mask, null).

    buckets: (batch, frames) shapes. A clip goes to the shortest bucket that holds it, longer ones than all are cropped
    at random in the longest; a bucket comes up so often that each clip keeps its weight.
    dropout: share of samples with null set. tail: share of the clips shorter than their bucket that are followed by
    silence up to a random length, so that a request longer than most clips is nothing new; the rest is masked and 0.
    weight: chance of a clip relative to others.
    """

    def __init__(
        self,
        latents: Latents,
        words: CaptionTable,
        buckets: Sequence[tuple[int, int]],
        dropout: float = 0.12,
        tail: float = 0.0,
        weight: Callable[[Clip], float] = lambda clip: 1.0,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int | None = None,
    ):
        super().__init__(seed, device, rank)
        if not buckets or min(min(pair) for pair in buckets) < 1:
            raise ValueError(f"buckets {buckets}: need (batch, frames) pairs of at least 1")
        if len(words.first) != len(latents.clips) + 1:
            raise ValueError("words and latents are not of the same clips")
        self.words, self.dropout, self.tail = words, dropout, tail
        self.frames = latents.frames.to(self.device)
        self.silence = latents.silence.to(self.device)
        self.starts, self.lengths = latents.starts.numpy(), latents.lengths.numpy()
        self.buckets = sorted(buckets, key=lambda pair: pair[1])
        weights = np.array([weight(clip) for clip in latents.clips], dtype=np.float64)
        _chances(weights)
        limits = np.array([frames for _, frames in self.buckets])
        home = np.searchsorted(limits, self.lengths).clip(max=len(limits) - 1)
        self.members = [np.flatnonzero((home == i) & (weights > 0)) for i in range(len(limits))]
        self.chances = [_chances(weights[rows]) if len(rows) else None for rows in self.members]
        share = [weights[rows].sum() / self.buckets[i][0] for i, rows in enumerate(self.members)]
        self.bucket_chances = _chances(np.array(share))

    def __next__(self) -> tuple[Tensor, Condition]:
        generator = self.draw()
        bucket = int(_pick(generator, self.bucket_chances, 1)[0])
        batch, room = self.buckets[bucket]
        clip = self.members[bucket][_pick(generator, self.chances[bucket], batch)]
        length = np.minimum(self.lengths[clip], room)
        offset = (generator.random(batch) * (self.lengths[clip] - length + 1)).astype(np.int64)
        longer = length + (generator.random(batch) * (room - length + 1)).astype(np.int64)
        whole = np.where(generator.random(batch) < self.tail, longer, length)
        first, ends = self.words.first[clip], self.words.first[clip + 1]
        caption = self.words.ids[first + (generator.random(batch) * (ends - first)).astype(np.int64)]
        null = generator.random(batch) < self.dropout
        start, length, whole, caption, null = self.put(self.starts[clip] + offset, length, whole, caption, null)
        return self._gather(start, length, whole, caption, null, room)

    def _gather(self, start, length, whole, caption, null, room: int) -> tuple[Tensor, Condition]:
        at = torch.arange(room, device=self.device)
        mask = at < whole[:, None]
        rows = (start[:, None] + torch.minimum(at, length[:, None] - 1)).flatten()
        x = self.frames[rows].view(len(start), room, -1).float()
        x = torch.where((at < length[:, None])[..., None], x, self.silence) * mask[..., None]
        return x.transpose(1, 2).contiguous(), self.words.condition(caption, null.bool(), mask)


class WaveBatches(StepSeededBatches):
    """Endless (wav [batch, sample], None): random crops of all clips, which stay on the device as int16.

    seconds: of a crop, rounded to whole `multiple`s of samples. Clips are drawn by weight(clip), by default in
    proportion to their length and at least one crop's; shorter ones than a crop are placed at a random position in
    silence. gain: range of a random level change in decibels; what would clip is turned down instead.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        sample_rate: int,
        seconds: float,
        batch: int,
        gain: tuple[float, float] = (0.0, 0.0),
        weight: Callable[[Clip], float] | None = None,
        multiple: int = 1024,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int | None = None,
    ):
        super().__init__(seed, device, rank)
        self.batch, self.gain = batch, gain
        self.samples = max(1, round(seconds * sample_rate / multiple)) * multiple
        self.skipped: dict[str, str] = {}
        kept, parts, lengths = [], [], []
        for clip, wave in read_waves(clips, sample_rate, self.skipped):
            kept.append(clip)
            parts.append(torch.from_numpy((wave * 32767).round().astype(np.int16)))
            lengths.append(len(wave))
        warn_of_skipped(self.skipped, len(clips))
        if not kept:
            raise ValueError(f"none of {len(clips)} clips could be read")
        self.clips, self.lengths = kept, np.array(lengths)
        self.starts = self.lengths.cumsum() - self.lengths
        self.waves = torch.cat(parts).to(self.device)
        by_length = np.maximum(self.lengths, self.samples).astype(np.float64)
        self.chances = _chances(by_length if weight is None else np.array([float(weight(clip)) for clip in kept]))

    def __next__(self) -> tuple[Tensor, None]:
        generator = self.draw()
        clip = _pick(generator, self.chances, self.batch)
        spare = self.lengths[clip] - self.samples  # negative: so much silence around the clip
        shift = np.floor(generator.random(self.batch) * (np.abs(spare) + 1)).astype(np.int64) * np.sign(spare)
        millibels = (100 * generator.uniform(*self.gain, self.batch)).round()
        first, low, length, level = self.put(self.starts[clip], shift, self.lengths[clip], millibels)
        at = low[:, None] + torch.arange(self.samples, device=self.device)
        inside = (at >= 0) & (at < length[:, None])
        rows = first[:, None] + at.clamp_min(0).minimum(length[:, None] - 1)
        wav = self.waves[rows].float() * inside / 32767
        wav = wav * (10.0 ** (level / 2000.0))[:, None]
        return wav / wav.abs().amax(1, keepdim=True).clamp_min(1.0), None
