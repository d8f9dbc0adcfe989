"""AdamW on flat or sharded parameters with gradient clipping and a guard against non-finite gradients, without waiting
for the device."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Protocol

import torch
from torch import Tensor, nn

ALIGNMENT = 64  # entries; each parameter's view starts at a multiple, so that vectorised loads stay possible


class FlatLayout:
    """Where parameters are in one long vector: matrices and convolution kernels first; only they get weight decay.

    Raises ValueError if there is no parameter or one is not float32."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        # sorted() is stable: within both kinds the order is the module's
        self.parameters = sorted(dict.fromkeys(parameters), key=lambda p: p.ndim < 2)
        if not self.parameters:
            raise ValueError("nothing to train: no parameter requires a gradient")
        if wrong := sorted({str(p.dtype) for p in self.parameters} - {"torch.float32"}):
            raise ValueError(f"trained parameters must be float32, not {', '.join(wrong)}: use precision='bf16'")
        sizes = [-(-p.numel() // ALIGNMENT) * ALIGNMENT for p in self.parameters]
        *self.starts, self.total = accumulate(sizes, initial=0)
        self.matrices = sum(p.ndim >= 2 for p in self.parameters)  # number of them
        self.first_vector = [*self.starts, self.total][self.matrices]
        self.shapes = [p.shape for p in self.parameters]
        self.strides = [torch.empty_like(p, device="meta").stride() for p in self.parameters]  # p's own if it is dense

    def views(self, vector: Tensor) -> list[Tensor]:
        """Returns the parts of a vector in the shapes of the parameters."""
        places = zip(self.shapes, self.strides, self.starts, strict=True)
        return [vector.as_strided(shape, strides, start) for shape, strides, start in places]


class Parameters(Protocol):
    """The trained parameters of a network, or their moving average, as the optimizer and the trainer use them.

    `groups` are leaves for AdamW, of matrices and of vectors. `gather` returns tensors that belong to the leaves as one
    vector a group in the flat layout, whatever the number of ranks, so that checkpoints do not depend on it."""

    groups: list[list[nn.Parameter]]

    @property
    def values(self) -> Tensor: ...

    def load_values(self, vector: Tensor) -> None: ...

    def zero_grads(self) -> None: ...

    def reduce_grads(self, loss: Tensor) -> Tensor:
        """Averages the gradient over ranks and returns its norm; not finite if the loss is not on any of them."""
        ...

    def require_grad(self, enabled: bool) -> None: ...

    def move_towards(self, other: Any, weight: Tensor | float) -> None: ...

    def gather(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]: ...

    def scatter(self, vectors: Sequence[Tensor], parts: Sequence[Sequence[Tensor]]) -> None: ...


class FlatParameters:
    """Parameters as views of one float32 tensor, and their gradients, if they are trained, as views of another.

    Clipping, AdamW, moving averages and all-reduce then take one kernel each, gradients have the strides of their
    parameters as fused AdamW requires, and a checkpoint is a few long vectors. Raises ValueError as `FlatLayout`."""

    def __init__(self, parameters: Iterable[nn.Parameter], trained: bool = True):
        layout = FlatLayout(parameters)
        self.parameters, device = layout.parameters, layout.parameters[0].device
        self.values = torch.zeros(layout.total, device=device)
        self.grads = torch.zeros(layout.total if trained else 0, device=device)
        grads = layout.views(self.grads) if trained else [None] * len(self.parameters)
        with torch.no_grad():
            for p, view, grad in zip(self.parameters, layout.views(self.values), grads, strict=True):
                view.copy_(p)
                p.data, p.grad = view, grad
        self.groups: list[list[nn.Parameter]] = []
        if trained:
            split = (whole.tensor_split([layout.first_vector]) for whole in (self.values, self.grads))
            for value, grad in zip(*split, strict=True):
                leaf = nn.Parameter(value)
                leaf.grad = grad
                self.groups.append([leaf] if len(value) else [])

    def zero_grads(self) -> None:
        """Sets all gradients to zero."""
        self.grads.zero_()

    def reduce_grads(self, loss: Tensor) -> Tensor:
        """Averages the gradient over ranks and returns its norm; not finite if the loss is not on any of them."""
        self.grads[:1] += 0 * loss.detach()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(self.grads)
            self.grads /= torch.distributed.get_world_size()
        return self.grads.norm()

    def load_values(self, vector: Tensor) -> None:
        """Sets the values."""
        self.values.copy_(vector)

    def move_towards(self, other: "FlatParameters", weight: Tensor | float) -> None:
        """Adds weight (other - own) to the values."""
        self.values.lerp_(other.values, weight)

    def gather(self, parts: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Returns the only part of each group that has one; not a copy."""
        return [part for group in parts for part in group]

    def scatter(self, vectors: Sequence[Tensor], parts: Sequence[Sequence[Tensor]]) -> None:
        """Copies vectors into the parts."""
        for part, vector in zip(self.gather(parts), vectors, strict=True):
            part.copy_(vector)

    def require_grad(self, enabled: bool) -> None:
        """Sets whether autograd records operations on the parameters."""
        for p in self.parameters:
            p.requires_grad_(enabled)


class Optimizer:
    """Fused AdamW with its learning rate, clipping and guard on the device.

    A step whose gradient is not finite changes nothing: neither parameters nor moments nor the step count."""

    def __init__(self, flat: Parameters, betas: tuple[float, float], weight_decay: float, max_norm: float | None):
        self.flat, self.max_norm = flat, max_norm or math.inf
        device = next(leaf for group in flat.groups for leaf in group).device
        self.lr = torch.zeros((), device=device)
        decays = zip(flat.groups, (weight_decay, 0.0), strict=True)
        groups = [{"params": group, "weight_decay": decay} for group, decay in decays if group]
        self.adam = torch.optim.AdamW(groups, lr=self.lr, betas=betas, fused=True, capturable=device.type == "cuda")
        for group in self.adam.param_groups:
            group["lr"] = self.lr
            for leaf in group["params"]:
                moments = {key: torch.zeros_like(leaf, requires_grad=False) for key in ("exp_avg", "exp_avg_sq")}
                self.adam.state[leaf] = {"step": torch.zeros((), device=device), **moments}

    def _parts(self, key: str) -> list[list[Tensor]]:
        """Returns one of AdamW's states of all leaves."""
        return [[self.adam.state[leaf][key] for leaf in group] for group in self.flat.groups]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Returns all tensors that a resumed run needs, by names that start with `name`; every rank calls this."""
        tensors = {f"{name}.values": self.flat.values}
        for key in ("exp_avg", "exp_avg_sq"):
            tensors |= {f"{name}.{key}.{i}": one for i, one in enumerate(self.flat.gather(self._parts(key)))}
        steps = [group[0] for group in self._parts("step") if group]
        return tensors | {f"{name}.step.{i}": step for i, step in enumerate(steps)}

    def load(self, name: str, saved: dict[str, Tensor]) -> None:
        """Restores what `tensors` returned."""
        self.flat.load_values(saved[f"{name}.values"])
        used = [i for i, group in enumerate(self.flat.groups) if group]
        for key in ("exp_avg", "exp_avg_sq"):
            self.flat.scatter([saved[f"{name}.{key}.{i}"] for i in range(len(used))], self._parts(key))
        for i, group in enumerate(used):
            for step in self._parts("step")[group]:
                step.copy_(saved[f"{name}.step.{i}"])

    def step(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Averages the gradient over ranks, clips it and updates the parameters.

        `loss` is this rank's; if it is not finite, the gradient counts as not finite on all ranks. Returns the
        gradient's norm and whether it was finite, both 0-dimensional tensors."""
        norm = self.flat.reduce_grads(loss)
        finite = norm.isfinite()
        # the interface of torch.amp.GradScaler to fused optimizers: gradients are divided by grad_scale, found_inf skips
        self.adam.grad_scale = (norm / self.max_norm).clamp_min(1.0)
        self.adam.found_inf = (~finite).float()
        self.adam.step()
        return norm, finite
