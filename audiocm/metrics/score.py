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


CAP = 1000  # a bootstrap draw takes at most this many clips; its spread is scaled by sqrt(taken / all)
Weights = tuple[np.ndarray, np.ndarray]
Clips = np.ndarray | list[np.ndarray]  # embeddings [clip, dim], or the frames [frame, dim] of each clip


def frame_counts(clips: Clips) -> np.ndarray:
    """[clip]: rows that each clip has; one where an embedding is all there is of it."""
    return np.array([len(np.atleast_2d(clip)) for clip in clips], dtype=int)


def select(clips: Clips, rows: np.ndarray) -> Clips:
    """The clips of numbers `rows`."""
    return [clips[i] for i in rows] if isinstance(clips, list) else clips[rows]


def validate_vectors(x: Clips, role: str) -> np.ndarray:
    """float64 [clip or frame, dim]; ValueError naming `role` if it is not that, has fewer than 2 rows or is not finite."""
    x = np.asarray(np.concatenate(x) if isinstance(x, list) and x and np.ndim(x[0]) == 2 else x, dtype=np.float64)
    if x.ndim != 2 or len(x) < 2:
        raise ValueError(f"{role}: need embeddings [clip, dim] of at least 2 clips, got shape {list(x.shape)}")
    if not np.isfinite(x).all():
        raise ValueError(f"{role}: {int((~np.isfinite(x)).any(axis=1).sum())} of {len(x)} embeddings are not finite")
    return x


def independent_resample(generator: np.random.Generator, count: int, count_reference: int) -> Weights:
    """Both sets are drawn anew: the reference is any sample of its distribution."""
    return resample(count, generator), resample(count_reference, generator)


def paired_resample(generator: np.random.Generator, count: int, count_reference: int) -> Weights:
    """Clip i of both sets belongs together (round trip of a clip, answer to its caption): drawn or left out as one."""
    if count != count_reference:
        raise ValueError(f"pairs needed, got {count} generated and {count_reference} reference clips")
    weights = resample(count, generator)
    return weights, weights


def cap_frames(x: Clips, y: Clips, generator: np.random.Generator) -> tuple[Clips, Clips]:
    """At most CAP clips of each; sets of one size lose the same ones, so that pairs stay pairs."""
    orders = {n: np.sort(generator.permutation(n)[:CAP]) for n in {len(x), len(y)}}
    return select(x, orders[len(x)]), select(y, orders[len(y)])


def subsampled_score(
    name: str,
    statistic: Callable[[np.ndarray], float],
    x: np.ndarray,
    draws: int = 100,
    seed: int = 0,
    within: tuple[float, float] = (-np.inf, np.inf),
) -> Score:
    """Interval of a statistic that copies of a clip would spoil (neighbours, pairs): from random halves drawn without
    replacement, whose spread is the whole set's (variance σ²/m · (1 − m/n) with m = n/2)."""
    generator = np.random.default_rng(seed)
    some = x[np.sort(generator.permutation(len(x))[:CAP])]
    values = [statistic(some[random_half(len(some), generator)]) for _ in range(draws)]
    return spread_score(name, statistic(x), values, len(x), float(np.sqrt(len(some) / len(x))), within)


def random_half(count: int, generator: np.random.Generator) -> np.ndarray:
    """Which clips are in a random half of `count`."""
    return generator.permutation(count)[: max(count // 2, 2)]


def set_difference(
    name: str,
    first: Callable[[np.ndarray], float],
    second: Callable[[np.ndarray], float],
    count: int,
    halves: bool = False,
    draws: int = 200,
    seed: int = 0,
) -> Score:
    """`first(rows) − second(rows)` of two systems whose clip i answers the same prompt, rows of [0, count) drawn alike
    for both (with replacement, or as halves): its interval and p-value. The reference stays as it is."""
    if count < 4:
        raise ValueError(f"{name}: a paired test needs at least 4 files of the same names in both folders, got {count}")
    generator, everything = np.random.default_rng(seed), np.arange(count)
    some = np.sort(generator.permutation(count)[:CAP])
    values = []
    for _ in range(draws):
        rows = random_half(len(some), generator) if halves else generator.integers(0, len(some), len(some))
        values.append(first(some[rows]) - second(some[rows]))
    value, scale = first(everything) - second(everything), float(np.sqrt(len(some) / count))
    score = spread_score(name, value, values, count, scale)
    return Score(name, value, score.low, score.high, count, spread_p(value, np.asarray(values) * scale))


def mean_halves(statistic, x: np.ndarray, repeats: int = 10, seed: int = 0) -> Sequence[float]:
    """`statistic(half, other half)` of `repeats` random halvings: what the set's own spread reads as."""
    generator = np.random.default_rng(seed)
    orders = [generator.permutation(len(x)) for _ in range(repeats)]
    return [statistic(x[order[: len(x) // 2]], x[order[len(x) // 2 :]]) for order in orders]
