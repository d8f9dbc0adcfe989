"""What a metric of `audiocm score` gives back."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import metrics
from ..metrics import Score
from .session import Evaluation


@dataclass
class SetStatistic:
    """A number of a whole set, as a function of which of its clips (`names`) are drawn: for paired tests.

    `halves`: copies of a clip would spoil it, so halves are drawn without replacement."""

    names: list[str]
    of: Callable[[np.ndarray], float]
    halves: bool = False


@dataclass
class MetricResult:
    """What one metric gives: numbers, and per-clip numbers and statistics by metric name for paired tests."""

    scores: list[Score]
    items: dict[str, dict[str, float]] = field(default_factory=dict)
    sets: dict[str, SetStatistic] = field(default_factory=dict)


def per_item(name: str, names: Sequence[str], values: np.ndarray, context: Evaluation) -> MetricResult:
    if len(values) == 1:
        warnings.warn(f"{name} is of one clip: its interval says nothing", stacklevel=2)
    score = metrics.mean_score(name, values, seed=context.request.seed)
    return MetricResult([score], {name: dict(zip(names, map(float, values), strict=True))})


def metric_columns(
    columns: dict[str, Sequence[float]], names: Sequence[str], judge: str, context: Evaluation
) -> MetricResult:
    """Several numbers of each of the clips `names` as one Found, their titles followed by the judge's name."""
    found = MetricResult([])
    for title, values in columns.items():
        one = per_item(f"{title} {judge}".strip(), names, np.array(values), context)
        found = MetricResult(found.scores + one.scores, found.items | one.items)
    return found
