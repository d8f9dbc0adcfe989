"""What every method is made of: a draw, a field, a goal, a distance and a weight.

A student is a contract net; its jump to s is path.step(x_t, t, s, clean). Training makes `clean` equal to a goal that
carries no gradient. A `Method` is a frozen choice of pieces; whatever has `.loss(student, target, x, cond, progress)`
trains just as well. Losses own nothing and never wait for the device: a whole step can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from . import paths
from .denoiser import Condition, Net, adapt
from .paths import Path, over
from .solvers import Solver, Walk

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
        return net if self.native is self.path else adapt(net, self.native, self.path)


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
    """w ~ U[low, high] for each row, Imagen's convention."""
    return lambda t: low + (high - low) * torch.rand_like(t)


# --- goals: what the student's clean estimate should be ---------------------------------------------------------------
# goal(draw, field, target, clean) -> clean; `clean` is the student's own estimate without gradient.


def follow(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
    """What the field says at t: teacher training, guidance distillation, reflow."""
    return field(draw.x_t, draw.t)


def agree(solver: Solver) -> Callable[..., Tensor]:
    """One solver move t -> r along the field, then the target's jump r -> s. Song et al. 2023, eq. 7."""

    def goal(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
        path, r, end = draw.path, draw.r, draw.end
        x_r = solver(Walk(path, field), draw.x_t, draw.t, r)
        x_s = path.step(x_r, r, end, target(x_r, r.clamp_min(path.t_min), draw.s, draw.cond))
        return path.aim(draw.x_t, draw.t, end, x_s)

    return goal


def arrive(solver: Solver) -> Callable[..., Tensor]:
    """Where the solver itself lands at s: progressive distillation, shortcut, ZipVoice."""

    def goal(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
        x_s = solver(Walk(draw.path, field), draw.x_t, draw.t, draw.end)
        return draw.path.aim(draw.x_t, draw.t, draw.end, x_s)

    return goal


# --- distances [batch], means over the valid part of a sample ---------------------------------------------------------


def _valid(x: Tensor, mask: Tensor | None) -> Tensor | None:
    """mask [batch, frame] in a shape that multiplies x [batch, channel, frame, ...] (or x [batch, frame])."""
    if mask is None:
        return None
    shape = mask.shape if x.ndim == 2 else (len(mask), 1, mask.shape[1], *(1,) * (x.ndim - 3))
    return mask.reshape(shape).to(torch.float32)


def mean(e: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of e [batch, ...] over each sample's valid entries: [batch]."""
    valid = _valid(e, mask)
    if valid is None:
        return e.flatten(1).mean(1)
    entries = valid.expand_as(e).flatten(1).sum(1).clamp_min(1)
    return (e * valid).flatten(1).sum(1) / entries


def l2(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
    """Mean squared error of each sample."""
    return mean((a - b).square(), mask)


def l1(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
    return mean((a - b).abs(), mask)


def huber(c: float = 0.00054) -> Callable[..., Tensor]:
    """Pseudo-Huber of the sample's RMS error, sqrt(mse + c^2) - c.

    iCT's (Song & Dhariwal 2023, eq. 7) with c_theirs = c sqrt(d), divided by sqrt(d): samples of all lengths count alike.
    """
    return lambda a, b, mask: (l2(a, b, mask) + c**2).sqrt() - c


def adaptive(power: float = 1.0, c: float = 1e-3) -> Callable[..., Tensor]:
    """S / sg(S + c)^power with S the summed squared error over an entry count of 1. Geng et al. 2025 (MeanFlow), eq. 22."""

    def distance(a: Tensor, b: Tensor, mask: Tensor | None) -> Tensor:
        error = l2(a, b, mask)
        return error / (error.detach() + c) ** power

    return distance


# --- weights [batch] --------------------------------------------------------------------------------------------------


def even(draw: Draw) -> Tensor:
    return torch.ones_like(draw.t)


def edm_weight(sigma_data: float = 1.0) -> Callable[[Draw], Tensor]:
    """1 / c_out^2 = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2. Karras et al. 2022, table 1."""
    return lambda draw: draw.path.kappa(draw.t) ** -2 + sigma_data**-2


def snr(draw: Draw) -> Tensor:
    """The noise estimate's squared error, as a weight on the clean estimate's."""
    return draw.path.kappa(draw.t) ** -2


def truncated_snr(draw: Draw) -> Tensor:
    """max(SNR, 1). Salimans & Ho 2022, section 4."""
    return snr(draw).clamp_min(1)


def min_snr(most: float = 5.0) -> Callable[[Draw], Tensor]:
    """min(SNR, most). Hang et al. 2023. Made for DDPM tables: at sigma = 80 it is 1.6e-4, next to nothing."""
    return lambda draw: snr(draw).clamp_max(most)


def per_gap(draw: Draw) -> Tensor:
    """1 / (t - r): iCT, ECT."""
    return 1 / (draw.t - draw.r)


def per_sigma2(draw: Draw) -> Tensor:
    """1 / sigma^2: the flow's squared error on the rectified path, F's on Trig."""
    return draw.path.sigma(draw.t) ** -2


def heavier_top(extra: float) -> Callable[[Draw], Tensor]:
    """1, and 1 + extra for draws at t_max, where one-call generation starts."""
    return lambda draw: 1 + extra * (draw.t >= draw.path.t_max * (1 - 1e-6)).to(draw.t.dtype)


# --- the method -------------------------------------------------------------------------------------------------------


def as_it_is(draw: Draw, clean: Tensor, target: Net) -> Tensor:
    return clean


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
    view: Callable[[Draw, Tensor, Net], Tensor] = as_it_is  # what of the two clean estimates is compared

    def draw(self, x: Tensor | Coupled, cond, progress: Progress) -> Draw:
        """States to train on."""
        x, eps = x if isinstance(x, Coupled) else self.coupling(x, cond)
        t, r, s = self.times(self.path, x, progress)
        if self.guidance is not None:
            cond = (Condition() if cond is None else cond).with_guidance(self.guidance(t))
        x_t = self.noising(self.path, x, eps, t)
        return Draw(self.path, self.native, x, eps, x_t, t, r, s, cond, progress)

    def loss(self, student: Net, target: Net | None, x: Tensor | Coupled, cond, progress: Progress) -> Tensor:
        """Mean over the batch of weight x distance(student, goal). target None: the student itself, without gradient."""
        draw = self.draw(x, cond, progress)
        net, frozen = draw.here(student), draw.here(student if target is None else target)
        masks = _DropoutState(student, draw.x)
        clean = net(draw.x_t, draw.t, draw.s, draw.cond)
        with torch.no_grad(), masks:
            goal = self.goal(draw, self.field(draw, frozen), frozen, clean.detach())
        seen, wanted = self.view(draw, clean, frozen), self.view(draw, goal, frozen).detach()
        return (self.weight(draw) * self.distance(seen.float(), wanted.float(), draw.mask)).mean()


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
