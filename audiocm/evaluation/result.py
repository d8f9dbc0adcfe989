"""Results: of one metric, of one evaluation (with its card, as JSON on disk), and of a comparison of two."""

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
from ..schema import Rule, list_of, number, optional, parse_json, table, text

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


def _anything(value: Any, place: str) -> None:
    """Allows every value of JSON."""


def _sample_rate(value: Any, place: str) -> None:
    """Allows null and, for judges that have none, an empty text."""
    if value != "":
        optional(_NUMBER)(value, place)


_NUMBER, _TEXT, _NOTE = number(-1e300, 1e300), text(longest=10_000), text(longest=100_000)
_OBJECT = table({}, others=_anything)
_SCORE = table(
    {"name": _TEXT, **dict.fromkeys(("value", "low", "high", "count"), _NUMBER), "p": optional(_NUMBER)},
    ["name", "value", "low", "high", "count"],
)
_JUDGE = table({"digest": _TEXT, "sample_rate": _sample_rate, "clip": optional(_TEXT)}, ["digest", "sample_rate"])
_PRESET_TEXTS = ("name", "follows", "departs")
_PRESET = table(
    {**dict.fromkeys(_PRESET_TEXTS, _NOTE), "changed": list_of(_NOTE)}, [*_PRESET_TEXTS, "changed"], _anything
)
_CARD_RULES: dict[str, Rule] = {
    "embedders": table({}, others=_JUDGE),
    "seed": _NUMBER,
    **dict.fromkeys(("commit", "generated"), _TEXT),
    **dict.fromkeys(("form", "versions", "cut"), _OBJECT),
    "clips": table({}, others=_NUMBER),
    "left_out": table({}, others=_OBJECT),
    "preset": lambda value, place: _PRESET(value, place) if value not in (None, {}) else None,
}


def _card(value: Any, place: str) -> None:
    """Allows the card of a result, which has counts of unusable clips for all folders that it has clips of."""
    required = [name for name in _CARD_RULES if name not in ("cut", "preset")]
    table(_CARD_RULES, required, _anything)(value, place)
    table({}, list(value["clips"]), _anything)(value["left_out"], f"{place}.left_out")


_RESULT = table(
    {
        "card": _card,
        "scores": table({}, others=_SCORE),
        "items": table({}, others=table({}, others=_NUMBER)),
        "warnings": list_of(_NOTE),
        "intake": _OBJECT,
        "outliers": list_of(table({"share": _NUMBER}, ["share"], _anything)),
    },
    ["card", "scores", "items", "warnings"],
    _anything,
)


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
        """Reads a file that `audiocm score --json` wrote. Raises ValueError naming the entry that is wrong."""
        try:
            found = _plain(parse_json(read_text(file), allow_nan=True))
            _RESULT(found, "")
        except ValueError as error:
            raise ValueError(f"{file}: not a result of audiocm score ({error})") from error
        scores = {name: Score(**score) for name, score in found["scores"].items()}
        notes, reports, outliers = found["warnings"], found.get("intake", {}), found.get("outliers", [])
        return cls(found["card"], scores, found["items"], reports, notes, outliers)


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
