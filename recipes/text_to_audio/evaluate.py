"""The text-to-audio table: real clips, codec round trip, teacher, and student at 1, 2 and 4 calls.

    python -m recipes.text_to_audio.evaluate plan --plan samples/tta_plan.json
    python -m recipes.text_to_audio.evaluate generate --device cuda
    python -m recipes.text_to_audio.evaluate score
    python -m recipes.text_to_audio.evaluate time --device cpu

Made samples/tta_scores.json with `--guidance 2 --systems student-1,student-2` and `--earlier` for the other rows, the
teacher's at guidance 3. `--sweep 0,1,2,4` adds other guidance weights of the student on captions alone, `--row` other
models. Words are the captions of 300 test clips, whose clips are the reference (295 where a rebuilt corpus lacks five),
and 100 free prompts (prompts.jsonl) with several takes each. On two idle CPU cores a sound of 4 s takes 0.3 s (student)
to 4 s (teacher, 70 queries).

`plan` needs the corpus, and draws clips anew without `--plan`. `generate` needs the models. `score` is `audiocm score`
with the settings of recipes/judges.py and needs YAMNet and aiSFX. `time` should run on an idle machine. All continue
where they stopped. Rows whose sounds are not in `--output` are taken from `--earlier`, if the real clips have the same
scores there.

Students are to be chosen on other clips and prompts than those of the table, for example:

    evaluate() { python -m recipes.text_to_audio.evaluate "$@" --output runs/choice --row A=runs/a/model; }
    evaluate plan --other-than samples/tta_plan.json --prompts recipes/text_to_audio/choice_prompts.jsonl --takes 2
    evaluate generate --systems teacher-18,A
    evaluate score --results runs/choice.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from audiocm.files import read_json_lines
from recipes.judges import columns_of, corpus_entries, earlier_rows, score_sounds, table_card, write_results
from recipes.text_to_audio.generate import clip_name, generate, load_plan, systems, time_system

HERE = Path(__file__).parent
WORDS, DISTANCES = ("alignment", "hits"), ("fd-pca", "fad", "kad")
MAX_UNUSABLE = 0.499  # with half of its sounds refused or silent, what is left is not the system


def score_system(name: str, out: Path) -> dict:
    """Returns a row of the table, by `audiocm score`: facts, counts and scores of the folder OUT/NAME."""
    folder, real = out / name.replace(" ", "_"), out / "real" / "captions"
    facts = json.loads((folder / "facts.json").read_text()) if (folder / "facts.json").exists() else {}
    scores, left_out, clips = {}, {}, []
    for part, metrics in (("captions", (*DISTANCES, "kl")), ("prompts", ("diversity",))):
        if not (folder / part).is_dir():
            continue
        options = {"prompts": out / f"{part}.jsonl", "max_unusable": MAX_UNUSABLE}
        try:
            if name == "real":
                result = score_sounds(real, metrics=(*WORDS, "fd-halves"), **options)
            else:
                result = score_sounds(folder / part, real, metrics=(*WORDS, *metrics), **options)
        except ValueError as error:
            print(f"{name}: hits alone: {error}")
            result = score_sounds(folder / part, metrics="hits", **options | {"max_unusable": 0.999})
        report, columns = result.reports["generated"], columns_of(result, part, "test clips")
        left_out[part] = report["left_out"]
        clips.append(str(report["used"] + sum(left_out[part].values())))
        if part == "captions" and f"alignment {part}" in columns and (out / "other").is_dir():
            others = score_sounds(folder / part, out / "other", metrics=DISTANCES, max_unusable=MAX_UNUSABLE)
            columns |= columns_of(others, part, "other clips")
        scores |= columns
    unusable = sum(sum(reasons.values()) for reasons in left_out.values())
    return {**facts, "left_out": left_out, "clips": "+".join(clips), "unusable": unusable, "scores": scores}


def prepare(out: Path, args: argparse.Namespace, **more) -> tuple[dict, dict]:
    """Writes the inputs of `audiocm score` besides the systems' sounds: links to the real clips under the names of the
    sounds (OUT/real/captions) and to other real clips (OUT/other), and JSON lines with the words of each part.

    Returns the row "chance" (real clips with words and labels of half the list along, as neighbours are of one package)
    and the table's card, with `more` in it."""
    entries = json.loads((out / "plan.json").read_text())
    captions, prompts = ([e for e in entries if e["set"] == part] for part in ("captions", "prompts"))
    others, real = other_clips(args, [e["kind"] for e in captions]), out / "real" / "captions"
    links = {real / clip_name(e): Path(e["clip"]) for e in captions}
    links |= {out / "other" / f"other_{i:03d}": file for i, file in enumerate(others if len(others) >= 100 else [])}
    for link, file in links.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if not (link := link.with_suffix(file.suffix)).exists():
            link.symlink_to(file.resolve())
    half = len(captions) // 2
    moved = [two | {"id": one["id"]} for one, two in zip(captions, captions[half:] + captions[:half], strict=True)]
    for name, chosen in {"captions": captions, "prompts": prompts, "chance": moved}.items():
        lines = [{"file": f"{clip_name(e)}.flac", "prompt": e["prompt"], "labels": e["labels"]} for e in chosen]
        (out / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    chance = score_sounds(real, prompts=out / "chance.jsonl", metrics=WORDS)
    counts = {"test clips": len(captions)} | ({"other clips": len(others)} if (out / "other").is_dir() else {})
    more |= {"caption_policy": "first caption of the test clip", "device": "cpu", "reference": counts}
    return {"clips": str(len(captions)), "scores": columns_of(chance, "captions")}, table_card(chance, **more)


COLUMNS = [f"FD {embedder} pca* vs {clips} clips" for clips in ("test", "other") for embedder in ("yamnet", "aisfx")]
COLUMNS += [f"{score} {part}" for part in ("captions", "prompts") for score in ("alignment", "top-5 hits")]
COLUMNS += ["diversity yamnet", "diversity aisfx", "KL tags captions"]


def score(args: argparse.Namespace) -> None:
    """Writes the results file and its table."""
    out = Path(args.output)
    chance, card = prepare(out, args, guidance=args.guidance)
    rows = {"chance": chance}
    for system in systems(args):
        if system.name == "real" or (out / system.name.replace(" ", "_")).exists():
            rows[system.name] = score_system(system.name, out)
            print(system.name, {k: round(v["value"], 3) for k, v in rows[system.name]["scores"].items()}, flush=True)
    if args.earlier:
        rows = earlier_rows(args.earlier, rows, "real", [system.name for system in systems(args)])
    print(write_results(Path(args.results), {"card": card, "systems": rows}, COLUMNS))
    if args.sweep:
        draw_sweep({k: v for k, v in rows.items() if " w=" in k}, Path(args.results).with_suffix(".png"))


def time_rows(args: argparse.Namespace) -> None:
    """Times the model of every row of the results file on this device, eight prompts at once."""
    results = json.loads(Path(args.results).read_text())
    prompts = read_json_lines(args.prompts)[:8]
    for system in systems(args):
        if row := results["systems"].get(system.name):
            row.pop("seconds a sound", None)
            if system.steps:
                row |= time_system(system, prompts, args.seconds, args.device)
                print(f"{system.name}: {row['seconds a sound']:.3g} s a sound of {args.seconds:g} s", flush=True)
    write_results(Path(args.results), results, COLUMNS)


def other_clips(args: argparse.Namespace, kinds: list[str]) -> list[Path]:
    """Returns real clips of the validation split, of the same kinds and at most as many as the captions."""
    entries = [e for e in corpus_entries(args.corpus) if e["split"] == "valid" and e["kind"] in set(kinds)]
    order = np.random.default_rng(args.seed).permutation(len(entries))[: len(kinds)]
    return [Path(entries[i]["file"]) for i in sorted(order)]


def draw_sweep(rows: dict, path: Path) -> None:
    """Plots tag alignment and Fréchet distance against the guidance weight, at one call."""
    from matplotlib import pyplot

    figure, left = pyplot.subplots(figsize=(5, 3))
    right = left.twinx()
    weights = [float(name.split("w=")[1]) for name in rows]
    for axis, column, colour in ((left, "FD yamnet pca", "tab:blue"), (right, "alignment captions", "tab:red")):
        scores = [next(s for name, s in row["scores"].items() if name.startswith(column)) for row in rows.values()]
        values = np.array([[score["value"], score["low"], score["high"]] for score in scores])
        axis.plot(weights, values[:, 0], "o-", color=colour)
        axis.fill_between(weights, values[:, 1], values[:, 2], color=colour, alpha=0.15)
        axis.set_ylabel(column, color=colour)
    left.set_xlabel("guidance weight w, one call")
    figure.tight_layout()
    figure.savefig(path, dpi=130)


def words(text: str) -> list[str]:
    """Splits a comma-separated argument."""
    return [part for part in text.split(",") if part]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["plan", "generate", "score", "time"])
    parser.add_argument("--output", default="runs/tables", help="folder of the sounds")
    parser.add_argument("--results", default="samples/tta_scores.json")
    parser.add_argument("--earlier", default="", help="score: a results file for the rows whose sounds are not here")
    parser.add_argument("--corpus", type=words, default=["data/corpus"])
    parser.add_argument("--prompts", default=str(HERE / "prompts.jsonl"))
    parser.add_argument("--kinds", type=words, default=["effect", "music", "instrument"])
    parser.add_argument("--student", default="tta")
    parser.add_argument("--teacher", default="tta-teacher")
    parser.add_argument("--teacher-steps", type=lambda text: [*map(int, words(text))], default=[9, 18, 50])
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--sweep", type=lambda text: [*map(float, words(text))], default=[])
    row = "another student at one call: NAME=MODEL[@GUIDANCE]; may be repeated"
    parser.add_argument("--row", action="append", default=[], help=row)
    parser.add_argument("--systems", type=words, default=[], help="only these rows")
    parser.add_argument("--split", default="test", help="of the captions: valid for choices, test for reports")
    parser.add_argument("--plan", type=Path, help="plan: an earlier draw, such as samples/tta_plan.json")
    parser.add_argument("--other-than", type=Path, help="plan: leave out the clips of an earlier draw")
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--takes", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    {"plan": load_plan, "generate": generate, "score": score, "time": time_rows}[args.action](args)


if __name__ == "__main__":
    main()
