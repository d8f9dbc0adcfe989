"""The table of methods: each distilled from the same teacher for as many seconds, sampled at 1, 2 and 4 calls, and scored.

    python -m recipes.text_to_audio.evaluate plan --out runs/methods --clips 100 --takes 2
    python -m recipes.methods.table train --teacher TEACHER --vae CODEC/vae --corpora LATENTS --seconds 30 --out runs/methods
    python -m recipes.methods.table score --codec CODEC --out runs/methods --results samples/methods_table.json
    python -m recipes.methods.table jvp --teacher TEACHER --out samples/jvp_cost.json

`train` needs the plan and a GPU, no corpus of sounds (LATENTS: what recipes.text_to_audio.data packs) and no judges. It writes NAME.safetensors
(latents of the plan's words, float16) and NAME.json (facts) for each method, skips those that are there, and tries failed ones
again; `--minutes` begins none that would end later. `score` turns latents into sounds and judges them like evaluate_tta, `--jobs`
rows side by side; it continues where it stopped, and may run while `train` does. Settings: methods_settings.py; what the seconds
count: methods_train.py; the derivative's cost: methods_jvp.py.
"""

from __future__ import annotations

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
import soundfile
import torch
from safetensors import safe_open

from recipes.methods.jvp import WAYS, jvp
from recipes.methods.settings import CALLS, NOT_RUN, SETTINGS
from recipes.methods.train import TEACHER, restored, train
from recipes.text_to_audio.data import CODEC, CORPORA, codec
from recipes.text_to_audio.generate import file_of, round_trip, voiced

FACTS = ("guidance", "calls", "steps", "steps/s", "samples/s", "peak GB", "clips", "unusable")
PANELS = (
    "FD yamnet pca* vs test clips",
    "FD aisfx pca* vs test clips",
    "alignment captions",
    "top-5 hits prompts",
    "diversity yamnet",
)
LINES = {"real": "black", "codec": "tab:gray", "teacher": "tab:red"}  # across all panels, real clips not in distances
KEPT = ("group", "guidance", "sampler", "note", "steps", "samples", "seconds", "steps/s", "samples/s", "peak GB", "resident GB",
        "warm_up_seconds", "pairs_seconds", "graph", "compile", "failed_attempts", "stages", "device", "commit", "torch", "seed",
        "buckets", "budget", "precision", "w", "int8", "rows a sound", "finite")  # fmt: skip


# --- latents -> sounds -> scores --------------------------------------------------------------------------------------


def rows_of(out: Path, names: list[str]) -> dict[str, tuple[str, int]]:
    """The table's rows of the methods that are trained: row -> (method, calls)."""
    rows = {}
    for name in names:
        if (out / f"{name}.json").exists():
            for calls in json.loads((out / f"{name}.json").read_text())["calls"]:
                rows[name if name.startswith("teacher") else f"{name}-{calls}"] = (name, calls)
    return rows


def decode(out: Path, entries: list[dict], voice: SimpleNamespace, row: str, name: str, calls: int) -> None:
    """Folder ROW of sounds and facts.json; what is there already is left alone, unless of an earlier training."""
    facts, folder = json.loads((out / f"{name}.json").read_text()), out / row
    made = str(facts["made"])
    if not (folder / "made").exists() or (folder / "made").read_text() != made:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "made").write_text(made)
    if (folder / "facts.json").exists():
        return
    with safe_open(out / f"{name}.safetensors", "pt") as stored:
        keys = [key for key in stored.keys() if key.startswith(f"{calls}/")]  # noqa: SIM118 (it is no dict)
        mine = {key.partition("/")[2]: restored(stored.get_tensor(key)) for key in keys}
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


def real_through_codec(out: Path, entries: list[dict], voice: SimpleNamespace) -> None:
    """The row "codec": the real test clips there and back."""
    (out / "codec").mkdir(exist_ok=True)
    for entry in entries:
        if entry["set"] == "captions" and not file_of(out / "codec", entry).exists():
            sound = round_trip(voice, [entry])[0]
            soundfile.write(file_of(out / "codec", entry), sound.clamp(-1, 1).numpy(), voice.sample_rate)


class Bench:
    """What judging a row needs: the plan, the codec, the judges and what they made of the real clips."""

    def __init__(self, args: argparse.Namespace):
        from recipes.judges import Judges
        from recipes.text_to_audio.evaluate import heard_references

        self.out = Path(args.out)
        self.entries = json.loads((self.out / "plan.json").read_text())
        self.captions = [e for e in self.entries if e["set"] == "captions"]
        both = codec(f"{args.codec}/vae", f"{args.codec}/vocoder", torch.device(args.device))
        self.voice = SimpleNamespace(codec=both, vae=both.vae, sample_rate=both.sample_rate)
        self.judges = Judges()
        self.references = heard_references(self.judges, args, self.captions)

    def row(self, row: str, name: str = "", calls: int = 0) -> dict:
        """Decode (where there are latents) and judge; kept as ROW/scores.json until the method is trained again."""
        from recipes.text_to_audio.evaluate import score_system

        if not name:
            return score_system(self.judges, row, self.out, self.entries, self.references)
        made, kept = json.loads((self.out / f"{name}.json").read_text())["made"], self.out / row / "scores.json"
        stored = json.loads(kept.read_text()) if kept.exists() else {}
        if stored.get("made") != made:
            decode(self.out, self.entries, self.voice, row, name, calls)
            stored = {"made": made} | score_system(self.judges, row, self.out, self.entries, self.references)
            kept.write_text(json.dumps(stored))
        return stored


@functools.cache
def bench(frozen: tuple) -> Bench:
    """One for each process."""
    torch.set_num_threads(1)
    return Bench(argparse.Namespace(**dict(frozen)))


def one_row(frozen: tuple, row: str, name: str, calls: int) -> tuple[str, dict]:
    return row, bench(frozen).row(row, name, calls)


def score(args: argparse.Namespace) -> None:
    """Decode and judge, several rows at a time; write JSON, table and plot."""
    from recipes.judges import write_results
    from recipes.text_to_audio.evaluate import COLUMNS, chance

    here = Bench(args)
    real_through_codec(here.out, here.entries, here.voice)
    rows = {"chance": chance(here.judges, here.references["test clips"], here.captions)}
    rows |= {row: here.row(row) for row in ("real", "codec")}
    wanted = rows_of(here.out, args.methods or [*TEACHER, *SETTINGS])
    frozen = tuple((key, tuple(value) if isinstance(value, list) else value) for key, value in vars(args).items())
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as pool:
        for future in [pool.submit(one_row, frozen, row, name, calls) for row, (name, calls) in wanted.items()]:
            row, rows[row] = future.result()
            print(row, {k: round(v["value"], 3) for k, v in rows[row]["scores"].items()}, flush=True)
    heard = {k: v.total for k, v in here.references.items()}
    card = here.judges.card(args.seed, reference=heard, guidance="told w = 3 where taken",
                            caption_policy="first caption of the test clip", device="cpu (judges)")  # fmt: skip
    missing = {
        name: why_not(here.out, name) for name in [*SETTINGS, *NOT_RUN] if not (here.out / f"{name}.json").exists()
    }
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
        hit = next((s for key, s in scores.items() if fnmatchcase(key, column)), None)
        if hit is not None:
            found.append((calls, hit["value"], hit["low"], hit["high"]))
    return found


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
                    (s for key, s in rows.get(name, {"scores": {}})["scores"].items() if fnmatchcase(key, column)), None
                )
                if hit is not None and (name, column[:2]) != ("real", "FD"):  # halves of the real clips: half as many
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
        handles, labels = axes[2, j].get_legend_handles_labels()
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
    two.add_argument("--jobs", type=int, default=2, help="rows judged side by side")
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
