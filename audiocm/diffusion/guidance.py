"""Classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .denoiser import Condition, Net
from .paths import broadcast_like


def guided_net(teacher: Net, w: float | None = None) -> Net:
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
        return without + broadcast_like(weight, x_t).to(without.dtype) * (with_cond - without)

    return net


def uniform_guidance(low: float, high: float) -> Callable[[Tensor], Tensor]:
    """w ~ U[low, high] for each row of x, Imagen's convention."""
    return lambda x: low + (high - low) * torch.rand(len(x), device=x.device)


def guided_by(teacher: Net, w: float) -> Net:
    """The teacher guided with one w; itself where w = 1."""
    return teacher if w == 1 else guided_net(teacher, w)


def negative_guided_net(teacher: Net, w: float, negative: Condition) -> Net:
    """Guidance away from a negative prompt instead of from the null condition: clean_neg + w (clean_cond - clean_neg)."""

    def net(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        both = Condition.cat([cond, negative])
        told, avoided = teacher(torch.cat([x_t, x_t]), t.repeat(2), None, both).chunk(2)
        return avoided + w * (told - avoided)

    return net
