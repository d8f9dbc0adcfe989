"""What every method is made of: a draw, a field, a goal, a distance and a weight.

A student is a contract net; its jump to s is path.step(x_t, t, s, clean). Training makes `clean` equal to a goal that
carries no gradient. A `Method` is a frozen choice of pieces; whatever has `.loss(student, target, x, cond, progress)`
trains just as well. Losses own nothing and never wait for the device: a whole step can be captured in a CUDA graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import paths
from .denoiser import Condition, Net, adapt
from .distances import as_it_is, even, l2, pushed, unbalanced
from .paths import Path, over

Progress = float | Tensor
Field = Callable[..., Tensor]  # (x_t, t, s=None) -> clean


class Coupled(NamedTuple):
    """Clean samples and the noise that the teacher's ODE made them from: pass it as x to train on stored pairs."""

    x: Tensor
    eps: Tensor


class Times(NamedTuple):
    """t > r >= s, each [batch]. r: how far the field is followed. s: where the student's jump ends (None: 0, not told)."""

    t: Tensor
    r: Tensor
    s: Tensor | None = None


@dataclass(frozen=True)
class Draw:
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


def independent(x: Tensor, cond) -> Coupled:
    """Fresh unit noise."""
    return Coupled(x, torch.randn_like(x))


def around_prior(x: Tensor, cond) -> Coupled:
    """Noise centred on cond.prior: CoMoSpeech (Ye et al. 2023), Grad-TTS."""
    if getattr(cond, "prior", None) is None:
        return independent(x, cond)
    return Coupled(x, torch.randn_like(x) + cond.prior)


def simulated(solve: Callable[[Tensor, object], Tensor]) -> Callable[[Tensor, object], Coupled]:
    """Reflow's coupling made on the fly: eps is drawn, x becomes solve(eps, cond). Liu et al. 2022, algorithm 1."""

    def coupling(x: Tensor, cond) -> Coupled:
        eps = torch.randn_like(x)
        return Coupled(solve(eps, cond), eps)

    return coupling


def mixed(path: Path, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """x_t = alpha x + sigma eps."""
    return path.noise(x, eps, t)


def pure_at_top(path: Path, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """The same, but only noise at t_max, as at inference. ConsistencyTTA (Bai et al. 2023), section 3.4."""
    kept = (t < path.t_max * (1 - 1e-6)).to(x.dtype)
    return over(path.alpha(t) * kept, x) * x + over(path.sigma(t), x) * eps


def as_drawn(draw: Draw, target: Net) -> Draw:
    return draw


def rolled_out(levels: tuple[float, ...], top: float | None = None) -> Callable[[Draw, Net], Draw]:
    """States that the student itself reaches when it samples at these falling noise levels, each row stopping at one.

    Backward simulation, DMD2 (Yin et al. 2024), section 4.5. `top`: share of the rows that stop at the first level; None:
    as many as at each other.
    """
    lower = len(levels) - 1
    top = 1 / len(levels) if top is None or not lower else top

    def start(draw: Draw, target: Net) -> Draw:
        path, eps = draw.path, draw.eps
        times = [path.at(torch.full_like(draw.t, level)).clamp_max(path.t_max) for level in levels]
        drawn = torch.rand_like(draw.t)
        stop = (1 + (drawn - top) / (1 - top) * lower).floor().clamp(0, lower) if lower else 0 * drawn
        x_t, t = over(path.sigma(times[0]), eps) * eps, times[0]
        kept, kept_t = x_t, t
        for i, t_next in enumerate(times[1:], 1):
            with torch.no_grad():
                x_t = path.noise(target(x_t, t, draw.s, draw.cond), torch.randn_like(eps), t_next)
            kept, kept_t = torch.where(over(stop >= i, x_t), x_t, kept), torch.where(stop >= i, t_next, kept_t)
            t = t_next
        return dataclasses.replace(draw, x_t=kept, t=kept_t, r=kept_t)

    return start


# --- fields: what the truth at (x_t, t) is ----------------------------------------------------------------------------


def data(draw: Draw, target: Net) -> Field:
    """The sample itself: turns distillation into training from data."""
    return lambda x_t, t, s=None: draw.x


def of(teacher: Net) -> Callable[[Draw, Net], Field]:
    """A teacher's clean estimate."""

    def field(draw: Draw, target: Net) -> Field:
        net = draw.here(teacher)
        return lambda x_t, t, s=None: net(x_t, t, None, draw.cond)

    return field


def itself(draw: Draw, target: Net) -> Field:
    """The target net, told where it will jump: shortcut models."""
    return lambda x_t, t, s=None: target(x_t, t, s, draw.cond)


def guided(teacher: Net, w: float | None = None) -> Net:
    """clean_null + w (clean_cond - clean_null), both branches in one call of twice the batch.

    Imagen's convention (w = 1: no guidance; LCM's w is this less 1). w None: each row's cond.guidance.
    """

    def net(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        weight = cond.guidance if w is None else torch.full_like(t, w)
        if weight is None:
            raise ValueError("this guided teacher takes w from cond.guidance, which is not set: use guided(teacher, w)")
        told = cond.with_guidance(None)
        both = Condition.cat([told, told.nulled()])
        twice = None if s is None else s.repeat(2)
        with_cond, without = teacher(torch.cat([x_t, x_t]), t.repeat(2), twice, both).chunk(2)
        return without + over(weight, x_t).to(without.dtype) * (with_cond - without)

    return net


def self_guided(scale: float, share: float = 0.0) -> Callable[[Draw, Net], Field]:
    """MeanFlow's guidance (Geng et al. 2025, eq. 21): omega x + (1 - omega - kappa) null + kappa cond, by the target.

    Equal to guidance with w = scale / (1 - share) at the fixed point. Rows whose condition is dropped see the data.
    """

    def field(draw: Draw, target: Net) -> Field:
        def clean(x_t: Tensor, t: Tensor, s=None) -> Tensor:
            both = Condition.cat([draw.cond, draw.cond.nulled()])
            with_cond, without = target(torch.cat([x_t, x_t]), t.repeat(2), t.repeat(2), both).chunk(2)
            mixture = scale * draw.x + (1 - scale - share) * without + share * with_cond
            null = draw.cond.null
            return mixture if null is None else torch.where(over(null, mixture), draw.x, mixture)

        return clean

    return field


def uniform_guidance(low: float, high: float) -> Callable[[Tensor], Tensor]:
    """w ~ U[low, high] for each row of x, Imagen's convention."""
    return lambda x: low + (high - low) * torch.rand(len(x), device=x.device)


def from_lcm(w: float) -> float:
    """LCM writes clean_cond + w (clean_cond - clean_null): its w is Imagen's less 1."""
    return w + 1


# --- the method -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Method:
    """A member of the family. Nets live on the `native` path; training draws states of `path`."""

    times: Callable[[Path, Tensor, Progress], Times]
    goal: Callable[[Draw, Field, Net, Tensor], Tensor]
    field: Callable[[Draw, Net], Field] = data
    path: Path = paths.edm
    native: Path = paths.edm
    distance: Callable[[Tensor, Tensor, Tensor | None], Tensor] = l2
    weight: Callable[[Draw], Tensor] = even
    coupling: Callable[[Tensor, object], Coupled] = independent
    noising: Callable[[Path, Tensor, Tensor, Tensor], Tensor] = mixed
    guidance: Callable[[Tensor], Tensor] | None = None  # the w that each row of the student is told
    start: Callable[[Draw, Net], Draw] = as_drawn
    view: Callable[[Draw, Tensor, Net], Tensor] = as_it_is
    balance: Callable[[Draw, Net, Tensor], Tensor] = unbalanced
    needs_target_time: bool = False  # s varies at one t: a net that is not told s cannot be right for all

    def draw(self, x: Tensor | Coupled, cond, progress: Progress) -> Draw:
        """States to train on."""
        if self.guidance is not None:
            w = self.guidance(x.x if isinstance(x, Coupled) else x)
            cond = (Condition() if cond is None else cond).with_guidance(w)
        x, eps = x if isinstance(x, Coupled) else self.coupling(x, cond)
        t, r, s = self.times(self.path, x, progress)
        x_t = self.noising(self.path, x, eps, t)
        return Draw(self.path, self.native, x, eps, x_t, t, r, s, cond, progress)

    def loss(self, student: Net, target: Net | None, x: Tensor | Coupled, cond, progress: Progress) -> Tensor:
        """Mean over the batch of weight x distance(student, goal). target None: the student itself, without gradient."""
        self.refuse(student, target)
        draw = self.started(student, x, cond, progress)
        masks = _DropoutState(student, draw.x) if getattr(self.goal, "asks_target", True) else nullcontext()
        return self.compare(student, target, draw, draw.said(student), masks)

    def started(self, student: Net, x: Tensor | Coupled, cond, progress: Progress) -> Draw:
        """The states that the student is called at."""
        draw = self.draw(x, cond, progress)
        return self.start(draw, draw.here(student))

    def compare(self, student: Net, target: Net | None, draw: Draw, clean: Tensor, masks=None) -> Tensor:
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
        if self.view is pushed and (target is None or target is student):
            raise ValueError(
                "this method looks through an EMA copy of the student: give the run a target_ema, say .999"
            )


@dataclass(frozen=True)
class Mix:
    """A weighted sum of methods on the same batch. `critic` names the second net that the trainer has to train, if any."""

    parts: tuple[tuple[float, Method | Mix | object], ...]
    critic: object | None = None

    def loss(self, student: Net, target: Net | None, x: Tensor | Coupled, cond, progress: Progress) -> Tensor:
        return sum(share * method.loss(student, target, x, cond, progress) for share, method in self.parts)


class OneSample(Mix):
    """A Mix whose parts judge one and the same estimate of the student's, drawn by the first: one call for all of them."""

    def loss(self, student: Net, target: Net | None, x: Tensor | Coupled, cond, progress: Progress) -> Tensor:
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
