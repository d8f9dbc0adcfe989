"""Goals: what the student's clean estimate should be. `tangents.stand_still` is the continuous-time one.

goal(draw, field, target, clean) -> clean, called without gradient; `clean` is the student's own estimate.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .denoiser import Net
from .distances import mean
from .distill import Draw, Field, Progress, Times
from .paths import Path, over
from .solvers import Solver, Walk

Goal = Callable[[Draw, Field, Net, Tensor], Tensor]


def follow(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
    """What the field says at t: teacher training, guidance distillation, reflow."""
    return field(draw.x_t, draw.t)


follow.asks_target = False  # so there is no pair that would have to share its dropout masks


def agree(solver: Solver) -> Goal:
    """One solver move t -> r along the field, then the target's jump r -> s. Song et al. 2023, eq. 7."""

    def goal(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
        path, r, end = draw.path, draw.r, draw.end
        x_r = solver(Walk(path, field), draw.x_t, draw.t, r)
        x_s = path.step(x_r, r, end, target(x_r, r.clamp_min(path.t_min), draw.s, draw.cond))
        return path.aim(draw.x_t, draw.t, end, x_s)

    return goal


def arrive(solver: Solver) -> Goal:
    """Where the solver itself lands at s in two moves, t -> r -> s: progressive distillation, shortcut, ZipVoice."""

    def goal(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
        walk = Walk(draw.path, field)
        x_s = solver(walk, solver(walk, draw.x_t, draw.t, draw.r), draw.r, draw.end)
        return draw.path.aim(draw.x_t, draw.t, draw.end, x_s)

    return goal


def rescore(times: Callable[[Path, Tensor, Progress], Times]) -> Goal:
    """The field's opinion of the student's own sample, noised afresh: score distillation. ADD (Sauer et al. 2023), eq. 4."""

    def goal(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
        t = times(draw.path, clean, draw.progress).t
        return field(draw.path.noise(clean, torch.randn_like(clean), t), t)

    return goal


def match_scores(times: Callable[[Path, Tensor, Progress], Times], fake: Net) -> Goal:
    """clean - (fake's opinion - field's opinion) / mean|clean - field's opinion|: DMD2 (Yin et al. 2024), eq. 2.

    `fake` denoises the student's samples as the field does the data; equal opinions leave nothing to do.
    """

    def goal(draw: Draw, field: Field, target: Net, clean: Tensor) -> Tensor:
        t = times(draw.path, clean, draw.progress).t
        x_t = draw.path.noise(clean, torch.randn_like(clean), t)
        real, imagined = field(x_t, t), draw.here(fake)(x_t, t, None, draw.cond)
        scale = mean((clean - real).abs(), draw.mask).clamp_min(1e-6)
        return clean - (imagined - real) / over(scale, clean)

    return goal
