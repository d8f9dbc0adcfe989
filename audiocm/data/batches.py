"""Endless training batches, each a function of (seed, rank, step) alone.

A resumed run, or the same run on another device, gets the same batches, and the ranks of one run get different ones.
"""

import os

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self


class StepSeededBatches:
    """Base class of endless batches that count their steps and draw each from a random generator of its own.

    A subclass defines `__next__`. `rank` None: the environment variable RANK, as torchrun sets it, else 0."""

    def __init__(self, seed: int, device: torch.device | str, rank: int | None):
        self.seed, self.device, self.step = seed, torch.device(device), 0
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank

    def __iter__(self) -> Self:
        return self

    def state_dict(self) -> dict[str, int]:
        """Returns what `load_state_dict` needs to continue after the current step."""
        return {"step": self.step, "seed": self.seed, "rank": self.rank}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the step of a saved state. Raises ValueError if its seed or rank differs."""
        for name in ("seed", "rank"):
            if state[name] != (own := getattr(self, name)):
                raise ValueError(f"the checkpoint's batches were drawn with {name} {state[name]}, not {own}")
        self.step = state["step"]

    def step_generator(self) -> np.random.Generator:
        """Counts one step and returns its random generator."""
        self.step += 1
        return np.random.default_rng([self.seed, self.rank, self.step - 1])

    def columns_to_device(self, *columns: np.ndarray) -> Tensor:
        """Copies integer columns [batch] to the device in one transfer that does not wait; returns [column, batch]."""
        table = torch.from_numpy(np.stack(columns).astype(np.int64))
        return table.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else table


def cumulative_probabilities(weights: np.ndarray) -> np.ndarray:
    """Returns cumulative probabilities. Raises ValueError if the weights are not finite, negative or all zero."""
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError("clip weights must be finite, not negative and not all zero")
    return np.cumsum(weights) / weights.sum()


def draw_indices(generator: np.random.Generator, cumulative: np.ndarray, count: int) -> np.ndarray:
    """Draws indices with replacement by their cumulative probabilities."""
    return np.searchsorted(cumulative, generator.random(count), side="right").clip(max=len(cumulative) - 1)
