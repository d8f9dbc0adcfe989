"""The forward derivative (Jacobian-vector product) of a transformer block, as plain operations.

Forward-mode differentiation gives the same values, but torch.compile cannot trace it; it fuses these operations.
A variable d* is the tangent of the variable *.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion.denoiser import at_least_float32
from .layers import EPSILON, apply_rotary, rms_norm


def rms_norm_jvp(x: Tensor, dx: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns `rms_norm(x, weight)` and its derivative along dx."""
    value, tangent = at_least_float32(x), at_least_float32(dx)
    gain = (value.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
    value = value * gain
    tangent = gain * (tangent - value * (value * tangent).mean(-1, keepdim=True))
    scale = 1.0 if weight is None else weight.to(x.dtype)
    return value.to(x.dtype) * scale, tangent.to(x.dtype) * scale


def attention_jvp(
    q: Tensor, dq: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dk: Tensor | None = None, dv: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Returns softmax(q k / sqrt(channel)) v and its derivative; tensors are [batch, head, frame, channel].

    mask: bool, True = attended to. dk or dv None: k or v is constant."""
    scale = q.shape[-1] ** -0.5
    logits = (q * scale) @ k.transpose(-1, -2)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    weights = at_least_float32(logits).softmax(-1)
    dlogits = (dq * scale) @ k.transpose(-1, -2)
    if dk is not None:
        dlogits = dlogits + (q * scale) @ dk.transpose(-1, -2)
    dweights = weights * at_least_float32(dlogits)
    dweights = dweights - weights * dweights.sum(-1, keepdim=True)
    weights, dweights = weights.to(v.dtype), dweights.to(v.dtype)
    dmixed = dweights @ v if dv is None else dweights @ v + weights @ dv
    return weights @ v, dmixed


def block_jvp(block: nn.Module, inputs: Sequence, tangents: Sequence) -> tuple[Tensor, Tensor]:
    """Returns `block(*inputs)` of a `transformer_net.Block` and its derivative along `tangents`.

    Only the first two inputs, x and modulation, have a tangent; those of the other four are None. Raises ValueError
    for other tangents, or if dropout is active."""
    (x, modulation, rotary, mask, text, text_mask), (dx, dmodulation, *others) = inputs, tangents
    if any(d is not None for d in others) or dx is None or dmodulation is None or (block.dropout and block.training):
        raise ValueError("the derivative of a block needs tangents of x and modulation, no others, and no dropout")
    dx, dmodulation = dx.to(x.dtype), dmodulation.to(modulation.dtype)
    shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = modulation.unsqueeze(2).unbind(1)
    dshift, dscale, dgate, dmlp_shift, dmlp_scale, dmlp_gate = dmodulation.unsqueeze(2).unbind(1)

    # self-attention
    h, dh = rms_norm_jvp(x, dx)
    h, dh = h * (1 + scale) + shift, dh * (1 + scale) + h * dscale + dshift
    qkv, dqkv = _linear_jvp(block.qkv, h, dh)
    (q, k, v), (dq, dk, dv) = _split_heads(qkv, 3, block.heads), _split_heads(dqkv, 3, block.heads)
    (q, dq), (k, dk) = rms_norm_jvp(q, dq, block.qk_norm), rms_norm_jvp(k, dk, block.qk_norm)
    q, dq, k, dk, v, dv = (_swap(part) for part in (*(apply_rotary(p, rotary) for p in (q, dq, k, dk)), v, dv))
    h, dh = (_swap(part).flatten(2) for part in attention_jvp(q, dq, k, v, mask, dk, dv))
    h, dh = _linear_jvp(block.out, h, dh)
    x, dx = x + gate * h, dx + gate * dh + dgate * h

    # cross-attention
    q, dq = _linear_jvp(block.cross_q, *rms_norm_jvp(x, dx, block.cross_norm))
    (q,), (dq,) = _split_heads(q, 1, block.heads), _split_heads(dq, 1, block.heads)
    q, dq = rms_norm_jvp(q, dq, block.cross_qk_norm)
    k, v = _split_heads(block.cross_kv(text), 2, block.heads)
    k = rms_norm(k, block.cross_qk_norm)
    h, dh = (_swap(part).flatten(2) for part in attention_jvp(*map(_swap, (q, dq, k, v)), text_mask))
    h, dh = _linear_jvp(block.cross_out, h, dh)
    x, dx = x + h, dx + dh

    # MLP
    h, dh = rms_norm_jvp(x, dx)
    h, dh = h * (1 + mlp_scale) + mlp_shift, dh * (1 + mlp_scale) + h * dmlp_scale + dmlp_shift
    h, dh = _linear_jvp(block.up, h, dh)
    h, dh = F.gelu(h, approximate="tanh"), torch.ops.aten.gelu_backward(dh, h, approximate="tanh")
    h, dh = _linear_jvp(block.down, h, dh)
    return x + mlp_gate * h, (dx + mlp_gate * dh + dmlp_gate * h).to(x.dtype)


def _linear_jvp(layer: nn.Linear, x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    return layer(x), F.linear(dx, layer.weight)


def _split_heads(x: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    return x.unflatten(-1, (parts, heads, -1)).unbind(2)


def _swap(x: Tensor) -> Tensor:
    return x.transpose(1, 2)  # frames and heads
