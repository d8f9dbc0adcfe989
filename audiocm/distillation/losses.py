"""Distances and weights of the loss, what of two clean estimates is compared, and the weighting by learned uncertainty.

Distances are means over the valid entries of each sample, [batch]: frames outside of masks [batch, frame] do not count.
Comparisons are functions of the student's clean estimate, and of the target. Error weightings map errors [batch] to
errors [batch] by what the student has learned about its own error.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..checks import check_callable
from ..diffusion.denoiser import Condition, Net
from ..diffusion.paths import broadcast_like
from .arguments import arguments
from .states import TrainingState

Distance = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # (a, b, mask) -> [batch]
Weight = Callable[[TrainingState], Tensor]  # -> [batch]


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the mean of [batch, channel, frame, ...] or [batch, frame] over each sample's valid entries: [batch]."""
    if mask is None:
        return values.flatten(1).mean(1)
    shape = mask.shape if values.ndim == 2 else (len(mask), 1, mask.shape[1], *(1,) * (values.ndim - 3))
    valid = mask.reshape(shape).to(torch.float32)
    entries = valid.expand_as(values).flatten(1).sum(1).clamp_min(1)
    return (values * valid).flatten(1).sum(1) / entries


def l2(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the mean squared error of each sample."""
    return masked_mean((a - b).square(), mask)


@arguments()
def huber(c: float = 0.00054) -> Distance:
    """Returns the pseudo-Huber distance of a sample's RMS error, sqrt(mse + c^2) - c.

    iCT's (Song & Dhariwal 2023, eq. 7) is sqrt(d) times this, with c_theirs = c sqrt(d); here all sizes d count alike.
    """
    return lambda a, b, mask: (l2(a, b, mask) + c**2).sqrt() - c


@arguments()
def adaptive_l2(power: float = 1.0, c: float = 1e-3) -> Distance:
    """Returns S / sg(S + c)^power of the mean squared error S. MeanFlow (Geng et al. 2025), eq. 22, with the sum."""

    def distance(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
        error = l2(a, b, mask)
        return error / (error.detach() + c) ** power

    return distance


def uniform_weight(state: TrainingState) -> Tensor:
    """Returns weight 1."""
    return torch.ones_like(state.t)


@arguments()
def edm_weight(sigma_data: float = 1.0) -> Weight:
    """Returns 1 / c_out^2 = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2. Karras et al. 2022, table 1."""
    return lambda state: snr(state) + sigma_data**-2


def snr(state: TrainingState) -> Tensor:
    """Returns the signal-to-noise ratio: squared errors become those of the noise estimate."""
    return state.path.noise_level(state.t) ** -2


def truncated_snr(state: TrainingState) -> Tensor:
    """Returns max(SNR, 1). Salimans & Ho 2022, section 4."""
    return snr(state).clamp_min(1)


def inverse_step(state: TrainingState) -> Tensor:
    """Returns 1 / (t - r): iCT, ECT."""
    return 1 / (state.t - state.r)


def inverse_variance(state: TrainingState) -> Tensor:
    """Returns 1 / sigma^2: squared errors become those of the flow on the rectified path, of F on the Trig path."""
    return state.path.sigma(state.t) ** -2


@arguments()
def emphasize_t_max(extra: float) -> Weight:
    """Returns 1, and 1 + extra for states at t_max, where one-call generation starts."""
    return lambda state: 1 + extra * (state.t >= state.path.t_max * (1 - 1e-6)).to(state.t.dtype)


@dataclass(frozen=True)
class Comparison:
    """The quantity in which estimate and target are compared, transform(state, clean, target_net).

    `uses_target_net`: gradients flow through the target network, so it must be a copy of the student. Also a decorator.
    """

    transform: Callable[[TrainingState, Tensor, Net], Tensor]
    uses_target_net: bool = False

    def __call__(self, state: TrainingState, clean: Tensor, target_net: Net) -> Tensor:
        return self.transform(state, clean, target_net)


@Comparison
def clean_estimate(state: TrainingState, clean: Tensor, target_net: Net) -> Tensor:
    """The clean estimate itself."""
    return clean


@Comparison
def jump_end(state: TrainingState, clean: Tensor, target_net: Net) -> Tensor:
    """The end x_s of the jump: TCD."""
    return state.path.step(state.x_t, state.t, state.end, clean)


@functools.partial(Comparison, uses_target_net=True)
def jump_end_at_zero(state: TrainingState, clean: Tensor, target_net: Net) -> Tensor:
    """The end of the jump, brought to time 0 by the target network's jump s -> 0. CTM (Kim et al. 2023), eq. 10."""
    x_s, end, floor = jump_end(state, clean, target_net), state.end, state.path.t_min
    x_0 = target_net(x_s, end.clamp_min(floor), torch.zeros_like(end), state.cond)
    return torch.where(broadcast_like(end > floor, x_s), x_0, x_s)


@Comparison
def network_output(state: TrainingState, clean: Tensor, target_net: Net) -> Tensor:
    """clean / sigma: differences are those of the flow on the rectified path, of F on the Trig path."""
    return clean / broadcast_like(state.path.sigma(state.t), clean)


@arguments(features=check_callable)
def feature_space(features: Callable[[Tensor, Tensor, Condition | None], Tensor]) -> Comparison:
    """Returns features(x_s, s, cond) of the jump's end, such as a teacher's. SoundCTM (Saito et al. 2024), eq. 9."""

    @Comparison
    def compare_at(state: TrainingState, clean: Tensor, target_net: Net) -> Tensor:
        return features(jump_end(state, clean, target_net), state.end.clamp_min(state.path.t_min), state.cond)

    return compare_at


def plain_error(state: TrainingState, student: Net, error: Tensor) -> Tensor:
    """Leaves the error as it is."""
    return error


def uncertainty_weighted_error(state: TrainingState, student: Net, error: Tensor) -> Tensor:
    """Returns error / e^u + u with u = student.log_variance(t). EDM2 (Karras et al. 2023), eq. 21; sCM.

    Errors of a student without log_variance (see `LogVarianceDenoiser`) stay: u only evens out the scale over t."""
    log_variance = getattr(student, "log_variance", None)
    if log_variance is None:
        return error
    net_t = state.net_path.time_of_noise_level(state.path.noise_level(state.t)).clamp_max(state.net_path.t_max)
    u = log_variance(net_t)
    return error * torch.exp(-u) + u
