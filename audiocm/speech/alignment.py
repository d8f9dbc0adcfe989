"""Which phoneme sounds when: monotonic alignment search, and phonemes spread over frames by their durations."""

from __future__ import annotations

import torch
from torch import Tensor

_NEVER = -1e9


@torch.no_grad()
def monotonic_alignment(score: Tensor, token_mask: Tensor, frame_mask: Tensor) -> Tensor:
    """Frames of each token on the best monotonic path: Glow-TTS (Kim et al. 2020), algorithm 1, for a whole batch at once.

    score [batch, frame, token]: log-likelihood of each frame under each token. Every token gets at least one frame and all
    frames are spent; returns float [batch, token] that sum to the real frames. A row with more tokens than frames has no
    such path: its frames are shared equally. Waits for nothing, so that it can be part of a captured step.
    """
    batch, frames, tokens = score.shape
    count, total = token_mask.sum(1), frame_mask.sum(1)
    best = score.new_full((batch, tokens), _NEVER)
    best[:, 0] = score[:, 0, 0]
    moved = []
    for t in range(1, frames):
        before = torch.cat([best.new_full((batch, 1), _NEVER), best[:, :-1]], 1)
        moved.append(before > best)
        best = torch.maximum(best, before) + score[:, t]
    durations, at = torch.zeros_like(best), count - 1
    for t in range(frames - 1, -1, -1):
        inside = t < total
        durations.scatter_add_(1, at[:, None], inside[:, None].to(durations.dtype))
        if t:
            at = (at - (inside & moved[t - 1].gather(1, at[:, None])[:, 0]).long()).clamp_min(0)
    equal = token_mask * (total / count.clamp_min(1))[:, None]
    return torch.where((total >= count)[:, None], durations, equal.to(durations.dtype))


def distribute_frames(durations: Tensor, frames: int) -> Tensor:
    """Share of each frame that each token fills: durations [batch, token] in frames, not only whole -> [batch, frame, token].

    Rows sum to 1 up to the durations' total and to 0 after it.
    """
    ends = durations.cumsum(1)[:, None]
    starts = ends - durations[:, None]
    at = torch.arange(frames, device=durations.device, dtype=durations.dtype)[:, None]
    return (torch.minimum(ends, at + 1) - torch.maximum(starts, at)).clamp_min(0)


def whole_frames(durations: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Durations [batch, token] stretched a little so that each row is a whole number of frames; and these numbers [batch]."""
    total = durations.sum(1)
    frames = total.round().clamp_min(least)
    return durations * (frames / total.clamp_min(1e-6))[:, None], frames.long()
