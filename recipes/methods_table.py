"""The table of methods: each distilled from the same teacher for as many seconds, sampled at 1, 2 and 4 calls, and scored.

    python -m recipes.evaluate_tta plan --out runs/methods --clips 100 --takes 2
    python -m recipes.methods_table train --teacher TEACHER --vae CODEC/vae --corpora LATENTS --seconds 30 --out runs/methods
    python -m recipes.methods_table score --codec CODEC --out runs/methods --results samples/methods_table.json
    python -m recipes.methods_table jvp --teacher TEACHER --out samples/jvp_cost.json

`train` needs the plan and a GPU, no corpus of sounds (LATENTS: what recipes.tta_data packs) and no judges. It writes NAME.safetensors
(latents of the plan's words, float16) and NAME.json (facts) for each method, skips those that are there, and tries failed ones
again; `--minutes` begins none that would end later. `score` turns latents into sounds and judges them like evaluate_tta; it
continues where it stopped. Settings: methods_settings.py; what the seconds count: methods_train.py; the derivative's cost:
methods_jvp.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file

from recipes.methods_jvp import WAYS, jvp
from recipes.methods_settings import CALLS, NOT_RUN, SETTINGS
from recipes.methods_train import TEACHER, restored, train
from recipes.tta_data import CODEC, CORPORA, codec
from recipes.tta_sets import file_of, round_trip, voiced

FACTS = ("guidance", "calls", "steps", "steps/s", "samples/s", "peak GB", "clips", "unusable")
PANELS = (
    "FD yamnet pca* vs test clips",
    "FD aisfx pca* vs test clips",
    "alignment captions",
    "top-5 hits prompts",
    "diversity yamnet",
)
LINES = {"real": "black", "codec": "tab:gray", "teacher-18": "tab:red"}  # across all panels
KEPT = ("group", "guidance", "sampler", "note", "steps", "samples", "seconds", "steps/s", "samples/s", "peak GB", "resident GB",
        "warm_up_seconds", "pairs_seconds", "graph", "compile", "failed_attempts", "stages", "device", "commit", "torch", "seed",
        "buckets", "budget", "precision", "w", "int8", "rows a sound", "finite")  # fmt: skip


# --- latents -> sounds ------------------------------------------------------------------------------------------------


def decode(args: argparse.Namespace, entries: list[dict], voice: SimpleNamespace, name: str) -> list[str]:
    """Folders NAME-CALLS of sounds and facts.json, what is there already left alone; the rows' names."""
    out, rows = Path(args.out), []
    facts = json.loads((out / f"{name}.json").read_text())
    stored = None
    for calls in facts["calls"]:
        row = name if name.startswith("teacher-") else f"{name}-{calls}"
        folder, made = out / row, str(facts["made"])
        rows.append(row)
        if not (folder / "made").exists() or (folder / "made").read_text() != made:  # of an earlier training
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            (folder / "made").write_text(made)
        if (folder / "facts.json").exists():
            continue
        stored = load_file(out / f"{name}.safetensors") if stored is None else stored
        mine = {key.partition("/")[2]: restored(value) for key, value in stored.items() if key.startswith(f"{calls}/")}
        refused = 0
        for entry in entries:
            if file_of(folder, entry).exists():
                continue
            sound = voiced(voice, [entry], mine)[0]
            refused += sound is None
            if sound is not None:
                soundfile.write(file_of(folder, entry), sound.clamp(-1, 1).numpy(), voice.sample_rate)
        told = {key: facts[key] for key in KEPT if key in facts}
        (folder / "facts.json").write_text(json.dumps(told | {"calls": calls, "refused": refused}, indent=1))
        print(f"{row}: decoded, {refused} refused", flush=True)
    return rows


def real_through_codec(args: argparse.Namespace, entries: list[dict], voice: SimpleNamespace) -> None:
    """The row "codec": the real test clips there and back."""
    folder = Path(args.out) / "codec"
    folder.mkdir(exist_ok=True)
    for entry in entries:
        if entry["set"] == "captions" and not file_of(folder, entry).exists():
            sound = round_trip(voice, [entry])[0]
            soundfile.write(file_of(folder, entry), sound.clamp(-1, 1).numpy(), voice.sample_rate)


# --- sounds -> table --------------------------------------------------------------------------------------------------


def score(args: argparse.Namespace) -> None:
    """Decode, judge, write JSON, table and plot."""
    from recipes.evaluate_tta import COLUMNS, chance, other_clips, score_system
    from recipes.judging import Judges, write_results

    out = Path(args.out)
    entries = json.loads((out / "plan.json").read_text())
    both = codec(f"{args.codec}/vae", f"{args.codec}/vocoder", torch.device(args.device))
    voice = SimpleNamespace(codec=both, vae=both.vae, sample_rate=both.sample_rate)
    names = [name for name in args.methods or [*TEACHER, *SETTINGS] if (out / f"{name}.json").exists()]
    real_through_codec(args, entries, voice)
    systems = ["real", "codec", *(row for name in names for row in decode(args, entries, voice, name))]
    judges, captions = Judges(), [e for e in entries if e["set"] == "captions"]
    references = {"test clips": judges.hear([Path(e["clip"]) for e in captions])}
    others = other_clips(args, [e["kind"] for e in captions])
    if len(others) >= 100:
        references["other clips"] = judges.hear(others)
    rows = {"chance": chance(judges, references["test clips"], captions)}
    for system in systems:
        rows[system] = score_system(judges, system, out, entries, references)
        print(system, {k: round(v["value"], 3) for k, v in rows[system]["scores"].items()}, flush=True)
    card = judges.card(args.seed, reference={k: v.total for k, v in references.items()}, guidance="told w = 3 where taken",
                       caption_policy="first caption of the test clip", device="cpu (judges)")  # fmt: skip
    missing = {name: why_not(out, name) for name in [*SETTINGS, *NOT_RUN] if not (out / f"{name}.json").exists()}
    path = Path(args.results)
    table = write_results(path, {"card": card, "not_run": missing, "systems": rows}, COLUMNS, FACTS)
    table += "".join(f"\n- {name}: not run, {why}" for name, why in missing.items()) + "\n" * bool(missing)
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    draw(rows, path.with_suffix(".png"))
    print(table)


def why_not(out: Path, name: str) -> str:
    """One line."""
    if name in NOT_RUN:
        return NOT_RUN[name]
    failed = out / f"{name}.failed"
    return f"failed: {failed.read_text().strip()}" if failed.exists() else "not trained yet"


def curve(rows: dict, name: str, column: str) -> list[tuple[int, float, float, float]]:
    """(calls, value, low, high) of one method in the first column that fits."""
    found = []
    for calls in CALLS:
        scores = rows.get(f"{name}-{calls}", {"scores": {}})["scores"]
        hit = next((s for key, s in scores.items() if fits(key, column)), None)
        if hit is not None:
            found.append((calls, hit["value"], hit["low"], hit["high"]))
    return found


def fits(key: str, column: str) -> bool:
    first, _, last = column.partition("*")
    return key.startswith(first) and key.endswith(last)


def draw(rows: dict, path: Path) -> None:
    """Quality against calls: a row of panels a score, a column a group, whose methods are coloured over all others in grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    members: dict[str, list[str]] = {}
    for name, setting in SETTINGS.items():
        if any(f"{name}-{calls}" in rows for calls in CALLS):
            members.setdefault(setting.group, []).append(name)
    if not members:
        return
    size = {"figsize": (2.6 * len(members), 2.1 * len(PANELS) + 1.2), "sharex": True, "sharey": "row", "squeeze": False}
    figure, axes = pyplot.subplots(len(PANELS), len(members), **size)
    for i, column in enumerate(PANELS):
        curves = {name: curve(rows, name, column) for group in members.values() for name in group}
        for j, (group, own) in enumerate(members.items()):
            axis = axes[i, j]
            for points in curves.values():
                axis.plot([p[0] for p in points], [p[1] for p in points], color="0.88", linewidth=0.8, zorder=1)
            for name, colour in LINES.items():
                hit = next(
                    (s for key, s in rows.get(name, {"scores": {}})["scores"].items() if fits(key, column)), None
                )
                if hit is not None:
                    axis.axhline(hit["value"], color=colour, linestyle=":", linewidth=1, label=name)
            for k, name in enumerate(own):
                values = np.array(curves[name]).reshape(-1, 4)
                axis.plot(
                    values[:, 0], values[:, 1], "o-", color=f"C{k}", markersize=3, linewidth=1.3, label=name, zorder=3
                )
                axis.fill_between(values[:, 0], values[:, 2], values[:, 3], color=f"C{k}", alpha=0.12, linewidth=0)
            axis.set_xscale("log", base=2)
            axis.set_xticks(CALLS, [str(calls) for calls in CALLS])
            if column.startswith("FD"):
                axis.set_yscale("log")
            if i == 0:
                axis.set_title(group, fontsize=10)
            if j == 0:
                axis.set_ylabel(column.replace("*", "").replace(" vs test clips", ""), fontsize=8)
            axis.tick_params(labelsize=7, which="both")
    for j in range(len(members)):
        handles, labels = axes[0, j].get_legend_handles_labels()
        axes[-1, j].set_xlabel("calls", fontsize=8)
        axes[-1, j].legend(handles, labels, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.32), frameon=False)
    figure.savefig(path, dpi=130, bbox_inches="tight")


# --- command line -----------------------------------------------------------------------------------------------------


def names(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def shapes(text: str) -> list[tuple[int, int]]:
    """ "256x128,136x240" -> (batch, frames) pairs."""
    return [tuple(int(n) for n in part.split("x")) for part in names(text)]


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("train")
    one.add_argument("--teacher", required=True)
    one.add_argument("--vae", default=CODEC + "/vae")
    one.add_argument("--corpora", default=CORPORA)
    one.add_argument("--cache", default="data/latents")
    one.add_argument("--out", default="runs/methods")
    one.add_argument("--seconds", type=float, default=30.0, help="of training, each method")
    one.add_argument("--minutes", type=float, default=0.0, help="begin no method that would end later; 0: no limit")
    one.add_argument("--scale", type=float, default=0.5, help="of the teacher's batch")
    one.add_argument("--methods", type=names, default=[])
    one.add_argument("--batch", type=int, default=100, help="sounds sampled at once")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    one.add_argument("--int8", action="store_true", help="store latents rounded to int8, at half the size")
    one.add_argument("--keep", action="store_true", help="keep the students' weights in OUT/students")
    two = actions.add_parser("score")
    two.add_argument("--out", default="runs/methods")
    two.add_argument("--codec", default=CODEC)
    two.add_argument("--results", default="samples/methods_table.json")
    two.add_argument("--corpus", type=names, default=["data/corpus"])
    two.add_argument("--methods", type=names, default=[])
    two.add_argument("--seed", type=int, default=0)
    two.add_argument("--device", default="cpu")
    three = actions.add_parser("jvp")
    three.add_argument("--teacher", required=True)
    three.add_argument("--out", default="samples/jvp_cost.json")
    three.add_argument("--shapes", type=shapes, default=[(128, 128)], help="batch x latent frames, comma-separated")
    three.add_argument("--ways", type=lambda text: text.split(";"), default=WAYS, help="; ".join(WAYS))
    three.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args(arguments)
    {"train": train, "score": score, "jvp": jvp}[args.action](args)


if __name__ == "__main__":
    main()
