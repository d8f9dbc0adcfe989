"""Monotonic alignment search, and the assignment of frames to phonemes by their durations."""

import torch
from torch import Tensor

_IMPOSSIBLE = -1e9  # score of a cell that no path reaches


@torch.no_grad()
def monotonic_alignment(score: Tensor, token_mask: Tensor, frame_mask: Tensor) -> Tensor:
    """Returns each token's frames on the best monotonic path, float [batch, token].

    Glow-TTS (Kim et al. 2020), algorithm 1. score [batch, frame, token]: log-likelihood of each frame under each token.
    Every token gets at least one frame, and a row sums to its number of real frames. A row with more tokens than frames
    has no such path; its frames are shared equally. Works on a whole batch and never waits for the device, so that it
    can be part of a captured step."""
    batch, frames, tokens = score.shape
    token_count, frame_count = token_mask.sum(1), frame_mask.sum(1)
    best = score.new_full((batch, tokens), _IMPOSSIBLE)
    best[:, 0] = score[:, 0, 0]
    advanced = []  # for each frame, whether the best path to a token comes from the token before
    for t in range(1, frames):
        previous = torch.cat([best.new_full((batch, 1), _IMPOSSIBLE), best[:, :-1]], 1)
        advanced.append(previous > best)
        best = torch.maximum(best, previous) + score[:, t]
    durations, token = torch.zeros_like(best), token_count - 1
    for t in range(frames - 1, -1, -1):
        real = t < frame_count
        durations.scatter_add_(1, token[:, None], real[:, None].to(durations.dtype))
        if t:
            token = (token - (real & advanced[t - 1].gather(1, token[:, None])[:, 0]).long()).clamp_min(0)
    equal = token_mask * (frame_count / token_count.clamp_min(1))[:, None]
    return torch.where((frame_count >= token_count)[:, None], durations, equal.to(durations.dtype))


def distribute_frames(durations: Tensor, frames: int) -> Tensor:
    """Returns the share of each frame that each token fills [batch, frame, token].

    durations [batch, token] in frames, not only whole. Frames sum to 1 up to the total of the durations, to 0 after."""
    ends = durations.cumsum(1)[:, None]
    starts = ends - durations[:, None]
    frame = torch.arange(frames, device=durations.device, dtype=durations.dtype)[:, None]
    return (torch.minimum(ends, frame + 1) - torch.maximum(starts, frame)).clamp_min(0)


def whole_frames(durations: Tensor, least: int = 1) -> tuple[Tensor, Tensor]:
    """Scales durations [batch, token] to rows with whole numbers of frames; returns them and these numbers [batch]."""
    total = durations.sum(1)
    frames = total.round().clamp_min(least)
    return durations * (frames / total.clamp_min(1e-6))[:, None], frames.long()
