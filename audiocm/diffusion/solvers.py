"""Solvers of the probability-flow ODE, deterministic and with fresh noise, and the sampling loop `sample`.

A solver is a function solver(ode, x, t, s) -> x_s that moves x [batch, ...] from times t to s < t [batch]. In formulas
lambda = log(alpha/sigma), h = lambda_s - lambda_t > 0 and D is the clean estimate.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from ..checks import check_callable, check_instance, check_number, check_tensor, check_whole, checked, optional
from .denoiser import Net
from .paths import Path, broadcast_like


@dataclass
class ODEState:
    """The ODE that is being solved, and the previous step for multistep solvers."""

    path: Path
    field: Callable[..., Tensor]  # (x_t, t, s=None) -> clean
    draw_noise: Callable[[Tensor], Tensor] = torch.randn_like  # unit noise shaped like its argument
    previous: tuple[Tensor, Tensor] | None = None  # (lambda, D) of the previous step

    def log_snr(self, t: Tensor) -> Tensor:
        """Returns lambda, half the logarithm of the signal-to-noise ratio."""
        return -self.path.noise_level(t).log()


COUNT, SHARE = partial(check_whole, least=1), partial(check_number, least=0, most=1)
PATH = partial(check_instance, kind=Path)
Solver = Callable[[ODEState, Tensor, Tensor, Tensor], Tensor]


def student_step(ode: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Jumps to s in one step along the estimate of a network that takes s: the move of a distilled student."""
    return ode.path.step(x, t, s, ode.field(x, t, s))


def euler(ode: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Takes an Euler step: DDIM, EDM's Euler, rectified-flow Euler and DPM-Solver-1 are the same."""
    return ode.path.step(x, t, s, ode.field(x, t))


def heun(ode: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Takes a Heun step, with slopes averaged in the path's slope coordinate c. Karras et al. 2022, algorithm 1.

    The average is a step along D + (c_t / 2 c_s) (D' - D), with D' the estimate at the end of the Euler step. Where
    c_t / c_s is over 100, that factor would blow up the error of D' - D, and the Euler step stays as it is."""
    path, clean, s_floor = ode.path, ode.field(x, t), s.clamp_min(ode.path.t_min)
    clean_end = ode.field(path.step(x, t, s, clean), s_floor)
    ratio = path.slope_coordinate(t) / path.slope_coordinate(s_floor)
    ratio = torch.where((s > 0) & (ratio <= 100), ratio, torch.zeros_like(s))
    return path.step(x, t, s, clean + broadcast_like(ratio / 2, x) * (clean_end - clean))


def dpmpp_2m(ode: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Takes a step of DPM-Solver++(2M), along D + (h / 2 h') (D - D'). Lu et al. 2022b, algorithm 2.

    h' and D' are those of the step before; the first step is `euler`."""
    clean, log_snr = ode.field(x, t), ode.log_snr(t)
    middle = clean
    if ode.previous is not None:
        log_snr_before, clean_before = ode.previous
        ratio = (ode.log_snr(s) - log_snr) / (2 * (log_snr - log_snr_before))
        middle = clean + broadcast_like(ratio, x) * (clean - clean_before)
    ode.previous = log_snr, clean
    return ode.path.step(x, t, s, middle)


@checked(eta=SHARE)
def ddim(eta: float) -> Solver:
    """Returns stochastic DDIM: eta = 0 is `euler`, eta = 1 ancestral sampling. Song et al. 2021, eq. 12 and 16."""

    def solve(ode: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        path, clean = ode.path, ode.field(x, t)
        eps = path.predicted_noise(x, t, clean)
        sigma_ratio, alpha_ratio = path.sigma(s) / path.sigma(t), path.alpha(t) / path.alpha(s)
        spread = eta * sigma_ratio * (1 - alpha_ratio**2).clamp_min(0).sqrt()
        keep = (path.sigma(s) ** 2 - spread**2).clamp_min(0).sqrt()
        alpha, keep, spread = (broadcast_like(factor, x) for factor in (path.alpha(s), keep, spread))
        return alpha * clean + keep * eps + spread * ode.draw_noise(x)

    return solve


@checked(solver=check_callable, churn=partial(check_number, least=0), steps=COUNT, noise=partial(check_number, least=0))
def with_churn(
    solver: Solver, churn: float, steps: int, low: float = 0.0, high: float = float("inf"), noise: float = 1.0
) -> Solver:
    """Returns a solver that raises the noise level by the factor 1 + min(churn/steps, sqrt 2 - 1) before each step.

    EDM's stochastic sampler (Karras et al. 2022, algorithm 2): `churn` is S_churn and `noise` S_noise; low and high
    bound the noise levels sigma/alpha at which noise is added."""
    gain = min(churn / steps, 2**0.5 - 1)

    def solve(ode: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        path, level = ode.path, ode.path.noise_level(t)
        inside = (level >= low) & (level <= high)
        raised = torch.where(inside, path.time_of_noise_level(level * (1 + gain)), t)
        return solver(ode, path.renoise(x, t, raised, noise * ode.draw_noise(x)), raised, s)

    return solve


@checked(n=COUNT, solver=check_callable)
def with_substeps(n: int, solver: Solver = heun) -> Solver:
    """Returns a solver that takes n steps, evenly spaced in the path's grid coordinate, for each one."""

    def solve(ode: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        inner = ODEState(ode.path, ode.field, ode.draw_noise)
        for i in range(n):
            x = solver(inner, x, ode.path.interpolate(t, s, i / n), ode.path.interpolate(t, s, (i + 1) / n))
        return x

    return solve


def ctm_landing(path: Path, t_next: float, gamma: float) -> float:
    """Returns the time of noise level sqrt(1 - gamma^2) times that of t_next. CTM (Kim et al. 2023), algorithm 3."""
    level = path.noise_level(torch.tensor(t_next, dtype=torch.float64))
    return float(path.time_of_noise_level(level * (1 - gamma**2) ** 0.5))


def tcd_landing(path: Path, t_next: float, gamma: float) -> float:
    """Returns the time (1 - gamma) t_next. TCD (Zheng et al. 2024), algorithm 2.

    diffusers' TCDScheduler rounds down in timesteps n = t - 1 and ends at its first entry instead of 0, which changes
    a sample by some thousandths."""
    return (1 - gamma) * t_next


@checked(path=PATH, n=COUNT)
def ode_times(path: Path, n: int) -> list[float]:
    """Returns the n + 1 times of an ODE solver with n steps: the path's grid down to t_min, then 0."""
    return [*path.grid(n).tolist(), 0.0]


@checked(path=PATH, n=COUNT)
def student_times(path: Path, n: int) -> list[float]:
    """Returns the n + 1 times of a sampler with n jumps: equal parts of the path's grid, without its end; then 0."""
    return [*path.grid(n + 1)[:-1].tolist(), 0.0]


@checked(
    net=check_callable,
    path=PATH,
    noise=partial(check_tensor, finite=False),
    solver=check_callable,
    gamma=SHARE,
    generator=optional(partial(check_instance, kind=torch.Generator)),
    hook=optional(check_callable),
    start=optional(partial(check_tensor, finite=False)),
    draw_noise=optional(check_callable),
    landing=check_callable,
)
@torch.no_grad()
def sample(
    net: Net,
    path: Path,
    noise: Tensor,
    cond: Any = None,
    times: Iterable[float] | Tensor | None = None,
    solver: Solver = student_step,
    gamma: float = 0.0,
    generator: torch.Generator | None = None,
    hook: Callable[[Tensor, float], Tensor] | None = None,
    start: Tensor | None = None,
    draw_noise: Callable[[Tensor], Tensor] | None = None,
    landing: Callable[[Path, float, float], float] = ctm_landing,
) -> Tensor:
    """Generates samples from unit noise [batch, ...]: by default in one jump of a distilled student.

    times       falling, the last one 0; default [t_max, 0], one step. See `student_times` and `ode_times`
    solver      `student_step` for distilled students, any other for the ODE of a teacher; the step to time 0, where h
                is infinite, is always one `student_step`, equal to `euler` for a network that does not use s
    gamma       share of fresh noise after each step: 0 none; 1 jumps to 0 and re-noises to the next time (consistency
                sampling); between, the step ends at landing(path, t_next, gamma), as in CTM and TCD
    generator   source of fresh noise, on noise's device; `draw_noise` replaces it (see `fixed_noise`)
    hook        called as hook(x, time) after every step, returns x; see `editing`
    start       a clean sample that is noised to times[0], instead of pure noise

    Raises ValueError if times do not fall, or for another argument that is not allowed."""
    times = times.tolist() if isinstance(times, Tensor) else times
    if times is not None and not isinstance(times, Iterable):
        raise ValueError(f"times must be a list of falling numbers, not {times!r}")
    times = [path.t_max, 0.0] if times is None else [check_number("times", t, least=0) for t in times]
    if len(times) < 2 or any(b >= a for a, b in pairwise(times)):
        raise ValueError(f"times must fall, from at most t_max = {path.t_max:g} to usually 0; got {times}")
    rows = noise.new_ones(len(noise), dtype=torch.promote_types(noise.dtype, torch.float32))

    def fresh_noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    ode = ODEState(path, lambda x, t, s=None: net(x, t, s, cond), draw_noise or fresh_noise)
    first = rows * times[0]
    x = broadcast_like(path.sigma(first), noise) * noise
    if start is not None:
        x = path.add_noise(start, noise.to(x.dtype), first)
    for t, t_next in pairwise(times):
        s = landing(path, t_next, gamma) if gamma and t_next else t_next
        step = solver if s else student_step
        x = step(ode, x, rows * t, rows * s)
        x = x if hook is None else hook(x, s)
        if s < t_next:
            x = path.renoise(x, rows * s, rows * t_next, ode.draw_noise(x))
    return x


def fixed_noise(noise: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns a `draw_noise` that always gives `noise`: more jumps then refine the one-jump sample."""
    return lambda like: noise.to(like.dtype)
