"""Results: of one metric, of one evaluation (with its card, as JSON on disk), and of a comparison of two."""

import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..files import read_text
from ..metrics import Score, mean_score

RowStatistic = Callable[[np.ndarray], float]


@dataclass
class SetStatistic:
    """A set-level statistic of the clips `names` as a function of row numbers, for paired tests on resamples.

    Set `without_replacement` where duplicate clips would bias it; random halves then replace the bootstrap."""

    names: list[str]
    statistic: RowStatistic
    without_replacement: bool = False


def lazy_statistic(prepare: Callable[[], RowStatistic]) -> RowStatistic:
    """Returns the statistic that `prepare` returns, which is called at the first use only."""
    prepared = cache(prepare)
    return lambda rows: prepared()(rows)


def statistic_of_weights(function: Callable[[np.ndarray], float], count: int) -> RowStatistic:
    """Turns a function of how often each of `count` clips is drawn into a function of the drawn rows."""
    return lambda rows: function(np.bincount(rows, minlength=count))


@dataclass
class MetricResult:
    """Result of one metric: set-level scores, per-clip values and set statistics by score name for paired tests, the
    external models and packages that it used, whether it paired generated and reference files by name, and the
    generated files by their share of the score."""

    scores: list[Score] = field(default_factory=list)
    items: dict[str, dict[str, float]] = field(default_factory=dict)
    statistics: dict[str, SetStatistic] = field(default_factory=dict)
    judges: list = field(default_factory=list)  # each has a `name` and a `digest`
    paired: bool = False
    outliers: list[dict] = field(default_factory=list)

    def __add__(self, other: "MetricResult") -> "MetricResult":
        scores, judges = self.scores + other.scores, self.judges + other.judges
        items, statistics = self.items | other.items, self.statistics | other.statistics
        paired, outliers = self.paired or other.paired, self.outliers or other.outliers
        return MetricResult(scores, items, statistics, judges, paired, outliers)


def per_clip_result(columns: dict[str, Sequence[float]], names: Sequence[str], seed: int) -> MetricResult:
    """Returns the means of `columns`, which hold one value per clip by score name, and the values by clip name."""
    result = MetricResult()
    for title, values in columns.items():
        if len(values) == 1:
            warnings.warn(f"{title} is of one clip: its interval is meaningless", stacklevel=2)
        result.scores.append(mean_score(title, values, seed=seed))
        result.items[title] = dict(zip(names, map(float, values), strict=True))
    return result


def set_result(score: Score, names: list[str], statistic: RowStatistic, without_replacement=False) -> MetricResult:
    """Returns a set-level score with its statistic, see `SetStatistic`."""
    return MetricResult([score], statistics={score.name: SetStatistic(names, statistic, without_replacement)})


def _plain(value: Any) -> Any:
    """Returns a value of JSON in which numbers that JSON does not have (nan, infinities) are null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass
class ScoreResult:
    """The scores of one folder by name, the card that says how they were measured, and what else is worth knowing.

    `items` holds per-clip values and `reports` the used and unusable files of each folder; `outliers` are the generated
    files by their share of the Fréchet distance; `statistics` exist only until the result is saved."""

    card: dict[str, Any]
    scores: dict[str, Score]
    items: dict[str, dict[str, float]]
    reports: dict[str, dict]
    warnings: list[str]
    outliers: list[dict]
    statistics: dict[str, SetStatistic] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of the file that `audiocm score --json` writes."""
        scores = {name: score.as_dict() for name, score in self.scores.items()}
        result = {"card": self.card, "scores": scores, "items": self.items, "intake": self.reports}
        return _plain(result | {"warnings": self.warnings, "outliers": self.outliers})

    @classmethod
    def load(cls, file: str | Path) -> "ScoreResult":
        """Reads a file that `audiocm score --json` wrote. Raises ValueError if it is not one."""
        try:
            found = _plain(json.loads(read_text(file)))
            card, scores = found["card"], {name: Score(**score) for name, score in found["scores"].items()}
            items, notes = found["items"], found["warnings"]
            reports, outliers = found.get("intake", {}), found.get("outliers", [])
            numbers = [x for one in scores.values() for x in (one.value, one.low, one.high, one.count, one.p or 0)]
            numbers += [x for column in items.values() for x in column.values()]
            numbers += [card["seed"], *card["clips"].values(), *(one["share"] for one in outliers)]
            if not all(isinstance(x, int | float) and math.isfinite(x) for x in numbers):
                raise ValueError("a score or a count is no finite number")
            judges, preset = card["embedders"].values(), card.get("preset") or {}
            texts = [*notes, *(preset["changed"] if preset else ()), *(one["digest"] for one in judges), card["commit"]]
            texts += [preset[key] for key in ("name", "follows", "departs") if preset]
            texts += [one.get("clip") or "" for one in judges if one["sample_rate"] != ""]
            if not all(isinstance(text, str) for text in [card["generated"], *texts]):
                raise ValueError("a name is no text")
            shapes = (card["form"], card["versions"], card["left_out"], card.get("cut", {}), reports)
            if not all(isinstance(one, dict) for one in shapes):
                raise ValueError("an entry of the card is of a wrong type")
            if not all(isinstance(card["left_out"][role], dict) for role in card["clips"]):
                raise ValueError("the counts of unusable clips are of a wrong type")
            return cls(card, scores, items, reports, notes, outliers)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            lacking = f"it has no {error}" if isinstance(error, KeyError) else error
            raise ValueError(f"{file}: not a result of audiocm score ({lacking})") from error


@dataclass
class Comparison:
    """Two results and the differences first − second of their scores, with intervals and p-values."""

    first: ScoreResult
    second: ScoreResult
    differences: dict[str, Score]

    def to_dict(self) -> dict[str, Any]:
        """Returns the content of the file that `audiocm compare --json` writes."""
        differences = {name: score.as_dict() for name, score in self.differences.items()}
        first, second = self.first.to_dict(), self.second.to_dict()
        return {"card": self.first.card, "first": first, "second": second, "differences": differences}
