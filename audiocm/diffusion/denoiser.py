"""The one net contract, net(x_t, t, s, cond) -> clean estimate, and what brings other nets to it.

x_t [batch, ...]; t and s [batch] float32; s is the time that the net's estimate will be used to jump to (None: 0);
cond is a `Condition`, any other object, or None.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .paths import Path, broadcast_like

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
        return broadcast_like(a, x_t), broadcast_like(b, x_t)

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
        return native.time_of_noise_level(path.noise_level(t)).clamp_max(native.t_max)

    def adapted(x_t, t, s=None, cond=None):
        t_native = moved(t)
        # alpha'/alpha = sigma'/sigma; the root of the sum of squares is finite where either of them vanishes
        power, native_power = (p.alpha(at) ** 2 + p.sigma(at) ** 2 for p, at in ((path, t), (native, t_native)))
        return net(
            broadcast_like((native_power / power).sqrt(), x_t) * x_t, t_native, None if s is None else moved(s), cond
        )

    return adapted
