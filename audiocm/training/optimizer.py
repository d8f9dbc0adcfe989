"""One optimizer step without ever waiting for the device: flat parameters, clipping, skipped steps, CUDA graphs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

ALIGNED = 64  # entries; every parameter's view starts at a multiple, so that vector loads stay possible


class FlatParameters:
    """Parameters as views of one float32 tensor, their gradients as views of another.

    One kernel then does what a loop over parameters did (clip, AdamW, moving average, all-reduce), the gradients have
    the parameters' strides (fused AdamW asks for that), and a checkpoint is a handful of long vectors.
    Matrices and kernels come first and alone get weight decay. Raises ValueError where a parameter is not float32.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]):
        # sorted() is stable: the order inside both kinds stays the module's
        self.parameters = sorted(dict.fromkeys(parameters), key=lambda p: p.ndim < 2)
        if not self.parameters:
            raise ValueError("nothing to train: no parameter requires a gradient")
        odd = {str(p.dtype) for p in self.parameters} - {"torch.float32"}
        if odd:
            raise ValueError(f"trained parameters must be float32, not {', '.join(sorted(odd))}: use precision='bf16'")
        starts, total = [], 0
        for p in self.parameters:
            starts.append(total)
            total += -(-p.numel() // ALIGNED) * ALIGNED
        vectors = [start for start, p in zip(starts, self.parameters, strict=True) if p.ndim < 2]
        self.split = vectors[0] if vectors else total
        device = self.parameters[0].device
        self.values = torch.zeros(total, device=device)
        self.grads = torch.zeros(total, device=device)
        with torch.no_grad():
            for p, start in zip(self.parameters, starts, strict=True):
                strides = torch.empty_like(p, device="meta").stride()  # p's own if dense
                view = self.values.as_strided(p.shape, strides, start)
                view.copy_(p)
                p.data = view
                p.grad = self.grads.as_strided(p.shape, strides, start)

    def require_grad(self, wanted: bool) -> None:
        for p in self.parameters:
            p.requires_grad_(wanted)

    def freeze(self) -> None:
        """For copies that only follow: no gradient, and no memory for one."""
        self.require_grad(False)
        self.grads = torch.zeros(0, device=self.values.device)
        for p in self.parameters:
            p.grad = None

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """AdamW's parameter groups: matrices with decay, the rest without. Each is one long leaf."""
        out = []
        for part, decay in ((slice(None, self.split), weight_decay), (slice(self.split, None), 0.0)):
            leaf = nn.Parameter(self.values[part])
            if leaf.numel():
                leaf.grad = self.grads[part]
                out.append({"params": [leaf], "weight_decay": decay})
        return out


class Optimizer:
    """Fused AdamW on a `Flat` with its learning rate, clipping and NaN guard on the device.

    A step whose gradient is not finite changes nothing (parameters, moments, step count).
    """

    def __init__(self, flat: FlatParameters, betas: tuple[float, float], weight_decay: float, clip: float | None):
        self.flat, self.clip = flat, clip
        device = flat.values.device
        self.lr = torch.zeros((), device=device)
        self.adam = torch.optim.AdamW(
            flat.groups(weight_decay), lr=self.lr, betas=betas, fused=True, capturable=device.type == "cuda"
        )
        for group in self.adam.param_groups:
            group["lr"] = self.lr
            for leaf in group["params"]:
                self.adam.state[leaf] = {
                    "step": torch.zeros((), device=device),
                    "exp_avg": torch.zeros_like(leaf, requires_grad=False),
                    "exp_avg_sq": torch.zeros_like(leaf, requires_grad=False),
                }

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Everything that a resumed run needs, by name; the tensors themselves, to read or to overwrite."""
        out = {f"{name}.values": self.flat.values}
        for i, group in enumerate(self.adam.param_groups):
            for leaf in group["params"]:
                out |= {f"{name}.{key}.{i}": value for key, value in self.adam.state[leaf].items()}
        return out

    def step(self, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Average over ranks, clip, update. Returns the gradient's norm and whether it was finite (0-dim tensors).

        `loss`: this rank's; where it is not finite neither is the gradient, on all ranks.
        """
        grads = self.flat.grads
        grads[:1] += 0 * loss.detach()
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(grads)
            grads /= torch.distributed.get_world_size()
        norm = grads.norm()
        finite = norm.isfinite()
        # what torch.amp.GradScaler hands to fused optimizers: gradients are divided by one, the other skips the step
        self.adam.grad_scale = (norm / self.clip).clamp_min(1.0) if self.clip else torch.ones_like(norm)
        self.adam.found_inf = (~finite).float()
        self.adam.step()
        return norm, finite
