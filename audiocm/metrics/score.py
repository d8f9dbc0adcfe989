"""Scores with 95 % confidence intervals: bootstrap resampling and paired significance tests.

A *mean* over items (hits, cosines, PESQ per file) gets a percentile bootstrap over the items. A *set statistic*
(Fréchet distance, MMD, inception score) is a function of resampling weights. Its bootstrap is biased, because a
resample repeats points and so resembles a smaller set; its interval is therefore the bootstrap's spread placed around
the estimate.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from ..checks import check_array, check_callable, check_instance, check_whole, checked

LARGEST = 1e100  # number in an embedding
DRAWS = 1000
MAX_RESAMPLED_CLIPS = 1000  # in one bootstrap resample; the spread is then scaled by sqrt(used / all)
RESAMPLING = {  # checks of arguments that all scores share
    "name": partial(check_instance, kind=str),
    "draws": partial(check_whole, least=1, most=10**6),
    "seed": partial(check_whole, least=0, below=2**64),
}
Clips = np.ndarray | list[np.ndarray]  # embeddings [clip, dim], or one array of frames [frame, dim] per clip
Statistic = Callable[[np.ndarray], float]  # of the indices, or of the resampling weights, of the clips
Weights = tuple[np.ndarray, np.ndarray]
Range = tuple[float, float]
UNBOUNDED: Range = (-np.inf, np.inf)


@dataclass(frozen=True)
class Score:
    """A value with its 95 % interval [`low`, `high`] from `count` items; `p` is set for a difference of two systems."""

    name: str
    value: float
    low: float
    high: float
    count: int
    p: float | None = None

    def as_dict(self) -> dict:
        """Returns the fields that are not None, for JSON."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def __str__(self) -> str:
        p = "" if self.p is None else f", p={self.p:.3g}"
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}] (n={self.count}{p})"


def resample(count: int, generator: np.random.Generator) -> np.ndarray:
    """Returns how often each of `count` items occurs in one bootstrap resample: int [count], summing to `count`."""
    return np.bincount(generator.integers(0, count, count), minlength=count)


@checked(**RESAMPLING)
def mean_score(name: str, items: Sequence[float] | np.ndarray, draws: int = DRAWS, seed: int = 0) -> Score:
    """Computes the mean of per-item values with a percentile bootstrap over the items.

    Raises ValueError if there is no item or if a value is not finite."""
    if np.size(items) == 0:
        raise ValueError(f"{name}: no items to average")
    items = check_array("items", items, ("item",), finite=False)
    if not np.isfinite(items).all():
        raise ValueError(f"{name}: {int((~np.isfinite(items)).sum())} of {items.size} items are not finite numbers")
    generator = np.random.default_rng(seed)
    means = np.array([items[generator.integers(0, items.size, items.size)].mean() for _ in range(draws)])
    low, high = np.quantile(means, [0.025, 0.975])
    return Score(name, float(items.mean()), float(low), float(high), items.size)


@checked(**RESAMPLING)
def statistic_score(
    name: str, statistic: Statistic, count: int, draws: int = 200, seed: int = 0, within: Range = UNBOUNDED
) -> Score:
    """Computes a set statistic, whose range is `within`, with its interval; `statistic` takes resampling weights, int
    [count] (ones: the set itself)."""
    generator = np.random.default_rng(seed)
    value = statistic(np.ones(count, dtype=np.int64))
    values = [statistic(resample(count, generator)) for _ in range(draws)]
    return spread_score(name, value, values, count, within=within)


def spread_score(
    name: str, value: float, draws: Sequence[float], count: int, used: int | None = None, within: Range = UNBOUNDED
) -> Score:
    """Places the spread of bootstrap `draws` around `value` as its 95 % interval.

    The spread of draws of `used` of the `count` items (None: of all) is scaled by sqrt(used / count). The interval is
    clipped to `within`, the statistic's range, and contains `value` even if almost all resamples are identical."""
    low, high = np.quantile(_deviations(draws, count, used), [0.025, 0.975])
    low, high = np.clip([value + min(low, 0.0), value + max(high, 0.0)], *within)
    return Score(name, float(value), float(low), float(high), count)


def _deviations(draws: Sequence[float], count: int, used: int | None) -> np.ndarray:
    return (np.asarray(draws) - np.mean(draws)) * np.sqrt((used or count) / count)


@checked(**RESAMPLING)
def paired_difference(name: str, first: np.ndarray, second: np.ndarray, draws: int = 2000, seed: int = 0) -> Score:
    """Computes the mean of `first - second` over the same items, with its interval and the p-value of a sign-flip test.

    Raises ValueError if the two have different numbers of items."""
    first, second = check_array("first", first, ("item",)), check_array("second", second, ("item",))
    if first.shape != second.shape:
        raise ValueError(f"{name}: a paired test needs the same items, got {first.size} and {second.size}")
    difference = first - second
    score = mean_score(name, difference, draws, seed)
    signs = np.random.default_rng(seed + 1).choice([-1.0, 1.0], size=(draws, difference.size))
    extreme = np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12
    return replace(score, p=float((extreme.sum() + 1) / (draws + 1)))


def clip_of_row(clips: Clips) -> np.ndarray:
    """Returns the index of the clip that each frame belongs to, or each embedding where a clip is a single one."""
    return np.repeat(np.arange(len(clips)), [len(np.atleast_2d(clip)) for clip in clips])


def select(clips: Clips, rows: np.ndarray) -> Clips:
    """Returns the clips with indices `rows`."""
    return [clips[i] for i in rows] if isinstance(clips, list) else clips[rows]


def validate_vectors(x: Clips, role: str) -> np.ndarray:
    """Returns the embeddings as float64 [clip or frame, dim].

    Raises ValueError naming `role` if the shape is wrong, if there are fewer than 2 rows, or if a value is not
    finite."""
    frames = isinstance(x, list) and bool(x) and all(np.ndim(clip) == 2 for clip in x)
    if frames and len({np.shape(clip)[1] for clip in x}) > 1:
        raise ValueError(f"{role}: the frames of the clips differ in size")
    x = check_array(role, np.concatenate(x) if frames else x, ("clip", "dim"), finite=False)
    if len(x) < 2:
        raise ValueError(f"{role}: need embeddings [clip, dim] of at least 2 clips, got shape {list(x.shape)}")
    if wrong := int((~(np.abs(x) <= LARGEST)).any(axis=1).sum()):  # whose squares have no sum in float64
        raise ValueError(f"{role}: {wrong} of {len(x)} embeddings are not finite, or larger than {LARGEST:g}")
    return x


def check_same_size(generated: np.ndarray, reference: np.ndarray) -> None:
    """Raises ValueError if the embeddings of two sets differ in size."""
    if generated.shape[1] != reference.shape[1]:
        sizes = f"generated {generated.shape[1]}, reference {reference.shape[1]}"
        raise ValueError(f"embeddings differ in size: {sizes}")


def independent_resample(generator: np.random.Generator, count: int, count_reference: int) -> Weights:
    """Draws resampling weights of both sets independently: the reference counts as a random sample too."""
    return resample(count, generator), resample(count_reference, generator)


def paired_resample(generator: np.random.Generator, count: int, count_reference: int) -> Weights:
    """Draws one set of resampling weights for both sets, whose clips i belong together (for example codec round trips).

    Raises ValueError if the sets differ in size."""
    if count != count_reference:
        raise ValueError(f"a paired resample needs sets of equal size, not {count} and {count_reference} clips")
    weights = resample(count, generator)
    return weights, weights


def cap_frames(x: Clips, y: Clips, generator: np.random.Generator) -> tuple[Clips, Clips]:
    """Limits both sets to MAX_RESAMPLED_CLIPS random clips; sets of equal size keep the same indices, so pairs stay
    pairs."""
    orders = {n: np.sort(generator.permutation(n)[:MAX_RESAMPLED_CLIPS]) for n in {len(x), len(y)}}
    return select(x, orders[len(x)]), select(y, orders[len(y)])


def subsampled_score(
    name: str,
    statistic: Statistic,
    x: np.ndarray,
    draws: int = 100,
    seed: int = 0,
    within: Range = UNBOUNDED,
    on_subset: Callable[[np.ndarray], Statistic] | None = None,
) -> Score:
    """Computes a statistic that duplicate clips would bias (nearest neighbours, pairs), with its interval.

    Random halves drawn without replacement take the bootstrap's place; their variance σ²/m · (1 − m/n) with m = n/2
    equals that of the full set. `on_subset` prepares an equal statistic for the drawn subset of x, which is sorted."""
    generator = np.random.default_rng(seed)
    subset = x[np.sort(generator.permutation(len(x))[:MAX_RESAMPLED_CLIPS])]
    of_half = statistic if on_subset is None else on_subset(subset)
    values = [of_half(subset[random_half(len(subset), generator)]) for _ in range(draws)]
    return spread_score(name, statistic(x), values, len(x), len(subset), within)


def random_half(count: int, generator: np.random.Generator) -> np.ndarray:
    """Returns the indices of a random half of `count` clips, at least 2."""
    return generator.permutation(count)[: max(count // 2, 2)]


@checked(first=check_callable, second=check_callable, count=check_whole, **RESAMPLING)
def set_difference(
    name: str, first: Statistic, second: Statistic, count: int, halves: bool = False, draws: int = 200, seed: int = 0
) -> Score:
    """Computes `first(rows) - second(rows)`, two systems' statistics over all clips, with its interval and p-value.

    Clip i of both systems answers the same prompt, so each resample uses the same indices for both: drawn with
    replacement, or random halves. The p-value is two-sided, from the draws shifted to mean 0. The reference set is not
    resampled. Raises ValueError for fewer than 4 clips."""
    if count < 4:
        raise ValueError(f"{name}: a paired test needs at least 4 files of the same names in both folders, got {count}")
    generator, everything = np.random.default_rng(seed), np.arange(count)
    subset = np.sort(generator.permutation(count)[:MAX_RESAMPLED_CLIPS])
    used, values = len(subset), []
    for _ in range(draws):
        rows = subset[random_half(used, generator) if halves else generator.integers(0, used, used)]
        values.append(first(rows) - second(rows))
    value = first(everything) - second(everything)
    extreme = np.abs(_deviations(values, count, used)) >= abs(value)
    return replace(spread_score(name, value, values, count, used), p=float((extreme.sum() + 1) / (draws + 1)))
