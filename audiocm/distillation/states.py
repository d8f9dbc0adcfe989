"""Training states: couplings of samples and noise, how they are mixed, and fields, the clean sample at (x_t, t)."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..diffusion.denoiser import Condition, Net, adapt
from ..diffusion.paths import Path, broadcast_like
from .arguments import arguments

Progress = float | Tensor  # of training, in [0, 1]
Field = Callable[..., Tensor]  # (x_t, t, s=None) -> clean


class NoisePair(NamedTuple):
    """Clean samples and the noise that the teacher's ODE generated them from; passed as x to train on stored pairs."""

    x: Tensor
    eps: Tensor


Samples = Tensor | NoisePair  # what methods are trained on


class Timesteps(NamedTuple):
    """Times t > r >= s of a training state, each [batch]."""

    t: Tensor  # of the state
    r: Tensor  # to which a solver follows the field
    s: Tensor | None = None  # at which the student's jump ends; None: 0, and the student gets no s


@dataclass(frozen=True)
class TrainingState:
    """A batch of training states on the method's path."""

    path: Path
    net_path: Path  # of the networks
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
        """The end s of the student's jump, as a tensor [batch]."""
        return torch.zeros_like(self.t) if self.s is None else self.s

    @property
    def mask(self) -> Tensor | None:
        """The mask of valid frames, if there is one."""
        return getattr(self.cond, "mask", None)

    def on_path(self, net: Net) -> Net:
        """Returns a network of `net_path` as a network of the method's path."""
        return net if self.net_path == self.path else adapt(net, self.net_path, self.path)

    def predict(self, net: Net) -> Tensor:
        """Returns the clean estimate of a network of `net_path` at these states."""
        return self.on_path(net)(self.x_t, self.t, self.s, self.cond)


def independent_noise(x: Tensor, cond: Condition | None) -> NoisePair:
    """Pairs each sample with fresh unit noise."""
    return NoisePair(x, torch.randn_like(x))


def prior_centred_noise(x: Tensor, cond: Condition | None) -> NoisePair:
    """Pairs each sample with noise centred on cond.prior, if there is one. CoMoSpeech (Ye et al. 2023), Grad-TTS."""
    if getattr(cond, "prior", None) is None:
        return independent_noise(x, cond)
    return NoisePair(x, torch.randn_like(x) + cond.prior)


def pure_noise_at_t_max(path: Path, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """Adds noise as `Path.add_noise` does, but leaves pure noise at t_max, as at inference.

    ConsistencyTTA (Bai et al. 2023), section 3.4."""
    kept = (t < path.t_max * (1 - 1e-6)).to(x.dtype)
    return broadcast_like(path.alpha(t) * kept, x) * x + broadcast_like(path.sigma(t), x) * eps


def sampled_states(state: TrainingState, student: Net) -> TrainingState:
    """Trains at the states as they were drawn."""
    return state


@arguments()
def backward_simulation(
    levels: tuple[float, ...], first_share: float | None = None
) -> Callable[[TrainingState, Net], TrainingState]:
    """Trains at states that the student reaches when it samples at these falling noise levels; each row stops at one.

    DMD2 (Yin et al. 2024), section 4.5. `first_share`: probability of the first level; None: that of every other level.
    """
    lower = len(levels) - 1
    first_share = 1 / len(levels) if first_share is None or not lower else first_share

    def states(state: TrainingState, student: Net) -> TrainingState:
        path, eps = state.path, state.eps
        times = [path.time_of_noise_level(torch.full_like(state.t, level)).clamp_max(path.t_max) for level in levels]
        u = torch.rand_like(state.t)
        stop = (1 + (u - first_share) / (1 - first_share) * lower).floor().clamp(0, lower) if lower else 0 * u
        x_t, t = broadcast_like(path.sigma(times[0]), eps) * eps, times[0]
        kept, kept_t = x_t, t
        for i, t_next in enumerate(times[1:], 1):
            with torch.no_grad():
                x_t = path.add_noise(student(x_t, t, state.s, state.cond), torch.randn_like(eps), t_next)
            kept = torch.where(broadcast_like(stop >= i, x_t), x_t, kept)
            kept_t, t = torch.where(stop >= i, t_next, kept_t), t_next
        return dataclasses.replace(state, x_t=kept, t=kept_t, r=kept_t)

    return states


@arguments()
def one_call_simulation(
    lower: tuple[float, float] = (0.25, 0.75), first_share: float = 0.6
) -> Callable[[TrainingState, Net], TrainingState]:
    """Trains at t_max, a share `first_share` of the rows, and at states that the student reaches from there in one call.

    Their times are drawn evenly from the places `lower` of the path's grid, 0 at t_max and 1 at its end: samplers of two
    to four calls stop at 1/4 to 3/4. One call of the student for any number of levels, where `backward_simulation` takes
    one for each."""

    def states(state: TrainingState, student: Net) -> TrainingState:
        path, eps = state.path, state.eps
        t_max = torch.full_like(state.t, path.t_max)
        start = broadcast_like(path.sigma(t_max), eps) * eps
        drawn, u = torch.rand_like(state.t), torch.rand_like(state.t)
        lower_t = path.grid_time(lower[0] + (lower[1] - lower[0]) * drawn)
        with torch.no_grad():
            noised = path.add_noise(student(start, t_max, state.s, state.cond), torch.randn_like(eps), lower_t)
        is_first = u < first_share
        t = torch.where(is_first, t_max, lower_t)
        return dataclasses.replace(state, x_t=torch.where(broadcast_like(is_first, eps), start, noised), t=t, r=t)

    return states


def data_field(state: TrainingState, target_net: Net) -> Field:
    """The field of the data, the sample itself: turns distillation into training from data."""
    return lambda x_t, t, s=None: state.x


@arguments()
def teacher_field(teacher: Net) -> Callable[[TrainingState, Net], Field]:
    """Returns the field of a teacher's clean estimates."""

    def field(state: TrainingState, target_net: Net) -> Field:
        net = state.on_path(teacher)
        return lambda x_t, t, s=None: net(x_t, t, None, state.cond)

    return field


def target_field(state: TrainingState, target_net: Net) -> Field:
    """The field of the target network, which is given the end of each jump: shortcut models."""
    return lambda x_t, t, s=None: target_net(x_t, t, s, state.cond)


@arguments()
def shortcut_field(shortest: float) -> Callable[[TrainingState, Net], Field]:
    """Returns `target_field`, but with s = t for jumps shorter than `shortest` t_max, which no jump trains."""

    def field(state: TrainingState, target_net: Net) -> Field:
        def clean(x_t: Tensor, t: Tensor, s: Tensor) -> Tensor:
            end = torch.where(t - s < shortest * state.path.t_max, t, s)
            return target_net(x_t, t, end, state.cond)

        return clean

    return field


@arguments()
def self_guided_field(scale: float, share: float = 0.0) -> Callable[[TrainingState, Net], Field]:
    """Returns MeanFlow's guided field by the target network (Geng et al. 2025, eq. 21).

    omega x + (1 - omega - kappa) null + kappa cond, omega = `scale`, kappa = `share`: at the fixed point equal to
    guidance with w = scale / (1 - share). Rows whose condition is dropped get the data."""

    def field(state: TrainingState, target_net: Net) -> Field:
        def clean(x_t: Tensor, t: Tensor, s: Tensor | None = None) -> Tensor:
            both = Condition.cat([state.cond, state.cond.as_null()])
            with_cond, without = target_net(torch.cat([x_t, x_t]), t.repeat(2), t.repeat(2), both).chunk(2)
            mixture = scale * state.x + (1 - scale - share) * without + share * with_cond
            null = state.cond.null
            return mixture if null is None else torch.where(broadcast_like(null, mixture), state.x, mixture)

        return clean

    return field
