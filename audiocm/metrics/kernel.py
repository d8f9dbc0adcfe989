"""KAD, and distances that count neighbours: between two sets of embeddings [clip, dim]."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.spatial.distance import cdist

from .score import Score, cap_frames, independent_resample, spread_score, validate_vectors

KAD_SCALE = 100.0


def median_bandwidth(reference: np.ndarray, seed: int = 0) -> float:
    """Median distance between two clips of the reference (of at most 2,000 of them): KAD's kernel width."""
    x = validate_vectors(reference, "reference")
    if len(x) > 2000:
        x = x[np.random.default_rng(seed).choice(len(x), 2000, replace=False)]
    squares = np.concatenate(list(_squares(x, x)))
    width = float(np.sqrt(np.median(squares[np.triu_indices(len(x), 1)])))
    if width <= 0:
        raise ValueError("reference: more than half of its embeddings are equal, no kernel width can be had")
    return width


def _squares(x: np.ndarray, y: np.ndarray, rows: int = 1000) -> Iterator[np.ndarray]:
    """Squared distances of all pairs, some rows at a time: 10,000 × 10,000 are never held at once."""
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    square_y = np.square(y).sum(axis=1)
    for part in (x[i : i + rows] for i in range(0, len(x), rows)):
        found = np.square(part).sum(axis=1)[:, None] + square_y - 2 * (part @ y.T)
        yield np.maximum(found, 0.0, out=found)


def _kernel_means(x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray:
    """[clip of x]: mean of the kernel over all clips of y."""
    return np.concatenate([np.exp(block / (-2 * width**2)).mean(axis=1) for block in _squares(x, y)])


class _Kernel:
    """Unbiased MMD² under integer weights; a pair of copies of one clip does not count."""

    def __init__(self, x: np.ndarray, y: np.ndarray, bandwidth: float) -> None:
        self.xx, self.yy, self.xy = (
            np.exp(-cdist(a, b, "sqeuclidean") / (2 * bandwidth**2)) for a, b in ((x, x), (y, y), (x, y))
        )
        np.fill_diagonal(self.xx, 0.0)
        np.fill_diagonal(self.yy, 0.0)

    def distance(self, weight_x: np.ndarray, weight_y: np.ndarray) -> float:
        n, m = weight_x.sum(), weight_y.sum()
        within_x = weight_x @ self.xx @ weight_x / (n * n - np.square(weight_x).sum())
        within_y = weight_y @ self.yy @ weight_y / (m * m - np.square(weight_y).sum())
        return float(within_x + within_y - 2 * (weight_x @ self.xy @ weight_y) / (n * m))


def kernel_distance(generated: np.ndarray, reference: np.ndarray, bandwidth: float | None = None) -> float:
    """KAD (Chung et al. 2025): 100 × the unbiased MMD² with the kernel exp(−|x−y|² / 2σ²), σ the median distance
    between two reference clips. Unbiased at any sample size for independent sets; may be slightly negative for equal
    distributions. Round trips of the reference's own clips are not independent of it: up to 200 / clips too low."""
    x = validate_vectors(generated, "generated")
    return kernel_statistic(x, reference, bandwidth)(np.arange(len(x)))


def kernel_statistic(
    generated: np.ndarray, reference: np.ndarray, bandwidth: float | None = None
) -> Callable[[np.ndarray], float]:
    """`kernel_distance` as a function of which generated clips are taken (their numbers, none twice)."""
    x, y = validate_vectors(generated, "generated"), validate_vectors(reference, "reference")
    width = bandwidth or median_bandwidth(y)
    across, within_y = _kernel_means(x, y, width), _without_itself(_kernel_means(y, y, width))

    def of(rows: np.ndarray) -> float:
        within_x = _without_itself(_kernel_means(x[rows], x[rows], width))
        return KAD_SCALE * float(within_x + within_y - 2 * across[rows].mean())

    return of


def _without_itself(means: np.ndarray) -> float:
    """Mean over the pairs of different clips, from the means over all clips of one set."""
    count = len(means)
    return (means.mean() * count - 1) / (count - 1)


def kernel_score(
    name: str, generated: np.ndarray, reference: np.ndarray, draw=independent_resample, draws: int = 200, seed: int = 0
) -> Score:
    """`kernel_distance` with an interval from resampling both sets by `draw`; the kernel width stays the reference's."""
    width = median_bandwidth(reference)
    value = kernel_distance(generated, reference, width)
    x, y = cap_frames(generated, reference, np.random.default_rng(seed))
    kernel, generator = _Kernel(x, y, width), np.random.default_rng(seed)
    values = [KAD_SCALE * kernel.distance(*draw(generator, len(x), len(y))) for _ in range(draws)]
    return spread_score(name, value, values, len(generated), float(np.sqrt(len(x) / len(generated))))


class Neighbours:
    """Which generated clip lies in which reference clip's ball, whose radius is the distance to its k-th neighbour.

    density, coverage (Naeem et al. 2020, eq. 3 and 4) and improved precision and recall (Kynkäänniemi et al. 2019) of
    those generated clips whose numbers are given. Raises ValueError where a set has no k neighbours."""

    def __init__(self, generated: np.ndarray, reference: np.ndarray, k: int = 5) -> None:
        self.x, self.y, self.k = validate_vectors(generated, "generated"), validate_vectors(reference, "reference"), k
        radii = self._radii(self.y, "reference")
        self.inside = np.concatenate([block < radii for block in _squares(self.x, self.y)])

    def _radii(self, x: np.ndarray, role: str) -> np.ndarray:
        if len(x) <= self.k:
            raise ValueError(f"{role}: {len(x)} clips are too few for {self.k} neighbours")
        return np.concatenate([np.partition(block, self.k, axis=1)[:, self.k] for block in _squares(x, x)])

    def density(self, rows: np.ndarray) -> float:
        return float(self.inside[rows].sum(axis=1).mean() / self.k)

    def coverage(self, rows: np.ndarray) -> float:
        return float(self.inside[rows].any(axis=0).mean())

    def precision(self, rows: np.ndarray) -> float:
        return float(self.inside[rows].any(axis=1).mean())

    def recall(self, rows: np.ndarray) -> float:
        radii = self._radii(self.x[rows], "generated")
        return float(np.concatenate([(b < radii).any(axis=1) for b in _squares(self.y, self.x[rows])]).mean())


def density_coverage(generated: np.ndarray, reference: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Density and coverage (see Neighbours) of all clips, with balls around reference clips."""
    found, rows = Neighbours(generated, reference, k), np.arange(len(generated))
    return found.density(rows), found.coverage(rows)


def precision_recall(generated: np.ndarray, reference: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Improved precision and recall (see Neighbours): the share of each set inside the other's balls."""
    found, rows = Neighbours(generated, reference, k), np.arange(len(generated))
    return found.precision(rows), found.recall(rows)
