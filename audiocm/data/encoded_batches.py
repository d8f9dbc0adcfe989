"""Endless batches of a data set that was encoded into files."""

import functools
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields

import numpy as np
import torch
from torch import Tensor
from typing_extensions import Self

from ..diffusion.denoiser import Condition
from .encoded_set import EncodedSet


class EncodedBatches:
    """Endless batches of (latents [batch, ...], Condition) of an `EncodedSet`, each row once an epoch, in random order.

    batch     rows of one rank
    dropout   share of rows whose condition is dropped (cond.null)
    rank, ranks   of this process; None: the environment variables RANK and WORLD_SIZE, as torchrun sets them

    A batch is a function of seed, rank and step alone. The ranks of a step take consecutive rows of one order, so that
    two ranks see in a step what one rank sees with the doubled batch, or in two steps; a run resumes on any number of
    ranks. The next batch is read while a step runs. Raises ValueError for a batch below 1."""

    any_ranks = True  # `Trainer` may resume on another number of ranks

    def __init__(
        self,
        data: EncodedSet,
        batch: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        dropout: float = 0.0,
        rank: int | None = None,
        ranks: int | None = None,
    ):
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.data, self.batch, self.seed, self.dropout = data, batch, seed, dropout
        self.device = torch.device(device)
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self.ranks = int(os.environ.get("WORLD_SIZE", 1)) if ranks is None else ranks
        self.position = 0  # rows that all ranks have taken
        self._order = functools.lru_cache(maxsize=2)(self._order_of_epoch)
        self._pool = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future] | None = None

    def __iter__(self) -> Self:
        return self

    def state_dict(self) -> dict[str, int]:
        """Returns what `load_state_dict` needs to continue after the current step; the same on every rank."""
        return {"position": self.position, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues after the step of a saved state. Raises ValueError if its seed differs."""
        if state["seed"] != self.seed:
            raise ValueError(f"the checkpoint's batches were drawn with seed {state['seed']}, not {self.seed}")
        self.position = state["position"]

    def _order_of_epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.data))

    def rows(self, position: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns (rows, captions, null bool), all [batch], of this rank's batch of a step that starts at `position`."""
        places = position + self.rank * self.batch + np.arange(self.batch)
        epochs, inside = np.divmod(places, len(self.data))
        rows = np.array([self._order(int(epoch))[i] for epoch, i in zip(epochs, inside, strict=True)])
        # Philox can jump: the numbers of a place in the order do not depend on the batch that it is in
        bits = np.random.Philox(key=self.seed).advance(int(places[0]))
        uniform = np.random.Generator(bits).random((self.batch, 4))
        first, end = self.data.first_caption[rows], self.data.first_caption[rows + 1]
        captions = self.data.caption_ids[first + (uniform[:, 0] * (end - first)).astype(np.int64)]
        return rows, captions, uniform[:, 1] < self.dropout

    def _load(self, position: int) -> tuple[Tensor, Condition]:
        rows, captions, null = self.rows(position)
        cond = self.data.conditions(captions)
        if self.dropout > 0:
            cond.null = torch.from_numpy(null)
        return self.data.latents(rows), cond

    def __next__(self) -> tuple[Tensor, Condition]:
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != self.position:
            ahead = self.position, self._pool.submit(self._load, self.position)
        self.position += self.batch * self.ranks
        self._ahead = self.position, self._pool.submit(self._load, self.position)
        x, cond = ahead[1].result()
        values = {one.name: getattr(cond, one.name) for one in fields(cond)}
        moved = {name: self._moved(value) for name, value in values.items() if value is not None}
        return self._moved(x), Condition(**moved)

    def _moved(self, value: Tensor) -> Tensor:
        """Copies to the device without waiting for it."""
        return value.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else value
