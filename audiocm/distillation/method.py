"""What every method is made of: a draw, a field, a goal, a distance and a weight.

A student is a contract net; its jump to s is path.step(x_t, t, s, clean). Training makes `clean` equal to a goal that
carries no gradient. A `Method` is a frozen choice of pieces; whatever has `.loss(student, target, x, cond, progress)`
trains just as well. Losses own nothing and never wait for the device: a whole step can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..diffusion import paths
from ..diffusion.denoiser import Condition, Net
from ..diffusion.paths import Path
from .losses import clean_estimate, jump_end_at_zero, l2, plain_error, uniform_weight
from .states import (
    Field,
    NoisePair,
    Progress,
    Timesteps,
    TrainingState,
    data_field,
    independent_noise,
    interpolate,
    sampled_states,
)


def from_lcm(w: float) -> float:
    """LCM writes clean_cond + w (clean_cond - clean_null): its w is Imagen's less 1."""
    return w + 1


# --- the method -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A member of the family. Nets live on the `native` path; training draws states of `path`."""

    times: Callable[[Path, Tensor, Progress], Timesteps]
    goal: Callable[[TrainingState, Field, Net, Tensor], Tensor]
    field: Callable[[TrainingState, Net], Field] = data_field
    path: Path = paths.edm
    native: Path = paths.edm
    distance: Callable[[Tensor, Tensor, Tensor | None], Tensor] = l2
    weight: Callable[[TrainingState], Tensor] = uniform_weight
    coupling: Callable[[Tensor, object], NoisePair] = independent_noise
    noising: Callable[[Path, Tensor, Tensor, Tensor], Tensor] = interpolate
    guidance: Callable[[Tensor], Tensor] | None = None  # the w that each row of the student is told
    start: Callable[[TrainingState, Net], TrainingState] = sampled_states
    view: Callable[[TrainingState, Tensor, Net], Tensor] = clean_estimate
    balance: Callable[[TrainingState, Net, Tensor], Tensor] = plain_error
    needs_target_time: bool = False  # s varies at one t: a net that is not told s cannot be right for all

    def draw(self, x: Tensor | NoisePair, cond, progress: Progress) -> TrainingState:
        """States to train on."""
        if self.guidance is not None:
            w = self.guidance(x.x if isinstance(x, NoisePair) else x)
            cond = (Condition() if cond is None else cond).with_guidance(w)
        x, eps = x if isinstance(x, NoisePair) else self.coupling(x, cond)
        t, r, s = self.times(self.path, x, progress)
        x_t = self.noising(self.path, x, eps, t)
        return TrainingState(self.path, self.native, x, eps, x_t, t, r, s, cond, progress)

    def loss(self, student: Net, target: Net | None, x: Tensor | NoisePair, cond, progress: Progress) -> Tensor:
        """Mean over the batch of weight x distance(student, goal). target None: the student itself, without gradient."""
        self.refuse(student, target)
        draw = self.started(student, x, cond, progress)
        masks = _DropoutState(student, draw.x) if getattr(self.goal, "asks_target", True) else nullcontext()
        return self.compare(student, target, draw, draw.said(student), masks)

    def started(self, student: Net, x: Tensor | NoisePair, cond, progress: Progress) -> TrainingState:
        """The states that the student is called at."""
        draw = self.draw(x, cond, progress)
        return self.start(draw, draw.here(student))

    def compare(self, student: Net, target: Net | None, draw: TrainingState, clean: Tensor, masks=None) -> Tensor:
        """`loss`, once the student has said `clean` at `draw`."""
        frozen = draw.here(student if target is None else target)
        with torch.no_grad(), masks or nullcontext():
            goal = self.goal(draw, self.field(draw, frozen), frozen, clean.detach())
        seen, wanted = self.view(draw, clean, frozen), self.view(draw, goal, frozen).detach()
        error = self.weight(draw) * self.distance(_precise(seen), _precise(wanted), draw.mask)
        return self.balance(draw, student, error).mean()

    def refuse(self, student: Net, target: Net | None) -> None:
        """ValueError for combinations that cannot work, where the nets say enough about themselves to tell."""
        if self.needs_target_time and _says(student, "target_time") is False:
            raise ValueError(
                "this method trains jumps to every s, but the student is not told s: build it with target_time=True, "
                "or use a method that only jumps to 0 (cd, lcm, consistencytta, ect, scd)"
            )
        if self.guidance is not None and _says(student, "guidance_range") is None:
            raise ValueError(
                "this method draws a guidance weight for each sample, but the student is not told it: build it with "
                "guidance_range=(low, high), or fix the weight: guidance=None and guided(teacher, w)"
            )
        if self.view is jump_end_at_zero and (target is None or target is student):
            raise ValueError(
                "this method looks through an EMA copy of the student: give the run a target_ema, say .999"
            )


@dataclass(frozen=True)
class Mix:
    """A weighted sum of methods on the same batch. `critic` names the second net that the trainer has to train, if any."""

    parts: tuple[tuple[float, Method | Mix | object], ...]
    critic: object | None = None

    def loss(self, student: Net, target: Net | None, x: Tensor | NoisePair, cond, progress: Progress) -> Tensor:
        return sum(share * method.loss(student, target, x, cond, progress) for share, method in self.parts)


class SharedSampleMix(Mix):
    """A Mix whose parts judge one and the same estimate of the student's, drawn by the first: one call for all of them."""

    def loss(self, student: Net, target: Net | None, x: Tensor | NoisePair, cond, progress: Progress) -> Tensor:
        first = self.parts[0][1]
        first.refuse(student, target)
        draw = first.started(student, x, cond, progress)
        clean = draw.said(student)
        return sum(share * part.compare(student, target, draw, clean) for share, part in self.parts)


def _precise(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _says(net: Net, name: str):
    """What a net says about itself, in its config or as an attribute; `...` if it says nothing."""
    net = getattr(net, "module", net)
    config = getattr(net, "config", {})
    return config[name] if name in config else getattr(net, name, ...)


class _DropoutState:
    """Both sides of a pair see the same dropout masks (openai/consistency_models; iCT): replay the generator's state.

    Does nothing for nets without dropout, so that their steps can be captured in a CUDA graph.
    """

    def __init__(self, net: Net, like: Tensor):
        modules = net.modules() if isinstance(net, nn.Module) and net.training else ()
        self.devices = [like.device] if like.is_cuda else []
        self.active = any(_rate(module) > 0 for module in modules)
        self.before = self._get() if self.active else None

    def _get(self) -> list[Tensor]:
        return [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in self.devices)]

    def _set(self, states: list[Tensor]) -> None:
        torch.set_rng_state(states[0])
        for device, state in zip(self.devices, states[1:], strict=True):
            torch.cuda.set_rng_state(state, device)

    def __enter__(self) -> None:
        if self.active:
            self.after = self._get()
            self._set(self.before)

    def __exit__(self, *_) -> None:
        if self.active:
            self._set(self.after)


def _rate(module: nn.Module) -> float:
    rate = module.p if isinstance(module, nn.modules.dropout._DropoutNd) else vars(module).get("dropout", 0.0)
    return rate if isinstance(rate, float) else 0.0
