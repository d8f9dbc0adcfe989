"""The table of methods: each distilled from one teacher for as many seconds, and sampled at 1, 2 and 4 calls.

    python -m recipes.text_to_audio.evaluate plan --output runs/methods --clips 100 --takes 2
    python -m recipes.methods.table train --corpora data/latents.safetensors
    python -m recipes.methods.table score
    python -m recipes.methods.table jvp

Made samples/methods_table.json from the bundled teacher: 20 seconds a method on one H100, 13 minutes in all with
compiling, sampling not included. `jvp` made samples/jvp_cost.json in less than a minute of measuring: an exact
derivative costs 2.5 forwards.

`train` needs the plan and a GPU, but no corpus of sounds (see recipes.text_to_audio.data for packed latents). For each
method it writes NAME.safetensors (latents of the plan's sounds) and NAME.json (facts), skips those that are there and
tries failed ones again. `score` decodes the latents and scores them as recipes/text_to_audio/evaluate.py does, `--jobs`
rows in parallel; it continues where it stopped and can run while `train` does. The settings are in settings.py.
"""

import argparse
import functools
import json
import multiprocessing
import shutil
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from safetensors.torch import load_file

from audiocm.files import write_json
from recipes.judges import write_results
from recipes.methods.jvp import jvp
from recipes.methods.settings import CALLS, NOT_RUN, SETTINGS
from recipes.methods.train import TEACHERS, train
from recipes.text_to_audio.data import CACHE, CODEC, CORPORA, load_codec
from recipes.text_to_audio.evaluate import COLUMNS, prepare, score_system, words
from recipes.text_to_audio.generate import decode_latents, entry_name, round_trip, sound_file, write_sound
from recipes.text_to_audio.student import TEACHER

FACTS = ("guidance", "calls", "steps", "steps/s", "samples/s", "peak GB", "clips", "unusable")
PANELS = (*COLUMNS[:2], "alignment captions", "top-5 hits prompts", "diversity yamnet")
LINES = {"real": "black", "codec": "tab:gray", "teacher": "tab:red"}  # horizontal lines in all panels
NOT_SHOWN = [
    "name",
    "trained_at",
    "calls",
    "scale",
    "sampling_seconds",
    "wall_seconds",
]  # facts of a method, not of a row


def rows_of(out: Path, names: list[str]) -> dict[str, tuple[str, int]]:
    """Returns the rows of the methods that are trained: row -> (method, calls)."""
    rows = {}
    for name in names:
        if (out / f"{name}.json").exists():
            for calls in json.loads((out / f"{name}.json").read_text())["calls"]:
                rows[name if name.startswith("teacher") else f"{name}-{calls}"] = (name, calls)
    return rows


def decode(out: Path, entries: list[dict], pipe: SimpleNamespace, row: str, name: str, calls: int) -> None:
    """Writes the folder ROW of sounds and facts.json; existing files are kept, unless of an earlier training."""
    facts, folder = json.loads((out / f"{name}.json").read_text()), out / row
    stamp, trained_at = folder / "trained_at", str(facts["trained_at"])
    if not stamp.exists() or stamp.read_text() != trained_at:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stamp.write_text(trained_at)
    if (folder / "facts.json").exists():
        return
    stored = load_file(out / f"{name}.safetensors").items()
    latents = {key.partition("/")[2]: latent.float() for key, latent in stored if key.startswith(f"{calls}/")}
    refused = 0
    for entry in entries:
        if not sound_file(folder, entry).exists():
            sound = decode_latents(pipe, [entry], [latents[entry_name(entry)]])[0]
            refused += sound is None
            write_sound(folder, entry, sound, pipe.sample_rate)
    kept = {key: value for key, value in facts.items() if key not in NOT_SHOWN}
    write_json(folder / "facts.json", kept | {"calls": calls, "refused": refused})


@functools.cache
def loaded_codec(folder: str, device: str) -> SimpleNamespace:
    """Returns the codec in the form of a pipeline, one for each process."""
    torch.set_num_threads(1)
    both = load_codec(f"{folder}/vae", f"{folder}/vocoder", torch.device(device))
    return SimpleNamespace(codec=both, vae=both.vae, sample_rate=both.sample_rate)


def method_row(args: argparse.Namespace, row: str, name: str, calls: int) -> tuple[str, dict]:
    """Decodes a method's latents and scores them; kept as ROW/scores.json until the method is trained again."""
    out = Path(args.output)
    trained_at, kept = json.loads((out / f"{name}.json").read_text())["trained_at"], out / row / "scores.json"
    stored = json.loads(kept.read_text()) if kept.exists() else {}
    if stored.get("trained_at") != trained_at:
        entries = json.loads((out / "plan.json").read_text())
        decode(out, entries, loaded_codec(args.codec, args.device), row, name, calls)
        stored = {"trained_at": trained_at} | score_system(row, out)
        kept.write_text(json.dumps(stored))
    return row, stored


def score(args: argparse.Namespace) -> None:
    """Decodes and scores, several rows at a time; writes JSON, table and plot."""
    out = Path(args.output)
    entries = json.loads((out / "plan.json").read_text())
    pipe = loaded_codec(args.codec, args.device)
    for entry in [e for e in entries if e["set"] == "captions" and not sound_file(out / "codec", e).exists()]:
        write_sound(out / "codec", entry, round_trip(pipe, [entry])[0], pipe.sample_rate)
    chance, card = prepare(out, args, guidance="w = 3 as an input where the method has one")
    rows = {"chance": chance} | {row: score_system(row, out) for row in ("real", "codec")}
    wanted = rows_of(out, args.methods or [*TEACHERS, *SETTINGS])
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        for future in [pool.submit(method_row, args, row, name, calls) for row, (name, calls) in wanted.items()]:
            row, rows[row] = future.result()
            print(row, {k: round(v["value"], 3) for k, v in rows[row]["scores"].items()}, flush=True)
    missing = {name: why_not(out, name) for name in [*SETTINGS, *NOT_RUN] if not (out / f"{name}.json").exists()}
    path = Path(args.results)
    table = write_results(path, {"card": card, "not_run": missing, "systems": rows}, COLUMNS, FACTS)
    table += "".join(f"\n- {name}: not run, {why}" for name, why in missing.items()) + "\n" * bool(missing)
    path.with_suffix(".md").write_text(table, encoding="utf-8")
    draw(rows, path.with_suffix(".png"))
    print(table)


def why_not(out: Path, name: str) -> str:
    """Returns the reason for which a method is not in the table."""
    if name in NOT_RUN:
        return NOT_RUN[name]
    failed = out / f"{name}.failed"
    return f"failed: {failed.read_text().strip()}" if failed.exists() else "not trained yet"


def find_score(rows: dict, row: str, pattern: str) -> dict | None:
    """Returns the first score of a row whose name fits a pattern."""
    scores = rows.get(row, {"scores": {}})["scores"]
    return next((score for name, score in scores.items() if fnmatchcase(name, pattern)), None)


def curve(rows: dict, name: str, column: str) -> np.ndarray:
    """Returns calls, value, low and high of a method in one column: [calls, 4]."""
    scores = [(calls, find_score(rows, f"{name}-{calls}", column)) for calls in CALLS]
    points = [(calls, score["value"], score["low"], score["high"]) for calls, score in scores if score]
    return np.array(points).reshape(-1, 4)


def draw(rows: dict, path: Path) -> None:
    """Plots quality against calls: a row of panels for each score, a column for each group, all methods in grey."""
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
                axis.plot(points[:, 0], points[:, 1], color="0.88", linewidth=0.8, zorder=1)
            for name, colour in LINES.items():
                score = find_score(rows, name, column)
                if score and (name, column[:2]) != ("real", "FD"):  # that is between halves, of half as many clips
                    axis.axhline(score["value"], color=colour, linestyle=":", linewidth=1, label=name)
            for k, name in enumerate(own):
                (calls, value, low, high), style = curves[name].T, {"markersize": 3, "linewidth": 1.3, "zorder": 3}
                axis.plot(calls, value, "o-", color=f"C{k}", label=name, **style)
                axis.fill_between(calls, low, high, color=f"C{k}", alpha=0.12, linewidth=0)
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
        handles, labels = axes[2, j].get_legend_handles_labels()
        axes[-1, j].set_xlabel("calls", fontsize=8)
        axes[-1, j].legend(handles, labels, fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.32), frameon=False)
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("train")
    one.add_argument("--teacher", default=TEACHER)
    one.add_argument("--vae", default=CODEC + "/vae")
    one.add_argument("--corpora", type=words, default=CORPORA)
    one.add_argument("--cache", type=Path, default=CACHE)
    one.add_argument("--output", default="runs/methods")
    one.add_argument("--seconds", type=float, default=20.0, help="of training, for each method")
    one.add_argument("--scale", type=float, default=0.5, help="of the teacher's batch")
    one.add_argument("--methods", type=words, default=[])
    one.add_argument("--batch", type=int, default=100, help="sounds sampled at once")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True)
    two = actions.add_parser("score")
    two.add_argument("--output", default="runs/methods")
    two.add_argument("--codec", default=CODEC)
    two.add_argument("--results", default="samples/methods_table.json")
    two.add_argument("--corpus", type=words, default=["data/corpus"])
    two.add_argument("--methods", type=words, default=[])
    two.add_argument("--seed", type=int, default=0)
    two.add_argument("--device", default="cpu")
    two.add_argument("--jobs", type=int, default=2, help="rows scored in parallel")
    three = actions.add_parser("jvp")
    three.add_argument("--teacher", default=TEACHER)
    three.add_argument("--results", type=Path, default=Path("samples/jvp_cost.json"))
    three.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args(arguments)
    {"train": train, "score": score, "jvp": jvp}[args.action](args)


if __name__ == "__main__":
    main()
