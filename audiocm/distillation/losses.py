"""How far a clean estimate is from its goal: distances and weights [batch], and views, what of the two is compared.

Distances are means over the valid entries of each sample: masks [batch, frame] count, padding does not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..diffusion.denoiser import Net
from ..diffusion.paths import broadcast_like
from .states import TrainingState


def _valid(x: Tensor, mask: Tensor | None) -> Tensor | None:
    """mask [batch, frame] in a shape that multiplies x [batch, channel, frame, ...] (or x [batch, frame])."""
    if mask is None:
        return None
    shape = mask.shape if x.ndim == 2 else (len(mask), 1, mask.shape[1], *(1,) * (x.ndim - 3))
    return mask.reshape(shape).to(torch.float32)


def masked_mean(e: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of e [batch, ...] over each sample's valid entries: [batch]."""
    valid = _valid(e, mask)
    if valid is None:
        return e.flatten(1).mean(1)
    entries = valid.expand_as(e).flatten(1).sum(1).clamp_min(1)
    return (e * valid).flatten(1).sum(1) / entries


def l2(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
    """Mean squared error of each sample."""
    return masked_mean((a - b).square(), mask)


def l1(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
    return masked_mean((a - b).abs(), mask)


def huber(c: float = 0.00054) -> Callable[..., Tensor]:
    """Pseudo-Huber of the sample's RMS error, sqrt(mse + c^2) - c.

    iCT's (Song & Dhariwal 2023, eq. 7) with c_theirs = c sqrt(d), divided by sqrt(d): samples of all lengths count alike.
    """
    return lambda a, b, mask: (l2(a, b, mask) + c**2).sqrt() - c


def adaptive_l2(power: float = 1.0, c: float = 1e-3) -> Callable[..., Tensor]:
    """S / sg(S + c)^power, S the mean squared error. Geng et al. 2025 (MeanFlow), eq. 22: their S is the sum, so is c."""

    def distance(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
        error = l2(a, b, mask)
        return error / (error.detach() + c) ** power

    return distance


# --- weights [batch] --------------------------------------------------------------------------------------------------


def uniform_weight(draw: TrainingState) -> Tensor:
    return torch.ones_like(draw.t)


def edm_weight(sigma_data: float = 1.0) -> Callable[[TrainingState], Tensor]:
    """1 / c_out^2 = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2. Karras et al. 2022, table 1."""
    return lambda draw: draw.path.noise_level(draw.t) ** -2 + sigma_data**-2


def snr(draw: TrainingState) -> Tensor:
    """The noise estimate's squared error, as a weight on the clean estimate's."""
    return draw.path.noise_level(draw.t) ** -2


def truncated_snr(draw: TrainingState) -> Tensor:
    """max(SNR, 1). Salimans & Ho 2022, section 4."""
    return snr(draw).clamp_min(1)


def min_snr(most: float = 5.0) -> Callable[[TrainingState], Tensor]:
    """min(SNR, most). Hang et al. 2023. Made for DDPM tables: at sigma = 80 it is 1.6e-4, next to nothing."""
    return lambda draw: snr(draw).clamp_max(most)


def inverse_step(draw: TrainingState) -> Tensor:
    """1 / (t - r): iCT, ECT."""
    return 1 / (draw.t - draw.r)


def inverse_variance(draw: TrainingState) -> Tensor:
    """1 / sigma^2: the flow's squared error on the rectified path, F's on Trig."""
    return draw.path.sigma(draw.t) ** -2


def emphasize_t_max(extra: float) -> Callable[[TrainingState], Tensor]:
    """1, and 1 + extra for draws at t_max, where one-call generation starts."""
    return lambda draw: 1 + extra * (draw.t >= draw.path.t_max * (1 - 1e-6)).to(draw.t.dtype)


# --- views: what of the two clean estimates is compared --------------------------------------------------------------


def clean_estimate(draw: TrainingState, clean: Tensor, target: Net) -> Tensor:
    return clean


def jump_end(draw: TrainingState, clean: Tensor, target: Net) -> Tensor:
    """The jump's end x_s: TCD."""
    return draw.path.step(draw.x_t, draw.t, draw.end, clean)


def jump_end_at_zero(draw: TrainingState, clean: Tensor, target: Net) -> Tensor:
    """The jump's end seen from time 0, by the target's jump s -> 0; gradients flow through it. CTM, eq. 10."""
    x_s, end = jump_end(draw, clean, target), draw.end
    floor = draw.path.t_min
    seen = target(x_s, end.clamp_min(floor), torch.zeros_like(end), draw.cond)
    return torch.where(broadcast_like(end > floor, x_s), seen, x_s)


def network_output(draw: TrainingState, clean: Tensor, target: Net) -> Tensor:
    """clean / sigma: differences are those of the flow on the rectified path, of F on Trig."""
    return clean / broadcast_like(draw.path.sigma(draw.t), clean)


def feature_space(features: Callable[[Tensor, Tensor, object], Tensor]) -> Callable[..., Tensor]:
    """features(x_s, s, cond) of the jump's end: SoundCTM (Saito et al. 2024), eq. 9, with a teacher's features."""

    def view(draw: TrainingState, clean: Tensor, target: Net) -> Tensor:
        return features(jump_end(draw, clean, target), draw.end.clamp_min(draw.path.t_min), draw.cond)

    return view


# --- balance: error [batch] -> error [batch], with what the student has learned about its own error ---


def plain_error(draw: TrainingState, student: Net, error: Tensor) -> Tensor:
    return error


def uncertainty_weighted_error(draw: TrainingState, student: Net, error: Tensor) -> Tensor:
    """error / e^u + u with u = student.log_variance(t): EDM2 (Karras et al. 2023), eq. 21; sCM's adaptive weighting.

    A net without log_variance (see `denoiser.WithLogVariance`) is left as it is: u only evens out the scale over t.
    """
    if not hasattr(student, "log_variance"):
        return error
    u = student.log_variance(
        draw.native.time_of_noise_level(draw.path.noise_level(draw.t)).clamp_max(draw.native.t_max)
    )
    return error * torch.exp(-u) + u
