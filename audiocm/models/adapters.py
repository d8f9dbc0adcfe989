"""A learned log-variance, access to hidden features, and the embedding of numbers that diffusers' networks use."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Condition, Net
from ..diffusion.paths import Path


def sinusoidal_embedding(values: Tensor, dim: int, scale: float = 1000.0) -> Tensor:
    """Returns sinusoidal features [batch, dim] of numbers [batch], as LCM embeds w (frequencies 10000^-k).

    `layers.FourierFeatures` has other frequencies and puts cosines first, so neither can replace the other."""
    frequency = torch.exp(torch.arange(dim // 2, device=values.device) * (-math.log(1e4) / (dim // 2 - 1)))
    angles = scale * values.float()[:, None] * frequency
    return torch.cat([angles.sin(), angles.cos()], 1)


class LogVarianceDenoiser(nn.Module):
    """Adds EDM2's learned log-variance u(t) (Karras et al. 2023, eq. 21), for `losses.uncertainty_weighted_error`."""

    def __init__(self, net: Net, path: Path, channels: int = 64):
        super().__init__()
        self.net, self.path = net, path
        self.register_buffer("rate", torch.randn(channels, generator=torch.Generator().manual_seed(0)))
        self.head = nn.Linear(2 * channels, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        return self.net(x_t, t, s, cond)

    def log_variance(self, t: Tensor) -> Tensor:
        """Returns u(t) [batch], which is 0 before training."""
        angles = self.path.noise_level(t).clamp(1e-6, 1e6).log()[:, None] / 4 * (2 * math.pi * self.rate)
        return self.head(torch.cat([angles.sin(), angles.cos()], 1))[:, 0]


class HiddenFeatures:
    """Hidden activations of a frozen network at (x_t, t): the feature space in which SoundCTM compares samples.

    Each layer must output [batch, frame, width] at the latent's frame rate (a transformer block). Each frame's vector
    is scaled to an RMS of 1 and layers are concatenated to [batch, width, frame], so that masks apply as they do to
    x."""

    def __init__(self, net: Net, layers: Sequence[nn.Module]):
        self.net, self.layers = net, list(layers)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        outputs: list[Tensor] = []
        hooks = [layer.register_forward_hook(lambda _, __, output: outputs.append(output)) for layer in self.layers]
        try:
            self.net(x_t, t, None, cond)
        finally:
            for hook in hooks:
                hook.remove()
        scaled = [h.float() * h.float().square().mean(-1, keepdim=True).add(1e-6).rsqrt() for h in outputs]
        return torch.cat(scaled, -1).transpose(1, 2)
