"""The interface of embedders: pretrained networks whose features metrics are computed from."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np


class Embedder(Protocol):
    """A pretrained network that maps waveforms to features.

    `name` is part of the names of its metrics, `sample_rate` is in Hz, and `digest` identifies weights and front
    end."""

    name: str
    sample_rate: int
    digest: str

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Maps waveforms float32 [sample] to arrays [clip, ...]: always "embedding"; a tagger adds "probabilities"
        [clip, class], an embedder of frames adds "frames", one array [frame, dim] per clip."""
        ...


@runtime_checkable
class TextAudioEmbedder(Embedder, Protocol):
    """An embedder with a text encoder in the same space, such as CLAP."""

    def embed_text(self, texts: Sequence[str]) -> np.ndarray: ...

    def text_scores(self, audio: np.ndarray, prompts: Sequence[str]) -> np.ndarray: ...


@runtime_checkable
class Tagger(Embedder, Protocol):
    """An embedder whose "probabilities" [clip, class] are of named classes."""

    classes: Sequence[str]

    def class_indices(self, labels: Sequence[str]) -> list[int]:
        """Returns the indices of class names. Raises ValueError naming unknown ones."""
        if unknown := sorted(set(labels) - set(self.classes)):
            raise ValueError(f"not among the classes of {self.name}: {', '.join(unknown)}")
        return [self.classes.index(label) for label in labels]


class Rater(Embedder, Protocol):
    """A judge whose "embedding" [clip, rating] holds ratings, called `titles` in tables."""

    titles: Sequence[str]


class CallableEmbedder:
    """An embedder made from any function of a waveform float32 [sample] to a vector [dim].

    `digest` must change when the function's weights do, since caches and cards rely on it."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], name: str, sample_rate: int, digest: str) -> None:
        self.function, self.name, self.sample_rate, self.digest = function, name, sample_rate, digest

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"embedding": np.stack([np.asarray(self.function(wav)).reshape(-1) for wav in wavs])}
