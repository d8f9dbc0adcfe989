"""Moves along the probability-flow ODE (and its SDE), and the one sampling loop.

A solver is a function `solver(walk, x, t, s) -> x_s` that moves x [batch, ...] from times t to s [batch]; what it may
use is in the `Walk`. lambda = log(alpha/sigma), h = lambda_s - lambda_t > 0. Steps to s = 0 are Euler steps, where h
is infinite. In formulas D is the clean estimate, e the noise estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import Net
from .paths import Path, broadcast_like


@dataclass
class ODEState:
    """The ODE that is being solved, and what multistep solvers remember of it."""

    path: Path
    field: Callable[..., Tensor]  # (x_t, t, s=None) -> clean
    draw: Callable[[Tensor], Tensor] = torch.randn_like  # unit noise shaped like its argument
    past: list[tuple[Tensor, Tensor]] = field(default_factory=list)  # (log-SNR, clean), newest last

    def log_snr(self, t: Tensor) -> Tensor:
        """lambda, half the log of the signal-to-noise ratio."""
        return -self.path.noise_level(t).log()


Solver = Callable[[ODEState, Tensor, Tensor, Tensor], Tensor]


def student_step(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """A student's move: one step to s of the clean estimate that it makes when told s."""
    return walk.path.step(x, t, s, walk.field(x, t, s))


def euler(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """DDIM = EDM-Euler = rectified-flow Euler = DPM-Solver-1."""
    return walk.path.step(x, t, s, walk.field(x, t))


def heun(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """Karras et al. 2022, algorithm 1: average the slopes at both ends, in the path's clock c.

    The average is a step along D + (c_t / 2 c_s) (D' - D), with D' the estimate at the Euler step's end.
    """
    path, clean = walk.path, walk.field(x, t)
    landed = path.step(x, t, s, clean)
    there = walk.field(landed, s.clamp_min(path.t_min))
    ratio = torch.where(
        s > 0, path.slope_coordinate(t) / path.slope_coordinate(s.clamp_min(path.t_min)), torch.zeros_like(s)
    )
    return path.step(x, t, s, clean + broadcast_like(ratio / 2, x) * (there - clean))


def _eps_step(walk: ODEState, x: Tensor, t: Tensor, s: Tensor, eps: Tensor) -> Tensor:
    """(alpha_s/alpha_t) x - sigma_s (e^h - 1) e: the first-order step of DPM-Solver, equal to `euler`."""
    path = walk.path
    scale = path.alpha(s) / path.alpha(t)
    return broadcast_like(scale, x) * x + broadcast_like(path.sigma(s) - scale * path.sigma(t), x) * eps


def _between(walk: ODEState, t: Tensor, s: Tensor, part: float) -> Tensor:
    """The time whose lambda lies at `part` of the way from t to s."""
    log_kappa = torch.lerp(-walk.log_snr(t), -walk.log_snr(s), part)
    return walk.path.time_of_noise_level(log_kappa.exp())


def dpm_2(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """DPM-Solver-2, r = 1/2. Lu et al. 2022, algorithm 1. Two calls."""
    path, middle = walk.path, _between(walk, t, s, 0.5)
    x_m = euler(walk, x, t, middle)
    return _eps_step(walk, x, t, s, path.predicted_noise(x_m, middle, walk.field(x_m, middle)))


def dpm_3(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """DPM-Solver-3, r1 = 1/3, r2 = 2/3. Lu et al. 2022, algorithm 2. Three calls."""
    path = walk.path
    h = walk.log_snr(s) - walk.log_snr(t)
    t1, t2 = _between(walk, t, s, 1 / 3), _between(walk, t, s, 2 / 3)
    e0 = path.predicted_noise(x, t, walk.field(x, t))
    x1 = _eps_step(walk, x, t, t1, e0)
    e1 = path.predicted_noise(x1, t1, walk.field(x1, t1))

    def bend(end: Tensor, part: float, difference: Tensor) -> Tensor:
        h_end = part * h
        return broadcast_like(-path.sigma(end) * (torch.expm1(h_end) / h_end - 1), x) * difference

    x2 = _eps_step(walk, x, t, t2, e0) + 2 * bend(t2, 2 / 3, e1 - e0)
    e2 = path.predicted_noise(x2, t2, walk.field(x2, t2))
    return _eps_step(walk, x, t, s, e0) + 1.5 * bend(s, 1.0, e2 - e0)


def _extrapolate(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """D, its linear extrapolation to the middle of the step D + (h / 2 h') (D - D'), and [(h', D - D'), ...].

    h' and D' are those of remembered steps, newest first; D joins them. Without memory the extrapolation is D.
    """
    clean, here = walk.field(x, t), walk.log_snr(t)
    walk.past = [*walk.past[-2:], (here, clean)]
    steps = [(new[0] - old[0], new[1] - old[1]) for old, new in reversed(list(pairwise(walk.past)))]
    bent = clean
    for h_before, change in steps[:1]:
        bent = clean + broadcast_like((walk.log_snr(s) - here) / (2 * h_before), x) * change
    return clean, bent, steps


def dpmpp_2m(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
    """DPM-Solver++(2M). Lu et al. 2022b, algorithm 2: a step along D + (h / 2 h') (D - D')."""
    _, bent, _ = _extrapolate(walk, x, t, s)
    return walk.path.step(x, t, s, bent)


def dpmpp_3m(weight: float = 2.0) -> Solver:
    """DPM-Solver++(3M). `weight` multiplies the second-difference term.

    That term's difference is half a second derivative, so the exact quadrature has weight 2 and gives order 3.
    Published code (dpm-solver, diffusers, k-diffusion) has weight 1, which is of order 2: pass 1 to match it.
    """

    def solve(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        clean, bent, steps = _extrapolate(walk, x, t, s)
        if len(steps) < 2:
            return walk.path.step(x, t, s, bent)
        (h0, d0), (h1, d1) = steps
        h = walk.log_snr(s) - walk.log_snr(t)
        r0, r1 = broadcast_like(h0 / h, x), broadcast_like(h1 / h, x)
        slope = d0 / r0 - d1 / r1
        first, second = d0 / r0 + r0 / (r0 + r1) * slope, slope / (r0 + r1)
        phi2 = torch.expm1(-h) / h + 1
        phi3 = phi2 / h - 0.5
        bend = broadcast_like(phi2, x) * first - weight * broadcast_like(phi3, x) * second
        return walk.path.step(x, t, s, clean) + broadcast_like(walk.path.alpha(s), x) * bend

    return solve


def sde_dpmpp_2m(eta: float = 1.0) -> Solver:
    """SDE-DPM-Solver++(2M), midpoint form, as in k-diffusion: eta = 0 is `dpmpp_2m`, eta = 1 the reverse SDE.

    x_s = (sigma_s/sigma_t) e^(-eta h) x + alpha_s (1 - e^(-h(1+eta))) D' + sigma_s sqrt(1 - e^(-2 eta h)) z.
    """

    def solve(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        path, h = walk.path, walk.log_snr(s) - walk.log_snr(t)
        _, bent, _ = _extrapolate(walk, x, t, s)
        keep = path.sigma(s) / path.sigma(t) * torch.exp(-eta * h)
        gain = -path.alpha(s) * torch.expm1(-(1 + eta) * h)
        spread = path.sigma(s) * (-torch.expm1(-2 * eta * h)).clamp_min(0).sqrt()
        return broadcast_like(keep, x) * x + broadcast_like(gain, x) * bent + broadcast_like(spread, x) * walk.draw(x)

    return solve


def ddim(eta: float) -> Solver:
    """DDIM with noise. Song et al. 2021, eq. 12 and 16: eta = 0 is `euler`, eta = 1 ancestral sampling."""

    def solve(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        path, clean = walk.path, walk.field(x, t)
        eps = path.predicted_noise(x, t, clean)
        ratio, carried = path.sigma(s) / path.sigma(t), path.alpha(t) / path.alpha(s)
        spread = eta * ratio * (1 - carried**2).clamp_min(0).sqrt()
        kept = (path.sigma(s) ** 2 - spread**2).clamp_min(0).sqrt()
        return (
            broadcast_like(path.alpha(s), x) * clean
            + broadcast_like(kept, x) * eps
            + broadcast_like(spread, x) * walk.draw(x)
        )

    return solve


def with_churn(
    solver: Solver, churn: float, steps: int, low: float = 0.0, high: float = float("inf"), noise: float = 1.0
):
    """EDM's stochastic sampler (Karras et al. 2022, algorithm 2): noise up by 1 + min(churn/steps, sqrt 2 - 1), then step.

    low and high bound the noise levels sigma/alpha where it acts; `noise` is S_noise.
    """
    gain = min(churn / steps, 2**0.5 - 1)

    def solve(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        path, kappa = walk.path, walk.path.noise_level(t)
        acts = (kappa >= low) & (kappa <= high)
        up = torch.where(acts, path.time_of_noise_level(kappa * (1 + gain)), t)
        return solver(walk, path.renoise(x, t, up, noise * walk.draw(x)), up, s)

    return solve


def with_substeps(n: int, solver: Solver = heun) -> Solver:
    """n moves, evenly spaced in the path's grid coordinate."""

    def solve(walk: ODEState, x: Tensor, t: Tensor, s: Tensor) -> Tensor:
        inner = ODEState(walk.path, walk.field, walk.draw)
        for i in range(n):
            x = solver(inner, x, walk.path.interpolate(t, s, i / n), walk.path.interpolate(t, s, (i + 1) / n))
        return x

    return solve


def ctm_landing(path: Path, t_next: float, gamma: float) -> float:
    """CTM's rule (Kim et al. 2023, algorithm 3): jump to the level sqrt(1 - gamma^2) kappa, then noise back up."""
    kappa = path.noise_level(torch.tensor(t_next, dtype=torch.float64))
    return float(path.time_of_noise_level(kappa * (1 - gamma**2) ** 0.5))


def tcd_landing(path: Path, t_next: float, gamma: float) -> float:
    """TCD's rule (Zheng et al. 2024, algorithm 2): jump to the time (1 - gamma) t, then noise back up."""
    return (1 - gamma) * t_next


def ode_times(path: Path, n: int) -> list[float]:
    """n + 1 times of an n-step ODE solver: the path's grid down to t_min, then 0."""
    return [*path.grid(n).tolist(), 0.0]


def student_times(path: Path, n: int) -> list[float]:
    """n + 1 times of an n-jump sampler: equal parts of the path's grid, without its end; then 0."""
    return [*path.grid(n + 1)[:-1].tolist(), 0.0]


@torch.no_grad()
def sample(
    net: Net,
    path: Path,
    noise: Tensor,
    cond=None,
    times: Iterable[float] | Tensor | None = None,
    solver: Solver = student_step,
    gamma: float | None = None,
    generator: torch.Generator | None = None,
    hook: Callable[[Tensor, float], Tensor] | None = None,
    start: Tensor | None = None,
    draw: Callable[[Tensor], Tensor] | None = None,
    landing: Callable[[Path, float, float], float] = ctm_landing,
) -> Tensor:
    """From unit noise [batch, ...] to a sample.

    times     falling, ending in 0; default: one jump
    solver    `jump` for students, any other for ODE fields
    gamma     1: after every move to 0, noise up to the next time (consistency sampling, "ping-pong"); 0: no noise;
              between: CTM/TCD. None: 1 for `jump`, 0 for other solvers
    generator for fresh noise, on noise's device; `draw` replaces it (see `same`)
    hook      called as hook(x, time) after every move, returns x: editing
    start     a clean sample to begin from, noised to times[0]; default: pure noise
    """
    times = [path.t_max, 0.0] if times is None else [float(t) for t in times]
    if len(times) < 2 or any(b >= a for a, b in pairwise(times)):
        raise ValueError(f"times must fall, from at most t_max = {path.t_max:g} to usually 0; got {times}")
    gamma = (1.0 if solver is student_step else 0.0) if gamma is None else gamma
    rows = noise.new_ones(len(noise), dtype=torch.promote_types(noise.dtype, torch.float32))

    def fresh(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)

    draw = draw or fresh
    walk = ODEState(path, lambda x, t, s=None: net(x, t, s, cond), draw)
    top = rows * times[0]
    x = broadcast_like(path.sigma(top), noise) * noise
    x = x if start is None else path.add_noise(start, noise.to(x.dtype), top)
    for t, t_next in pairwise(times):
        s = landing(path, t_next, gamma) if gamma and t_next else t_next
        move = euler if s == 0 and solver is not student_step else solver
        x = move(walk, x, rows * t, rows * s)
        x = x if hook is None else hook(x, s)
        if s < t_next:
            x = path.renoise(x, rows * s, rows * t_next, draw(x))
    return x


def fixed_noise(noise: Tensor) -> Callable[[Tensor], Tensor]:
    """`draw` that returns the first noise again: 1, 2, ... N jumps then refine one sample and keep its content."""
    return lambda like: noise.to(like.dtype)
