"""CUDA graphs and torch.compile."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad


def tree_tensors(tree: Any) -> list[Tensor]:
    """The tensors of a batch: nested tuples, lists, dicts, dataclasses; anything else is skipped."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for child in _children(tree) for leaf in tree_tensors(child)]


def clone_tree(tree: Any) -> Any:
    """The same batch in memory of its own."""
    if isinstance(tree, Tensor):
        return tree.clone(memory_format=torch.contiguous_format)
    if dataclasses.is_dataclass(tree):
        return dataclasses.replace(
            tree, **{f.name: clone_tree(getattr(tree, f.name)) for f in dataclasses.fields(tree)}
        )
    if isinstance(tree, dict):
        return {key: clone_tree(value) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        parts = [clone_tree(child) for child in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


def _children(tree: Any) -> list[Any]:
    if dataclasses.is_dataclass(tree):
        return [getattr(tree, f.name) for f in dataclasses.fields(tree)]
    if isinstance(tree, dict):
        return list(tree.values())
    return list(tree) if isinstance(tree, (tuple, list)) else []


def tree_signature(tree: Any) -> tuple:
    """What two batches must share to run through one graph: which fields are there, their shapes and dtypes."""
    if isinstance(tree, Tensor):
        return (tuple(tree.shape), tree.dtype)
    return (type(tree).__name__, *(tree_signature(child) for child in _children(tree)))


class CUDAGraphStep:
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
        key = tree_signature(batch)
        if key in self.graphs:
            graph, static = self.graphs[key]
            for mine, new in zip(tree_tensors(static), tree_tensors(batch), strict=True):
                mine.copy_(new, non_blocking=True)
            graph.replay()
            return
        self.calls[key] = self.calls.get(key, 0) + 1
        if self.calls[key] <= self.eager:
            self.step(*batch)
            return
        if len(self.graphs) == 8:
            warnings.warn("more than 8 batch shapes: each has its own CUDA graph and memory", stacklevel=2)
        static, graph = clone_tree(batch), torch.cuda.CUDAGraph()
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


class CompiledBlock:
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
        part._compiled_call_impl = CompiledBlock(
            part
        )  # what nn.Module.compile sets; copies of the net are made without it
