"""AdamW on flat parameters with gradient clipping and a guard against non-finite gradients, without waiting for the
device."""

import math
from collections.abc import Iterable
from itertools import accumulate

import torch
from torch import Tensor, nn

ALIGNMENT = 64  # entries; each parameter's view starts at a multiple, so that vectorised loads stay possible


class FlatParameters:
    """Parameters as views of one float32 tensor, and their gradients, if they are trained, as views of another.

    Clipping, AdamW, moving averages and all-reduce then take one kernel each, gradients have the strides of their
    parameters as fused AdamW requires, and a checkpoint is a few long vectors. Matrices and convolution kernels come
    first; only they get weight decay. Raises ValueError if there is no parameter or one is not float32."""

    def __init__(self, parameters: Iterable[nn.Parameter], trained: bool = True):
        # sorted() is stable: within both kinds the order is the module's
        self.parameters = sorted(dict.fromkeys(parameters), key=lambda p: p.ndim < 2)
        if not self.parameters:
            raise ValueError("nothing to train: no parameter requires a gradient")
        if wrong := sorted({str(p.dtype) for p in self.parameters} - {"torch.float32"}):
            raise ValueError(f"trained parameters must be float32, not {', '.join(wrong)}: use precision='bf16'")
        sizes = [-(-p.numel() // ALIGNMENT) * ALIGNMENT for p in self.parameters]
        *starts, total = accumulate(sizes, initial=0)
        self.first_vector = sum(size for size, p in zip(sizes, self.parameters, strict=True) if p.ndim >= 2)
        device = self.parameters[0].device
        self.values = torch.zeros(total, device=device)
        self.grads = torch.zeros(total if trained else 0, device=device)
        with torch.no_grad():
            for p, start in zip(self.parameters, starts, strict=True):
                strides = torch.empty_like(p, device="meta").stride()  # p's own if it is dense
                view = self.values.as_strided(p.shape, strides, start)
                view.copy_(p)
                p.data = view
                p.grad = self.grads.as_strided(p.shape, strides, start) if trained else None

    def require_grad(self, enabled: bool) -> None:
        """Sets whether autograd records operations on the parameters."""
        for p in self.parameters:
            p.requires_grad_(enabled)


class Optimizer:
    """Fused AdamW on `FlatParameters` with its learning rate, clipping and guard on the device.

    A step whose gradient is not finite changes nothing: neither parameters nor moments nor the step count."""

    def __init__(self, flat: FlatParameters, betas: tuple[float, float], weight_decay: float, max_norm: float | None):
        self.flat, self.max_norm = flat, max_norm or math.inf
        device = flat.values.device
        self.lr = torch.zeros((), device=device)
        groups = []
        values, grads = (whole.tensor_split([flat.first_vector]) for whole in (flat.values, flat.grads))
        for value, grad, decay in zip(values, grads, (weight_decay, 0.0), strict=True):
            if len(value):
                leaf = nn.Parameter(value)
                leaf.grad = grad
                groups.append({"params": [leaf], "weight_decay": decay})
        self.adam = torch.optim.AdamW(groups, lr=self.lr, betas=betas, fused=True, capturable=device.type == "cuda")
        for group in self.adam.param_groups:
            group["lr"] = self.lr
            leaf = group["params"][0]
            moments = {key: torch.zeros_like(leaf, requires_grad=False) for key in ("exp_avg", "exp_avg_sq")}
            self.adam.state[leaf] = {"step": torch.zeros((), device=device), **moments}

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Returns all tensors that a resumed run needs, by names that start with `name`; not copies, so they can be
        restored."""
        states = enumerate(self.adam.state.values())
        tensors = {f"{name}.{key}.{i}": value for i, state in states for key, value in state.items()}
        return {f"{name}.values": self.flat.values, **tensors}

    def step(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Averages the gradient over ranks, clips it and updates the parameters.

        `loss` is this rank's; if it is not finite, the gradient counts as not finite on all ranks. Returns the
        gradient's norm and whether it was finite, both 0-dimensional tensors."""
        grads = self.flat.grads
        grads[:1] += 0 * loss.detach()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(grads)
            grads /= torch.distributed.get_world_size()
        norm = grads.norm()
        finite = norm.isfinite()
        # the interface of torch.amp.GradScaler to fused optimizers: gradients are divided by grad_scale, found_inf skips
        self.adam.grad_scale = (norm / self.max_norm).clamp_min(1.0)
        self.adam.found_inf = (~finite).float()
        self.adam.step()
        return norm, finite
