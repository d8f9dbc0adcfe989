"""A number with its 95 % interval and its sample count, and what it takes to get one.

Two kinds of number exist here. A *mean* over items (a hit, a cosine, a PESQ per file) has a percentile bootstrap over
the items. A *set statistic* (Fréchet, MMD, inception score) is a function of resampling weights; its bootstrap is
biased (a resample repeats points, so it looks smaller than the set), so the interval carries the spread of the
bootstrap around the estimate, not around the bootstrap's own mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

DRAWS = 1000


@dataclass(frozen=True)
class Score:
    """`value` with its 95 % interval [`low`, `high`], from `count` items; `p` only for a difference of two systems."""

    name: str
    value: float
    low: float
    high: float
    count: int
    p: float | None = None

    def as_dict(self) -> dict:
        return {key: value for key, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        p = "" if self.p is None else f", p={self.p:.3g}"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] (n={self.count}{p})"


def resample(count: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `count` items is drawn in one bootstrap resample: int [count], summing to `count`."""
    return np.bincount(generator.integers(0, count, count), minlength=count)


def mean_score(name: str, items: Sequence[float] | np.ndarray, draws: int = DRAWS, seed: int = 0) -> Score:
    """Mean of per-item numbers with a percentile bootstrap over the items.

    Raises ValueError if there is no item or one is not finite."""
    items = np.asarray(items, dtype=np.float64).ravel()
    if items.size == 0:
        raise ValueError(f"{name}: no items to average")
    if not np.isfinite(items).all():
        raise ValueError(f"{name}: {int((~np.isfinite(items)).sum())} of {items.size} items are not finite numbers")
    generator = np.random.default_rng(seed)
    means = np.array([items[generator.integers(0, items.size, items.size)].mean() for _ in range(draws)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(name, float(items.mean()), float(low), float(high), items.size)


def statistic_score(
    name: str, statistic: Callable[[np.ndarray], float], count: int, draws: int = 200, seed: int = 0
) -> Score:
    """Interval of any set statistic that can be evaluated under resampling weights (int [count]; ones = the set)."""
    generator = np.random.default_rng(seed)
    value = statistic(np.ones(count, dtype=np.int64))
    return spread_score(name, value, [statistic(resample(count, generator)) for _ in range(draws)], count)


def spread_score(
    name: str,
    value: float,
    draws: Sequence[float],
    count: int,
    scale: float = 1.0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Score:
    """`value` with the spread of bootstrap `draws` (times `scale`) around their own mean as its interval, cut at the
    values that the statistic can have (`within`). It holds `value` even where nearly all draws are equal."""
    deviation = (np.asarray(draws) - np.mean(draws)) * scale
    low, high = np.quantile(deviation, [0.025, 0.975])
    low, high = np.clip([value + min(low, 0.0), value + max(high, 0.0)], *within)
    return Score(name, float(value), float(low), float(high), count)


def paired_difference(name: str, first: np.ndarray, second: np.ndarray, draws: int = 2000, seed: int = 0) -> Score:
    """Mean of `first - second` over the same items, its interval, and the p-value of a sign-flip test of 0.

    Raises ValueError if the two do not have the same number of items."""
    first, second = (np.asarray(x, dtype=np.float64).ravel() for x in (first, second))
    if first.shape != second.shape:
        raise ValueError(f"{name}: a paired test needs the same items, got {first.size} and {second.size}")
    difference = first - second
    score = mean_score(name, difference, draws, seed)
    signs = np.random.default_rng(seed + 1).choice([-1.0, 1.0], size=(draws, difference.size))
    extreme = np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12
    return Score(name, score.value, score.low, score.high, score.count, float((extreme.sum() + 1) / (draws + 1)))


def spread_p(value: float, draws: Sequence[float]) -> float:
    """Two-sided p-value of "the statistic is 0" from bootstrap `draws` moved so that their mean is 0."""
    deviation = np.abs(np.asarray(draws) - np.mean(draws))
    return float(((deviation >= abs(value)).sum() + 1) / (len(deviation) + 1))
