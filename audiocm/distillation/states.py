"""Training states: where x and noise come from, how they are mixed, and what is true there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..diffusion.denoiser import Condition, Net, adapt
from ..diffusion.paths import Path, broadcast_like

Progress = float | Tensor
Field = Callable[..., Tensor]  # (x_t, t, s=None) -> clean


class NoisePair(NamedTuple):
    """Clean samples and the noise that the teacher's ODE made them from: pass it as x to train on stored pairs."""

    x: Tensor
    eps: Tensor


class Timesteps(NamedTuple):
    """t > r >= s, each [batch]. r: how far the field is followed. s: where the student's jump ends (None: 0, not told)."""

    t: Tensor
    r: Tensor
    s: Tensor | None = None


@dataclass(frozen=True)
class TrainingState:
    """One batch of training states, on the method's path."""

    path: Path
    native: Path
    x: Tensor
    eps: Tensor
    x_t: Tensor
    t: Tensor
    r: Tensor
    s: Tensor | None
    cond: Condition | None
    progress: Progress

    @property
    def end(self) -> Tensor:
        """s as a tensor."""
        return torch.zeros_like(self.t) if self.s is None else self.s

    @property
    def mask(self) -> Tensor | None:
        return getattr(self.cond, "mask", None)

    def here(self, net: Net) -> Net:
        """A net of the native path as a net of the method's path."""
        return net if self.native == self.path else adapt(net, self.native, self.path)

    def said(self, net: Net) -> Tensor:
        """A native net's clean estimate at these states."""
        return self.here(net)(self.x_t, self.t, self.s, self.cond)


# --- where x and eps come from, and how they are mixed ----------------------------------------------------------------


def independent_noise(x: Tensor, cond) -> NoisePair:
    """Fresh unit noise."""
    return NoisePair(x, torch.randn_like(x))


def prior_centred_noise(x: Tensor, cond) -> NoisePair:
    """Noise centred on cond.prior: CoMoSpeech (Ye et al. 2023), Grad-TTS."""
    if getattr(cond, "prior", None) is None:
        return independent_noise(x, cond)
    return NoisePair(x, torch.randn_like(x) + cond.prior)


def simulate_pairs(solve: Callable[[Tensor, object], Tensor]) -> Callable[[Tensor, object], NoisePair]:
    """Reflow's coupling made on the fly: eps is drawn, x becomes solve(eps, cond). Liu et al. 2022, algorithm 1."""

    def coupling(x: Tensor, cond) -> NoisePair:
        eps = torch.randn_like(x)
        return NoisePair(solve(eps, cond), eps)

    return coupling


def interpolate(path: Path, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """x_t = alpha x + sigma eps."""
    return path.add_noise(x, eps, t)


def pure_noise_at_t_max(path: Path, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """The same, but only noise at t_max, as at inference. ConsistencyTTA (Bai et al. 2023), section 3.4."""
    kept = (t < path.t_max * (1 - 1e-6)).to(x.dtype)
    return broadcast_like(path.alpha(t) * kept, x) * x + broadcast_like(path.sigma(t), x) * eps


def sampled_states(draw: TrainingState, target: Net) -> TrainingState:
    return draw


def backward_simulation(
    levels: tuple[float, ...], top: float | None = None
) -> Callable[[TrainingState, Net], TrainingState]:
    """States that the student itself reaches when it samples at these falling noise levels, each row stopping at one.

    Backward simulation, DMD2 (Yin et al. 2024), section 4.5. `top`: share of the rows that stop at the first level; None:
    as many as at each other.
    """
    lower = len(levels) - 1
    top = 1 / len(levels) if top is None or not lower else top

    def start(draw: TrainingState, target: Net) -> TrainingState:
        path, eps = draw.path, draw.eps
        times = [path.time_of_noise_level(torch.full_like(draw.t, level)).clamp_max(path.t_max) for level in levels]
        drawn = torch.rand_like(draw.t)
        stop = (1 + (drawn - top) / (1 - top) * lower).floor().clamp(0, lower) if lower else 0 * drawn
        x_t, t = broadcast_like(path.sigma(times[0]), eps) * eps, times[0]
        kept, kept_t = x_t, t
        for i, t_next in enumerate(times[1:], 1):
            with torch.no_grad():
                x_t = path.add_noise(target(x_t, t, draw.s, draw.cond), torch.randn_like(eps), t_next)
            kept, kept_t = (
                torch.where(broadcast_like(stop >= i, x_t), x_t, kept),
                torch.where(stop >= i, t_next, kept_t),
            )
            t = t_next
        return dataclasses.replace(draw, x_t=kept, t=kept_t, r=kept_t)

    return start


# --- fields: what the truth at (x_t, t) is ----------------------------------------------------------------------------


def data_field(draw: TrainingState, target: Net) -> Field:
    """The sample itself: turns distillation into training from data."""
    return lambda x_t, t, s=None: draw.x


def teacher_field(teacher: Net) -> Callable[[TrainingState, Net], Field]:
    """A teacher's clean estimate."""

    def field(draw: TrainingState, target: Net) -> Field:
        net = draw.here(teacher)
        return lambda x_t, t, s=None: net(x_t, t, None, draw.cond)

    return field


def target_field(draw: TrainingState, target: Net) -> Field:
    """The target net, told where it will jump: shortcut models."""
    return lambda x_t, t, s=None: target(x_t, t, s, draw.cond)


def self_guided_field(scale: float, share: float = 0.0) -> Callable[[TrainingState, Net], Field]:
    """MeanFlow's guidance (Geng et al. 2025, eq. 21): omega x + (1 - omega - kappa) null + kappa cond, by the target.

    Equal to guidance with w = scale / (1 - share) at the fixed point. Rows whose condition is dropped see the data.
    """

    def field(draw: TrainingState, target: Net) -> Field:
        def clean(x_t: Tensor, t: Tensor, s=None) -> Tensor:
            both = Condition.cat([draw.cond, draw.cond.nulled()])
            with_cond, without = target(torch.cat([x_t, x_t]), t.repeat(2), t.repeat(2), both).chunk(2)
            mixture = scale * draw.x + (1 - scale - share) * without + share * with_cond
            null = draw.cond.null
            return mixture if null is None else torch.where(broadcast_like(null, mixture), draw.x, mixture)

        return clean

    return field
