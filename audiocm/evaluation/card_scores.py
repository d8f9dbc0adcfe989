"""Scores for the readers of a model: those of a result in the model card of the folder that made the sounds."""

import html
import json
import os
import re
from pathlib import Path
from typing import Any

from ..checks import check_instance
from ..files import atomic_write, content_digest
from ..model_cards import CARD, read_model_card, replace_score_blocks, score_blocks
from .provenance import describe_card
from .ranking import direction, to_markdown
from .result import ScoreResult

HEADER = ["metric", "value", "95 % interval", "count"]
ARROWS = {-1: " ↓", 0: "", 1: " ↑"}  # to the better end


def write_scores(folder: str | os.PathLike, result: ScoreResult) -> None:
    """Writes scores into the model card, README.md, of the folder whose model made the sounds, atomically.

    Each score is a row of value, 95 % interval and count; below them stands how they were measured: embedders with the
    digests of their weights, preprocessing, counts of clips, name and digest of the reference, seed, versions, and the
    warnings. A score that the card already has of the same measurement is replaced: of the same metric, preprocessing
    and name of the reference, or, where there is none, the same prompts. Other scores and all other text stay.

    result: of `score`, or `ScoreResult.load` of a file of `audiocm score --json`. Raises ValueError, and writes nothing,
    if it holds no score, if the folder has no model card of audiocm, or if the card cannot be written."""
    check_instance("result", result, ScoreResult)
    if not result.scores:
        raise ValueError("result holds no score for the card")
    card, key = read_model_card(folder), _measurement(result.card)
    rows = [
        [_plain(name) + ARROWS[direction(name)], f"{one.value:.4g}", f"[{one.low:.4g}, {one.high:.4g}]", str(one.count)]
        for name, one in result.scores.items()
    ]
    new = to_markdown([HEADER, *rows])
    again = {_metric(line) for line in new.split("\n")[2:]}
    blocks = [(other, _without(content, again) if other == key else content) for other, content in score_blocks(card)]
    notes = [re.sub(r" \(first: .*\)", "", text) for text in result.warnings]  # names of files are the user's own
    facts = [*describe_card(result.card), *(f"warning: {text}" for text in notes)]
    content = "\n".join([new, "", *(f"- {_plain(fact)}" for fact in facts)])
    text = replace_score_blocks(card, [*((other, one) for other, one in blocks if one), (key, content)])
    with atomic_write(Path(folder) / CARD) as partial:
        partial.write_text(text, encoding="utf-8")


def _measurement(card: dict[str, Any]) -> str:
    """Returns the key of what was measured: with what the sounds were compared, and how they were preprocessed."""
    compared = card.get("reference_name") or card.get("reference") or card.get("prompts")
    return content_digest(json.dumps([compared, card["form"]], sort_keys=True))


def _plain(text: str) -> str:
    """Returns a text as one line of Markdown in UTF-8 that holds no HTML, so that no name can end a mark."""
    line = " ".join(text.split()).encode("utf-8", "backslashreplace").decode("utf-8")
    return html.escape(line, quote=False)


def _metric(row: str) -> str:
    """Returns the first cell of a row of a table."""
    return row.split(" | ")[0]


def _without(content: str, metrics: set[str]) -> str:
    """Returns the content of a block without the rows of some metrics, "" if no row is left."""
    lines = [line for line in content.split("\n") if _metric(line) not in metrics]
    return "\n".join(lines) if sum(line.startswith("| ") for line in lines) > 2 else ""  # header and rule
