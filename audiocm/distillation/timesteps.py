"""Timestep samplers, functions (path, x, progress) -> `Timesteps`, and the curricula of the papers.

A sampler with options is built from them: lognormal(mean, std) returns a sampler (see `with_options`). Curricula are
functions of the progress of training in [0, 1], which may be a tensor on the device.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Concatenate, ParamSpec

import torch
from torch import Tensor

from ..checks import check_callable
from ..diffusion.paths import Path
from .arguments import arguments, count
from .states import Progress, Timesteps

TimestepSampler = Callable[[Path, Tensor, Progress], Timesteps]
Curriculum = Callable[[Progress], Tensor]  # progress -> number of intervals, or a decay
Options = ParamSpec("Options")


def with_options(
    draw: Callable[Concatenate[Path, Tensor, Progress, Options], Timesteps], **own: Callable
) -> Callable[Options, TimestepSampler]:
    """Decorates draw(path, x, progress, *options) as a function of the options that returns a `TimestepSampler`.

    It checks the options, see `arguments`."""

    @functools.wraps(draw)
    def build(*args: Options.args, **options: Options.kwargs) -> TimestepSampler:
        return lambda path, x, progress: draw(path, x, progress, *args, **options)

    signature = inspect.signature(draw)
    build.__signature__ = signature.replace(parameters=list(signature.parameters.values())[3:])
    return arguments(**own)(build)


def _uniform(x: Tensor) -> Tensor:
    """Draws U(0, 1) for each sample, at least in float32."""
    return torch.rand(len(x), device=x.device, dtype=torch.promote_types(x.dtype, torch.float32))


def _at_noise_level(path: Path, noise_level: Tensor) -> Timesteps:
    """Returns t = r at a noise level, within the path's range."""
    t = path.time_of_noise_level(noise_level).clamp(path.t_min, path.t_max)
    return Timesteps(t, t)


@with_options
def lognormal(path: Path, x: Tensor, progress: Progress, mean: float = -1.2, std: float = 1.2) -> Timesteps:
    """Samples log(sigma/alpha) ~ N(mean, std^2). Karras et al. 2022."""
    return _at_noise_level(path, (mean + std * torch.randn_like(_uniform(x))).exp())


@with_options
def loguniform(path: Path, x: Tensor, progress: Progress, low: float = 0.002, high: float = 80.0) -> Timesteps:
    """Samples log(sigma/alpha) uniformly between two noise levels."""
    log_level = math.log(low) + (math.log(high) - math.log(low)) * _uniform(x)
    return _at_noise_level(path, log_level.exp())


@functools.partial(with_options, first=check_callable, second=check_callable)
def mixture(
    path: Path, x: Tensor, progress: Progress, share: float, first: TimestepSampler, second: TimestepSampler
) -> Timesteps:
    """Samples each row from `first` with probability `share`, else from `second`. Both must set s, or neither."""
    a, b = first(path, x, progress), second(path, x, progress)
    chosen = _uniform(x) < share
    return Timesteps(*(None if p is None else torch.where(chosen, p, q) for p, q in zip(a, b, strict=True)))


def uniform(path: Path, x: Tensor, progress: Progress) -> Timesteps:
    """Samples t ~ U(t_min, t_max)."""
    t = path.t_min + (path.t_max - path.t_min) * _uniform(x)
    return Timesteps(t, t)


def always_t_max(path: Path, x: Tensor, progress: Progress) -> Timesteps:
    """Returns t = t_max, for students that are only called once, on pure noise."""
    t = torch.full_like(_uniform(x), path.t_max)
    return Timesteps(t, t)


def grid_time(path: Path, index: Tensor, intervals: float | Tensor) -> Tensor:
    """Returns the time at an index of the path's grid, counted from t_max; 0 at index = intervals."""
    last = intervals - 1
    last = last.clamp_min(1) if isinstance(last, Tensor) else max(last, 1)
    time = path.grid_time((index / last).clamp_max(1))
    return torch.where(index > intervals - 0.5, torch.zeros_like(time), time)


@with_options
def grid_neighbours(
    path: Path, x: Tensor, progress: Progress, intervals: int | Curriculum, stride: int = 1
) -> Timesteps:
    """Samples t uniformly on the grid of an ODE sampler, and r `stride` points further; the last interval ends in 0.

    The CM paper's grid ends at t_min, where its networks have their boundary; here the boundary is at 0, as in ECT."""
    n = intervals(progress) if callable(intervals) else intervals
    index = (_uniform(x) * n).floor().clamp_max(n - 1)
    return Timesteps(grid_time(path, index, n), grid_time(path, (index + stride).clamp_max(n), n))


@with_options
def strides(path: Path, x: Tensor, progress: Progress, intervals: int = 50) -> Timesteps:
    """Samples neighbours t, r of the multiples of t_max / intervals: of 1000 steps, LCM's 999 ... 19 (t = n + 1)."""
    index = (_uniform(x) * intervals).floor().clamp_max(intervals - 1) + 1
    return Timesteps(index * (path.t_max / intervals), (index - 1) * (path.t_max / intervals))


@arguments(first=count, last=count)
def ct_intervals(first: float = 2, last: float = 150) -> Curriculum:
    """Returns CT's intervals, ceil(sqrt(p ((last+1)^2 - first^2) + first^2) - 1) or 1. Song et al. 2023, appendix C."""

    def intervals(progress: Progress) -> Tensor:
        progress = torch.as_tensor(progress, dtype=torch.float64)
        return ((progress * ((last + 1) ** 2 - first**2) + first**2).sqrt() - 1 - 1e-9).ceil().clamp_min(1)

    return intervals


@arguments(first=count, last=count)
def ct_target_ema(mu: float = 0.9, first: float = 2, last: float = 150) -> Curriculum:
    """Returns CT's target decay exp(first ln mu / intervals) at progress p; as in their code, mu^first at the start."""
    intervals = ct_intervals(first, last)
    return lambda progress: torch.exp(first * math.log(mu) / intervals(progress))


@arguments(first=count, last=count)
def ict_intervals(first: int = 10, last: int = 1280) -> Curriculum:
    """Returns iCT's intervals first 2^stage, in stages of equal length, up to `last`. Song & Dhariwal 2023, eq. 11."""
    if last < first:
        raise ValueError(f"last must be at least first = {first}, not {last}")
    stages = math.floor(math.log2(last // first)) + 1

    def intervals(progress: Progress) -> Tensor:
        stage = (torch.as_tensor(progress, dtype=torch.float64) * stages).floor().clamp_max(stages)
        return (first * 2**stage).clamp_max(last)

    return intervals


def lognormal_shares(levels: Tensor, mean: float = -1.1, std: float = 2.0) -> Tensor:
    """Returns lognormal probabilities of the intervals of noise levels [n + 1]. Song & Dhariwal 2023, eq. 10."""
    mass = torch.erf((levels.log() - mean) / (std * 2**0.5)).diff()
    return mass / mass.sum()


@with_options
def lognormal_neighbours(
    path: Path, x: Tensor, progress: Progress, intervals: Curriculum, mean: float = -1.1, std: float = 2.0
) -> Timesteps:
    """Samples grid neighbours with lognormal probabilities. Waits for a progress on the device (no CUDA graphs)."""
    n = int(intervals(progress))
    index = torch.arange(n + 1, device=x.device, dtype=_uniform(x).dtype)
    grid = grid_time(path, index, n)
    shares = lognormal_shares(path.noise_level(grid).flip(0), mean, std).flip(0)
    chosen = torch.multinomial(shares, len(x), replacement=True)
    return Timesteps(grid[chosen], grid[chosen + 1])


def ect_ratio(t: Tensor, stage: Tensor | float, q: float = 2.0, k: float = 8.0, b: float = 1.0) -> Tensor:
    """Returns ECT's r(t)/t = max(0, 1 - (1 + k sigmoid(-b t)) / q^(stage+1)). Geng et al. 2024, appendix A."""
    return (1 - (1 + k * torch.sigmoid(-b * t)) / q ** (stage + 1)).clamp_min(0)


@with_options
def ect(
    path: Path, x: Tensor, progress: Progress, sampler: TimestepSampler | None = None, stages: int = 8, q: float = 2.0
) -> Timesteps:
    """Samples t from another sampler and r of `ect_ratio` times its noise level, nearer in each of `stages` stages.

    r is 0 where it is below t_min."""
    t = (sampler or lognormal(-1.1, 2.0))(path, x, progress).t
    stage = (torch.as_tensor(progress) * stages).floor().clamp(max=stages - 1)
    level = path.noise_level(t)
    r = path.time_of_noise_level(level * ect_ratio(level, stage, q))
    return Timesteps(t, torch.where(r < path.t_min, 0, r))


@with_options
def grid_triples(path: Path, x: Tensor, progress: Progress, intervals: int = 18, max_stride: int = 1) -> Timesteps:
    """Samples t on the grid, r M intervals further and s from r to 0: CTM, TCD.

    P(M) = (2 M - 1) / max_stride^2, M = 1 ... max_stride; CTM's `weighted` strategy is in proportion to M."""
    index = (_uniform(x) * intervals).floor().clamp_max(intervals - 1)
    stride = (_uniform(x).sqrt() * max_stride).floor() + 1 if max_stride > 1 else torch.ones_like(index)
    near = (index + stride).clamp_max(intervals)
    end = near + (_uniform(x) * (intervals - near + 1)).floor()
    return Timesteps(*(grid_time(path, i.clamp_max(intervals), intervals) for i in (index, near, end)))


@with_options
def nested_intervals(path: Path, x: Tensor, progress: Progress, intervals: int) -> Timesteps:
    """Samples an interval from t to s, with middle r, of a grid that nests when halved: progressive distillation."""
    index = (_uniform(x) * intervals).floor().clamp_max(intervals - 1)
    t, r, s = (path.grid_time((index + part) / intervals) for part in (0.0, 0.5, 1.0))
    return Timesteps(t, r, torch.where(index >= intervals - 1, torch.zeros_like(s), s))


@with_options
def with_target_time_equal_t(path: Path, x: Tensor, progress: Progress, sampler: TimestepSampler) -> Timesteps:
    """Samples t from another sampler and sets s = t, where a student that takes s learns the diffusion estimate."""
    t = sampler(path, x, progress).t
    return Timesteps(t, t, t)


@with_options
def dyadic_intervals(path: Path, x: Tensor, progress: Progress, depth: int = 7) -> Timesteps:
    """Samples intervals of length t_max 2^-k, k < depth, from multiples of it, with middle r. Frans et al. 2024."""
    parts = 2 ** (_uniform(x) * depth).floor()
    index = (_uniform(x) * parts).floor() + 1
    t, r, s = (path.t_max * (index - back) / parts for back in (0.0, 0.5, 1.0))
    return Timesteps(t, r, s)


@with_options
def random_spans(path: Path, x: Tensor, progress: Progress, longest: float = 1.0) -> Timesteps:
    """Samples t uniformly and s at most `longest` t_max below it, with middle r: ZipVoice's distillation."""
    t = uniform(path, x, progress).t
    s = (t - longest * path.t_max * (1e-3 + (1 - 1e-3) * _uniform(x))).clamp_min(0)
    return Timesteps(t, (t + s) / 2, s)


@with_options
def logitnormal_pairs(
    path: Path, x: Tensor, progress: Progress, mean: float = -0.4, std: float = 1.0, equal: float = 0.75
) -> Timesteps:
    """Samples t >= s by sigmoid(N(mean, std^2)); s = t with probability `equal`. MeanFlow (Geng et al. 2025), 4.3."""
    a, b = (torch.sigmoid(mean + std * torch.randn_like(_uniform(x))) * path.t_max for _ in range(2))
    t = torch.maximum(a, b).clamp_min(path.t_min)
    s = torch.where(_uniform(x) < equal, t, torch.minimum(a, b))
    return Timesteps(t, t, s)


@with_options
def random_target_times(
    path: Path, x: Tensor, progress: Progress, sampler: TimestepSampler, equal: float = 0.5
) -> Timesteps:
    """Samples t from another sampler; s = t with probability `equal`, else s is uniform below t.

    For networks that are called at sigma = 80, which `logitnormal_pairs` hardly ever draws, and where a gap in t would
    go untrained."""
    t = sampler(path, x, progress).t
    return Timesteps(t, t, torch.where(_uniform(x) < equal, t, t * _uniform(x)))


@with_options
def discrete_levels(path: Path, x: Tensor, progress: Progress, levels: tuple[float, ...]) -> Timesteps:
    """Samples t uniformly from the few noise levels at which a student is called: ADD, DMD2."""
    index = (_uniform(x) * len(levels)).floor()
    level = sum(value * (index == i) for i, value in enumerate(levels))
    return _at_noise_level(path, level)
