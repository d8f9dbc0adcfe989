"""Fréchet distances between two sets of embeddings [clip, dim], each also as a Score with an interval.

The trace of the square root of a product of covariances, tr (S1 S2)^½, is the nuclear norm of A Bᵀ, where A and B hold
the centred rows divided by √(n−1). With fewer clips than dimensions this is smaller, exact, and needs no matrix root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from .draws import CAP, capped, checked, independent
from .intervals import Score, resample, spread_score


@dataclass(frozen=True)
class Moments:
    """Mean [dim] and unbiased covariance [dim, dim] of `count` embeddings."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int


class RunningMoments:
    """Moments of a stream in O(dim²) memory (Chan's pairwise update, float64)."""

    def __init__(self) -> None:
        self.count, self._mean, self._scatter = 0, None, None

    def update(self, x: np.ndarray) -> None:
        x = np.atleast_2d(np.asarray(x, dtype=np.float64))
        mean = x.mean(axis=0)
        centred = x - mean
        scatter = centred.T @ centred
        if self._mean is None:
            self._mean, self._scatter = mean, scatter
        else:
            delta = mean - self._mean
            total = self.count + len(x)
            self._scatter += scatter + np.outer(delta, delta) * (self.count * len(x) / total)
            self._mean = self._mean + delta * (len(x) / total)
        self.count += len(x)

    def moments(self) -> Moments:
        if self.count < 2:
            raise ValueError(f"need at least 2 embeddings for a covariance, got {self.count}")
        return Moments(self._mean, self._scatter / (self.count - 1), self.count)


def moments(x: np.ndarray) -> Moments:
    x = checked(x, "embeddings")
    return Moments(x.mean(axis=0), np.cov(x, rowvar=False).reshape(x.shape[1], x.shape[1]), len(x))


def frechet_from_moments(first: Moments, second: Moments) -> float:
    """|μ1−μ2|² + tr S1 + tr S2 − 2 tr (S1 S2)^½ (Dowson & Landau 1982; FID, Heusel et al. 2017, eq. 6)."""
    values, vectors = linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    cross = np.sqrt(np.clip(linalg.eigvalsh(root @ second.covariance @ root), 0, None)).sum()
    gap = np.square(first.mean - second.mean).sum()
    return float(max(gap + np.trace(first.covariance) + np.trace(second.covariance) - 2 * cross, 0.0))


class _Gram:
    """Fréchet distance of two sets under integer weights, from inner products only: one SVD of n × m per call."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        centre = y.mean(axis=0)  # moves both sets alike: the distance does not change, rounding does
        self.x, self.y = x - centre, y - centre
        self.inner = self.x @ self.y.T
        self.square_x, self.square_y = np.square(self.x).sum(1), np.square(self.y).sum(1)

    def cross(self, weight_x: np.ndarray, weight_y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """A Bᵀ (rows and columns of weight 0 left out), both means, and the two traces' sum."""
        n, m = weight_x.sum(), weight_y.sum()
        mean_x, mean_y = weight_x @ self.x / n, weight_y @ self.y / m
        i, j = np.flatnonzero(weight_x), np.flatnonzero(weight_y)
        x_mean, mean_y_row = self.x[i] @ mean_y, mean_x @ self.y[j].T
        product = self.inner[np.ix_(i, j)] - x_mean[:, None] - mean_y_row[None, :] + mean_x @ mean_y
        product *= np.sqrt(weight_x[i] / (n - 1))[:, None] * np.sqrt(weight_y[j] / (m - 1))[None, :]
        trace = (weight_x @ self.square_x - n * mean_x @ mean_x) / (n - 1)
        trace += (weight_y @ self.square_y - m * mean_y @ mean_y) / (m - 1)
        return product, mean_x, mean_y, float(trace)

    def distance(self, weight_x: np.ndarray, weight_y: np.ndarray) -> float:
        product, mean_x, mean_y, trace = self.cross(weight_x, weight_y)
        nuclear = linalg.svdvals(product, overwrite_a=True, check_finite=False).sum()
        return float(max(np.square(mean_x - mean_y).sum() + trace - 2 * nuclear, 0.0))


def frechet_distance(generated: np.ndarray, reference: np.ndarray) -> float:
    """Fréchet distance of two sets of embeddings [clip, dim], float64; exact for fewer clips than dimensions too.

    Call it FAD only where the embedder is VGGish; name the embedder otherwise."""
    x, y = checked(generated, "generated"), checked(reference, "reference")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"embeddings differ in size: generated {x.shape[1]}, reference {y.shape[1]}")
    if min(len(x), len(y)) < x.shape[1] and max(len(x), len(y)) <= 4 * x.shape[1]:
        return _Gram(x, y).distance(np.ones(len(x), dtype=np.int64), np.ones(len(y), dtype=np.int64))
    return frechet_from_moments(moments(x), moments(y))


def frechet_contributions(generated: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[clip]: each generated clip's share of the Fréchet distance; the shares sum to it exactly.

    (x_i−μ2)·(μ1−μ2)/n + |a_i|² − 2 Σ_j (U Vᵀ)_ij (A Bᵀ)_ij + tr S2 / n, with A Bᵀ = U diag(s) Vᵀ.
    A large one is an outlier worth listening to."""
    x, y = checked(generated, "generated"), checked(reference, "reference")
    gram, n = _Gram(x, y), len(x)
    product, mean_x, mean_y, _ = gram.cross(np.ones(n, dtype=np.int64), np.ones(len(y), dtype=np.int64))
    left, _, right = linalg.svd(product, full_matrices=False)
    shift = (gram.x - mean_y) @ (mean_x - mean_y) / n
    spread = np.square(gram.x - mean_x).sum(1) / (n - 1)
    trace_y = np.square(gram.y - mean_y).sum() / (len(y) - 1)
    return shift + spread - 2 * (left @ right * product).sum(1) + trace_y / n


@dataclass(frozen=True)
class Projection:
    """Principal components of a reference set: (x − mean) @ components. `name` goes into the metric's name."""

    mean: np.ndarray
    components: np.ndarray  # [dim, kept]
    name: str

    @staticmethod
    def fit(reference: np.ndarray, kept: int) -> Projection:
        reference = checked(reference, "reference")
        limit = min(len(reference) - 1, reference.shape[1])
        if not 1 <= kept <= limit:
            raise ValueError(f"cannot keep {kept} components: the reference gives {limit}")
        mean = reference.mean(axis=0)
        components = linalg.svd(reference - mean, full_matrices=False)[2][:kept].T
        return Projection(mean, components, f"pca{kept}-of-reference")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return (np.asarray(x, dtype=np.float64) - self.mean) @ self.components


def frechet_score(
    name: str, generated: np.ndarray, reference: np.ndarray, draw=independent, draws: int = 200, seed: int = 0
) -> Score:
    """`frechet_distance` with an interval from resampling both sets by `draw`: `independent` or `together`."""
    value = frechet_distance(generated, reference)
    x, y = capped(generated, reference, np.random.default_rng(seed))
    gram, generator = _Gram(x, y), np.random.default_rng(seed)
    values = [gram.distance(*draw(generator, len(x), len(y))) for _ in range(draws)]
    return spread_score(name, value, values, len(generated), float(np.sqrt(len(x) / len(generated))), (0.0, np.inf))


def _weighted_moments(x: np.ndarray, weight: np.ndarray) -> Moments:
    count = weight.sum()
    mean = weight @ x / count
    scatter = (x * weight[:, None]).T @ x - count * np.outer(mean, mean)
    return Moments(mean, scatter / (count - 1), int(count))


def frame_frechet_score(
    name: str,
    value: float,
    generated: Sequence[np.ndarray],
    reference: Sequence[np.ndarray],
    count: int,
    draws: int = 200,
    seed: int = 0,
) -> Score:
    """Interval of a Fréchet distance `value` between all frames of two sets ([frame, dim] a clip), as FAD is defined.

    Whole clips are resampled, because frames of one clip are not independent. `count` clips gave `value`."""
    generator = np.random.default_rng(seed)
    sides = []
    for clips in (generated, reference):
        chosen = np.sort(generator.permutation(len(clips))[:CAP])
        frames = np.concatenate([np.asarray(clips[i], dtype=np.float64) for i in chosen])
        sides.append((frames, np.repeat(np.arange(len(chosen)), [len(clips[i]) for i in chosen]), len(chosen)))
    values = []
    for _ in range(draws):
        drawn = [
            _weighted_moments(x, resample(clips, generator)[owner].astype(np.float64)) for x, owner, clips in sides
        ]
        values.append(frechet_from_moments(*drawn))
    return spread_score(name, value, values, count, float(np.sqrt(sides[0][2] / count)), (0.0, np.inf))


def frechet_infinity(generated: np.ndarray, reference: np.ndarray, steps: int = 15, seed: int = 0) -> float:
    """Fréchet distance extrapolated to infinitely many generated clips: the intercept of a line through the distance
    of random subsets over 1 / size (Chong & Forsyth 2020; FAD-infinity, Gui et al. 2024). The reference stays whole."""
    x, y = checked(generated, "generated"), checked(reference, "reference")
    generator = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(max(len(x) // 3, 2), len(x), steps).astype(int))
    if len(sizes) < 2:
        raise ValueError(f"generated: {len(x)} clips are too few to extrapolate from")
    subsets = [x[generator.choice(len(x), size, replace=False)] for size in sizes]
    distances = [frechet_distance(subset, y) for subset in subsets]
    return float(np.polyfit(1.0 / sizes, distances, 1)[1])


def frechet_infinity_score(
    name: str, generated: np.ndarray, reference: np.ndarray, draws: int = 40, seed: int = 0
) -> Score:
    """`frechet_infinity` with the interval of the whole extrapolation repeated on resampled generated clips."""
    generator = np.random.default_rng(seed)
    x, y = capped(generated, reference, generator)
    value = frechet_infinity(generated, reference, seed=seed)
    drawn = [x[generator.integers(0, len(x), len(x))] for _ in range(draws)]
    values = [frechet_infinity(d, y, steps=5, seed=seed + k) for k, d in enumerate(drawn)]
    return spread_score(name, value, values, len(generated), float(np.sqrt(len(x) / len(generated))))
