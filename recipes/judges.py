"""What the tables share: the settings of `audiocm score` for sounds, and the writer of JSON and markdown."""

import fnmatch
import functools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from audiocm.embedders import Embedder, load_embedder
from audiocm.evaluation import Preprocessing, ScoreResult, score
from audiocm.evaluation.features import cache_folder

PREPROCESSING = Preprocessing(loudness="active_rms", trim=True, max_seconds=10.0, band_limit=24000)
FACTS = ("queries", "seconds a sound", "clips", "unusable")
TITLES = {  # name of a score -> title of its column, for clips of a `part` of the table `against` a reference
    r"tag-alignment.*": "alignment {part}",
    r"top-5 hits .*": "top-5 hits {part}",
    r"KL .*": "KL tags {part}",
    r"diversity of takes (.*)": r"diversity \1",
    r"FD-halves (.*)": r"FD \1 vs {against}",
    r"((FD|KAD) .*)": r"\1 vs {against}",
}


@functools.cache
def embedders() -> tuple[Embedder, ...]:
    """YAMNet (also the tagger) and aiSFX: no training of this repository has seen their embeddings."""
    return load_embedder("yamnet"), load_embedder("aisfx")


def score_sounds(folder: Path, reference: Path | None = None, **options) -> ScoreResult:
    """`audiocm score` with the settings of the tables: --embedder yamnet,aisfx --loudness active_rms --trim
    --max-seconds 10 --band-limit 24000."""
    settings = {"embedders": embedders(), "preprocessing": PREPROCESSING, "cache": cache_folder()}
    return score(folder, reference, **settings | options)


def columns_of(result: ScoreResult, part: str = "", against: str = "") -> dict[str, dict]:
    """The scores of a result by the titles of their columns, as in a results file; others are left out."""
    found = {}
    for name, one in result.scores.items():
        for pattern, title in TITLES.items():
            if match := re.fullmatch(pattern, name):
                title = match.expand(title.format(part=part, against=against)).strip()
                found[title] = one.as_dict() | {"name": title}
                break
    return found


def table_card(result: ScoreResult, **more) -> dict:
    """The card of a table from that of one of its results, without what differs from row to row."""
    own = ("clips", "left_out", "cut", "generated", "prompts")
    return {key: value for key, value in result.card.items() if key not in own} | more


def corpus_entries(roots: Iterable[Path]) -> list[dict]:
    """All manifest lines below `roots`, `file` with its root before it. Raises ValueError for a root without a
    manifest."""
    entries = []
    for root in map(Path, roots):
        if not (root / "manifest.jsonl").exists():
            raise ValueError(f"{root}: no manifest.jsonl")
        lines = (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        entries += [e | {"file": str(root / e["file"])} for e in map(json.loads, lines)]
    return entries


SAME = 2e-3  # relative difference of scores of the same sounds: embedders round differently on other processors


def earlier_rows(path: str, rows: dict[str, dict], anchor: str, wanted: Sequence[str]) -> dict[str, dict]:
    """`rows`, with those of `wanted` that are missing taken from an earlier results file and marked by `scored_at`.

    The row `anchor` keeps the file's scores that it was not given again. Raises ValueError if the scores of `anchor`,
    which is the same sounds scored alike, differ from the file's."""
    old = json.loads(Path(path).read_text(encoding="utf-8"))
    mine, theirs = ({k: v["value"] for k, v in d[anchor]["scores"].items()} for d in (rows, old["systems"]))
    both = [name for name in mine if name in theirs]
    off = [name for name in both if not np.isclose(mine[name], theirs[name], rtol=SAME, atol=1e-6)]
    if off or not both:
        names = ", ".join(off or mine)
        raise ValueError(f"{path}: its row {anchor!r} has other scores ({names}): it cannot be put beside this run's")
    commit, missing = old["card"].get("commit"), [n for n in wanted if n not in rows and n in old["systems"]]
    joined = rows | {name: old["systems"][name] | {"scored_at": commit} for name in missing}
    joined[anchor] = rows[anchor] | {"scores": old["systems"][anchor]["scores"] | rows[anchor]["scores"]}
    order = dict.fromkeys([*(name for name in rows if name not in wanted), *wanted])
    return {name: joined[name] for name in order if name in joined}


def write_results(path: Path, results: dict, columns: Sequence[str], facts: Sequence[str] = FACTS) -> str:
    """Writes JSON to `path` and a markdown table beside it; returns the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    table = markdown(results["systems"], columns, facts)
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    return table


def markdown(systems: dict[str, dict], columns: Sequence[str], facts: Sequence[str] = FACTS) -> str:
    """One row a system; `value [low, high]` in each column that any system has, else a dash. A name with a wildcard is
    one column if no system has two such scores (the number of principal components may differ: the JSON has it)."""
    found = [column for pattern in columns for column in _matching(systems, pattern)]
    facts = [f for f in facts if any(f in row for row in systems.values())]
    titles = [column.replace("*", "") for column in found]
    lines = ["| system | " + " | ".join([*facts, *titles]) + " |", "|---" * (1 + len(facts) + len(found)) + "|"]
    for name, row in systems.items():
        cells = [f"{row[f]:.3g}" if isinstance(row.get(f), float) else str(row.get(f, "—")) for f in facts]
        for column in found:
            one = next((row["scores"][name] for name in fnmatch.filter(row["scores"], column)), None)
            cells.append("—" if one is None else f"{one['value']:.3g} [{one['low']:.3g}, {one['high']:.3g}]")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _matching(systems: dict[str, dict], pattern: str) -> list[str]:
    """The scores' names; the pattern alone if there are several but no system has two of them."""
    hits = [fnmatch.filter(row["scores"], pattern) for row in systems.values()]
    names = list(dict.fromkeys(name for found in hits for name in found))
    return [pattern] if len(names) > 1 and max(map(len, hits)) == 1 else names
