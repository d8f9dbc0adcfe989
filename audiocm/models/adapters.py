"""Adapters that bring other nets to the net contract."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Condition, Prediction
from ..diffusion.paths import Path

# --- nets of the diffusers library ------------------------------------------------------------------------------------


def sinusoidal_embedding(values: Tensor, dim: int, scale: float = 1000.0) -> Tensor:
    """Sinusoidal features [batch, dim] of numbers [batch], as LCM embeds w (frequencies 10000^-k)."""
    rate = torch.exp(torch.arange(dim // 2, device=values.device) * (-math.log(1e4) / (dim // 2 - 1)))
    angles = scale * values.float()[:, None] * rate
    return torch.cat([angles.sin(), angles.cos()], 1)


class DiffusersDenoiser(nn.Module):
    """A diffusers net (UNet2DConditionModel, DiT ... : net(x, timestep, encoder_hidden_states, ...)) as a contract net.

    The path must be its `paths.ddpm`; t - 1 is the timestep it is given. If the net has `time_cond_proj_dim`, w and s
    enter there; that projection is set to zero at construction so that the student starts equal to the teacher.
    """

    discrete = True

    def __init__(self, net: nn.Module, path: Path, prediction: Prediction, told: Sequence[str] = ()):
        """told: which of "guidance", "target_time" the net is told through `timestep_cond`."""
        super().__init__()
        self.net, self.path, self.prediction, self.told = net, path, prediction, tuple(told)
        self.target_time = "target_time" in self.told
        self.width = getattr(net.config, "time_cond_proj_dim", None)
        if self.told and not self.width:
            raise ValueError("this net cannot be told w or s: build it with time_cond_proj_dim (for example 256)")
        if self.told:
            nn.init.zeros_(net.time_embedding.cond_proj.weight)

    def _timestep_cond(self, t: Tensor, s: Tensor | None, cond) -> Tensor | None:
        if not self.told:
            return None
        dim, features = self.width // len(self.told), []
        if "guidance" in self.told:
            w = torch.ones_like(t) if cond is None or cond.guidance is None else cond.guidance
            features.append(sinusoidal_embedding(w - 1, dim))  # LCM's convention: w_lcm = w - 1
        if self.target_time:
            features.append(sinusoidal_embedding(torch.zeros_like(t) if s is None else s, dim, scale=1.0))
        return torch.cat(features, 1)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        extra = {}
        if self.told:
            extra["timestep_cond"] = self._timestep_cond(t, s, cond).to(x_t.dtype)
        if cond is not None and cond.tokens is not None:
            extra |= {"encoder_hidden_states": cond.tokens, "encoder_attention_mask": cond.token_mask}
        output = self.net(x_t, t - 1, **extra, return_dict=False)[0]
        return self.prediction.to_clean(self.path, x_t, t, output)


class LogVarianceDenoiser(nn.Module):
    """A contract net with EDM2's learned log-variance u(t) (Karras et al. 2023, eq. 21), used by `distill.certain`."""

    def __init__(self, net: nn.Module, path: Path, channels: int = 64):
        super().__init__()
        self.net, self.path = net, path
        self.register_buffer("rate", torch.randn(channels, generator=torch.Generator().manual_seed(0)))
        self.head = nn.Linear(2 * channels, 1, bias=False)
        nn.init.zeros_(self.head.weight)

    def forward(self, x_t, t, s=None, cond=None):
        return self.net(x_t, t, s, cond)

    def log_variance(self, t: Tensor) -> Tensor:
        """u(t) [batch], 0 at the start."""
        angles = self.path.noise_level(t).clamp(1e-6, 1e6).log()[:, None] / 4 * (2 * math.pi * self.rate)
        return self.head(torch.cat([angles.sin(), angles.cos()], 1))[:, 0]


class HiddenFeatures:
    """What some layers of a frozen net hold at (x_t, t): features in which SoundCTM compares samples.

    Each layer must output [batch, frame, width] at the latent's frame rate (a transformer block). Every frame's vector
    is scaled to an RMS of 1, and layers are joined to [batch, width, frame], so that masks apply as they do to x.
    """

    def __init__(self, net: nn.Module, layers: Sequence[nn.Module]):
        self.net, self.layers = net, list(layers)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Condition | None = None) -> Tensor:
        seen: list[Tensor] = []
        hooks = [layer.register_forward_hook(lambda _, __, output: seen.append(output)) for layer in self.layers]
        try:
            self.net(x_t, t, None, cond)
        finally:
            for hook in hooks:
                hook.remove()
        scaled = [h.float() * h.float().square().mean(-1, keepdim=True).add(1e-6).rsqrt() for h in seen]
        return torch.cat(scaled, -1).transpose(1, 2)
