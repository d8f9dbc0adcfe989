"""The network contract net(x_t, t, s, cond) -> clean estimate, its conditioning inputs, and conversions to it."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from ..checks import check_callable, check_instance, checked
from .paths import Path, broadcast_like


class Net(Protocol):
    """A network that estimates the clean sample, as a teacher (the posterior mean) or as a student (the end of a jump).

    x_t [batch, ...]; t and s [batch] float32; s is the time that the estimate will be used to jump to (None: 0);
    cond is a `Condition`, any other object, or None."""

    def __call__(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Any = None) -> Tensor: ...


@dataclass
class Condition:
    """Conditioning inputs of a network. All fields are optional; their first dimension is the batch."""

    tokens: Tensor | None = None  # [batch, token, dim] text or phoneme states for cross-attention
    token_mask: Tensor | None = None  # bool [batch, token], True = real
    pooled: Tensor | None = None  # [batch, dim] sentence vector
    mask: Tensor | None = None  # bool [batch, frame], True = real latent frame: the length condition
    prior: Tensor | None = None  # [batch, channel, frame] frame-aligned prior mean (speech)
    null: Tensor | None = None  # bool [batch], True = condition dropped
    guidance: Tensor | None = None  # float [batch], the guidance weight w of a guidance-distilled student
    duration: Tensor | None = None  # float [batch], frames that the sound itself lasts inside the mask; 0 = unknown
    kept: Tensor | None = None  # [batch, channel, frame] latents of a sound that is edited
    kept_mask: Tensor | None = None  # bool [batch, frame], True = the frame of `kept` is given, False = to be made
    tokens_2: Tensor | None = None  # [batch, token, dim] states of a second text encoder
    token_mask_2: Tensor | None = None  # bool [batch, token], True = real

    def __post_init__(self) -> None:
        for name, value in self._tensors().items():
            if not isinstance(value, Tensor):
                raise TypeError(f"{name} of a Condition must be a tensor, not {value!r}")

    def _tensors(self) -> dict[str, Tensor]:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def _map(self, change: Callable[[Tensor], Tensor]) -> "Condition":
        return dataclasses.replace(self, **{name: change(value) for name, value in self._tensors().items()})

    def _full(self, value: bool | float, dtype: torch.dtype) -> Tensor | None:
        """Returns `value` for each row [batch]; None without a field, since the batch size is then unknown."""
        first = next(iter(self._tensors().values()), None)
        return None if first is None else torch.full((len(first),), value, dtype=dtype, device=first.device)

    @property
    def batch_size(self) -> int:
        """Number of rows; 0 if no field is set."""
        return next((len(value) for value in self._tensors().values()), 0)

    def __getitem__(self, rows: slice | Tensor) -> "Condition":
        """Returns some of the rows."""
        return self._map(lambda value: value[rows])

    def as_null(self) -> "Condition":
        """Returns the same batch with every condition dropped and no guidance weight: the null branch of guidance."""
        return dataclasses.replace(self, null=self._full(True, torch.bool), guidance=None)

    def with_guidance(self, w: float | Tensor | None) -> "Condition":
        """Returns the condition with guidance weight w: one for all rows, one for each [batch], or None.

        Raises ValueError for a float if no field is set, since the batch size is then unknown."""
        if w is not None and not isinstance(w, Tensor):
            w = self._full(float(w), torch.get_default_dtype())
            if w is None:
                raise ValueError("guidance of a condition without fields must be a tensor [batch], not a number")
        return dataclasses.replace(self, guidance=w)

    def repeat_interleave(self, n: int) -> "Condition":
        """Repeats each row n times in succession."""
        return self._map(lambda value: value.repeat_interleave(n, 0))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Condition":
        """Moves all fields to a device; dtype applies to floating-point fields only."""
        return self._map(lambda value: value.to(device, dtype if value.is_floating_point() else None))

    @staticmethod
    def cat(parts: "Sequence[Condition]") -> "Condition":
        """Concatenates batches. A missing `null` counts as not dropped.

        Raises ValueError if another field is set in some parts only."""
        parts = list(parts)
        if any(part.null is not None for part in parts):
            kept = [part._full(False, torch.bool) if part.null is None else part.null for part in parts]
            parts = [dataclasses.replace(part, null=null) for part, null in zip(parts, kept, strict=True)]
        names = set().union(*(part._tensors() for part in parts))
        for name in sorted(names):
            if any(getattr(part, name) is None for part in parts):
                raise ValueError(f"cannot concatenate conditions: `{name}` is set in some and missing in others")
        return Condition(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def at_least_float32(x: Tensor) -> Tensor:
    """Casts x to float32 unless its dtype is already as precise."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def edm_scalings(sigma: Tensor, sigma_data: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns EDM's (c_skip, c_out, c_in, c_noise) of clean = c_skip x + c_out F(c_in x, c_noise).

    Karras et al. 2022, table 1."""
    total = sigma**2 + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data * total.rsqrt(), total.rsqrt(), sigma.log() / 4


@dataclass(frozen=True)
class Prediction:
    """What a network predicts: clean = a x_t + b output, where (a, b) = coefficients(alpha, sigma)."""

    coefficients: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

    def to_clean(self, path: Path, x_t: Tensor, t: Tensor, output: Tensor) -> Tensor:
        """Returns the clean estimate of a network's output."""
        a, b = self.coefficients(path.alpha(t), path.sigma(t))
        return broadcast_like(a, x_t) * x_t + broadcast_like(b, x_t) * output


clean_prediction = Prediction(lambda alpha, sigma: (torch.zeros_like(alpha), torch.ones_like(alpha)))
noise_prediction = Prediction(lambda alpha, sigma: (1 / alpha, -sigma / alpha))
v_prediction = Prediction(lambda alpha, sigma: (alpha / (alpha**2 + sigma**2), -sigma / (alpha**2 + sigma**2)))
flow_prediction = Prediction(lambda alpha, sigma: (1 / (alpha + sigma), -sigma / (alpha + sigma)))  # eps - clean


@checked(net=check_callable, net_path=partial(check_instance, kind=Path), path=partial(check_instance, kind=Path))
def adapt(net: Net, net_path: Path, path: Path) -> Net:
    """Returns a network of `net_path` as a network of `path`: noise levels are matched and x is rescaled.

    The clean estimate needs no change. Times noisier than any of `net_path` become its t_max."""

    def net_time(t: Tensor) -> Tensor:
        return net_path.time_of_noise_level(path.noise_level(t)).clamp_max(net_path.t_max)

    def adapted(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Any = None) -> Tensor:
        net_t = net_time(t)
        # alpha'/alpha = sigma'/sigma; the root of the sum of squares is finite where either of them vanishes
        power, net_power = (p.alpha(u) ** 2 + p.sigma(u) ** 2 for p, u in ((path, t), (net_path, net_t)))
        scale = broadcast_like((net_power / power).sqrt(), x_t)
        return net(scale * x_t, net_t, None if s is None else net_time(s), cond)

    return adapted
