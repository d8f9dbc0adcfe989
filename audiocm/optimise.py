"""One optimizer step without ever waiting for the device: flat parameters, clipping, skipped steps, CUDA graphs."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

ALIGNED = 64  # entries; every parameter's view starts at a multiple, so that vector loads stay possible


class Flat:
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


class Optimiser:
    """Fused AdamW on a `Flat` with its learning rate, clipping and NaN guard on the device.

    A step whose gradient is not finite changes nothing (parameters, moments, step count).
    """

    def __init__(self, flat: Flat, betas: tuple[float, float], weight_decay: float, clip: float | None):
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


def leaves(tree: Any) -> list[Tensor]:
    """The tensors of a batch: nested tuples, lists, dicts, dataclasses; anything else is skipped."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for child in _children(tree) for leaf in leaves(child)]


def copied(tree: Any) -> Any:
    """The same batch in memory of its own."""
    if isinstance(tree, Tensor):
        return tree.clone(memory_format=torch.contiguous_format)
    if dataclasses.is_dataclass(tree):
        return dataclasses.replace(tree, **{f.name: copied(getattr(tree, f.name)) for f in dataclasses.fields(tree)})
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        parts = [copied(child) for child in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def _children(tree: Any) -> list[Any]:
    if dataclasses.is_dataclass(tree):
        return [getattr(tree, f.name) for f in dataclasses.fields(tree)]
    if isinstance(tree, dict):
        return list(tree.values())
    return list(tree) if isinstance(tree, (tuple, list)) else []


def signature(tree: Any) -> tuple:
    """What two batches must share to run through one graph: which fields are there, their shapes and dtypes."""
    if isinstance(tree, Tensor):
        return (tuple(tree.shape), tree.dtype)
    return (type(tree).__name__, *(signature(child) for child in _children(tree)))


class Replayed:
    """A step function of a batch, captured as one CUDA graph for each batch signature.

    The first `eager` calls of a signature run eagerly (they are real steps: they compile, tune and allocate), the next
    one is recorded and replayed. `step` may only write to tensors that live outside of it and must not wait for the device.
    Call it on a side stream (`torch.cuda.stream`), the same one always.
    """

    def __init__(self, step: Callable[..., None], eager: int = 3):
        self.step, self.eager = step, eager
        self.calls: dict[tuple, int] = {}
        self.graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, Any]] = {}
        self.pool: Any = None

    def __call__(self, *batch: Any) -> None:
        key = signature(batch)
        if key in self.graphs:
            graph, static = self.graphs[key]
            for mine, new in zip(leaves(static), leaves(batch), strict=True):
                mine.copy_(new, non_blocking=True)
            graph.replay()
            return
        self.calls[key] = self.calls.get(key, 0) + 1
        if self.calls[key] <= self.eager:
            self.step(*batch)
            return
        if len(self.graphs) == 8:
            warnings.warn("more than 8 batch shapes: each has its own CUDA graph and memory", stacklevel=2)
        static, graph = copied(batch), torch.cuda.CUDAGraph()
        self.pool = self.pool or torch.cuda.graph_pool_handle()
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"):
                self.step(*static)
        except RuntimeError as error:
            raise RuntimeError(
                "this step cannot be recorded as a CUDA graph: something in the losses waits for the device or copies "
                f"from the CPU; train with cuda_graph=False. First cause: {str(error).splitlines()[0]}"
            ) from error
        self.graphs[key] = graph, static
        graph.replay()


class Compiled:
    """A block's compiled call. torch.compile cannot trace what is being differentiated forwards, so dual tensors take the
    block's own derivative, where it has one (`pushed(inputs, tangents) -> value, tangent`), compiled as well."""

    def __init__(self, block: nn.Module):
        self.block, self.plain = block, torch.compile(block._call_impl, dynamic=False)
        self.pushed = torch.compile(block.pushed, dynamic=False) if hasattr(block, "pushed") else None

    def __call__(self, *inputs: Any, **more: Any) -> Tensor:
        if forward_ad._current_level < 0:
            return self.plain(*inputs, **more)
        parts = [forward_ad.unpack_dual(x) if isinstance(x, Tensor) else (x, None) for x in inputs]
        values, tangents = zip(*parts, strict=True)
        if all(tangent is None for tangent in tangents):
            return self.plain(*values, **more)
        if self.pushed is None or more:
            return self.block._call_impl(*inputs, **more)
        return forward_ad.make_dual(*self.pushed(values, tangents))


def compile_blocks(net: nn.Module) -> None:
    """torch.compile, in place: the blocks that a diffusers net names as repeated (each kind is compiled once, whatever the
    depth: a tenth of the time of the whole), or the net itself where it names none."""
    torch._dynamo.config.recompile_limit = max(
        64, torch._dynamo.config.recompile_limit
    )  # one code, many nets and shapes
    named = {kind for part in net.modules() for kind in getattr(part, "_repeated_blocks", None) or ()}
    for part in [part for part in net.modules() if type(part).__name__ in named] or [net]:
        part._compiled_call_impl = Compiled(part)  # what nn.Module.compile sets; copies of the net are made without it
