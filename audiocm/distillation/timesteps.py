"""Which times a method trains on: functions times(path, x, progress) -> Times(t, r, s), each [batch].

Numbers of papers enter through arguments; curricula are functions of progress in [0, 1], which may be a tensor on the
device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..diffusion.paths import Path
from .states import Progress, Timesteps

TimestepSampler = Callable[[Path, Tensor, Progress], Timesteps]


def _uniform(x: Tensor) -> Tensor:
    """U(0, 1), one number a sample, at least float32."""
    return torch.rand(len(x), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))


def _single(t: Tensor) -> Timesteps:
    return Timesteps(t, t)


def _inside(path: Path, t: Tensor) -> Tensor:
    return t.clamp(path.t_min, path.t_max)


def lognormal(mean: float = -1.2, std: float = 1.2) -> TimestepSampler:
    """log(sigma/alpha) ~ N(mean, std^2). Karras et al. 2022."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        noise = torch.randn_like(_uniform(x))
        return _single(_inside(path, path.time_of_noise_level((mean + std * noise).exp())))

    return times


def loguniform(low: float = 0.002, high: float = 80.0) -> TimestepSampler:
    """log(sigma/alpha) uniform between two noise levels."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        level = math.log(low) + (math.log(high) - math.log(low)) * _uniform(x)
        return _single(_inside(path, path.time_of_noise_level(level.exp())))

    return times


def mixture(share: float, first: TimestepSampler, second: TimestepSampler) -> TimestepSampler:
    """Each row from `first` with probability `share`, else from `second`. Both must set s, or neither."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        a, b = first(path, x, progress), second(path, x, progress)
        chosen = _uniform(x) < share
        return Timesteps(*(None if p is None else torch.where(chosen, p, q) for p, q in zip(a, b, strict=True)))

    return times


def uniform(path: Path, x: Tensor, progress: Progress) -> Timesteps:
    """t ~ U(t_min, t_max)."""
    return _single(path.t_min + (path.t_max - path.t_min) * _uniform(x))


def always_t_max(path: Path, x: Tensor, progress: Progress) -> Timesteps:
    """t = t_max: one-call generation and nothing else."""
    return _single(torch.full_like(_uniform(x), path.t_max))


def grid_time(path: Path, index: Tensor, intervals: float | Tensor) -> Tensor:
    """The path's grid for samplers of so many steps, at an index counted from t_max; 0 at index = intervals."""
    last = intervals - 1
    last = last.clamp_min(1) if isinstance(last, Tensor) else max(last, 1)
    level = path.grid_time((index / last).clamp_max(1))
    return torch.where(index > intervals - 0.5, torch.zeros_like(level), level)


def grid_neighbours(intervals: int | Callable[[Progress], float | Tensor], stride: int = 1) -> TimestepSampler:
    """t and r are `stride` apart on the grid of an ODE sampler, uniformly; the last interval ends in 0.

    The CM paper's grid ends at t_min, where its nets have their boundary; here nets have it at 0 (as ECT's).
    """

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        n = intervals(progress) if callable(intervals) else intervals
        index = (_uniform(x) * n).floor().clamp_max(n - 1)
        return Timesteps(grid_time(path, index, n), grid_time(path, (index + stride).clamp_max(n), n))

    return times


def strides(intervals: int = 50) -> TimestepSampler:
    """t and r at multiples of t_max / intervals. On a table of 1000, LCM's timesteps 999, 979 ... 19 (t = n + 1)."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        index = (_uniform(x) * intervals).floor().clamp_max(intervals - 1) + 1
        return Timesteps(index * (path.t_max / intervals), (index - 1) * (path.t_max / intervals))

    return times


def ct_intervals(first: float = 2, last: float = 150) -> Callable[[Progress], Tensor]:
    """CT's curriculum: max(1, ceil(sqrt(p ((last+1)^2 - first^2) + first^2) - 1)). Song et al. 2023, appendix C."""

    def intervals(progress: Progress) -> Tensor:
        progress = torch.as_tensor(progress, dtype=torch.float64)
        return ((progress * ((last + 1) ** 2 - first**2) + first**2).sqrt() - 1 - 1e-9).ceil().clamp_min(1)

    return intervals


def ct_target_ema(mu: float = 0.9, first: float = 2, last: float = 150) -> Callable[[Progress], Tensor]:
    """The decay that goes with `ct_intervals`: exp(first ln mu / intervals); as in their code, mu^first at the start."""
    intervals = ct_intervals(first, last)
    return lambda progress: torch.exp(first * math.log(mu) / intervals(progress))


def ict_intervals(first: int = 10, last: int = 1280) -> Callable[[Progress], Tensor]:
    """iCT's curriculum: first 2^stage intervals, in stages of equal length up to `last`. Song & Dhariwal 2023, eq. 11."""
    stages = math.floor(math.log2(last // first)) + 1

    def intervals(progress: Progress) -> Tensor:
        stage = (torch.as_tensor(progress, dtype=torch.float64) * stages).floor().clamp_max(stages)
        return (first * 2**stage).clamp_max(last)

    return intervals


def lognormal_shares(levels: Tensor, mean: float = -1.1, std: float = 2.0) -> Tensor:
    """The probability of each interval between rising noise levels [n + 1], by erf. Song & Dhariwal 2023, eq. 10."""
    mass = torch.erf((levels.log() - mean) / (std * 2**0.5)).diff()
    return mass / mass.sum()


def lognormal_neighbours(
    intervals: Callable[[Progress], Tensor], mean: float = -1.1, std: float = 2.0
) -> TimestepSampler:
    """Grid neighbours as in `neighbours`, chosen with lognormal probabilities. Waits for a progress on the device."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        n = int(intervals(progress))
        index = torch.arange(n + 1, device=x.device, dtype=_uniform(x).dtype)
        grid = grid_time(path, index, n)
        shares = lognormal_shares(path.noise_level(grid).flip(0), mean, std).flip(0)
        chosen = torch.multinomial(shares, len(x), replacement=True)
        return Timesteps(grid[chosen], grid[chosen + 1])

    return times


def ect_ratio(t: Tensor, stage: Tensor | float, q: float = 2.0, k: float = 8.0, b: float = 1.0) -> Tensor:
    """r(t)/t = max(0, 1 - (1 + k sigmoid(-b t)) / q^(stage+1)). Geng et al. 2024, appendix A."""
    return (1 - (1 + k * torch.sigmoid(-b * t)) / q ** (stage + 1)).clamp_min(0)


def ect(
    sampled: TimestepSampler | None = None, stages: int = 8, q: float = 2.0, k: float = 8.0, b: float = 1.0
) -> TimestepSampler:
    """r = t x `ect_ratio`, approaching t in `stages` equal stages. In noise levels, so on any path."""
    sampled = sampled or lognormal(-1.1, 2.0)

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        t = sampled(path, x, progress).t
        stage = (torch.as_tensor(progress) * stages).floor().clamp(max=stages - 1)
        level = path.noise_level(t)
        return Timesteps(t, path.time_of_noise_level(level * ect_ratio(level, stage, q, k, b)))

    return times


def grid_triples(intervals: int = 18, most: int = 1) -> TimestepSampler:
    """t on the grid, r from 1 to `most` intervals on with P(M) in proportion to M, s on the grid from r to 0: CTM, TCD."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        index = (_uniform(x) * intervals).floor().clamp_max(intervals - 1)
        stride = (_uniform(x).sqrt() * most).floor() + 1 if most > 1 else torch.ones_like(index)
        near = (index + stride).clamp_max(intervals)
        end = near + (_uniform(x) * (intervals - near + 1)).floor()
        return Timesteps(*(grid_time(path, i.clamp_max(intervals), intervals) for i in (index, near, end)))

    return times


def nested_intervals(intervals: int) -> TimestepSampler:
    """t -> s one interval of a grid that nests when halved, r its middle: progressive distillation."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        index = (_uniform(x) * intervals).floor().clamp_max(intervals - 1)
        ends = [(index + part) / intervals for part in (0.0, 0.5, 1.0)]
        t, r, s = (path.grid_time(u) for u in ends)
        return Timesteps(t, r, torch.where(index >= intervals - 1, torch.zeros_like(s), s))

    return times


def with_target_time_equal_t(sampled: TimestepSampler) -> TimestepSampler:
    """The same with s = t: a net that takes s learns the diffusion estimate there."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        t = sampled(path, x, progress).t
        return Timesteps(t, t, t)

    return times


def dyadic_intervals(most: int = 7) -> TimestepSampler:
    """Jumps of length t_max 2^-k, k < most, from multiples of it; r in the middle. Frans et al. 2024 (shortcut models)."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        parts = 2 ** (_uniform(x) * most).floor()
        index = (_uniform(x) * parts).floor() + 1
        t, r, s = (path.t_max * (index - back) / parts for back in (0.0, 0.5, 1.0))
        return Timesteps(t, r, s)

    return times


def random_spans(longest: float = 1.0) -> TimestepSampler:
    """t ~ U, s up to `longest` below it, r in the middle: ZipVoice's distillation."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        t = uniform(path, x, progress).t
        s = (t - longest * path.t_max * (1e-3 + (1 - 1e-3) * _uniform(x))).clamp_min(0)
        return Timesteps(t, (t + s) / 2, s)

    return times


def logitnormal_pairs(mean: float = -0.4, std: float = 1.0, equal: float = 0.75) -> TimestepSampler:
    """t >= s, both sigmoid(N(mean, std^2)), s = t with probability `equal`. Geng et al. 2025 (MeanFlow), section 4.3."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        a, b = (torch.sigmoid(mean + std * torch.randn_like(_uniform(x))) * path.t_max for _ in range(2))
        t = torch.maximum(a, b).clamp_min(path.t_min)
        s = torch.where(_uniform(x) < equal, t, torch.minimum(a, b))
        return Timesteps(t, t, s)

    return times


def random_target_times(sampled: TimestepSampler, equal: float = 0.5) -> TimestepSampler:
    """t from another proposal; s = t with probability `equal`, else uniform below it.

    For nets asked at sigma = 80: there the logit-normal hardly comes, and averages do not grow over a gap in t.
    """

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        t = sampled(path, x, progress).t
        return Timesteps(t, t, torch.where(_uniform(x) < equal, t, t * _uniform(x)))

    return times


def discrete_levels(levels: tuple[float, ...]) -> TimestepSampler:
    """t one of a student's few noise levels. ADD, DMD2."""

    def times(path: Path, x: Tensor, progress: Progress) -> Timesteps:
        index = (_uniform(x) * len(levels)).floor()
        level = sum(value * (index == i) for i, value in enumerate(levels))
        return _single(path.time_of_noise_level(level).clamp_max(path.t_max))

    return times
