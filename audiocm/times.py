"""Which times a method trains on: functions times(path, x, progress) -> Times(t, r, s), each [batch].

Numbers of papers enter through arguments; curricula are functions of progress in [0, 1], which may be a tensor on the
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from .distill import Progress, Times
from .paths import Path

TimesOf = Callable[[Path, Tensor, Progress], Times]


def _uniform(x: Tensor) -> Tensor:
    """U(0, 1), one number a sample, at least float32."""
    return torch.rand(len(x), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))


def _single(t: Tensor) -> Times:
    return Times(t, t)


def _inside(path: Path, t: Tensor) -> Tensor:
    return t.clamp(path.t_min, path.t_max)


def lognormal(mean: float = -1.2, std: float = 1.2) -> TimesOf:
    """log(sigma/alpha) ~ N(mean, std^2). Karras et al. 2022."""

    def times(path: Path, x: Tensor, progress: Progress) -> Times:
        noise = torch.randn_like(_uniform(x))
        return _single(_inside(path, path.at((mean + std * noise).exp())))

    return times


def loguniform(low: float = 0.002, high: float = 80.0) -> TimesOf:
    """log(sigma/alpha) uniform between two noise levels."""

    def times(path: Path, x: Tensor, progress: Progress) -> Times:
        level = math.log(low) + (math.log(high) - math.log(low)) * _uniform(x)
        return _single(_inside(path, path.at(level.exp())))

    return times


def either(share: float, first: TimesOf, second: TimesOf) -> TimesOf:
    """Each row from `first` with probability `share`, else from `second`. Both must set s, or neither."""

    def times(path: Path, x: Tensor, progress: Progress) -> Times:
        a, b = first(path, x, progress), second(path, x, progress)
        chosen = _uniform(x) < share
        return Times(*(None if p is None else torch.where(chosen, p, q) for p, q in zip(a, b, strict=True)))

    return times


def uniform(path: Path, x: Tensor, progress: Progress) -> Times:
    """t ~ U(t_min, t_max)."""
    return _single(path.t_min + (path.t_max - path.t_min) * _uniform(x))


def top(path: Path, x: Tensor, progress: Progress) -> Times:
    """t = t_max: one-call generation and nothing else."""
    return _single(torch.full_like(_uniform(x), path.t_max))


def grid_time(path: Path, index: Tensor, intervals: float | Tensor) -> Tensor:
    """The path's grid for samplers of so many steps, at an index counted from t_max; 0 at index = intervals."""
    last = intervals - 1
    last = last.clamp_min(1) if isinstance(last, Tensor) else max(last, 1)
    return torch.where(index >= intervals - 0.5, torch.zeros_like(index), path.level((index / last).clamp_max(1)))


def neighbours(intervals: int | Callable[[Progress], float | Tensor], stride: int = 1) -> TimesOf:
    """t and r are `stride` apart on the grid of an ODE sampler, uniformly; the last interval ends in 0.

    The CM paper's grid ends at t_min, where its nets have their boundary; here nets have it at 0 (as ECT's).
    """

    def times(path: Path, x: Tensor, progress: Progress) -> Times:
        n = intervals(progress) if callable(intervals) else intervals
        index = (_uniform(x) * n).floor().clamp_max(n - 1)
        return Times(grid_time(path, index, n), grid_time(path, (index + stride).clamp_max(n), n))

    return times
