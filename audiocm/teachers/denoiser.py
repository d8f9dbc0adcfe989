"""A diffusers denoiser of any architecture as a contract net."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Condition, at_least_float32
from ..diffusion.paths import Path, broadcast_like
from .schedulers import NoiseSchedule


def _recompute_in_float32(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A forward hook: the output of a layer without autocast, which would round the time to three digits."""
    kind = inputs[0].device.type
    if not torch.is_autocast_enabled(kind):
        return output
    with torch.autocast(kind, enabled=False):
        return layer.forward(at_least_float32(inputs[0]))


class Architecture(Protocol):
    """What a contract net needs to know of a denoiser: the class of an `adapter.Adapter`, see there."""

    time_layer: str
    float32_layers: Sequence[str]
    blocks: Sequence[str]

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor: ...

    @staticmethod
    def null_row(cond: Condition) -> Tensor | None: ...


class ConditionedLinear(nn.Module):
    """The first linear layer of a time embedding plus a projection, zero at first, of features of w and s.

    It comes before the non-linearity, so that w and s act together with t, and becomes a part of the layer's bias once
    they are fixed. Its owner sets `features` [batch, feature] for the length of a call."""

    def __init__(self, linear: nn.Linear, features: int):
        super().__init__()
        self.linear = linear
        self.projection = nn.Linear(features, linear.out_features, bias=False, device=linear.weight.device)
        nn.init.zeros_(self.projection.weight)
        self.features: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(x)
        return out + self.projection(self.features.to(self.projection.weight.dtype)).to(out.dtype)

    def folded(self, features: Tensor) -> nn.Linear:
        """Returns the linear layer with the projection of fixed features [feature] in its bias."""
        shift = self.projection(features)
        self.linear.bias = nn.Parameter(shift if self.linear.bias is None else self.linear.bias + shift)
        return self.linear


class DenoiserNet(nn.Module):
    """Maps x_t at times t of its `path` to the clean estimate; `cond.null` rows get the null condition of the pipeline.

    The null condition is kept in buffers that are not saved, so that it moves with the net and no step copies from the
    host. It stays in float32, and so do the estimates."""

    def __init__(self, net: nn.Module, schedule: NoiseSchedule, architecture: Architecture, null: Condition):
        super().__init__()
        self.net, self.schedule, self.architecture = net, schedule, architecture
        self._repeated_blocks = list(architecture.blocks)  # which ones `training.compile.compile_blocks` compiles
        self._null_fields = [field.name for field in dataclasses.fields(null) if getattr(null, field.name) is not None]
        for name in self._null_fields:
            self.register_buffer(f"null_{name}", getattr(null, name), persistent=False)
        for name in architecture.float32_layers:
            layer = net.get_submodule(name)
            if not layer._forward_hooks:
                layer.register_forward_hook(_recompute_in_float32)

    @property
    def path(self) -> Path:
        """The noise path of the network."""
        return self.schedule.path

    def null_condition(self) -> Condition:
        """Returns the table of null conditions."""
        return Condition(**{name: getattr(self, f"null_{name}") for name in self._null_fields})

    def _with_null(self, cond: Condition) -> Condition:
        """Returns the condition with the null condition in the place of dropped rows."""
        if cond.null is None:
            return cond
        row, fields = self.architecture.null_row(cond), {}
        for name in self._null_fields:
            given, table = getattr(cond, name), getattr(self, f"null_{name}")
            null = table.expand_as(given) if row is None else table[row]
            fields[name] = torch.where(broadcast_like(cond.null, given), null.to(given.dtype), given)
        return dataclasses.replace(cond, **fields)

    def _in_dtype(self, x_t: Tensor, cond: Condition) -> tuple[Tensor, Condition]:
        """Returns the inputs as a network of 16-bit weights takes them; autocast casts them itself."""
        dtype = next(self.net.parameters()).dtype
        if dtype.itemsize > 2 or torch.is_autocast_enabled(x_t.device.type):
            return x_t, cond
        return x_t.to(dtype), cond.to(x_t.device, dtype)

    def forward(self, x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Any = None) -> Tensor:
        """Returns the clean estimate, at least in float32. Raises ValueError without a `Condition`."""
        if not isinstance(cond, Condition):
            raise ValueError(f"this network needs a Condition (teacher.condition(prompts, seconds)), not {cond!r}")
        given, cond = self._in_dtype(x_t, self._with_null(cond))
        output = self.architecture.predict(self.net, given, self.schedule.timestep(t), cond)
        return self.schedule.prediction.to_clean(self.path, x_t, t, at_least_float32(output))
