"""Recording of CUDA graphs, after calls on a side stream that compile, tune and allocate."""

import contextlib
from collections.abc import Callable, Iterator

import torch

WARM_UP = 3  # calls before recording


@contextlib.contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Runs the block on a side stream on CUDA, as recording CUDA graphs requires; elsewhere as it is."""
    if device.type != "cuda":
        yield
        return
    side = torch.cuda.Stream(device)
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        yield
    torch.cuda.current_stream(device).wait_stream(side)


def record_graph(action: Callable[[], object], device: torch.device) -> torch.cuda.CUDAGraph:
    """Returns the CUDA graph of an action, which is called WARM_UP times and then recorded; `replay()` runs it.

    The action may only write to memory that lives outside of it, and must not wait for the device. Raises RuntimeError
    if it cannot be recorded."""
    with side_stream(device):
        for _ in range(WARM_UP):
            action()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        action()
    return graph
