"""Layers of the latent transformer."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from ..diffusion.denoiser import at_least_float32

EPSILON = 1e-6  # added to the mean square under the root of an RMS norm


class FourierFeatures(nn.Module):
    """Cosine and sine features of numbers, [batch] -> [batch, 2 * count], at log-spaced radians per unit."""

    def __init__(self, lowest: float, highest: float, count: int = 64):
        super().__init__()
        radians = torch.logspace(math.log10(lowest), math.log10(highest), count)
        self.register_buffer("radians", radians, persistent=False)

    def forward(self, number: Tensor) -> Tensor:
        angle = number.float()[:, None] * self.radians
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


def rms_norm(x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Normalizes the last axis to an RMS of 1, then scales it by `weight`; the result has the dtype of x.

    Autocast would return float32 and slow the residual stream down. Under forward-mode differentiation the norm is
    written out, because torch's fused kernel gives a bfloat16 value a float32 tangent. That mode is recognized by a
    private attribute of torch (checked with 2.11 and 2.13)."""
    if forward_ad._current_level >= 0:
        normed = at_least_float32(x)
        normed = (normed * (normed.square().mean(-1, keepdim=True) + EPSILON).rsqrt()).to(x.dtype)
        return normed if weight is None else normed * weight.to(x.dtype)
    with torch.autocast(x.device.type, enabled=False):
        return F.rms_norm(x, x.shape[-1:], None if weight is None else weight.to(x.dtype), EPSILON)


def apply_rotary(x: Tensor, rotary: Tensor) -> Tensor:
    """Applies rotary position embeddings (Su et al. 2021) to x [batch, frame, head, channel].

    Channels i and i + channel / 2 form a pair; rotary [2, frame, 1, channel / 2] holds cosines and sines."""
    first, second = x.chunk(2, dim=-1)
    cosine, sine = rotary
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
