"""Regression targets: what the student's clean estimate should equal, discrete and in continuous time."""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..checks import check_callable, optional
from ..diffusion.denoiser import Net
from ..diffusion.paths import Path, broadcast_like
from ..diffusion.solvers import ODEState, Solver
from .arguments import arguments, count
from .losses import masked_mean
from .states import Field, TrainingState
from .timesteps import TimestepSampler

Function = Callable[[Tensor, Tensor], Tensor]  # of (x, t)
Derivative = Callable[[Function, Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Target:
    """A regression target, compute(state, field, target_net, clean) -> clean, called without gradient.

    `clean` is the student's own estimate. `shares_dropout`: the target network is called with the student's dropout
    masks (openai/consistency_models; iCT). Also a decorator."""

    compute: Callable[[TrainingState, Field, Net, Tensor], Tensor]
    shares_dropout: bool = True

    def __call__(self, state: TrainingState, field: Field, target_net: Net, clean: Tensor) -> Tensor:
        return self.compute(state, field, target_net, clean)


@functools.partial(Target, shares_dropout=False)
def regression_target(state: TrainingState, field: Field, target_net: Net, clean: Tensor) -> Tensor:
    """The field's estimate at t: teacher training, guidance distillation, reflow."""
    return field(state.x_t, state.t)


@arguments()
def consistency_target(solver: Solver) -> Target:
    """Returns the target of one solver step t -> r along the field, then the target network's jump r -> s.

    Song et al. 2023, eq. 7."""

    @Target
    def target(state: TrainingState, field: Field, target_net: Net, clean: Tensor) -> Tensor:
        path, r, end = state.path, state.r, state.end
        x_r = solver(ODEState(path, field), state.x_t, state.t, r)
        x_s = path.step(x_r, r, end, target_net(x_r, r.clamp_min(path.t_min), state.s, state.cond))
        return path.invert_step(state.x_t, state.t, end, x_s)

    return target


@arguments()
def trajectory_target(solver: Solver) -> Target:
    """Returns the target of two solver steps t -> r -> s: progressive distillation, shortcut models, ZipVoice."""

    @Target
    def target(state: TrainingState, field: Field, target_net: Net, clean: Tensor) -> Tensor:
        ode = ODEState(state.path, field)
        x_s = solver(ode, solver(ode, state.x_t, state.t, state.r), state.r, state.end)
        return state.path.invert_step(state.x_t, state.t, state.end, x_s)

    return target


@arguments(sampler=check_callable)
def score_distillation_target(sampler: TimestepSampler) -> Target:
    """Returns the field's estimate of the student's sample, noised to sampled times. ADD (Sauer et al. 2023), eq. 4."""

    @Target
    def target(state: TrainingState, field: Field, target_net: Net, clean: Tensor) -> Tensor:
        t = sampler(state.path, clean, state.progress).t
        return field(state.path.add_noise(clean, torch.randn_like(clean), t), t)

    return target


@arguments(sampler=check_callable)
def distribution_matching_target(sampler: TimestepSampler, fake_score: Net) -> Target:
    """Returns clean - (fake - real) / mean|clean - real| of the noised sample. DMD2 (Yin et al. 2024), eq. 2.

    `fake_score` denoises the student's samples as the field (real) does the data; where they agree, nothing changes."""

    @Target
    def target(state: TrainingState, field: Field, target_net: Net, clean: Tensor) -> Tensor:
        t = sampler(state.path, clean, state.progress).t
        x_t = state.path.add_noise(clean, torch.randn_like(clean), t)
        real, fake = field(x_t, t), state.on_path(fake_score)(x_t, t, None, state.cond)
        scale = masked_mean((clean - real).abs(), state.mask).clamp_min(1e-6)
        return clean - (fake - real) / broadcast_like(scale, clean)

    return target


def exact_derivative(net: Function, x: Tensor, t: Tensor, dx: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """Returns (net(x, t), its derivative along (dx, dt)) by forward-mode differentiation.

    It uses the MATH attention kernel, since flash attention has no forward derivative. Call it on the module itself,
    not on a DistributedDataParallel wrapper."""
    with sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        value, tangent = forward_ad.unpack_dual(net(forward_ad.make_dual(x, dx), forward_ad.make_dual(t, dt)))
    return value, torch.zeros_like(value) if tangent is None else tangent


@arguments()
def finite_difference(h: float = 5e-3) -> Derivative:
    """Returns the derivative by three calls at 0, -h and -2h along (dx, dt), with an error of O(h^2).

    For networks without a forward derivative. It steps towards the data only, since t may be t_max, and in float32 even
    under autocast."""

    def derivative(net: Function, x: Tensor, t: Tensor, dx: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(x.device.type, enabled=False):
            value, back, further = (net(x - k * h * dx, t - k * h * dt) for k in (0, 1, 2))
        return value, (3 * value - 4 * back + further) / (2 * h)

    return derivative


def trig_gain(path: Path, t: Tensor) -> Tensor:
    """The gain sin t cos t of sCM, whose target is then F + cos t df/dt. Lu & Song 2024, eq. 8."""
    return path.sigma(t) * path.alpha(t)


def flow_gain(path: Path, t: Tensor) -> Tensor:
    """The gain sigma(t) of MeanFlow, whose target is then u = v - (t - s) du/dt."""
    return path.sigma(t)


@arguments(intervals=count)
def grid_gain(intervals: int) -> Callable[[Path, Tensor], Tensor]:
    """Returns the spacing of the path's grid at t for so many intervals: the target is then the limit of CD and CT."""
    return lambda path, t: path.grid_spacing(t) / intervals


@arguments()
def normalize_tangent(c: float = 0.1) -> Callable[[TrainingState, Tensor], Tensor]:
    """Returns sCM's g / (|g| + c), |g| the RMS change of F over a sample's valid part. Lu & Song 2024, section 4.

    If their norm is a sum, their c differs by the root of the number of entries."""

    def normalise(state: TrainingState, change: Tensor) -> Tensor:
        rms = masked_mean((change / broadcast_like(state.path.sigma(state.t), change)).square(), state.mask).sqrt()
        return change / broadcast_like(rms + c, change)

    return normalise


@arguments(gain=check_callable, normalise=optional(check_callable), derivative=check_callable)
def continuous_target(
    gain: Callable[[Path, Tensor], Tensor],
    normalise: Callable[[TrainingState, Tensor], Tensor] | None = None,
    warmup: float = 0.0,
    derivative: Derivative = exact_derivative,
) -> Target:
    """Returns clean - gain dJ/dt: the end of the jump, J = a x_t + b clean, must not move along the field's ODE.

    dJ/dt = a (velocity of the field - velocity of the student) + b dclean/dt, because a step along the student's own
    line does not move J. Directions are scaled by the gain before the derivative is taken (sCM's "JVP rearrangement").
    During sCM's warm-up, by min(1, progress / warmup), the target changes from the field's estimate, times
    (gain/sigma)^2, to this. `normalise` is applied to the change. Raises ValueError for discrete paths."""

    @Target
    def target(state: TrainingState, field: Field, target_net: Net, clean: Tensor) -> Tensor:
        path, x, t = state.path, state.x_t, state.t
        if path.discrete or state.net_path.discrete:
            raise ValueError(
                "a network trained on integer timesteps has no derivative in t: use the discrete method (cd for scd, "
                "continuous_cd; ct for sct, continuous_ct; shortcut for meanflow), or a network of a continuous path"
            )
        dt, field_clean = gain(path, t), field(x, t)
        dx = broadcast_like(dt, x) * path.velocity(x, t, field_clean)
        value, d_clean = derivative(lambda x, t: target_net(x, t, state.s, state.cond), x, t, dx, dt)
        a, b = path.step_coefficients(t, state.end, x)
        d_alpha, d_sigma = path.slopes(t)
        velocity_per_clean = broadcast_like(dt * (d_alpha - d_sigma * path.alpha(t) / path.sigma(t)), x)
        residual = field_clean - value
        d_jump = a * velocity_per_clean * residual + b * d_clean
        warm = (torch.as_tensor(state.progress) / warmup).clamp(max=1).to(x.device, x.dtype) if warmup else 1.0
        change = (1 - warm) * broadcast_like((dt / path.sigma(t)) ** 2, x) * residual - warm * d_jump
        return value + (change if normalise is None else normalise(state, change))

    return target
