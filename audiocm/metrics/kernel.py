"""Kernel audio distance, and density, coverage, precision and recall, of two sets of embeddings [clip, dim]."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from ..checks import check_callable, check_number, check_whole, checked, optional
from .score import (
    RESAMPLING,
    Score,
    Statistic,
    cap_frames,
    check_same_size,
    independent_resample,
    spread_score,
    validate_vectors,
)

KAD_SCALE = 100.0
LARGE = 3000  # clips of a set


@checked(seed=RESAMPLING["seed"])
def median_bandwidth(reference: np.ndarray, seed: int = 0) -> float:
    """Returns KAD's kernel width: the median distance between two clips of the reference (of at most 2,000 of them).

    Raises ValueError if more than half of the embeddings are equal."""
    x = validate_vectors(reference, "reference")
    if len(x) > 2000:
        x = x[np.random.default_rng(seed).choice(len(x), 2000, replace=False)]
    squares = np.concatenate(list(_squares(x, x)))
    width = float(np.sqrt(np.median(squares[np.triu_indices(len(x), 1)])))
    if width <= 0:
        raise ValueError("reference: more than half of the embeddings are equal, so the kernel width is 0")
    return width


def _both(generated: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the embeddings of both sets in float64. Raises ValueError if they differ in size."""
    x, y = validate_vectors(generated, "generated"), validate_vectors(reference, "reference")
    check_same_size(x, y)
    return x, y


def _squares(x: np.ndarray, y: np.ndarray, rows: int = 1000) -> Iterator[np.ndarray]:
    """Yields squared distances of all pairs in blocks of `rows`, so that 10,000 × 10,000 are never in memory at
    once."""
    centre = y.mean(axis=0)
    x, y = x - centre, y - centre
    square_y = np.square(y).sum(axis=1)
    for part in (x[i : i + rows] for i in range(0, len(x), rows)):
        block = np.square(part).sum(axis=1)[:, None] + square_y - 2 * (part @ y.T)
        yield np.maximum(block, 0.0, out=block)


def _kernel_means(x: np.ndarray, y: np.ndarray, width: float) -> np.ndarray:
    """Returns the mean of the kernel over all clips of y for each clip of x; of large sets in single precision, whose
    rounding changes a mean by less than 1e-6."""
    if len(x) * len(y) > LARGE**2:
        centre = y.mean(axis=0)
        x, y = np.float32(x - centre), np.float32(y - centre)
    return np.concatenate([np.exp(block / (-2 * width**2)).mean(axis=1, dtype=np.float64) for block in _squares(x, y)])


def _weighted_statistic(x: np.ndarray, y: np.ndarray, width: float) -> Callable[[np.ndarray, np.ndarray], float]:
    """Returns the unbiased MMD² as a function of integer weights; pairs of copies of the same clip do not count."""
    xx, yy, xy = (np.exp(-cdist(a, b, "sqeuclidean") / (2 * width**2)) for a, b in ((x, x), (y, y), (x, y)))
    np.fill_diagonal(xx, 0.0)
    np.fill_diagonal(yy, 0.0)

    def statistic(weight_x: np.ndarray, weight_y: np.ndarray) -> float:
        n, m = weight_x.sum(), weight_y.sum()
        within_x = weight_x @ xx @ weight_x / (n * n - np.square(weight_x).sum())
        within_y = weight_y @ yy @ weight_y / (m * m - np.square(weight_y).sum())
        return float(within_x + within_y - 2 * (weight_x @ xy @ weight_y) / (n * m))

    return statistic


@checked(bandwidth=optional(partial(check_number, above=0)))
def kernel_distance(generated: np.ndarray, reference: np.ndarray, bandwidth: float | None = None) -> float:
    """Computes the kernel audio distance: 100 × the unbiased MMD² with the kernel exp(−|x−y|² / 2σ²).

    Chung et al. 2025; σ is `bandwidth`, by default `median_bandwidth(reference)`. It is unbiased at any sample size for
    independent sets, so it may be slightly negative for equal distributions. Codec round trips of the reference's own
    clips are not independent of it, which lowers it by up to 200 / clips."""
    x = validate_vectors(generated, "generated")
    return kernel_statistic(x, reference, bandwidth)(np.arange(len(x)))


@checked(bandwidth=optional(partial(check_number, above=0)))
def kernel_statistic(generated: np.ndarray, reference: np.ndarray, bandwidth: float | None = None) -> Statistic:
    """Returns `kernel_distance` as a function of the indices of the generated clips to use (without repetition)."""
    x, y = _both(generated, reference)
    width = bandwidth or median_bandwidth(y)
    across, within_y = _kernel_means(x, y, width), _mean_of_distinct_pairs(_kernel_means(y, y, width))

    def statistic(rows: np.ndarray) -> float:
        within_x = _mean_of_distinct_pairs(_kernel_means(x[rows], x[rows], width))
        return KAD_SCALE * float(within_x + within_y - 2 * across[rows].mean())

    return statistic


def _mean_of_distinct_pairs(means: np.ndarray) -> float:
    """Returns the mean over pairs of different clips, from each clip's mean over the whole set."""
    count = len(means)
    return (means.mean() * count - 1) / (count - 1)


@checked(draw=check_callable, **RESAMPLING)
def kernel_score(
    name: str, generated: np.ndarray, reference: np.ndarray, draw=independent_resample, draws: int = 200, seed: int = 0
) -> Score:
    """Computes `kernel_distance` with an interval from resampling both sets by `draw`, at a fixed kernel width."""
    width = median_bandwidth(reference)
    value = kernel_distance(generated, reference, width)
    x, y = cap_frames(*_both(generated, reference), np.random.default_rng(seed))
    statistic, generator = _weighted_statistic(x, y, width), np.random.default_rng(seed)
    values = [KAD_SCALE * statistic(*draw(generator, len(x), len(y))) for _ in range(draws)]
    return spread_score(name, value, values, len(generated), len(x))


class Neighbours:
    """Nearest-neighbour metrics: density, coverage, and improved precision and recall.

    A generated clip lies in a reference clip's ball if it is nearer than that clip's k-th neighbour in the reference.
    Naeem et al. 2020, eq. 3 and 4; Kynkäänniemi et al. 2019. Each method takes the indices of the generated clips to
    use. Raises ValueError if a set has no k neighbours."""

    def __init__(self, generated: np.ndarray, reference: np.ndarray, k: int = 5) -> None:
        (self.x, self.y), self.k = _both(generated, reference), check_whole("k", k, least=1)
        radii = self._radii(self.y, "reference")
        self.inside = np.concatenate([block < radii for block in _squares(self.x, self.y)])

    def _radii(self, x: np.ndarray, role: str) -> np.ndarray:
        if len(x) <= self.k:
            raise ValueError(f"{role}: {len(x)} clips are too few for k = {self.k} neighbours")
        return np.concatenate([np.partition(block, self.k, axis=1)[:, self.k] for block in _squares(x, x)])

    def density(self, rows: np.ndarray) -> float:
        """Returns how many balls of the reference hold a generated clip on average, divided by k."""
        return float(self.inside[rows].sum(axis=1).mean() / self.k)

    def coverage(self, rows: np.ndarray) -> float:
        """Returns the share of reference clips whose ball holds a generated clip."""
        return float(self.inside[rows].any(axis=0).mean())

    def precision(self, rows: np.ndarray) -> float:
        """Returns the share of generated clips inside a ball of the reference."""
        return float(self.inside[rows].any(axis=1).mean())

    def recall_within(self, subset: np.ndarray) -> Statistic:
        """Returns `recall` as a function of rows among `subset`, whose distances are computed once."""
        x = self.x[subset]
        within, across = (np.concatenate(list(_squares(one, x))).T.copy() for one in (x, self.y))

        def statistic(rows: np.ndarray) -> float:
            chosen = np.searchsorted(subset, rows)
            radii = np.partition(within[np.ix_(chosen, chosen)], self.k, axis=1)[:, self.k]
            return float((across[chosen] < radii[:, None]).any(axis=0).mean())

        return statistic

    def recall(self, rows: np.ndarray) -> float:
        """Returns the share of reference clips inside a ball of the generated set."""
        radii = self._radii(self.x[rows], "generated")
        return float(np.concatenate([(b < radii).any(axis=1) for b in _squares(self.y, self.x[rows])]).mean())
