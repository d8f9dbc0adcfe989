"""Classifier-free guidance (Ho & Salimans 2022). Weights follow Imagen: w = 1 is no guidance; LCM's w is one less."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..checks import check_callable, check_instance, check_number, check_range, checked, optional
from .denoiser import Condition, Net
from .paths import broadcast_like


@checked(teacher=check_callable, w=optional(check_number), interval=optional(partial(check_range, least=0)))
def guided_net(teacher: Net, w: float | None = None, interval: tuple[float, float] | None = None) -> Net:
    """Returns the guided teacher clean_null + w (clean_cond - clean_null), both branches in one call of two batches.

    w = 1 returns the teacher itself; w = None takes each row's weight from cond.guidance; the call raises ValueError if
    that is not set. interval: times (low, high] that are guided, the others have weight 1 (Kynkaanniemi et al. 2024)."""
    if w == 1:
        return teacher

    def net(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        weight = cond.guidance if w is None else torch.full_like(t, w)
        if weight is None:
            raise ValueError("this teacher takes w from cond.guidance, which is not set; use guided_net(teacher, w)")
        if interval is not None:
            weight = torch.where((t > interval[0]) & (t <= interval[1]), weight, 1.0)
        cond = cond.with_guidance(None)
        both = Condition.cat([cond, cond.as_null()])
        s = None if s is None else s.repeat(2)
        with_cond, without = teacher(torch.cat([x_t, x_t]), t.repeat(2), s, both).chunk(2)
        return without + broadcast_like(weight, x_t).to(without.dtype) * (with_cond - without)

    return net


@checked(teacher=check_callable, w=check_number, negative=partial(check_instance, kind=Condition))
def negative_guided_net(teacher: Net, w: float, negative: Condition) -> Net:
    """Returns the teacher guided away from a negative prompt: clean_neg + w (clean_cond - clean_neg)."""

    def net(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        both = Condition.cat([cond, negative])
        with_cond, with_negative = teacher(torch.cat([x_t, x_t]), t.repeat(2), None, both).chunk(2)
        return with_negative + w * (with_cond - with_negative)

    return net


def uniform_guidance(low: float, high: float) -> Callable[[Tensor], Tensor]:
    """Returns a function that draws w ~ U[low, high] for each row of x [batch, ...]."""
    low, high = check_range("low, high", (low, high))
    return lambda x: low + (high - low) * torch.rand(len(x), device=x.device)
