"""Tables of many systems: their scores side by side, with ranks."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from ..checks import check_instance
from ..files import atomic_write
from .result import ScoreResult

LOWER = ("FAD", "FD ", "FD-infinity", "FAD-infinity", "KAD", "KL ", "log-spectral", "multi-resolution", "log-mel",
         "F0 RMSE", "F0 error", "voicing error", "WER", "CER")  # fmt: skip
HIGHER = ("IS ", "CLAP", "text→audio", "audio→text", "tag-alignment", "top-5 hits", "PESQ", "STOI", "DNSMOS", "speaker",
          "density", "coverage", "precision", "recall", "within", "voicing as asked")  # fmt: skip
MEAN_RANK = "mean rank"


def direction(score: str) -> int:
    """Returns −1 if a lower score of this name is better, 1 if a higher one is, and 0 if neither is."""
    if score.startswith(("FD-halves", "FAD-halves")):
        return 0
    return -1 if score.startswith(LOWER) else 1 if score.startswith(HIGHER) else 0


def ranks(results: Mapping[str, ScoreResult]) -> dict[str, dict[str, int]]:
    """Returns {score: {system: rank}} of the scores that all systems have and that have a better end: 1 is the best,
    and equal values share a rank."""
    table = {}
    for name in common_scores(results):
        values = {system: direction(name) * one.scores[name].value for system, one in results.items()}
        if direction(name):
            table[name] = {
                system: 1 + sum(other > mine for other in values.values()) for system, mine in values.items()
            }
    return table


def common_scores(results: Mapping[str, ScoreResult]) -> list[str]:
    """Returns the names of the scores that all systems have. Raises ValueError if there is none."""
    for one in check_instance("results", results, Mapping, "results by system").values():
        check_instance("results", one, ScoreResult)
    if not results:
        raise ValueError("results must hold at least one system")
    first, *others = results.values()
    names = [name for name in first.scores if all(name in one.scores for one in others)]
    if not names:
        raise ValueError(f"the systems share no score: {', '.join(results)}")
    return names


def table_of_systems(results: Mapping[str, ScoreResult]) -> list[list[str]]:
    """Returns a header and one row a system: "value [low, high] (rank)" of every common score, and the mean rank."""
    ranked, names = ranks(results), common_scores(results)
    rows = [["system", *names, *([MEAN_RANK] if ranked else [])]]
    for system, one in results.items():
        cells = []
        for name in names:
            score, place = one.scores[name], ranked.get(name, {}).get(system)
            rank = "" if place is None else f" ({place})"
            cells.append(f"{score.value:.4g} [{score.low:.4g}, {score.high:.4g}]{rank}")
        mean = [f"{sum(of[system] for of in ranked.values()) / len(ranked):.3g}"] if ranked else []
        rows.append([system, *cells, *mean])
    return rows


def to_markdown(rows: list[list[str]]) -> str:
    """Returns a table as Markdown."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    cells.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def to_csv(results: Mapping[str, ScoreResult]) -> str:
    """Returns one line for every system and common score: system, score, value, low, high, count, rank."""
    output, ranked = io.StringIO(), ranks(results)
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(("system", "score", "value", "low", "high", "count", "rank"))
    for system, one in results.items():
        for name in common_scores(results):
            score = one.scores[name]
            numbers = (score.value, score.low, score.high, score.count)
            writer.writerow((system, name, *numbers, ranked.get(name, {}).get(system, "")))
    return output.getvalue()


def write_table(file: str | Path, results: Mapping[str, ScoreResult]) -> None:
    """Writes the table as CSV or, with any other extension, as Markdown. Raises ValueError if it cannot be written."""
    is_csv = Path(file).suffix.lower() == ".csv"
    text = to_csv(results) if is_csv else to_markdown(table_of_systems(results)) + "\n"
    with atomic_write(file) as beside:
        beside.write_text(text, encoding="utf-8")
