"""Fréchet distances between two sets of embeddings, with confidence intervals.

A set is an array [clip, dim] or, for embedders that give frames, a list of arrays [frame, dim], one per clip. The
distance is then over all frames, as FAD is defined, but whole clips are resampled, because frames of one clip are not
independent.

The trace of the square root of a product of covariances, tr (S1 S2)^½, is the nuclear norm of A Bᵀ, where A and B hold
the centred rows divided by √(n−1). With fewer clips than dimensions this is smaller, exact, and needs no matrix root.

With `SMOOTH` times as many clips as dimensions, the distance is a smooth function of the weights of the clips. Its
interval is then that of the infinitesimal jackknife (Efron 1982): the derivatives by the weights, over all clips, take
the place of a bootstrap of a subset. Else the clips are bootstrapped.
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from scipy import linalg

from ..checks import check_callable, check_whole, checked
from .moments import Moments, moments
from .score import (
    RESAMPLING,
    Clips,
    Score,
    cap_frames,
    check_same_size,
    clip_of_row,
    independent_resample,
    paired_resample,
    spread_score,
    validate_vectors,
)

SMOOTH = 4


def frechet_from_moments(first: Moments, second: Moments, root: np.ndarray | None = None) -> float:
    """Computes |μ1−μ2|² + tr S1 + tr S2 − 2 tr (S1 S2)^½. Dowson & Landau 1982; FID, Heusel et al. 2017, eq. 6.

    `root` is S2^½ where it is known."""
    root = _matrix_root(second.covariance) if root is None else root
    cross = np.sqrt(np.clip(linalg.eigvalsh(root @ first.covariance @ root), 0, None)).sum()
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


def _by_gram(x: np.ndarray, y: np.ndarray | None) -> bool:
    """Returns whether the rows are so few that inner products are both faster and more exact than covariances."""
    return y is not None and min(len(x), len(y)) < x.shape[1] and max(len(x), len(y)) <= 4 * x.shape[1]


def _is_smooth(x: np.ndarray, y: np.ndarray | None) -> bool:
    """Returns whether there are so many rows that derivatives by their weights give an interval."""
    return min(len(x), len(x) if y is None else len(y)) >= SMOOTH * x.shape[1]


def _both(generated: Clips, reference: Clips | Moments) -> tuple[np.ndarray, np.ndarray | None]:
    """Returns the embeddings of both sets as float64 [row, dim]; None for a reference of which moments are known."""
    of_moments = isinstance(reference, Moments)
    x, y = validate_vectors(generated, "generated"), None if of_moments else validate_vectors(reference, "reference")
    check_same_size(x, np.atleast_2d(reference.mean) if of_moments else y)
    return x, y


def _transported_squares(x: np.ndarray, first: Moments, second: Moments) -> tuple[np.ndarray, float]:
    """Returns (x_i−μ1)·T (x_i−μ1) of each row, with T = S2^½ C^-½ S2^½, C = S2^½ S1 S2^½, and tr C^½ = tr (S1 S2)^½,
    whose derivative by S1 is T / 2."""
    root = _matrix_root(second.covariance)
    values, vectors = linalg.eigh(root @ first.covariance @ root)
    kept = values > values[-1] * 1e-12
    squares = np.square((x - first.mean) @ (root @ (vectors[:, kept] / values[kept] ** 0.25))).sum(axis=1)
    return squares, float(np.sqrt(values[kept]).sum())


def _influence(x: np.ndarray, first: Moments, second: Moments, own: np.ndarray) -> np.ndarray:
    """Returns the derivative of the Fréchet distance by the share of each clip of x, [clip]: the sum over its rows of
    2 (x−μ1)·(μ1−μ2) + |x−μ1|² − tr S1 − ((x−μ1)·T (x−μ1) − tr (S1 S2)^½)."""
    squares, cross = _transported_squares(x, first, second)
    centred = x - first.mean
    shift = 2 * centred @ (first.mean - second.mean)
    return np.bincount(own, shift + np.square(centred).sum(axis=1) - np.trace(first.covariance) - squares + cross)


def frechet_distance(generated: Clips, reference: Clips | Moments) -> float:
    """Computes the Fréchet distance of two sets of embeddings in float64; exact also for fewer clips than dimensions.

    It is called FAD only if the embedder is VGGish. Raises ValueError if a set has fewer than 2 embeddings, if a value
    is not finite, or if the sets differ in dimension. `reference` may also be the moments of a set, in all functions of
    this file."""
    return weighted_distance(generated, reference)(np.ones(len(generated), dtype=np.int64))


def frechet_contributions(generated: Clips, reference: Clips | Moments) -> np.ndarray:
    """Returns each generated clip's share of the Fréchet distance, [clip]; the shares sum to the distance exactly.

    (x_i−μ2)·(μ1−μ2)/n + |a_i|² − 2 d_i + tr S2 / n with a_i = (x_i−μ1)/√(n−1), and d_i the parts of tr (S1 S2)^½: with
    A Bᵀ = U diag(s) Vᵀ they are Σ_j (U Vᵀ)_ij (A Bᵀ)_ij = m_i C^-½ m_iᵀ, m_i = a_i S2^½, C = S2^½ S1 S2^½.
    A clip's share is the sum over its frames; a large share marks an outlier. Raises ValueError as
    `frechet_distance`."""
    x, y = _both(generated, reference)
    n, first, second = len(x), moments(x), reference if y is None else moments(y)
    a = (x - first.mean) / np.sqrt(n - 1)
    if _by_gram(x, y):
        product = a @ (y - second.mean).T / np.sqrt(len(y) - 1)
        left, _, right = linalg.svd(product, full_matrices=False)
        cross = (left @ right * product).sum(axis=1)
    else:
        cross = _transported_squares(x, first, second)[0] / (n - 1)
    shift = (x - second.mean) @ (first.mean - second.mean) / n
    shares = shift + np.square(a).sum(axis=1) - 2 * cross + np.trace(second.covariance) / n
    return np.bincount(clip_of_row(generated), shares)


def weighted_distance(generated: Clips, reference: Clips | Moments) -> Callable[..., float]:
    """Returns the Fréchet distance as a function of resampling weights of the generated and the reference clips.

    Weights are int [clip]; None leaves the reference as it is."""
    x, y = _both(generated, reference)
    own, other = clip_of_row(generated), None if y is None else clip_of_row(reference)
    by_gram = distance_by_gram(x, y) if _by_gram(x, y) else None

    @cache
    def whole() -> tuple[Moments, np.ndarray]:
        second = reference if y is None else moments(y)
        return second, _matrix_root(second.covariance)

    def distance(drawn: np.ndarray, drawn_reference: np.ndarray | None = None) -> float:
        if by_gram is not None:
            ones = np.ones(len(y), dtype=np.int64)
            return by_gram(drawn[own], ones if drawn_reference is None else drawn_reference[other])
        fixed = drawn_reference is None or y is None
        second, root = whole() if fixed else (moments(y, drawn_reference[other]), None)
        return frechet_from_moments(moments(x, drawn[own]), second, root)

    return distance


@checked(draw=check_callable, **RESAMPLING)
def frechet_score(
    name: str,
    generated: Clips,
    reference: Clips | Moments,
    draw=independent_resample,
    draws: int = 200,
    seed: int = 0,
) -> Score:
    """Computes `frechet_distance` with an interval for the choice of the clips of both sets, see the head of this
    file; a reference of which only the moments are known is not resampled.

    `draw` is `independent_resample` or `paired_resample`. Raises ValueError as `frechet_distance`."""
    x, y = _both(generated, reference)
    if _is_smooth(x, y):
        return _smooth_score(name, x, y, generated, reference, draw is paired_resample)
    value = frechet_distance(generated, reference)
    x, y = _cap(generated, reference, np.random.default_rng(seed))
    distance, generator = weighted_distance(x, y), np.random.default_rng(seed)
    of_moments = isinstance(y, Moments)
    drawn = (draw(generator, len(x), 1 if of_moments else len(y)) for _ in range(draws))
    values = [distance(*weights[: 1 if of_moments else 2]) for weights in drawn]
    return spread_score(name, value, values, len(generated), len(x), (0.0, np.inf))


def _cap(x: Clips, y: Clips | Moments, generator: np.random.Generator) -> tuple[Clips, Clips | Moments]:
    """Applies `cap_frames` to the sets of which clips are known."""
    return (cap_frames(x, x, generator)[0], y) if isinstance(y, Moments) else cap_frames(x, y, generator)


def _smooth_score(
    name: str, x: np.ndarray, y: np.ndarray | None, generated: Clips, reference: Clips | Moments, paired: bool
) -> Score:
    """Returns the Fréchet distance with the interval ±1.96 standard errors of the infinitesimal jackknife."""
    first, second = moments(x), reference if y is None else moments(y)
    value = frechet_from_moments(first, second)
    parts = [_influence(x, first, second, clip_of_row(generated)) / len(x)]
    if y is not None:
        parts.append(_influence(y, second, first, clip_of_row(reference)) / len(y))
    error = 1.96 * np.sqrt(np.square(sum(parts)).sum() if paired else sum(np.square(part).sum() for part in parts))
    return Score(name, value, float(max(value - error, 0.0)), float(value + error), len(generated))


def _infinity(
    distance: Callable[..., float], clips: np.ndarray, count: int, steps: int, seed: int
) -> tuple[float, float]:
    """Fits a line to `distance` of random subsets of `clips` over 1 / size and returns its intercept at 0, with the
    intercept's standard error."""
    generator = np.random.default_rng(seed)
    sizes = np.unique(np.linspace(max(len(clips) // 3, 2), len(clips), steps).astype(int))
    if len(sizes) < 2:
        raise ValueError(f"generated: {len(clips)} clips are too few for an extrapolation, which needs at least 3")
    subsets = [clips[generator.choice(len(clips), size, replace=False)] for size in sizes]
    distances = [distance(np.bincount(subset, minlength=count)) for subset in subsets]
    x = 1.0 / sizes
    slope, intercept = np.polyfit(x, distances, 1)
    variance = np.square(distances - intercept - slope * x).sum() / max(len(x) - 2, 1)
    return float(intercept), float(np.sqrt(variance * (1 / len(x) + x.mean() ** 2 / np.square(x - x.mean()).sum())))


@checked(steps=partial(check_whole, least=3, most=10**4), seed=partial(check_whole, least=0, below=2**64))
def frechet_infinity(generated: Clips, reference: Clips | Moments, steps: int = 15, seed: int = 0) -> float:
    """Extrapolates the Fréchet distance to infinitely many generated clips; the reference is not subsampled.

    The result is the intercept of a line through the distances of random subsets over 1 / size (Chong & Forsyth 2020;
    FAD-infinity, Gui et al. 2024). Deviation: whole clips are drawn; Gui et al. draw frames, which keeps the bias of
    few clips. Raises ValueError for fewer than 3 clips, or as `frechet_distance`."""
    count = len(generated)
    return _infinity(weighted_distance(generated, reference), np.arange(count), count, steps, seed)[0]


@checked(**RESAMPLING)
def frechet_infinity_score(
    name: str, generated: Clips, reference: Clips | Moments, draws: int = 40, seed: int = 0
) -> Score:
    """Computes `frechet_infinity` with an interval from repeating the extrapolation on resampled generated clips or,
    for many clips, from the jackknife and the fit of the line."""
    generator, (x, y) = np.random.default_rng(seed), _both(generated, reference)
    count = len(generated)
    value, fit = _infinity(weighted_distance(generated, reference), np.arange(count), count, 15, seed)
    if _is_smooth(x, y):
        second = reference if y is None else moments(y)
        slopes = _influence(x, moments(x), second, clip_of_row(generated)) / len(x)
        error = 1.96 * np.sqrt(np.square(slopes).sum() + fit**2)
        return Score(name, value, float(value - error), float(value + error), count)
    x, y = _cap(generated, reference, generator)
    distance, count = weighted_distance(x, y), len(x)
    drawn = [generator.integers(0, count, count) for _ in range(draws)]
    values = [_infinity(distance, clips, count, 5, seed + k)[0] for k, clips in enumerate(drawn)]
    return spread_score(name, value, values, len(generated), count)
