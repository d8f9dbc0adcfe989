"""KAD, and distances that count neighbours: between two sets of embeddings [clip, dim]."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist, pdist

from .draws import capped, checked, independent
from .intervals import Score, spread_score

KAD_SCALE = 100.0


def median_bandwidth(reference: np.ndarray, seed: int = 0) -> float:
    """Median distance between two clips of the reference (of at most 2,000 of them): KAD's kernel width."""
    x = checked(reference, "reference")
    if len(x) > 2000:
        x = x[np.random.default_rng(seed).choice(len(x), 2000, replace=False)]
    width = float(np.median(pdist(x)))
    if width <= 0:
        raise ValueError("reference: more than half of its embeddings are equal, no kernel width can be had")
    return width


def _kernel_sum(x: np.ndarray, y: np.ndarray, width: float, rows: int = 1000) -> float:
    """Sum of the kernel over all pairs, some rows at a time: 10,000 × 10,000 pairs are never held at once."""
    blocks = (cdist(x[i : i + rows], y, "sqeuclidean") for i in range(0, len(x), rows))
    return float(sum(np.exp(block / (-2 * width**2)).sum() for block in blocks))


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
    x, y = checked(generated, "generated"), checked(reference, "reference")
    width, n, m = bandwidth or median_bandwidth(y), len(x), len(y)
    within_x, within_y = (_kernel_sum(a, a, width) - len(a) for a in (x, y))  # without each clip's pair with itself
    within = within_x / (n * (n - 1)) + within_y / (m * (m - 1))
    return KAD_SCALE * (within - 2 * _kernel_sum(x, y, width) / (n * m))


def kernel_score(
    name: str, generated: np.ndarray, reference: np.ndarray, draw=independent, draws: int = 200, seed: int = 0
) -> Score:
    """`kernel_distance` with an interval from resampling both sets by `draw`; the kernel width stays the reference's."""
    width = median_bandwidth(reference)
    value = kernel_distance(generated, reference, width)
    x, y = capped(generated, reference, np.random.default_rng(seed))
    kernel, generator = _Kernel(x, y, width), np.random.default_rng(seed)
    values = [KAD_SCALE * kernel.distance(*draw(generator, len(x), len(y))) for _ in range(draws)]
    return spread_score(name, value, values, len(generated), float(np.sqrt(len(x) / len(generated))))


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    return np.partition(cdist(x, x), k, axis=1)[:, k]


def density_coverage(generated: np.ndarray, reference: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, eq. 3 and 4) with k-nearest-neighbour balls around reference clips."""
    x, y = checked(generated, "generated"), checked(reference, "reference")
    if len(y) <= k:
        raise ValueError(f"reference: {len(y)} clips are too few for {k} neighbours")
    inside = cdist(x, y) < _radii(y, k)[None, :]
    return float(inside.sum(axis=1).mean() / k), float(inside.any(axis=0).mean())


def precision_recall(generated: np.ndarray, reference: np.ndarray, k: int = 5) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019): the share of each set inside the other's balls."""
    x, y = checked(generated, "generated"), checked(reference, "reference")
    if min(len(x), len(y)) <= k:
        raise ValueError(f"{min(len(x), len(y))} clips are too few for {k} neighbours")
    distance = cdist(x, y)
    precision = (distance < _radii(y, k)[None, :]).any(axis=1).mean()
    return float(precision), float((distance < _radii(x, k)[:, None]).any(axis=0).mean())
