"""How well a CLAP knows sounds of held-out sources: retrieval and zero-shot classes, beside chance and a tagger.

python -m recipes.clap.evaluate [--clap small-clap] --corpus data/corpus,data/rendered --results samples/clap_scores.json
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from audiocm.embedders.clap import ClapScorer
from audiocm.evaluation.features import cache_folder, gather_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing
from audiocm.metrics import Score, mean_score
from audiocm.metrics.similarity import recalls
from recipes.judges import Judges, corpus_entries, write_results


def retrieval(similarity: np.ndarray, truth: np.ndarray, prefix: str = "") -> list[Score]:
    """R@1, 5, 10 both ways of similarity [caption, clip]; truth [clip] is the row of the clip's own caption."""
    relevant = truth[None, :] == np.arange(len(similarity))[:, None]
    scores = []
    for name, table, fits in (("text→audio", similarity, relevant), ("audio→text", similarity.T, relevant.T)):
        scores += [mean_score(f"{prefix}{name} R@{top}", recalls(table, fits, top)) for top in (1, 5, 10)]
    return scores


def zero_shot(similarity: np.ndarray, classes: list[str], labels: list[list[str]]) -> Score:
    """Share of clips whose nearest class of similarity [class, clip] is one of their accepted labels."""
    best = similarity.argmax(axis=0)
    return mean_score("zero-shot accuracy", [float(classes[i] in own) for i, own in zip(best, labels, strict=True)])


def chance(clips: int, captions: int, truth: np.ndarray, classes: list[str], labels: list[list[str]]) -> list[Score]:
    """What random order gives, in closed form (no interval)."""
    counts = np.bincount(truth, minlength=captions)
    found = []
    for top in (1, 5, 10):
        # a caption of n clips is missed if all of them lie outside the top of a random order
        missed = [np.prod([(clips - n - i) / (clips - i) for i in range(top)]) for n in counts if n]
        found.append(Score(f"text→audio R@{top}", *[1 - float(np.mean(missed))] * 3, captions))
        found.append(Score(f"audio→text R@{top}", *[top / captions] * 3, clips))
    accepted = np.mean([sum(c in own for c in classes) / len(classes) for own in labels])
    return [*found, Score("zero-shot accuracy", *[float(accepted)] * 3, clips)]


def rows_of(entries: list[dict], clap: ClapScorer, judges: Judges) -> tuple[dict, dict]:
    """The table's rows and what was left out."""
    paths, intake = [Path(e["file"]) for e in entries], LoadReport()
    used, features = gather_features(paths, clap, Preprocessing(), intake, cache_folder())
    heard = judges.hear(paths)
    place = {str(path): i for i, path in enumerate(paths)}
    if [place[str(p)] for p in used] != heard.index.tolist():
        raise RuntimeError("CLAP and the tagger did not use the same clips")
    entries = [entries[i] for i in heard.index]
    captions = sorted({e["captions"][0] for e in entries})
    truth = np.array([captions.index(e["captions"][0]) for e in entries])
    labels = [e["labels"] for e in entries]
    frequent = Counter(own[0] for own in labels)
    classes = sorted(name for name, count in frequent.items() if count >= 3)
    named = [f"the sound of {name.lower()}" for name in classes]
    known = np.array([any(c in own for c in classes) for own in labels])
    own = [label for label, k in zip(labels, known, strict=True) if k]
    judged = {"small CLAP" if clap.name == "small-clap" else clap.name: (clap.text, features["embedding"]),
              "tagger + text similarity": (judges.alignment.encoder, judges.alignment.audio(heard.probabilities))}  # fmt: skip
    rows = {}
    for name, (read, audio) in judged.items():
        scores = retrieval(read(captions) @ audio.T, truth)
        scores.append(zero_shot(read(named) @ audio[known].T, classes, own))
        rows[name] = {"clips": len(entries), "scores": {s.name: s.as_dict() for s in scores}}
    by_chance = chance(len(entries), len(captions), truth, classes, own)
    rows["chance"] = {"clips": len(entries), "scores": {s.name: s.as_dict() for s in by_chance}}
    return rows, {"left_out": intake.as_dict()["left_out"], "captions": len(captions), "classes": len(classes)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clap", default="small-clap", help="small-clap, a trained SmallClap folder, or another CLAP")
    parser.add_argument("--corpus", type=lambda s: [Path(p) for p in s.split(",")], default=[Path("data/corpus")])
    parser.add_argument("--split", default="test")
    parser.add_argument("--kinds", type=lambda s: s.split(","), default=["effect", "music", "instrument"])
    parser.add_argument("--results", type=Path, default=Path("samples/clap_scores.json"))
    args = parser.parse_args()
    entries = [
        e
        for e in corpus_entries(args.corpus)
        if e["split"] == args.split and e["kind"] in args.kinds and e.get("captions") and e.get("labels")
    ]
    if (Path(args.clap) / "config.json").exists() and "SmallClap" in (Path(args.clap) / "config.json").read_text():
        from audiocm.embedders.small_clap import load_small_clap

        clap = load_small_clap(args.clap)
    else:
        clap = ClapScorer.from_pretrained(args.clap)
    judges = Judges()
    rows, facts = rows_of(entries, clap, judges)
    card = judges.card(0, clap={"name": clap.name, "digest": clap.digest}, split=args.split, **facts)
    columns = [f"{way} R@{top}" for way in ("text→audio", "audio→text") for top in (1, 5, 10)]
    print(write_results(args.results, {"card": card, "systems": rows}, [*columns, "zero-shot accuracy"]))


if __name__ == "__main__":
    main()
