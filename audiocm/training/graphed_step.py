"""A whole training step as CUDA graphs, one for each shape of its batches."""

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from .trees import clone_tree, tree_signature, tree_tensors


class CUDAGraphStep:
    """Runs a step function on batches, as one captured CUDA graph per batch signature.

    The first `eager` calls of a signature run eagerly: they are real steps that also compile, tune and allocate. The
    next call records the graph, and later ones replay it. `step` may only write to tensors that live outside of it and
    must not wait for the device. All calls have to come from the same side stream, `cuda_graphs.side_stream`."""

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
