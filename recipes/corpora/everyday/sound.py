"""The description of one kind of synthesised sound."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sound:
    """A kind of sound: `make(rng, seconds)` returns a take, float32 [sample] at RATE Hz, and words for its captions.

    `captions` are templates whose fields the words fill, `labels` AudioSet display names, `seconds` the shortest and
    the longest length; a `continuous` sound fills the asked length, another ends by itself. `count` takes are made."""

    make: Callable[[np.random.Generator, float], tuple[np.ndarray, dict[str, str]]]
    captions: tuple[str, ...]
    labels: tuple[str, ...]
    continuous: bool
    seconds: tuple[float, float]
    count: int = 80
