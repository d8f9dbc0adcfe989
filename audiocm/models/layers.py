"""Layers of the latent transformer and their forward derivatives."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

EPSILON = 1e-6


class FourierFeatures(nn.Module):
    """Cosine and sine features of a number, at geometrically spaced radians per unit: [batch] -> [batch, 2 * count]."""

    def __init__(self, lowest: float, highest: float, count: int = 64):
        super().__init__()
        radians = torch.logspace(math.log10(lowest), math.log10(highest), count)
        self.register_buffer("radians", radians, persistent=False)

    def forward(self, number: Tensor) -> Tensor:
        angle = number.float()[:, None] * self.radians
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


def at_least_float32(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rms_norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
    """RMS norm over the last axis in the dtype of x: autocast would hand back float32 and slow the residual stream."""
    if forward_ad._current_level >= 0:  # torch 2.11's fused kernel gives a bfloat16 value a float32 tangent
        inner = at_least_float32(x)
        inner = (inner * (inner.square().mean(-1, keepdim=True) + EPSILON).rsqrt()).to(x.dtype)
        return inner if weight is None else inner * weight.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return F.rms_norm(x, x.shape[-1:], None if weight is None else weight.to(x.dtype), EPSILON)


def rms_norm_jvp(x: Tensor, dx: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`_norm` and its derivative along dx."""
    value, change = at_least_float32(x), at_least_float32(dx)
    gain = (value.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
    value = value * gain
    change = gain * (change - value * (value * change).mean(-1, keepdim=True))
    scale = 1.0 if weight is None else weight.to(x.dtype)
    return value.to(x.dtype) * scale, change.to(x.dtype) * scale


def attention_jvp(
    q: Tensor, dq: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dk=None, dv=None
) -> tuple[Tensor, Tensor]:
    """softmax(q k / sqrt(channel)) v of [batch, head, frame, channel] and its derivative; None: k and v stand still."""
    scale = q.shape[-1] ** -0.5
    logits = (q * scale) @ k.transpose(-1, -2)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    shares = at_least_float32(logits).softmax(-1)
    moved = (dq * scale) @ k.transpose(-1, -2)
    if dk is not None:
        moved = moved + (q * scale) @ dk.transpose(-1, -2)
    moved = shares * at_least_float32(moved)
    moved = moved - shares * moved.sum(-1, keepdim=True)
    shares, moved = shares.to(v.dtype), moved.to(v.dtype)
    change = moved @ v if dv is None else moved @ v + shares @ dv
    return shares @ v, change


def apply_rotary(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary positions: pairs (i, i + half) of x [batch, frame, head, channel], turn [2, frame, 1, channel / 2]."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = turn
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
