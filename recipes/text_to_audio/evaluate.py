"""The text-to-audio table: real clips, codec round trip, teacher, student at 1, 2 and 4 calls.

    python -m recipes.text_to_audio.evaluate plan --out runs/tables --plan samples/tta_plan.json
    python -m recipes.text_to_audio.evaluate generate --out runs/tables [--device cuda] [--systems student-1,teacher-50] [--latents]
    python -m recipes.text_to_audio.evaluate score --out runs/tables --results samples/tta_scores.json
    python -m recipes.text_to_audio.evaluate time --results samples/tta_scores.json --device cpu        # seconds a sound, on an idle machine

with `--sweep 0,1,2,2.5,3,4,6 --row "student-1 w=2=tta@2" --row "student-1 w=2.5=tta@2.5"` for the rows of other guidance weights (a sweep's
are of captions alone, a row's of prompts too).

`plan` draws the words and needs the corpus (the table's draw is kept: without --plan, clips are drawn anew); `generate` needs the models (and the corpus for the row "codec" alone) and
writes sounds; `score` needs the judges (see judging.py) and can run elsewhere. All
continue where they stopped. Two sets of words: the captions of real test clips (the clip is the reference) and
free prompts (recipes/text_to_audio/prompts.jsonl: prompt, labels, kind), several takes each.

Choosing between students is done on other clips and other prompts than the table's:

    python -m recipes.text_to_audio.evaluate plan --out runs/choice --other-than samples/tta_plan.json --prompts recipes/text_to_audio/choice_prompts.jsonl --takes 2
    python -m recipes.text_to_audio.evaluate generate --out runs/choice --row "A=runs/a/model" --row "A at 2=runs/a/model@2" \
        --systems "teacher-18,A,A at 2"
    python -m recipes.text_to_audio.evaluate score --out runs/choice --results runs/choice.json --row "A=runs/a/model" --row "A at 2=runs/a/model@2"

A row whose sounds are not here (no folder in --out) is taken from `--earlier`, if the real clips score the same there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from audiocm import metrics
from recipes.judges import (
    Judges,
    agreement,
    corpus_entries,
    distances,
    earlier_rows,
    spread_of_halves,
    take_diversity,
    write_results,
)
from recipes.text_to_audio.generate import file_of, generate, prompts_of, seconds_a_sound, stored_plan, systems

HERE = Path(__file__).parent


def score_system(judges, name: str, out: Path, entries: list[dict], references: dict) -> dict:
    """One row: facts, counts and Scores."""
    folder = out / name.replace(" ", "_")
    facts = json.loads((folder / "facts.json").read_text()) if (folder / "facts.json").exists() else {}
    scores, left_out = [], {}
    for part in ("captions", "prompts"):
        chosen = [e for e in entries if e["set"] == part]
        paths = [
            Path(e["clip"]) if name == "real" else file_of(folder, e) for e in chosen if name != "real" or "clip" in e
        ]
        if not any(path.exists() for path in paths):
            continue
        heard = judges.hear(paths)
        left_out[part] = heard.intake.as_dict()["left_out"]
        words, labels = [e["prompt"] for e in chosen], [e["labels"] for e in chosen]
        said = agreement(judges, heard, words, labels, part)
        if len(heard.index) <= len(chosen) // 2:  # refused or silent sounds: what is left is not the system
            print(f"{name}: only {len(heard.index)} of {len(chosen)} sounds can be used: hits alone")
            scores += [s for s in said if "hits" in s.name]
            continue
        scores += said
        if part == "prompts":
            scores += take_diversity(heard, [e["id"] for e in chosen], references["test clips"])
            continue
        for against, reference in references.items():
            own = name == "real" and against == "test clips"
            scores += spread_of_halves(reference, against) if own else distances(heard, reference, against)
        if name != "real":
            _, mine, theirs = np.intersect1d(heard.index, references["test clips"].index, return_indices=True)
            p, q = heard.probabilities[mine], references["test clips"].probabilities[theirs]
            normal = [x / x.sum(axis=1, keepdims=True) for x in (p, q)]
            scores.append(metrics.mean_score("KL tags captions", metrics.kl_divergences(*normal)))
    clips = "+".join(str(sum(e["set"] == part for e in entries)) for part in left_out)
    unusable = sum(sum(reasons.values()) for reasons in left_out.values())
    return {
        **facts,
        "left_out": left_out,
        "clips": clips,
        "unusable": unusable,
        "scores": {s.name: s.as_dict() for s in scores},
    }


def chance(judges, real, captions: list[dict]) -> dict:
    """What words and labels score that belong to another real clip: captions moved half the list along (neighbours are of one package)."""
    half = len(captions) // 2
    moved = captions[half:] + captions[:half]
    scores = agreement(judges, real, [e["prompt"] for e in moved], [e["labels"] for e in moved], "captions")
    return {"clips": str(len(captions)), "scores": {s.name: s.as_dict() for s in scores}}


COLUMNS = [
    "FD yamnet pca* vs test clips", "FD aisfx pca* vs test clips",
    "FD yamnet pca* vs other clips", "FD aisfx pca* vs other clips",
    "alignment captions", "top-5 hits captions", "alignment prompts", "top-5 hits prompts", "diversity yamnet",
    "diversity aisfx", "KL tags captions",
]  # fmt: skip


def score(args: argparse.Namespace) -> None:
    out = Path(args.out)
    entries = json.loads((out / "plan.json").read_text())
    judges = Judges()
    captions = [e for e in entries if e["set"] == "captions"]
    references = heard_references(judges, args, captions)
    rows = {"chance": chance(judges, references["test clips"], captions)}
    for system in systems(args):
        if system.name == "real" or (out / system.name.replace(" ", "_")).exists():
            rows[system.name] = score_system(judges, system.name, out, entries, references)
            print(system.name, {k: round(v["value"], 3) for k, v in rows[system.name]["scores"].items()}, flush=True)
    if args.earlier:
        rows = earlier_rows(args.earlier, rows, "real", [system.name for system in systems(args)])
    card = judges.card(args.seed, reference={k: v.total for k, v in references.items()}, guidance=args.guidance,
                       caption_policy="first caption of the test clip", device="cpu (judges)")  # fmt: skip
    print(write_results(Path(args.results), {"card": card, "systems": rows}, COLUMNS))
    if args.sweep:
        draw_sweep({k: v for k, v in rows.items() if " w=" in k}, Path(args.results).with_suffix(".png"))


def time_rows(args: argparse.Namespace) -> None:
    """Measure every model's row of the results file again, alone on this device: eight prompts at once."""
    results = json.loads(Path(args.results).read_text())
    prompts = prompts_of(args.prompts)[:8]
    for system in systems(args):
        if row := results["systems"].get(system.name):
            row.pop("seconds a sound", None)
            if system.steps:
                row |= seconds_a_sound(system, prompts, args.seconds, args.device)
                print(f"{system.name}: {row['seconds a sound']:.3g} s a sound of {args.seconds:g} s", flush=True)
    write_results(Path(args.results), results, COLUMNS)


def heard_references(judges: Judges, args: argparse.Namespace, captions: list[dict]) -> dict:
    """The captions' own clips and, where there are a hundred, other real clips."""
    references = {"test clips": judges.hear([Path(e["clip"]) for e in captions])}
    others = other_clips(args, [e["kind"] for e in captions])
    if len(others) >= 100:
        references["other clips"] = judges.hear(others)
    return references


def other_clips(args: argparse.Namespace, kinds: list[str]) -> list[Path]:
    """Real clips of the validation split, of the same kinds and at most as many as the captions."""
    found = [Path(e["file"]) for e in corpus_entries(args.corpus) if e["split"] == "valid" and e["kind"] in set(kinds)]
    order = np.random.default_rng(args.seed).permutation(len(found))[: len(kinds)]
    return [found[i] for i in sorted(order)]


def draw_sweep(rows: dict, path: Path) -> None:
    """Alignment and Fréchet distance against the guidance weight, at one call."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(5, 3))
    right = left.twinx()
    weights = [float(name.split("w=")[1]) for name in rows]
    for axis, column, colour in ((left, "FD yamnet pca", "tab:blue"), (right, "alignment captions", "tab:red")):
        found = [next(s for name, s in row["scores"].items() if name.startswith(column)) for row in rows.values()]
        values = np.array([[f["value"], f["low"], f["high"]] for f in found])
        axis.plot(weights, values[:, 0], "o-", color=colour)
        axis.fill_between(weights, values[:, 1], values[:, 2], color=colour, alpha=0.15)
        axis.set_ylabel(column, color=colour)
    left.set_xlabel("guidance weight w, one call")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def numbers(text: str) -> list[float]:
    return [float(x) for x in text.split(",") if x]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["plan", "generate", "score", "time"])
    parser.add_argument("--out", default="runs/tables")
    parser.add_argument("--results", default="samples/tta_scores.json")
    parser.add_argument("--earlier", default="", help="score: a results file for the rows whose sounds are not here")
    parser.add_argument("--corpus", type=lambda s: s.split(","), default=["data/corpus"])
    parser.add_argument("--prompts", default=str(HERE / "prompts.jsonl"))
    parser.add_argument("--kinds", type=lambda s: s.split(","), default=["effect", "music", "instrument"])
    parser.add_argument("--student", default="tta")
    parser.add_argument("--teacher", default="tta-teacher")
    parser.add_argument("--teacher-steps", type=lambda s: [int(x) for x in s.split(",")], default=[9, 18, 50])
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--sweep", type=numbers, default=[])
    parser.add_argument(
        "--row",
        action="append",
        default=[],
        help="one more student at one call: NAME=MODEL[@GUIDANCE]; may be repeated",
    )
    parser.add_argument("--systems", type=lambda s: s.split(","), default=[])
    parser.add_argument("--split", default="test", help="of the captions: valid to choose by, test to report")
    parser.add_argument("--plan", type=Path, help="an earlier draw of captions: samples/tta_plan.json is the table's")
    parser.add_argument(
        "--other-than", type=Path, help="plan: no clip of this earlier draw: to choose by, not to report"
    )
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--latents", action="store_true", help="generate: latents only, for a second call elsewhere")
    args = parser.parse_args()
    {"plan": stored_plan, "generate": generate, "score": score, "time": time_rows}[args.action](args)


if __name__ == "__main__":
    main()
