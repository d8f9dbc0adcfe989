"""Adapters that give other networks the network contract, a learned log-variance, or access to hidden features."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Condition, Net, Prediction
from ..diffusion.paths import Path


def sinusoidal_embedding(values: Tensor, dim: int, scale: float = 1000.0) -> Tensor:
    """Returns sinusoidal features [batch, dim] of numbers [batch], as LCM embeds w (frequencies 10000^-k).

    `layers.FourierFeatures` has other frequencies and puts cosines first, so neither can replace the other."""
    frequency = torch.exp(torch.arange(dim // 2, device=values.device) * (-math.log(1e4) / (dim // 2 - 1)))
    angles = scale * values.float()[:, None] * frequency
    return torch.cat([angles.sin(), angles.cos()], 1)


class DiffusersDenoiser(nn.Module):
    """Adapts a diffusers network (UNet2DConditionModel and others called net(x, timestep, encoder_hidden_states, ...)).

    The path must be the network's own, as `paths.ddpm`; the network gets t - 1 as timestep. `extra_conditions`: which
    of "guidance" and "target_time" enter through its `timestep_cond`; that projection is set to zero at construction,
    so that a student starts equal to its teacher. Raises ValueError if the network has no such projection."""

    def __init__(self, net: nn.Module, path: Path, prediction: Prediction, extra_conditions: Sequence[str] = ()):
        super().__init__()
        self.net, self.path, self.prediction, self.extra_conditions = net, path, prediction, tuple(extra_conditions)
        self.target_time = "target_time" in self.extra_conditions
        self.width = getattr(net.config, "time_cond_proj_dim", None)  # networks without this input lack the field
        if self.extra_conditions and not self.width:
            raise ValueError("extra_conditions need a network built with time_cond_proj_dim (for example 256)")
        if self.extra_conditions:
            nn.init.zeros_(net.time_embedding.cond_proj.weight)

    def _timestep_cond(self, t: Tensor, s: Tensor | None, cond: Condition | None) -> Tensor:
        dim, features = self.width // len(self.extra_conditions), []
        if "guidance" in self.extra_conditions:
            w = torch.ones_like(t) if cond is None or cond.guidance is None else cond.guidance
            features.append(sinusoidal_embedding(w - 1, dim))  # LCM's convention: w_lcm = w - 1
        if self.target_time:
            features.append(sinusoidal_embedding(torch.zeros_like(t) if s is None else s, dim, scale=1.0))
        return torch.cat(features, 1)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        inputs = {}
        if self.extra_conditions:
            inputs["timestep_cond"] = self._timestep_cond(t, s, cond).to(x_t.dtype)
        if cond is not None and cond.tokens is not None:
            inputs |= {"encoder_hidden_states": cond.tokens, "encoder_attention_mask": cond.token_mask}
        output = self.net(x_t, t - 1, **inputs, return_dict=False)[0]
        return self.prediction.to_clean(self.path, x_t, t, output)


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
