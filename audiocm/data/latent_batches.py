"""Training batches of latents and their conditions, gathered on the device that holds all of them."""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .batches import StepSeededBatches, cumulative_probabilities, draw_indices
from .captions import ClipConditions
from .latents import Latents
from .manifest import Clip

LEAST_FRAMES = 12  # of a part of a texture
LONG_EVENTS = 0.2  # share of a single event's samples that belong to the longest bucket
EVENTS_IN_WINDOW = 0.4  # share of events whose duration condition is the length of the window
NO_DURATION = 0.2  # share of samples without a duration condition


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
        cumulative_probabilities(weights)  # raises ValueError
        by_bucket = weights * self._bucket_shares()
        self.chances = [cumulative_probabilities(row) if row.any() else None for row in by_bucket]
        self.bucket_chances = cumulative_probabilities(by_bucket.sum(1) / [batch for batch, _ in self.buckets])

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
        bucket = int(draw_indices(generator, self.bucket_chances, 1)[0])
        batch, frames = self.buckets[bucket]
        shorter = self.buckets[bucket - 1][1] if bucket else 0  # windows up to this length belong to other buckets
        clips = draw_indices(generator, self.chances[bucket], batch)
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
        uniform = generator.random(batch)
        is_event = roles == Role.EVENT
        duration = np.where(is_event & (uniform < EVENTS_IN_WINDOW), total, length)
        duration = np.where((uniform > 1 - NO_DURATION) & (is_event | (total == length)), 0, duration)
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
