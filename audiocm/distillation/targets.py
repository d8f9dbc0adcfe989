"""Goals: what the student's clean estimate should be. `tangents.stand_still` is the continuous-time one.

goal(draw, field, target, clean) -> clean, called without gradient; `clean` is the student's own estimate.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..diffusion.denoiser import Net
from ..diffusion.paths import Path, broadcast_like
from ..diffusion.solvers import ODEState, Solver
from .losses import masked_mean
from .states import Field, Progress, Timesteps, TrainingState

Target = Callable[[TrainingState, Field, Net, Tensor], Tensor]


def regression_target(draw: TrainingState, field: Field, target: Net, clean: Tensor) -> Tensor:
    """What the field says at t: teacher training, guidance distillation, reflow."""
    return field(draw.x_t, draw.t)


regression_target.asks_target = False  # so there is no pair that would have to share its dropout masks


def consistency_target(solver: Solver) -> Target:
    """One solver move t -> r along the field, then the target's jump r -> s. Song et al. 2023, eq. 7."""

    def goal(draw: TrainingState, field: Field, target: Net, clean: Tensor) -> Tensor:
        path, r, end = draw.path, draw.r, draw.end
        x_r = solver(ODEState(path, field), draw.x_t, draw.t, r)
        x_s = path.step(x_r, r, end, target(x_r, r.clamp_min(path.t_min), draw.s, draw.cond))
        return path.invert_step(draw.x_t, draw.t, end, x_s)

    return goal


def trajectory_target(solver: Solver) -> Target:
    """Where the solver itself lands at s in two moves, t -> r -> s: progressive distillation, shortcut, ZipVoice."""

    def goal(draw: TrainingState, field: Field, target: Net, clean: Tensor) -> Tensor:
        walk = ODEState(draw.path, field)
        x_s = solver(walk, solver(walk, draw.x_t, draw.t, draw.r), draw.r, draw.end)
        return draw.path.invert_step(draw.x_t, draw.t, draw.end, x_s)

    return goal


def score_distillation_target(times: Callable[[Path, Tensor, Progress], Timesteps]) -> Target:
    """The field's opinion of the student's own sample, noised afresh: score distillation. ADD (Sauer et al. 2023), eq. 4."""

    def goal(draw: TrainingState, field: Field, target: Net, clean: Tensor) -> Tensor:
        t = times(draw.path, clean, draw.progress).t
        return field(draw.path.add_noise(clean, torch.randn_like(clean), t), t)

    return goal


def distribution_matching_target(times: Callable[[Path, Tensor, Progress], Timesteps], fake: Net) -> Target:
    """clean - (fake's opinion - field's opinion) / mean|clean - field's opinion|: DMD2 (Yin et al. 2024), eq. 2.

    `fake` denoises the student's samples as the field does the data; equal opinions leave nothing to do.
    """

    def goal(draw: TrainingState, field: Field, target: Net, clean: Tensor) -> Tensor:
        t = times(draw.path, clean, draw.progress).t
        x_t = draw.path.add_noise(clean, torch.randn_like(clean), t)
        real, imagined = field(x_t, t), draw.here(fake)(x_t, t, None, draw.cond)
        scale = masked_mean((clean - real).abs(), draw.mask).clamp_min(1e-6)
        return clean - (imagined - real) / broadcast_like(scale, clean)

    return goal


Derivative = Callable[[Callable[[Tensor, Tensor], Tensor], Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def exact_derivative(
    net: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: Tensor, dx: Tensor, dt: Tensor
) -> tuple[Tensor, Tensor]:
    """(net(x, t), its derivative along (dx, dt)) by forward-mode differentiation.

    Flash attention has no forward derivative, hence the MATH kernel. Call it on the module itself, not on a
    DistributedDataParallel wrapper.
    """
    with sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        value, tangent = forward_ad.unpack_dual(net(forward_ad.make_dual(x, dx), forward_ad.make_dual(t, dt)))
    return value, torch.zeros_like(value) if tangent is None else tangent


def finite_difference(h: float = 5e-3) -> Derivative:
    """The same by three calls at 0, -h and -2h along (dx, dt), error O(h^2): for nets that have no forward derivative.

    It steps towards the data only, since t may be t_max. Runs in float32 whatever autocast says.
    """

    def derivative(net, x, t, dx, dt):
        with torch.autocast(x.device.type, enabled=False):
            here, back, further = (net(x - k * h * dx, t - k * h * dt) for k in (0, 1, 2))
        return here, (3 * here - 4 * back + further) / (2 * h)

    return derivative


def trig_gain(path: Path, t: Tensor) -> Tensor:
    """sin t cos t: with it the goal is sCM's regression of F onto F + cos t df/dt. Lu & Song 2024, eq. 8."""
    return path.sigma(t) * path.alpha(t)


def flow_gain(path: Path, t: Tensor) -> Tensor:
    """sigma(t): with it the goal is MeanFlow's u = v - (t - s) du/dt."""
    return path.sigma(t)


def grid_gain(intervals: int) -> Callable[[Path, Tensor], Tensor]:
    """The spacing of the path's grid at t for so many intervals: the goal is then the limit of discrete CD and CT."""
    return lambda path, t: path.grid_spacing(t) / intervals


def warmup_factor(progress: Progress, warmup: float) -> Tensor:
    """min(1, progress / warmup): sCM's tangent warm-up; 1 for warmup = 0."""
    progress = torch.as_tensor(progress)
    return (progress / warmup).clamp(max=1) if warmup else torch.ones_like(progress, dtype=torch.float32)


def keep_tangent(draw: TrainingState, change: Tensor) -> Tensor:
    return change


def normalize_tangent(c: float = 0.1) -> Callable[[TrainingState, Tensor], Tensor]:
    """g / (|g| + c), |g| the RMS of the change of F over the valid part of a sample. Lu & Song 2024, section 4.

    Theirs may be the full norm: c then differs by the root of the number of entries.
    """

    def normalise(draw: TrainingState, change: Tensor) -> Tensor:
        rms = masked_mean((change / broadcast_like(draw.path.sigma(draw.t), change)).square(), draw.mask).sqrt()
        return change / broadcast_like(rms + c, change)

    return normalise


def continuous_target(
    gain: Callable[[Path, Tensor], Tensor],
    normalise: Callable[[TrainingState, Tensor], Tensor] = keep_tangent,
    warmup: float = 0.0,
    derivative: Derivative = exact_derivative,
) -> Target:
    """clean - gain dJ/dt, with J = a x_t + b clean the jump to s and d/dt along the field's ODE.

    dJ/dt = a (velocity of the field - velocity of the student) + b dclean/dt, because a step along the student's own
    line does not move J. Tangents are scaled by the gain before the jvp (sCM's "JVP rearrangement"). During warm-up
    (progress < warmup) the goal turns from what the field says, times (gain/sigma)^2, to this.
    """

    def goal(draw: TrainingState, field: Field, target: Net, clean: Tensor) -> Tensor:
        if getattr(draw.native, "discrete", False) or getattr(draw.path, "discrete", False):
            raise ValueError(
                "a net trained on integer timesteps has no derivative in t: use the discrete sibling (cd for scd and "
                "continuous_cd, ct for sct, shortcut for meanflow), or a net of a continuous path"
            )
        path, x, t, step = draw.path, draw.x_t, draw.t, gain(draw.path, draw.t)
        truth = field(x, t)
        direction = broadcast_like(step, x) * path.velocity(x, t, truth)
        here, moved = derivative(lambda x, t: target(x, t, draw.s, draw.cond), x, t, direction, step)
        a, b = path.step_coefficients(t, draw.end, x)
        d_alpha, d_sigma = path.slopes(t)
        turn = broadcast_like(
            step * (d_alpha - d_sigma * path.alpha(t) / path.sigma(t)), x
        )  # of the velocity, per change of clean
        away = truth - here
        tangent = a * turn * away + b * moved
        part = warmup_factor(draw.progress, warmup).to(x.device, x.dtype)
        change = (1 - part) * broadcast_like((step / path.sigma(t)) ** 2, x) * away - part * tangent
        return here + normalise(draw, change)

    return goal
