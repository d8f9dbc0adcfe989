"""CUDA graphs of whole training steps, torch.compile for single blocks, and gradient checkpointing of blocks.

All private names of torch that training depends on are in this file (`forward_ad._current_level`, `Module._call_impl`,
`Module._compiled_call_impl`, `_dynamo.config`); checked with torch 2.11 and 2.13.
"""

import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint


def tree_tensors(tree: Any) -> list[Tensor]:
    """Returns all tensors of a batch of nested tuples, lists, dicts and dataclasses; other leaves are skipped."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for child in _children(tree).values() for leaf in tree_tensors(child)]


def clone_tree(tree: Any) -> Any:
    """Returns a copy of a batch whose tensors have memory of their own."""
    return map_tensors(tree, lambda tensor: tensor.clone(memory_format=torch.contiguous_format))


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Returns a batch of the same structure with all tensors changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    children = {key: map_tensors(child, change) for key, child in _children(tree).items()}
    if dataclasses.is_dataclass(tree):
        return dataclasses.replace(tree, **children)
    if isinstance(tree, (tuple, list)):
        return type(tree)(*children.values()) if hasattr(tree, "_fields") else type(tree)(children.values())
    return children if isinstance(tree, dict) else tree


def _children(tree: Any) -> dict[Any, Any]:
    if dataclasses.is_dataclass(tree):
        return {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    if isinstance(tree, dict):
        return tree
    return dict(enumerate(tree)) if isinstance(tree, (tuple, list)) else {}


def tree_signature(tree: Any) -> tuple:
    """Returns the structure, shapes and dtypes of a batch; batches with equal signatures can run through one CUDA
    graph."""
    if isinstance(tree, Tensor):
        return (tuple(tree.shape), tree.dtype)
    return (type(tree).__name__, *(tree_signature(child) for child in _children(tree).values()))


class CUDAGraphStep:
    """Runs a step function on batches, as one captured CUDA graph per batch signature.

    The first `eager` calls of a signature run eagerly: they are real steps that also compile, tune and allocate. The
    next call records the graph, and later ones replay it. `step` may only write to tensors that live outside of it and
    must not wait for the device. All calls have to come from the same side stream (`torch.cuda.stream`)."""

    def __init__(self, step: Callable[..., None], eager: int = 3):
        self.step, self.eager = step, eager
        self.calls: Counter[tuple] = Counter()
        self.graphs: dict[tuple, tuple[torch.cuda.CUDAGraph, Any]] = {}
        self.pool = torch.cuda.graph_pool_handle()

    def __call__(self, *batch: Any) -> None:
        key = tree_signature(batch)
        self.calls[key] += 1
        if self.calls[key] <= self.eager:
            self.step(*batch)
            return
        if key not in self.graphs:
            self.graphs[key] = self._record(batch)
        graph, static = self.graphs[key]
        for own, new in zip(tree_tensors(static), tree_tensors(batch), strict=True):
            own.copy_(new, non_blocking=True)
        graph.replay()

    def _record(self, batch: Any) -> tuple[torch.cuda.CUDAGraph, Any]:
        """Returns the graph of a step and the batch with memory of its own that it reads."""
        if len(self.graphs) == 8:
            warnings.warn("more than 8 batch shapes: each has its own CUDA graph and memory", stacklevel=2)
        static, graph = clone_tree(batch), torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self.pool, stream=stream, capture_error_mode="thread_local"):
                self.step(*static)
        except RuntimeError as error:
            raise RuntimeError(
                "this step cannot be recorded as a CUDA graph: something in the losses waits for the device or copies "
                f"from the CPU; train with cuda_graph=False. First cause: {str(error).splitlines()[0]}"
            ) from error
        return graph, static


class CompiledBlock:
    """The compiled call of a block, which also supports forward-mode differentiation.

    torch.compile cannot trace dual tensors. They take the block's own derivative `jvp(inputs, tangents) -> (value,
    tangent)`, compiled as well, or the plain block if it has none."""

    def __init__(self, block: nn.Module):
        self.block, self.forward = block, torch.compile(block._call_impl, dynamic=False)
        self.jvp = torch.compile(block.jvp, dynamic=False) if hasattr(block, "jvp") else None

    def __call__(self, *inputs: Any, **kwargs: Any) -> Tensor:
        if forward_ad._current_level < 0:
            return self.forward(*inputs, **kwargs)
        duals = [forward_ad.unpack_dual(x) if isinstance(x, Tensor) else (x, None) for x in inputs]
        values, tangents = zip(*duals, strict=True)
        if all(tangent is None for tangent in tangents):
            return self.forward(*values, **kwargs)
        if self.jvp is None or kwargs:
            return self.block._call_impl(*inputs, **kwargs)
        return forward_ad.make_dual(*self.jvp(values, tangents))


def compile_blocks(net: nn.Module) -> None:
    """Compiles the repeated blocks of a diffusers network in place, or the whole network if it names none.

    Each kind of block is compiled once for any depth, in a tenth of the time that the whole network takes."""
    config = torch._dynamo.config
    config.recompile_limit = max(64, config.recompile_limit)  # the same code serves many networks and shapes
    for block in repeated_blocks(net) or [net]:
        block._compiled_call_impl = CompiledBlock(block)  # as nn.Module.compile does; copies of the network lack it


def repeated_blocks(net: nn.Module, more: Collection[str] = ()) -> list[nn.Module]:
    """Returns the blocks of the kinds that a network's `_repeated_blocks` names, or of the classes `more`, outermost
    only."""
    names = {name for part in net.modules() for name in getattr(part, "_repeated_blocks", None) or ()} | set(more)
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for part in net.modules():
        if names & {cls.__name__ for cls in type(part).__mro__} and part not in inside:  # FSDP makes a subclass
            found.append(part)
            inside.update(part.modules())
    return found


CHECKPOINTED = ("ResnetBlock2D", "Transformer2DModel")  # of U-Nets, beside the blocks that a network names


class CheckpointedBlock:
    """The call of a block, compiled or not, that keeps its inputs only and is repeated in the backward pass.

    Forward-mode differentiation, which keeps nothing, takes the plain call."""

    def __init__(self, block: nn.Module):
        self.call = block._compiled_call_impl or block._call_impl
        self.has_dropout = any(isinstance(part, nn.Dropout) and part.p > 0 for part in block.modules())

    def __call__(self, *inputs: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled() or forward_ad._current_level >= 0:
            return self.call(*inputs, **kwargs)
        options = {
            "use_reentrant": False,
            "preserve_rng_state": self.has_dropout,
        }  # its state cannot be read in a graph
        return checkpoint(self.call, *inputs, **options, **kwargs)


def checkpoint_blocks(net: nn.Module) -> None:
    """Makes a network keep only the inputs of its repeated blocks for the backward pass, which computes them again.

    Compile first. Raises ValueError if the network has no blocks that are known."""
    blocks = repeated_blocks(net, CHECKPOINTED)
    if not blocks:
        raise ValueError(f"gradient checkpointing: {type(net).__name__} names no `_repeated_blocks`")
    for block in blocks:
        block._compiled_call_impl = CheckpointedBlock(block)
