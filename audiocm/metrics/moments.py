"""Mean and covariance of embeddings: of arrays, of streams, and projected onto principal components."""

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from ..checks import check_array, check_whole
from .score import validate_vectors


@dataclass(frozen=True)
class Moments:
    """Mean [dim] and unbiased covariance [dim, dim] of embeddings."""

    mean: np.ndarray
    covariance: np.ndarray


class RunningMoments:
    """Accumulates the moments of a stream of embeddings in O(dim²) memory, in float64 (Chan's pairwise update)."""

    def __init__(self, count: int = 0, known: Moments | None = None) -> None:
        """`known` are the moments of the first `count` embeddings."""
        self.count, self._mean, self._scatter = 0, 0.0, 0.0
        if known is not None:
            self.count, self._mean, self._scatter = count, known.mean, known.covariance * (count - 1)

    def update(self, x: np.ndarray) -> None:
        """Adds embeddings [count, dim], or one [dim]."""
        x = check_array("x", x if np.ndim(x) > 1 else [x], ("count", "dim"))
        if self.count and x.shape[1] != len(self._mean):
            raise ValueError(f"x must have the shape [count, {len(self._mean)}], as before, not {list(x.shape)}")
        mean = x.mean(axis=0)
        centred = x - mean
        delta, total = mean - self._mean, self.count + len(x)
        self._scatter += centred.T @ centred + np.outer(delta, delta) * (self.count * len(x) / total)
        self._mean = self._mean + delta * (len(x) / total)
        self.count = total

    def moments(self) -> Moments:
        """Returns the moments so far. Raises ValueError for fewer than 2 embeddings."""
        if self.count < 2:
            raise ValueError(f"need at least 2 embeddings for a covariance, got {self.count}")
        return Moments(self._mean, self._scatter / (self.count - 1))


def moments(x: np.ndarray, weight: np.ndarray | None = None) -> Moments:
    """Computes the moments of at least 2 embeddings [count, dim], each counted `weight` times, int [count]."""
    drawn = np.arange(len(x)) if weight is None else np.flatnonzero(weight)
    weight = np.ones(len(x)) if weight is None else weight[drawn]
    total = weight.sum()
    mean = weight @ x[drawn] / total
    centred = (x[drawn] - mean) * np.sqrt(weight)[:, None]
    return Moments(mean, centred.T @ centred / (total - 1))


@dataclass(frozen=True)
class Projection:
    """Projection onto the principal components of a reference set: (x − mean) @ components; `name` names the metric."""

    mean: np.ndarray
    components: np.ndarray  # [dim, kept]
    name: str

    @staticmethod
    def of_moments(reference: Moments, kept: int) -> "Projection":
        """Returns the first `kept` components of a set of which the moments are known."""
        components = linalg.eigh(reference.covariance)[1][:, : -kept - 1 : -1]
        return Projection(reference.mean, components, f"pca{kept}-of-reference")

    def moments(self, one: Moments) -> Moments:
        """Returns the moments of the projection of a set with the moments `one`."""
        return Moments(self(one.mean), self.components.T @ one.covariance @ self.components)

    @staticmethod
    def fit(reference: np.ndarray, kept: int) -> "Projection":
        """Fits `kept` components to embeddings [clip, dim]. Raises ValueError if the reference has
        fewer."""
        reference = validate_vectors(reference, "reference")
        limit = min(len(reference) - 1, reference.shape[1])
        check_whole("kept components", kept, least=1, most=limit)
        mean = reference.mean(axis=0)
        components = linalg.svd(reference - mean, full_matrices=False)[2][:kept].T
        return Projection(mean, components, f"pca{kept}-of-reference")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (np.asarray(x, dtype=np.float64) - self.mean) @ self.components
