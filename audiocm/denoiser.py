"""The one net contract, net(x_t, t, s, cond) -> clean estimate, and what brings other nets to it.

x_t [batch, ...]; t and s [batch] float32; s is the time that the net's estimate will be used to jump to (None: 0);
cond is a `Condition`, any other object, or None.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .paths import Path, over

Net = Callable[..., Tensor]


@dataclass
class Condition:
    """What a net is told besides x_t, t and s. Every field is optional; rows are samples."""

    tokens: Tensor | None = None  # [batch, token, dim] text or phoneme states for cross-attention
    token_mask: Tensor | None = None  # bool [batch, token], True = real
    pooled: Tensor | None = None  # [batch, dim] sentence vector
    mask: Tensor | None = None  # bool [batch, frame], True = real latent frame: the length condition
    prior: Tensor | None = None  # [batch, channel, frame] frame-aligned prior mean (speech)
    null: Tensor | None = None  # bool [batch], True = condition dropped
    guidance: Tensor | None = None  # float [batch], the weight w that a guidance-distilled student is told

    def _tensors(self) -> dict[str, Tensor]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def _map(self, change: Callable[[Tensor], Tensor]) -> Condition:
        return dataclasses.replace(self, **{name: change(value) for name, value in self._tensors().items()})

    def __len__(self) -> int:
        """Batch size; 0 for a condition that says nothing."""
        return next((len(value) for value in self._tensors().values()), 0)

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index) -> Condition:
        """The rows `index` (a slice, or a tensor of rows)."""
        return self._map(lambda value: value[index])

    def nulled(self) -> Condition:
        """The same batch with every condition dropped and no guidance: what the null branch of guidance sees."""
        first = next(iter(self._tensors().values()), None)
        null = None if first is None else torch.ones(len(first), dtype=torch.bool, device=first.device)
        return dataclasses.replace(self, null=null, guidance=None)

    def with_guidance(self, w: float | Tensor | None) -> Condition:
        """Tell the net a guidance weight: one for all, one a row [batch], or None for none."""
        if w is None or isinstance(w, Tensor):
            return dataclasses.replace(self, guidance=w)
        first = next(iter(self._tensors().values()), None)
        if first is None:
            raise ValueError("this condition has no batch size: give the guidance as a tensor [batch]")
        return dataclasses.replace(self, guidance=torch.full((len(first),), float(w), device=first.device))

    def repeat_interleave(self, n: int) -> Condition:
        """Each row n times in a row."""
        return self._map(lambda value: value.repeat_interleave(n, 0))

    def to(self, device, dtype: torch.dtype | None = None) -> Condition:
        """Move; dtype applies to floating-point fields only."""
        return self._map(lambda value: value.to(device, dtype if value.is_floating_point() else None))

    @staticmethod
    def cat(parts: Sequence[Condition]) -> Condition:
        """One batch out of several. `null` missing from some counts as not dropped; other fields: all or none."""
        parts = list(parts)
        if any(part.null is not None for part in parts):
            parts = [dataclasses.replace(part, null=_no_rows(part)) if part.null is None else part for part in parts]
        names = set().union(*(part._tensors() for part in parts))
        for name in sorted(names):
            if any(getattr(part, name) is None for part in parts):
                raise ValueError(f"cannot join conditions: some have `{name}` and some have not")
        return Condition(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _no_rows(cond: Condition) -> Tensor:
    first = next(iter(cond._tensors().values()))
    return torch.zeros(len(first), dtype=torch.bool, device=first.device)


# --- preconditioning -------------------------------------------------------------------------------------------------


def edm_scalings(sigma: Tensor, sigma_data: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(c_skip, c_out, c_in, c_noise) of clean = c_skip x + c_out F(c_in x, c_noise). Karras et al. 2022, table 1."""
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data * total.rsqrt(), total.rsqrt(), sigma.log() / 4


def cm_scalings(
    sigma: Tensor, sigma_min: float = 0.002, sigma_data: float = 0.5
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same with the boundary f(x, sigma_min) = x. Song et al. 2023, appendix C; c_noise is their 250 ln sigma."""
    shifted, total = sigma - sigma_min, sigma**2 + sigma_data**2
    c_skip = sigma_data**2 / (shifted**2 + sigma_data**2)
    return c_skip, shifted * sigma_data * total.rsqrt(), total.rsqrt(), sigma.log() * 250


# --- what a net may predict: pairs of functions, linear in x_t and in each other --------------------------------------


@dataclass(frozen=True)
class Prediction:
    """to_clean(path, x_t, t, output) and its inverse from_clean(path, x_t, t, clean)."""

    to_clean: Callable[[Path, Tensor, Tensor, Tensor], Tensor]
    from_clean: Callable[[Path, Tensor, Tensor, Tensor], Tensor]


def _linear(coefficients: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Prediction:
    """clean = a x_t + b output, with (a, b) a function of (alpha, sigma)."""

    def scales(path, x_t, t):
        a, b = coefficients(path.alpha(t), path.sigma(t))
        return over(a, x_t), over(b, x_t)

    def to_clean(path, x_t, t, output):
        a, b = scales(path, x_t, t)
        return a * x_t + b * output

    def from_clean(path, x_t, t, clean):
        a, b = scales(path, x_t, t)
        return (clean - a * x_t) / b

    return Prediction(to_clean, from_clean)


def _edm(sigma_data: float) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    def coefficients(alpha, sigma):
        c_skip, c_out, _, _ = edm_scalings(sigma / alpha, sigma_data)
        return c_skip / alpha, c_out

    return coefficients


as_clean = _linear(lambda alpha, sigma: (torch.zeros_like(alpha), torch.ones_like(alpha)))
as_eps = _linear(lambda alpha, sigma: (1 / alpha, -sigma / alpha))
as_v = _linear(lambda alpha, sigma: (alpha / (alpha**2 + sigma**2), -sigma / (alpha**2 + sigma**2)))
as_flow = _linear(lambda alpha, sigma: (1 / (alpha + sigma), -sigma / (alpha + sigma)))  # output = eps - clean


def as_edm(sigma_data: float = 1.0) -> Prediction:
    """EDM's F: clean = c_skip x/alpha + c_out F, at noise level sigma/alpha."""
    return _linear(_edm(sigma_data))


def as_trig(sigma_data: float = 1.0) -> Prediction:
    """TrigFlow's F on the Trig path: clean = cos(t) x - sin(t) sigma_data F. With sigma_data = 1 it is v."""
    return _linear(lambda alpha, sigma: (alpha, -sigma))


def predicting(net: Net, path: Path, prediction: Prediction) -> Net:
    """A net that predicts something else (same call) as a contract net."""
    return lambda x_t, t, s=None, cond=None: prediction.to_clean(path, x_t, t, net(x_t, t, s, cond))


def adapt(net: Net, native: Path, path: Path) -> Net:
    """A contract net of one path as a contract net of another: match sigma/alpha, rescale x. Clean needs no change.

    Noisier times than the native path has are taken for its t_max.
    """

    def moved(t: Tensor) -> Tensor:
        return native.at(path.kappa(t)).clamp_max(native.t_max)

    def adapted(x_t, t, s=None, cond=None):
        t_native = moved(t)
        # alpha'/alpha = sigma'/sigma; the root of the sum of squares is finite where either of them vanishes
        power, native_power = (p.alpha(at) ** 2 + p.sigma(at) ** 2 for p, at in ((path, t), (native, t_native)))
        return net(over((native_power / power).sqrt(), x_t) * x_t, t_native, None if s is None else moved(s), cond)

    return adapted


# --- nets of the diffusers library ------------------------------------------------------------------------------------


def fourier(values: Tensor, dim: int, scale: float = 1000.0) -> Tensor:
    """Sinusoidal features [batch, dim] of numbers [batch], as LCM embeds w (frequencies 10000^-k)."""
    rate = torch.exp(torch.arange(dim // 2, device=values.device) * (-math.log(1e4) / (dim // 2 - 1)))
    angles = scale * values.float()[:, None] * rate
    return torch.cat([angles.sin(), angles.cos()], 1)


class DiffusersNet(nn.Module):
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
            features.append(fourier(w - 1, dim))  # LCM's convention: w_lcm = w - 1
        if self.target_time:
            features.append(fourier(torch.zeros_like(t) if s is None else s, dim, scale=1.0))
        return torch.cat(features, 1)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        extra = {}
        if self.told:
            extra["timestep_cond"] = self._timestep_cond(t, s, cond).to(x_t.dtype)
        if cond is not None and cond.tokens is not None:
            extra |= {"encoder_hidden_states": cond.tokens, "encoder_attention_mask": cond.token_mask}
        output = self.net(x_t, t - 1, **extra, return_dict=False)[0]
        return self.prediction.to_clean(self.path, x_t, t, output)


class WithLogVariance(nn.Module):
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
        angles = self.path.kappa(t).clamp(1e-6, 1e6).log()[:, None] / 4 * (2 * math.pi * self.rate)
        return self.head(torch.cat([angles.sin(), angles.cos()], 1))[:, 0]


class Hidden:
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
