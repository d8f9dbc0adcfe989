"""Training batches gathered on the device that holds all data: latents with conditions, and crops of waveforms.

A batch is a function of (seed, rank, step) alone: a resumed run, or the same run on another device, gets the same
batches, and the ranks of one run get different ones.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from ..diffusion.denoiser import Condition
from .latents import Latents
from .manifest import Clip, read_waves, warn_of_skipped

LEAST_FRAMES = 12  # of a part of a texture
LONG_EVENTS = 0.2  # share of a single event's samples that belong to the longest bucket
EVENTS_IN_WINDOW = 0.4  # share of events whose duration is said to be that of the window
UNSAID = 0.2  # share of samples of which no duration is said


class StepSeededBatches:
    """Base class of endless batches that count their steps and draw each from a random generator of its own.

    A subclass defines `__next__`. `rank` None: the environment variable RANK, as torchrun sets it, else 0."""

    def __init__(self, seed: int, device: torch.device | str, rank: int | None):
        self.seed, self.device, self.step = seed, torch.device(device), 0
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank

    def __iter__(self) -> Self:
        return self

    def state_dict(self) -> dict[str, int]:
        """Returns what `load_state_dict` needs to continue after the current step."""
        return {"step": self.step, "seed": self.seed, "rank": self.rank}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the step of a saved state. Raises ValueError if its seed or rank differs."""
        for name in ("seed", "rank"):
            if state[name] != (own := getattr(self, name)):
                raise ValueError(f"the checkpoint's batches were drawn with {name} {state[name]}, not {own}")
        self.step = state["step"]

    def step_generator(self) -> np.random.Generator:
        """Counts one step and returns its random generator."""
        self.step += 1
        return np.random.default_rng([self.seed, self.rank, self.step - 1])

    def columns_to_device(self, *columns: np.ndarray) -> Tensor:
        """Copies integer columns [batch] to the device in one transfer that does not wait; returns [column, batch]."""
        table = torch.from_numpy(np.stack(columns).astype(np.int64))
        return table.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else table


def _cumulative(weights: np.ndarray) -> np.ndarray:
    """Returns cumulative probabilities. Raises ValueError if the weights are not finite, negative or all zero."""
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("clip weights must be finite, not negative and not all zero")
    return np.cumsum(weights) / weights.sum()


def _draw_indices(generator: np.random.Generator, cumulative: np.ndarray, count: int) -> np.ndarray:
    """Draws indices with replacement by their cumulative probabilities."""
    return np.searchsorted(cumulative, generator.random(count), side="right").clip(max=len(cumulative) - 1)


class ClipConditions(Protocol):
    """The conditions of some clips, captions or phoneme lines, stored as rows; its length is the number of clips.

    `choose` returns one row for each of clips [batch] by random numbers in [0, 1); `condition` returns the condition of
    rows [batch] with null bool [batch] and mask bool [batch, frame]."""

    def __len__(self) -> int: ...

    def choose(self, clips: np.ndarray, uniform: np.ndarray) -> np.ndarray: ...

    def condition(self, rows: Tensor, null: Tensor, mask: Tensor) -> Any: ...


@dataclass
class CaptionTable:
    """The encoded captions of some clips. Row i of the tensors is caption i; equal captions share a row."""

    captions: list[str]
    tokens: Tensor  # float16 [caption, token, dim]
    token_mask: Tensor  # bool [caption, token]
    pooled: Tensor  # float16 [caption, dim]
    first: np.ndarray  # [clip + 1]: the captions of clip i are ids[first[i]:first[i + 1]]
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.first) - 1

    def choose(self, clips: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Returns the row of one caption of each clip [batch]."""
        first, end = self.first[clips], self.first[clips + 1]
        return self.ids[first + (uniform * (end - first)).astype(np.int64)]

    def condition(self, rows: Tensor, null: Tensor, mask: Tensor) -> Condition:
        """Returns the Condition of captions [batch] in float32."""
        return Condition(self.tokens[rows].float(), self.token_mask[rows], self.pooled[rows].float(), mask, null=null)


def encode_captions(
    clips: Sequence[Clip], conditioner: Callable[[list[str]], Condition], device: torch.device | str = "cpu"
) -> CaptionTable:
    """Encodes all captions with a frozen text conditioner. Raises ValueError if a clip has no caption."""
    captions: dict[str, int] = {}
    ids, first = [], [0]
    for clip in clips:
        if not clip.captions:
            raise ValueError(f"{clip.file} has no caption")
        ids += [captions.setdefault(caption, len(captions)) for caption in clip.captions]
        first.append(len(ids))
    unique = list(captions)
    parts = [conditioner(unique[i : i + 256]).to(device, torch.float16) for i in range(0, len(unique), 256)]
    cond = Condition.cat(parts)
    return CaptionTable(unique, cond.tokens, cond.token_mask, cond.pooled, np.array(first), np.array(ids))


class Role(IntEnum):
    """How a clip may fill a window of another length: a whole clip is taken as it is, silence may follow it; an event
    ends by itself, so that silence after it belongs to it; of a texture, any part sounds like the whole."""

    WHOLE, EVENT, TEXTURE = 0, 1, 2


class LatentBatches(StepSeededBatches):
    """Endless batches of (latents [batch, channel, frame], condition); clips are drawn by weight, with replacement.

    buckets     (batch, frames) shapes. A clip belongs to the shortest bucket that holds it, else to the longest, with a
                random crop. Buckets are drawn so often that each clip keeps its weight
    dropout     share of samples whose condition is dropped
    tail        share of clips shorter than their bucket that are followed by silence up to a random length, to train
                requests longer than most clips; frames after that are masked and 0
    weight      relative probability of a clip; default 1
    role        the `Role` of a clip, for networks that take `cond.duration`, which is then set: the frames of the clip,
                for some events those of the mask, or 0 (not said). Events are drawn for the longest bucket too, textures
                for windows of all lengths
    editing     share of samples of which `cond.kept` gives all frames but an interval inside, at the start or the end

    Raises ValueError if an argument is not allowed or there is not one condition for each clip."""

    def __init__(
        self,
        latents: Latents,
        conditions: ClipConditions,
        buckets: Sequence[tuple[int, int]],
        dropout: float = 0.12,
        tail: float = 0.0,
        weight: Callable[[Clip], float] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        rank: int | None = None,
        role: Callable[[Clip], Role] | None = None,
        editing: float = 0.0,
    ):
        super().__init__(seed, device, rank)
        if not buckets or min(min(pair) for pair in buckets) < 1:
            raise ValueError(f"buckets {buckets}: need (batch, frames) pairs of at least 1")
        if len(conditions) != len(latents.clips):
            raise ValueError(f"conditions of {len(conditions)} clips do not fit latents of {len(latents.clips)}")
        self.conditions, self.dropout, self.tail, self.editing = conditions, dropout, tail, editing
        self.frames = latents.frames.to(self.device)
        self.silence = latents.silence.to(self.device)
        self.starts, self.lengths = latents.starts.numpy(), latents.lengths.numpy()
        self.buckets = sorted(buckets, key=lambda pair: pair[1])
        self.roles = None if role is None else np.array([role(clip) for clip in latents.clips])
        weights = np.array([1.0 if weight is None else weight(clip) for clip in latents.clips], dtype=np.float64)
        _cumulative(weights)  # raises ValueError
        by_bucket = weights * self._bucket_shares()
        self.chances = [_cumulative(row) if row.any() else None for row in by_bucket]
        self.bucket_chances = _cumulative(by_bucket.sum(1) / [batch for batch, _ in self.buckets])

    def _bucket_shares(self) -> np.ndarray:
        """Returns the share of each clip's samples that belong to each bucket [bucket, clip]."""
        limits = np.array([frames for _, frames in self.buckets])
        own = np.searchsorted(limits, self.lengths).clip(max=len(limits) - 1)
        shares = (own == np.arange(len(limits))[:, None]).astype(np.float64)
        if self.roles is not None:
            promoted = (self.roles == Role.EVENT) & (own < len(limits) - 1)
            shares[:, promoted] *= 1 - LONG_EVENTS
            shares[-1, promoted] = LONG_EVENTS
            longest = self.lengths.clip(max=limits[-1])
            covered = np.minimum(limits[:, None], longest) - np.minimum(np.append(0, limits[:-1])[:, None], longest)
            shares = np.where(self.roles == Role.TEXTURE, covered / longest, shares)
        return shares

    def __next__(self) -> tuple[Tensor, Any]:
        generator = self.step_generator()
        bucket = int(_draw_indices(generator, self.bucket_chances, 1)[0])
        batch, frames = self.buckets[bucket]
        shorter = self.buckets[bucket - 1][1] if bucket else 0  # windows up to this length belong to other buckets
        clips = _draw_indices(generator, self.chances[bucket], batch)
        roles = np.zeros(batch) if self.roles is None else self.roles[clips]
        length = np.minimum(self.lengths[clips], frames)
        least = np.minimum(max(shorter + 1, LEAST_FRAMES), length)
        part = least + (generator.random(batch) * (length - least + 1)).astype(np.int64)
        length = np.where(roles == Role.TEXTURE, part, length)
        offset = (generator.random(batch) * (self.lengths[clips] - length + 1)).astype(np.int64)
        least = np.where(roles == Role.EVENT, np.maximum(length, shorter + 1), length)
        padded = least + (generator.random(batch) * (frames - least + 1)).astype(np.int64)
        has_tail = (generator.random(batch) < self.tail) & (roles != Role.TEXTURE)
        total = np.where(has_tail | (least > length), padded, length)
        rows = self.conditions.choose(clips, generator.random(batch))
        null = generator.random(batch) < self.dropout
        first, end = _unknown_intervals(generator, total, self.editing)
        told = generator.random(batch)
        is_event = roles == Role.EVENT
        duration = np.where(is_event & (told < EVENTS_IN_WINDOW), total, length)
        duration = np.where((told > 1 - UNSAID) & (is_event | (total == length)), 0, duration)
        columns = (self.starts[clips] + offset, length, total, rows, null, first, end, duration)
        return self._gather(*self.columns_to_device(*columns), frames)

    def _gather(
        self,
        start: Tensor,
        length: Tensor,
        total: Tensor,
        rows: Tensor,
        null: Tensor,
        first: Tensor,
        end: Tensor,
        duration: Tensor,
        frames: int,
    ) -> tuple[Tensor, Any]:
        """Returns `length` frames of each clip from `start`, then silence up to `total`, then masked zeros."""
        frame = torch.arange(frames, device=self.device)
        mask = frame < total[:, None]
        source = (start[:, None] + torch.minimum(frame, length[:, None] - 1)).flatten()
        x = self.frames[source].view(len(start), frames, -1).float()
        x = torch.where((frame < length[:, None])[..., None], x, self.silence) * mask[..., None]
        x = x.transpose(1, 2).contiguous()
        cond = self.conditions.condition(rows, null.bool(), mask)
        if self.roles is not None:
            cond.duration = duration.float()
        if self.editing:
            cond.kept, cond.kept_mask = x, mask & ((frame < first[:, None]) | (frame >= end[:, None]))
        return x, cond


def _unknown_intervals(
    generator: np.random.Generator, total: np.ndarray, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draws the first frame and the end of the interval to fill in [batch]: all of the sound, or, in a `share` of the
    samples, 10 to 80 % of it: inside (half of them), at the end (a continuation) or at the start."""
    drawn = generator.random((4, len(total)))
    size = np.ceil(total * (0.1 + 0.7 * drawn[0]))
    spare = total - size
    first = np.select([drawn[1] < 0.5, drawn[1] < 0.8], [np.floor(spare * drawn[2]), spare], 0.0)
    edited = drawn[3] < share
    return np.where(edited, first, 0).astype(np.int64), np.where(edited, first + size, total).astype(np.int64)


class WaveBatches(StepSeededBatches):
    """Endless batches of (wav [batch, sample], None): random crops of clips that stay on the device as int16.

    seconds     length of a crop, rounded to a multiple of `multiple` samples; shorter clips lie anywhere in silence
    gain        range of a random level change in decibels; a crop that would then exceed full scale is scaled down
    weight      relative probability of a clip; default: its length, at least that of a crop

    Unreadable clips are skipped with a warning. Raises ValueError if none is left."""

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
        self.clips, waves = [], []
        for clip, wave in read_waves(clips, sample_rate, self.skipped):
            self.clips.append(clip)
            waves.append(torch.from_numpy((wave * 32767).round().astype(np.int16)))
        warn_of_skipped(self.skipped, len(clips))
        if not waves:
            raise ValueError(f"none of {len(clips)} clips could be read")
        self.lengths = np.array([len(wave) for wave in waves])
        self.starts = self.lengths.cumsum() - self.lengths
        self.waves = torch.cat(waves).to(self.device)
        by_length = np.maximum(self.lengths, self.samples).astype(np.float64)
        weights = by_length if weight is None else np.array([float(weight(clip)) for clip in self.clips])
        self.chances = _cumulative(weights)

    def __next__(self) -> tuple[Tensor, Any]:
        generator = self.step_generator()
        return self.crops(self.draw_clips(generator), generator), None

    def draw_clips(self, generator: np.random.Generator) -> np.ndarray:
        """Draws the clips of a batch [batch] by weight: indices of `self.clips`."""
        return _draw_indices(generator, self.chances, self.batch)

    def crops(self, clips: np.ndarray, generator: np.random.Generator) -> Tensor:
        """Returns a random crop of each clip at a random level [batch, sample]."""
        spare = self.lengths[clips] - self.samples  # negative: as much silence around the clip
        shift = np.floor(generator.random(self.batch) * (np.abs(spare) + 1)).astype(np.int64) * np.sign(spare)
        millibels = (100 * generator.uniform(*self.gain, self.batch)).round()
        columns = (self.starts[clips], shift, self.lengths[clips], millibels)
        start, shift, length, millibels = self.columns_to_device(*columns)
        position = shift[:, None] + torch.arange(self.samples, device=self.device)
        inside = (position >= 0) & (position < length[:, None])
        source = start[:, None] + position.clamp_min(0).minimum(length[:, None] - 1)
        wav = self.waves[source].float() * inside / 32767
        wav = wav * (10.0 ** (millibels / 2000.0))[:, None]
        return wav / wav.abs().amax(1, keepdim=True).clamp_min(1.0)
