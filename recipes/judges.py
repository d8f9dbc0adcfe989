"""What the tables of this repository are judged by: two embedders and a tagger that no training here has seen."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiocm import metrics
from audiocm.audio.loudness import normalize_active_rms, trim_silence
from audiocm.embedders.aisfx import Aisfx
from audiocm.embedders.tag_alignment import SentenceEncoder, TagAlignment
from audiocm.embedders.yamnet import Yamnet
from audiocm.evaluation.features import cache_folder, gather_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing
from audiocm.evaluation.provenance import card
from audiocm.metrics import Score
from audiocm.metrics.score import independent_resample, mean_halves, paired_resample

FORM = Preprocessing(loudness=normalize_active_rms, ends=trim_silence, longest=10.0, band_limit=24000)
COMPONENTS = 64


def corpus_entries(roots: Sequence[Path]) -> list[dict]:
    """All manifest lines below `roots`, `file` with its root before it. Raises ValueError for a root without a manifest."""
    entries = []
    for root in map(Path, roots):
        if not (root / "manifest.jsonl").exists():
            raise ValueError(f"{root}: no manifest.jsonl")
        lines = (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
        entries += [e | {"file": str(root / e["file"])} for e in map(json.loads, lines)]
    return entries


@dataclass
class Heard:
    """What the judges made of the usable ones of `total` clips: `index` says which, features are [usable, ...]."""

    index: np.ndarray
    total: int
    embedding: dict[str, np.ndarray]
    probabilities: np.ndarray
    intake: LoadReport

    def only(self, chosen: np.ndarray) -> Heard:
        """The part whose place in the whole list is in `chosen`."""
        keep = np.isin(self.index, chosen)
        embedding = {name: x[keep] for name, x in self.embedding.items()}
        return Heard(self.index[keep], len(chosen), embedding, self.probabilities[keep], self.intake)


class Judges:
    """YAMNet (tags, embedding), aiSFX (embedding) and tag-to-text alignment; `cache` None = nothing is kept."""

    def __init__(self, cache: Path | None = None, workers: int = 2) -> None:
        self.yamnet, self.aisfx = Yamnet(), Aisfx()
        self.alignment = TagAlignment(SentenceEncoder(), self.yamnet.classes)
        self.cache, self.workers = cache or cache_folder(), workers

    def hear(self, paths: Sequence[Path]) -> Heard:
        """Both embedders over the clips. Unusable clips are counted in `intake`, not hidden."""
        intake = LoadReport()
        place = {str(path): i for i, path in enumerate(paths)}
        options = {"cache": self.cache, "workers": self.workers}
        used, tags = gather_features(paths, self.yamnet, FORM, intake, **options)
        again, effects = gather_features(paths, self.aisfx, FORM, LoadReport(), **options)
        if used != again:
            raise RuntimeError("the two embedders did not use the same clips")
        embedding = {"yamnet": tags["embedding"], "aisfx": effects["embedding"]}
        index = np.array([place[str(path)] for path in used])
        return Heard(index, len(paths), embedding, tags["probabilities"], intake)

    def card(self, seed: int, **more) -> dict:
        return card([self.yamnet, self.aisfx], FORM, seed, alignment=self.alignment.name, **more)


def principal(reference: np.ndarray) -> metrics.Projection:
    """The reference's first 64 components, or fewer where half of its clips would not fill them."""
    return metrics.Projection.fit(reference, min(COMPONENTS, len(reference) // 2 - 1))


def distances(heard: Heard, reference: Heard, against: str, seed: int = 0) -> list[Score]:
    """Fréchet distances (in the reference's principal components and whole) and KAD, under both embedders.

    Where clip i answers reference clip i (same places in lists of one length), intervals are drawn in pairs."""
    paired = heard.total == reference.total and against in ("real", "test clips")
    projections = {name: principal(y) for name, y in reference.embedding.items()}
    if paired:
        both = np.intersect1d(heard.index, reference.index)
        heard, reference = heard.only(both), reference.only(both)
    draw, scores = paired_resample if paired else independent_resample, []
    for name, y in reference.embedding.items():
        x, projection = heard.embedding[name], projections[name]
        label = f"FD {name} {projection.name} vs {against}"
        scores.append(metrics.frechet_score(label, projection(x), projection(y), draw, seed=seed))
        scores.append(metrics.frechet_score(f"FD {name} vs {against}", x, y, draw, seed=seed))
        scores.append(metrics.kernel_score(f"KAD {name} vs {against}", x, y, draw, seed=seed))
    return scores


def hit_items(judges: Judges, heard: Heard, labels: Sequence[Sequence[str]], top: int) -> np.ndarray:
    """[clip with labels] of 0 / 1; a clip that could not be used is a miss, one whose labels are empty does not count."""
    found = np.zeros(heard.total)
    accepted = [judges.yamnet.class_numbers(one) for one in labels]
    for probabilities, i in zip(heard.probabilities, heard.index, strict=True):
        if accepted[i]:
            found[i] = metrics.top_k_hits(probabilities[None], [accepted[i]], top)[0]
    return found[[bool(one) for one in accepted]]


def agreement(judges: Judges, heard: Heard, prompts: Sequence[str], labels: Sequence[Sequence[str]], of: str):
    """Tag-to-text alignment and the tagger's top-5 and top-10 hits, as Scores."""
    said = judges.alignment(heard.probabilities, [prompts[i] for i in heard.index])
    scores = [metrics.mean_score(f"alignment {of}", said)]
    if any(labels):
        for top in (5, 10):
            scores.append(metrics.mean_score(f"top-{top} hits {of}", hit_items(judges, heard, labels, top)))
    return scores


def take_diversity(heard: Heard, groups: Sequence[int], reference: Heard) -> list[Score]:
    """Mean 1 − cosine between takes of one prompt, embeddings centred by the reference's mean, under both embedders."""
    scores = []
    groups = np.asarray(groups)[heard.index]
    for name, x in heard.embedding.items():
        centred = x - reference.embedding[name].mean(axis=0)
        sets = [centred[groups == g] for g in np.unique(groups) if (groups == g).sum() > 1]
        scores.append(metrics.mean_score(f"diversity {name}", [metrics.set_diversity(one) for one in sets]))
    return scores


def spread_of_halves(reference: Heard, against: str) -> list[Score]:
    """The reference against itself: mean distance of ten random halvings (half the clips, so biased upwards)."""
    scores = []
    for name, y in reference.embedding.items():
        projected = principal(y)
        values = np.array(mean_halves(metrics.frechet_distance, projected(y)))
        label = f"FD {name} {projected.name} vs {against}"
        low, high = np.quantile(values, [0.025, 0.975])
        scores.append(Score(label, float(values.mean()), float(low), float(high), len(y) // 2))
    return scores


def earlier_rows(path: str, rows: dict[str, dict], anchor: str, wanted: Sequence[str]) -> dict[str, dict]:
    """`rows`, with those of `wanted` that have no sounds here from an earlier results file, which says so in `scored_at`.

    The row `anchor` keeps earlier scores that it was not given again. ValueError where the file's row `anchor`, the same sounds by the same judges, does not have the same scores."""
    old = json.loads(Path(path).read_text(encoding="utf-8"))
    mine, theirs = ({k: v["value"] for k, v in d[anchor]["scores"].items()} for d in (rows, old["systems"]))
    both = [name for name in mine if name in theirs]
    off = [name for name in both if not np.isclose(mine[name], theirs[name], rtol=1e-4, atol=1e-6)]
    if off or not both:
        raise ValueError(
            f"{path}: its row {anchor!r} has other scores ({', '.join(off or mine)}): it cannot be put beside this run's"
        )
    taken = {
        n: old["systems"][n] | {"scored_at": old["card"].get("commit")}
        for n in wanted
        if n not in rows and n in old["systems"]
    }
    joined = rows | taken
    joined[anchor] = rows[anchor] | {"scores": old["systems"][anchor]["scores"] | rows[anchor]["scores"]}
    order = dict.fromkeys([*(name for name in rows if name not in wanted), *wanted])
    return {name: joined[name] for name in order if name in joined}


FACTS = ("queries", "seconds a sound", "clips", "unusable")


def write_results(path: Path, results: dict, columns: Sequence[str], facts: Sequence[str] = FACTS) -> str:
    """JSON at `path`, a markdown table beside it; returns the table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    table = markdown(results["systems"], columns, facts)
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    return table


def markdown(systems: dict[str, dict], columns: Sequence[str], facts: Sequence[str] = FACTS) -> str:
    """One row a system; `value [low, high]` in each column that any system has, else a dash. A name with a wildcard is one
    column where no system has two such scores (principal components may differ by system: the JSON says how many)."""
    found = [column for pattern in columns for column in matching(systems, pattern)]
    facts = [f for f in facts if any(f in row for row in systems.values())]
    titles = [column.replace("*", "") for column in found]
    lines = ["| system | " + " | ".join([*facts, *titles]) + " |", "|---" * (1 + len(facts) + len(found)) + "|"]
    for name, row in systems.items():
        cells = [f"{row[f]:.3g}" if isinstance(row.get(f), float) else str(row.get(f, "—")) for f in facts]
        for column in found:
            score = next((row["scores"][name] for name in fnmatch.filter(row["scores"], column)), None)
            cells.append("—" if score is None else f"{score['value']:.3g} [{score['low']:.3g}, {score['high']:.3g}]")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def matching(systems: dict[str, dict], pattern: str) -> list[str]:
    """The scores' names; the pattern alone where there are several but no system has two of them."""
    hits = [fnmatch.filter(row["scores"], pattern) for row in systems.values()]
    names = list(dict.fromkeys(name for found in hits for name in found))
    return [pattern] if len(names) > 1 and max(map(len, hits)) == 1 else names
