"""The training loss of every method: states, a field, a regression target, a distance and weights.

A student's jump to s is path.step(x_t, t, s, clean); training makes its estimate `clean` equal to a target that carries
no gradient. Losses own no network and never wait for the device, so that a whole step can be captured in a CUDA graph.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..checks import check_callable, check_instance, check_number
from ..diffusion import paths
from ..diffusion.denoiser import Condition, Net, at_least_float32
from ..diffusion.paths import Path
from .losses import Comparison, Distance, Weight, clean_estimate, l2, plain_error, uniform_weight
from .states import Field, NoisePair, Progress, Samples, TrainingState, data_field, independent_noise, sampled_states
from .targets import Target
from .timesteps import TimestepSampler


class Loss(Protocol):
    """A training loss: a `Method`, a `Mix`, the student's side of a critic, or any other object of this form.

    x [batch, ...] or stored pairs; target_net None: the student itself, without gradient."""

    def loss(
        self, student: Net, target_net: Net | None, x: Samples, cond: Condition | None, progress: Progress
    ) -> Tensor: ...


FUNCTIONS = ("timesteps", "target", "field", "distance", "weight", "coupling", "noising", "states", "compare_at",
             "error_weighting")  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One training method: the loss at a state is weight * distance(student's estimate, target).

    `path` is the noise path of the training states, `net_path` that of the networks. Raises ValueError for a field that
    is not a function, a path or a bool where one is needed."""

    timesteps: TimestepSampler  # draws t, r and s
    target: Target  # what the student's estimate should equal
    field: Callable[[TrainingState, Net], Field] = data_field  # the clean sample at (x_t, t): of the data or a teacher
    path: Path = paths.edm
    net_path: Path = paths.edm
    distance: Distance = l2
    weight: Weight = uniform_weight
    coupling: Callable[[Tensor, Condition | None], NoisePair] = independent_noise  # pairs x with noise
    noising: Callable[[Path, Tensor, Tensor, Tensor], Tensor] = Path.add_noise  # (path, x, eps, t) -> x_t
    guidance: Callable[[Tensor], Tensor] | None = None  # draws w [batch], an input of the student
    states: Callable[[TrainingState, Net], TrainingState] = sampled_states  # where the student is called
    compare_at: Comparison = clean_estimate  # the quantity that the distance compares
    error_weighting: Callable[[TrainingState, Net, Tensor], Tensor] = plain_error  # by learned uncertainty
    needs_target_time: bool = False  # s varies at one t, so a student without s as an input could not fit all

    def __post_init__(self) -> None:
        for name in FUNCTIONS:
            check_callable(name, getattr(self, name))
        for name in ("path", "net_path"):
            check_instance(name, getattr(self, name), Path)
        if self.guidance is not None:
            check_callable("guidance", self.guidance)
        check_instance("needs_target_time", self.needs_target_time, bool)

    def loss(
        self, student: Net, target_net: Net | None, x: Samples, cond: Condition | None, progress: Progress
    ) -> Tensor:
        """Returns the batch mean of weight times distance(estimate, target). target_net None: the student itself."""
        self.validate(student, target_net)
        state = self.sample_states(student, x, cond, progress)
        dropout = _shared_dropout(student, state.x) if self.target.shares_dropout else nullcontext()
        return self.loss_of_estimate(student, target_net, state, state.predict(student), dropout)

    def sample_states(self, student: Net, x: Samples, cond: Condition | None, progress: Progress) -> TrainingState:
        """Samples the states at which the student is called."""
        state = self.draw_states(x, cond, progress)
        return self.states(state, state.on_path(student))

    def draw_states(self, x: Samples, cond: Condition | None, progress: Progress) -> TrainingState:
        """Draws guidance weights, noise and times, and mixes x and noise."""
        if self.guidance is not None:
            w = self.guidance(x.x if isinstance(x, NoisePair) else x)
            cond = (Condition() if cond is None else cond).with_guidance(w)
        x, eps = x if isinstance(x, NoisePair) else self.coupling(x, cond)
        t, r, s = self.timesteps(self.path, x, progress)
        x_t = self.noising(self.path, x, eps, t)
        return TrainingState(self.path, self.net_path, x, eps, x_t, t, r, s, cond, progress)

    def loss_of_estimate(
        self,
        student: Net,
        target_net: Net | None,
        state: TrainingState,
        clean: Tensor,
        dropout: AbstractContextManager | None = None,
    ) -> Tensor:
        """Returns the loss of the student's estimate `clean` at `state`; the target is computed inside `dropout`."""
        target_net = state.on_path(student if target_net is None else target_net)
        with torch.no_grad(), dropout or nullcontext():
            target = self.target(state, self.field(state, target_net), target_net, clean.detach())
        a, b = self.compare_at(state, clean, target_net), self.compare_at(state, target, target_net).detach()
        error = self.weight(state) * self.distance(at_least_float32(a), at_least_float32(b), state.mask)
        return self.error_weighting(state, student, error).mean()

    def validate(self, student: Net, target_net: Net | None) -> None:
        """Raises ValueError for a student that declares not to have the inputs that the method trains."""
        if self.needs_target_time and _declared(student, "target_time", True) is False:
            raise ValueError(
                "this method trains jumps to every s, but the student has no input for s: build it with "
                "target_time=True, or use a method that only jumps to 0 (cd, lcm, consistencytta, ect, scd)"
            )
        if self.guidance is not None and _declared(student, "guidance_range", ()) is None:
            raise ValueError(
                "this method draws a guidance weight for each sample, but the student has no input for it: build it "
                "with guidance_range=(low, high), or fix the weight with guidance=None and guided_net(teacher, w)"
            )
        if self.compare_at.uses_target_net and (target_net is None or target_net is student):
            raise ValueError(
                "this method compares through an EMA copy of the student: set target_ema of the run, such as 0.999"
            )


@dataclass(frozen=True)
class Mix:
    """A weighted sum of losses on the same batch. `critic`: a second network that the trainer has to train."""

    parts: tuple[tuple[float, Loss], ...]
    critic: Any = None  # an `adversarial.Critic`

    def __post_init__(self) -> None:
        for part in check_instance("parts", self.parts, list | tuple, "a list of (weight, loss)"):
            if not isinstance(part, list | tuple) or len(part) != 2 or not hasattr(part[1], "loss"):
                raise ValueError(f"parts must be a list of (weight, loss), not of {part!r}")
            check_number("a weight of parts", part[0])

    def loss(
        self, student: Net, target_net: Net | None, x: Samples, cond: Condition | None, progress: Progress
    ) -> Tensor:
        """Returns the weighted sum of the losses of all parts."""
        return sum(weight * part.loss(student, target_net, x, cond, progress) for weight, part in self.parts)


@dataclass(frozen=True)
class SharedSampleMix(Mix):
    """A Mix whose parts share one estimate of the student, at states drawn by the first part: one call for all.

    Each part has a method loss_of_estimate(student, target_net, state, clean); the first one is a `Method`."""

    def loss(
        self, student: Net, target_net: Net | None, x: Samples, cond: Condition | None, progress: Progress
    ) -> Tensor:
        """Returns the weighted sum of the losses of the shared estimate."""
        first: Method = self.parts[0][1]
        first.validate(student, target_net)
        state = first.sample_states(student, x, cond, progress)
        clean = state.predict(student)
        return sum(weight * part.loss_of_estimate(student, target_net, state, clean) for weight, part in self.parts)


def _declared(net: Net, name: str, default: Any) -> Any:
    """Returns an option from a network's config or attributes; `default` for networks that do not declare it."""
    net = getattr(net, "module", net)
    config = getattr(net, "config", {})
    return config[name] if name in config else getattr(net, name, default)


def _shared_dropout(net: Net, like: Tensor) -> AbstractContextManager:
    """Returns a context that replays the present random state, so that two calls use the same dropout masks.

    Does nothing for networks without dropout, so that their steps can be captured in a CUDA graph."""
    modules = net.modules() if isinstance(net, nn.Module) and net.training else ()
    if not any(_dropout_rate(module) > 0 for module in modules):
        return nullcontext()
    cpu_state = torch.get_rng_state()
    device_state = torch.cuda.get_rng_state(like.device) if like.is_cuda else None

    @contextmanager
    def replay() -> Iterator[None]:
        with torch.random.fork_rng([like.device] if like.is_cuda else []):
            torch.set_rng_state(cpu_state)
            if like.is_cuda:
                torch.cuda.set_rng_state(device_state, like.device)
            yield

    return replay()


_DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def _dropout_rate(module: nn.Module) -> float:
    rate = module.p if isinstance(module, _DROPOUT) else vars(module).get("dropout", 0.0)
    return rate if isinstance(rate, float) else 0.0
