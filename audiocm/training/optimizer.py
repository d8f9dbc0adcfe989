"""AdamW on flat parameters with gradient clipping and a guard against non-finite gradients, without waiting for the device."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

ALIGNMENT = 64  # entries; each parameter's view starts at a multiple, so that vectorised loads stay possible


class FlatParameters:
    """Parameters as views of one float32 tensor, and their gradients as views of another.

    Clipping, AdamW, moving averages and all-reduce then take one kernel each, gradients have the strides of their
    parameters as fused AdamW requires, and a checkpoint is a few long vectors. Matrices and convolution kernels come first;
    only they get weight decay. Raises ValueError if there is no parameter or one is not float32."""

    def __init__(self, parameters: Iterable[nn.Parameter]):
        # sorted() is stable: within both kinds the order is the module's
        self.parameters = sorted(dict.fromkeys(parameters), key=lambda p: p.ndim < 2)
        if not self.parameters:
            raise ValueError("nothing to train: no parameter requires a gradient")
        wrong = {str(p.dtype) for p in self.parameters} - {"torch.float32"}
        if wrong:
            raise ValueError(
                f"trained parameters must be float32, not {', '.join(sorted(wrong))}: use precision='bf16'"
            )
        starts, total = [], 0
        for p in self.parameters:
            starts.append(total)
            total += -(-p.numel() // ALIGNMENT) * ALIGNMENT
        vector_starts = [start for start, p in zip(starts, self.parameters, strict=True) if p.ndim < 2]
        self.first_vector = vector_starts[0] if vector_starts else total
        device = self.parameters[0].device
        self.values = torch.zeros(total, device=device)
        self.grads = torch.zeros(total, device=device)
        with torch.no_grad():
            for p, start in zip(self.parameters, starts, strict=True):
                strides = torch.empty_like(p, device="meta").stride()  # p's own if it is dense
                view = self.values.as_strided(p.shape, strides, start)
                view.copy_(p)
                p.data = view
                p.grad = self.grads.as_strided(p.shape, strides, start)

    def require_grad(self, enabled: bool) -> None:
        """Sets whether autograd records operations on the parameters."""
        for p in self.parameters:
            p.requires_grad_(enabled)

    def freeze(self) -> None:
        """Gives up gradients and their memory, for a moving average."""
        self.require_grad(False)
        self.grads = torch.zeros(0, device=self.values.device)
        for p in self.parameters:
            p.grad = None

    def parameter_groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Returns AdamW's parameter groups, one long leaf each: matrices with weight decay, the rest without."""
        groups = []
        parts = ((slice(None, self.first_vector), weight_decay), (slice(self.first_vector, None), 0.0))
        for part, decay in parts:
            leaf = nn.Parameter(self.values[part])
            if leaf.numel():
                leaf.grad = self.grads[part]
                groups.append({"params": [leaf], "weight_decay": decay})
        return groups


class Optimizer:
    """Fused AdamW on `FlatParameters` with its learning rate, clipping and guard on the device.

    A step whose gradient is not finite changes nothing: neither parameters nor moments nor the step count."""

    def __init__(
        self, flat: FlatParameters, betas: tuple[float, float], weight_decay: float, max_grad_norm: float | None
    ):
        self.flat, self.max_grad_norm = flat, max_grad_norm
        device = flat.values.device
        self.lr = torch.zeros((), device=device)
        groups, capturable = flat.parameter_groups(weight_decay), device.type == "cuda"
        self.adam = torch.optim.AdamW(groups, lr=self.lr, betas=betas, fused=True, capturable=capturable)
        for group in self.adam.param_groups:
            group["lr"] = self.lr
            for leaf in group["params"]:
                self.adam.state[leaf] = {
                    "step": torch.zeros((), device=device),
                    "exp_avg": torch.zeros_like(leaf, requires_grad=False),
                    "exp_avg_sq": torch.zeros_like(leaf, requires_grad=False),
                }

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Returns all tensors that a resumed run needs, by names that start with `name`; not copies, so they can be restored."""
        tensors = {f"{name}.values": self.flat.values}
        for i, group in enumerate(self.adam.param_groups):
            for leaf in group["params"]:
                tensors |= {f"{name}.{key}.{i}": value for key, value in self.adam.state[leaf].items()}
        return tensors

    def step(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Averages the gradient over ranks, clips it and updates the parameters.

        `loss` is this rank's; if it is not finite, the gradient counts as not finite on all ranks. Returns the gradient's
        norm and whether it was finite, both 0-dimensional tensors."""
        grads = self.flat.grads
        grads[:1] += 0 * loss.detach()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(grads)
            grads /= torch.distributed.get_world_size()
        norm = grads.norm()
        finite = norm.isfinite()
        # the interface of torch.amp.GradScaler to fused optimizers: gradients are divided by grad_scale, found_inf skips
        self.adam.grad_scale = (
            (norm / self.max_grad_norm).clamp_min(1.0) if self.max_grad_norm else torch.ones_like(norm)
        )
        self.adam.found_inf = (~finite).float()
        self.adam.step()
        return norm, finite
