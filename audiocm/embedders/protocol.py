"""What an embedder is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np


class Embedder(Protocol):
    name: str
    sample_rate: int
    digest: str

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]: ...


class CallableEmbedder:
    """Any function wav [sample] float32 → vector [dim] as an embedder; `digest` should change when its weights do."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], name: str, sample_rate: int, digest: str) -> None:
        self.function, self.name, self.sample_rate, self.digest = function, name, sample_rate, digest

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"embedding": np.stack([np.asarray(self.function(wav)).reshape(-1) for wav in wavs])}
