"""Shared by recipes that measure time: medians of repeated calls, and a stopwatch of a network. Not a program."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn


def wall_seconds(action: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Returns the wall time of one call, including the work that it queues on the device."""
    start = time.perf_counter()
    action()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def median_seconds(
    action: Callable[[], object], repeats: int, device: torch.device | str = "cpu", warm_up: int = 1
) -> float:
    """Returns the median wall time of `repeats` calls, after `warm_up` calls that do not count."""
    for _ in range(warm_up):
        wall_seconds(action, device)
    return statistics.median(wall_seconds(action, device) for _ in range(repeats))


class Stopwatch:
    """Counts the calls of a network, the rows of their inputs (a guided query of a teacher has two) and their time."""

    def __init__(self, net: nn.Module):
        self.calls, self.rows, self.seconds = 0, 0, 0.0
        self._hooks = [net.register_forward_pre_hook(self._start), net.register_forward_hook(self._stop)]

    def remove(self) -> None:
        """Stops counting."""
        for hook in self._hooks:
            hook.remove()

    def _start(self, net: nn.Module, inputs: tuple) -> None:
        self._wait()
        self.rows += len(inputs[0])
        self._began = time.perf_counter()

    def _stop(self, *_: object) -> None:
        self._wait()
        self.calls, self.seconds = self.calls + 1, self.seconds + time.perf_counter() - self._began

    def _wait(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
