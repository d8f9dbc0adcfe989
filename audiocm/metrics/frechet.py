"""Fréchet distances between two sets of embeddings, with confidence intervals.

A set is an array [clip, dim] or, for embedders that give frames, a list of arrays [frame, dim], one per clip. The
distance is then over all frames, as FAD is defined, but whole clips are resampled, because frames of one clip are not
independent.

The trace of the square root of a product of covariances, tr (S1 S2)^½, is the nuclear norm of A Bᵀ, where A and B hold
the centred rows divided by √(n−1). With fewer clips than dimensions this is smaller, exact, and needs no matrix root.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from .score import Clips, Score, cap_frames, clip_of_row, independent_resample, spread_score, validate_vectors


@dataclass(frozen=True)
class Moments:
    """Mean [dim] and unbiased covariance [dim, dim] of embeddings."""

    mean: np.ndarray
    covariance: np.ndarray


class RunningMoments:
    """Accumulates the moments of a stream of embeddings in O(dim²) memory, in float64 (Chan's pairwise update)."""

    def __init__(self) -> None:
        self.count, self._mean, self._scatter = 0, 0.0, 0.0

    def update(self, x: np.ndarray) -> None:
        """Adds embeddings [count, dim], or one [dim]."""
        x = np.atleast_2d(np.asarray(x, dtype=np.float64))
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
    covariance = np.cov(x, rowvar=False, fweights=weight).reshape(x.shape[1], x.shape[1])
    return Moments(np.average(x, axis=0, weights=weight), covariance)


def frechet_from_moments(first: Moments, second: Moments) -> float:
    """Computes |μ1−μ2|² + tr S1 + tr S2 − 2 tr (S1 S2)^½. Dowson & Landau 1982; FID, Heusel et al. 2017, eq. 6."""
    root = _matrix_root(first.covariance)
    cross = np.sqrt(np.clip(linalg.eigvalsh(root @ second.covariance @ root), 0, None)).sum()
    gap = np.square(first.mean - second.mean).sum()
    return float(max(gap + np.trace(first.covariance) + np.trace(second.covariance) - 2 * cross, 0.0))


def _matrix_root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def distance_by_gram(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray, np.ndarray], float]:
    """Returns the Fréchet distance as a function of integer weights of rows, by inner products: one SVD per call."""
    centre = y.mean(axis=0)  # shifting both sets keeps the distance and reduces rounding errors
    x, y = x - centre, y - centre
    inner, square_x, square_y = x @ y.T, np.square(x).sum(1), np.square(y).sum(1)

    def distance(weight_x: np.ndarray, weight_y: np.ndarray) -> float:
        n, m = weight_x.sum(), weight_y.sum()
        mean_x, mean_y = weight_x @ x / n, weight_y @ y / m
        i, j = np.flatnonzero(weight_x), np.flatnonzero(weight_y)
        x_mean, mean_y_row = x[i] @ mean_y, mean_x @ y[j].T
        product = inner[np.ix_(i, j)] - x_mean[:, None] - mean_y_row[None, :] + mean_x @ mean_y  # A Bᵀ, not yet scaled
        product *= np.sqrt(weight_x[i] / (n - 1))[:, None] * np.sqrt(weight_y[j] / (m - 1))[None, :]
        trace = (weight_x @ square_x - n * mean_x @ mean_x) / (n - 1)
        trace += (weight_y @ square_y - m * mean_y @ mean_y) / (m - 1)
        nuclear = linalg.svdvals(product, overwrite_a=True, check_finite=False).sum()
        return float(max(np.square(mean_x - mean_y).sum() + trace - 2 * nuclear, 0.0))

    return distance


def _by_gram(x: np.ndarray, y: np.ndarray) -> bool:
    """Returns whether the rows are so few that inner products are both faster and more exact than covariances."""
    return min(len(x), len(y)) < x.shape[1] and max(len(x), len(y)) <= 4 * x.shape[1]


def _both(generated: Clips, reference: Clips) -> tuple[np.ndarray, np.ndarray]:
    x, y = validate_vectors(generated, "generated"), validate_vectors(reference, "reference")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings differ in size: generated {x.shape[1]}, reference {y.shape[1]}")
    return x, y


def frechet_distance(generated: Clips, reference: Clips) -> float:
    """Computes the Fréchet distance of two sets of embeddings in float64; exact also for fewer clips than dimensions.

    It is called FAD only if the embedder is VGGish. Raises ValueError if a set has fewer than 2 embeddings, if a value
    is not finite, or if the sets differ in dimension."""
    return weighted_distance(generated, reference)(np.ones(len(generated), dtype=np.int64))


def frechet_contributions(generated: Clips, reference: Clips) -> np.ndarray:
    """Returns each generated clip's share of the Fréchet distance, [clip]; the shares sum to the distance exactly.

    (x_i−μ2)·(μ1−μ2)/n + |a_i|² − 2 d_i + tr S2 / n with a_i = (x_i−μ1)/√(n−1), and d_i the parts of tr (S1 S2)^½: with
    A Bᵀ = U diag(s) Vᵀ they are Σ_j (U Vᵀ)_ij (A Bᵀ)_ij = m_i C^-½ m_iᵀ, m_i = a_i S2^½, C = S2^½ S1 S2^½.
    A clip's share is the sum over its frames; a large share marks an outlier. Raises ValueError as
    `frechet_distance`."""
    x, y = _both(generated, reference)
    n, mean_x, mean_y = len(x), x.mean(axis=0), y.mean(axis=0)
    a, b = (x - mean_x) / np.sqrt(n - 1), (y - mean_y) / np.sqrt(len(y) - 1)
    if _by_gram(x, y):
        product = a @ b.T
        left, _, right = linalg.svd(product, full_matrices=False)
        cross = (left @ right * product).sum(axis=1)
    else:
        m = a @ _matrix_root(b.T @ b)
        values, vectors = linalg.eigh(m.T @ m)
        kept = values > values[-1] * 1e-12
        cross = (np.square(m @ vectors[:, kept]) / np.sqrt(values[kept])).sum(axis=1)
    shift = (x - mean_y) @ (mean_x - mean_y) / n
    shares = shift + np.square(a).sum(axis=1) - 2 * cross + np.square(b).sum() / n
    return np.bincount(clip_of_row(generated), shares)


@dataclass(frozen=True)
class Projection:
    """Projection onto the principal components of a reference set: (x − mean) @ components; `name` names the metric."""

    mean: np.ndarray
    components: np.ndarray  # [dim, kept]
    name: str

    @staticmethod
    def fit(reference: np.ndarray, kept: int) -> "Projection":
        """Fits `kept` components to embeddings [clip, dim]. Raises ValueError if the reference has fewer."""
        reference = validate_vectors(reference, "reference")
        limit = min(len(reference) - 1, reference.shape[1])
        if not 1 <= kept <= limit:
            raise ValueError(f"components must be 1 to {limit} for this reference, not {kept}")
        mean = reference.mean(axis=0)
        components = linalg.svd(reference - mean, full_matrices=False)[2][:kept].T
        return Projection(mean, components, f"pca{kept}-of-reference")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (np.asarray(x, dtype=np.float64) - self.mean) @ self.components


def weighted_distance(generated: Clips, reference: Clips) -> Callable[..., float]:
    """Returns the Fréchet distance as a function of resampling weights of the generated and the reference clips.

    Weights are int [clip]; None leaves the reference as it is."""
    x, y = _both(generated, reference)
    own, other, ones = clip_of_row(generated), clip_of_row(reference), np.ones(len(y), dtype=np.int64)
    by_gram, whole = (distance_by_gram(x, y), None) if _by_gram(x, y) else (None, moments(y))

    def distance(drawn: np.ndarray, drawn_reference: np.ndarray | None = None) -> float:
        if by_gram is not None:
            return by_gram(drawn[own], ones if drawn_reference is None else drawn_reference[other])
        second = whole if drawn_reference is None else moments(y, drawn_reference[other])
        return frechet_from_moments(moments(x, drawn[own]), second)

    return distance


def frechet_score(
    name: str, generated: Clips, reference: Clips, draw=independent_resample, draws: int = 200, seed: int = 0
) -> Score:
    """Computes `frechet_distance` with an interval from resampling the clips of both sets.

    `draw` is `independent_resample` or `paired_resample`. Raises ValueError as `frechet_distance`."""
    value = frechet_distance(generated, reference)
    x, y = cap_frames(generated, reference, np.random.default_rng(seed))
    distance, generator = weighted_distance(x, y), np.random.default_rng(seed)
    values = [distance(*draw(generator, len(x), len(y))) for _ in range(draws)]
    return spread_score(name, value, values, len(generated), len(x), (0.0, np.inf))


def _infinity(distance: Callable[..., float], clips: np.ndarray, count: int, steps: int, seed: int) -> float:
    """Fits a line to `distance` of random subsets of `clips` over 1 / size and returns its intercept at 0."""
    generator = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(max(len(clips) // 3, 2), len(clips), steps).astype(int))
    if len(sizes) < 2:
        raise ValueError(f"generated: {len(clips)} clips are too few for an extrapolation, which needs at least 3")
    subsets = [clips[generator.choice(len(clips), size, replace=False)] for size in sizes]
    distances = [distance(np.bincount(subset, minlength=count)) for subset in subsets]
    return float(np.polyfit(1.0 / sizes, distances, 1)[1])


def frechet_infinity(generated: Clips, reference: Clips, steps: int = 15, seed: int = 0) -> float:
    """Extrapolates the Fréchet distance to infinitely many generated clips; the reference is not subsampled.

    The result is the intercept of a line through the distances of random subsets over 1 / size (Chong & Forsyth 2020;
    FAD-infinity, Gui et al. 2024). Deviation: whole clips are drawn; Gui et al. draw frames, which keeps the bias of
    few clips. Raises ValueError for fewer than 3 clips, or as `frechet_distance`."""
    count = len(generated)
    return _infinity(weighted_distance(generated, reference), np.arange(count), count, steps, seed)


def frechet_infinity_score(name: str, generated: Clips, reference: Clips, draws: int = 40, seed: int = 0) -> Score:
    """Computes `frechet_infinity` with an interval from repeating the extrapolation on resampled generated clips."""
    generator, value = np.random.default_rng(seed), frechet_infinity(generated, reference, seed=seed)
    x, y = cap_frames(generated, reference, generator)
    distance, count = weighted_distance(x, y), len(x)
    drawn = [generator.integers(0, count, count) for _ in range(draws)]
    values = [_infinity(distance, clips, count, 5, seed + k) for k, clips in enumerate(drawn)]
    return spread_score(name, value, values, len(generated), count)
