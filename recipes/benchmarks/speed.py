"""Every time that the front page names, as a ratio to another commit, in one run.

    git worktree add ../before a75a411
    audiocm export tta -o runs/tta-int8 && audiocm export tts -o runs/tts-int8
    python -m recipes.benchmarks.speed --before ../before --exported runs/tta-int8 runs/tts-int8

Writes samples/speed.json, the table speed.md, and speed.png: seconds against length and batch. Four systems, each in a
process of its own that stays loaded: torch of the commit before, torch, the bundled graphs, and exported graphs. They take
each task in turn, in an order that alternates, after one run that does not count. `--parts formats` compares any number of
exports, each named by `--exported`, and adds them to the results. A ratio is the median over repeats of this commit's seconds by
those of the commit before, of the same repeat, with the least and the greatest. Fresh processes: `processes.py`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from audiocm.evaluation.provenance import commit
from audiocm.files import write_json
from recipes.benchmarks.processes import COMMANDS, compare_commits, compare_waiting

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "samples" / "speed.json"
BEFORE = "before"
PARTS = ("processes", "loaded", "torch")
FORMATS = "formats"  # a part that is measured only if it is named
PROMPT = "a dog barks while rain falls on a roof"
SENTENCE = "The ferry turned slowly in the harbor while gulls fought over a crust of bread."
LONG_TEXT = " ".join([SENTENCE] * 12)
LENGTHS, BATCHES = (1, 2, 4, 6, 8, 10), (1, 2, 4, 8, 16)


def sound(seconds: float, batch: int = 1, **more: Any) -> dict[str, Any]:
    """Returns the task of making sounds."""
    return {"kind": "sound", "prompt": PROMPT, "seconds": seconds, "batch": batch, **more}


def tasks() -> dict[str, dict[str, Any]]:
    """Returns the tasks that all systems take, by name."""
    found = {f"a sound of {seconds} s": sound(seconds) for seconds in LENGTHS}
    found |= {f"{batch} sounds of 10 s": sound(10, batch) for batch in BATCHES[1:]}
    found["a sentence of speech"] = {"kind": "speech", "text": SENTENCE}
    return found | {"first audio of a long text": {"kind": "first", "text": LONG_TEXT}}


# Of torch alone: several calls, and teachers. Each is also a ratio to one call of the student in the same repeat.
OF_TORCH = {
    "a sound of 10 s, two calls": sound(10, steps=2),
    "a sound of 10 s, teacher, 18 Heun steps (70 queries)": sound(10, model="tta-teacher", steps=18),
    "a sound of 10 s, teacher, 100 Euler steps (200 queries)": sound(10, model="tta-teacher", steps=100, euler=True),
    "a sentence of speech, teacher, 50 Euler steps": {
        "kind": "speech",
        "text": SENTENCE,
        "model": "tts-teacher",
        "steps": 50,
        "euler": True,
    },
}
ONE_CALL = {"sound": "a sound of 10 s", "speech": "a sentence of speech"}


class Worker:
    """A process that times tasks with the audiocm of a checkout."""

    def __init__(self, tree: Path, backend: str, models: tuple[str, str], threads: int):
        code = (ROOT / "recipes" / "benchmarks" / "speed_worker.py").read_text(encoding="utf-8")
        env = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": str(threads), "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, backend, str(threads), *models],
            cwd=tree,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what the process has measured of a task. Raises RuntimeError if it has ended."""
        self.process.stdin.write(json.dumps(task) + "\n")
        self.process.stdin.flush()
        if not (line := self.process.stdout.readline()):
            raise RuntimeError(f"the worker of {task} ended with exit code {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self.process.stdin.close()
        self.process.wait()


def ratios(pairs: list[tuple[float, float]]) -> list[float]:
    """Returns median, least and greatest ratio second / first of pairs."""
    values = sorted(after / before for before, after in pairs)
    return [round(one, 3) for one in (median(values), values[0], values[-1])]


def compare(workers: Mapping[str, Worker], task: Mapping[str, Any], repeats: int) -> dict[str, Any]:
    """Returns medians of each system for a task, and ratios of the others to the first, wall and CPU."""
    names, rows = list(workers), []
    for k in range(repeats + 1):
        row = {name: workers[name](task) for name in (names if k % 2 else reversed(names))}
        if k:
            rows.append(row)
    found: dict[str, Any] = {}
    for name in names:
        found[name] = {what: round(median(row[name][what] for row in rows), 4) for what in ("wall", "cpu", "sound")}
        for what in ("wall", "cpu") if name != names[0] else ():
            pairs = [(row[names[0]][what], row[name][what]) for row in rows]
            found[name][f"{what} ratio"] = ratios(pairs)
    return found


def compare_with_one_call(worker: Worker, task: Mapping[str, Any], repeats: int) -> dict[str, Any]:
    """Returns medians for a task of torch alone, and its ratios to one call, in turn."""
    one_call, rows = tasks()[ONE_CALL[task["kind"]]], []
    worker(one_call), worker({**task, "steps": min(2, task["steps"])})  # load both
    for _ in range(repeats):
        rows.append((worker(one_call), worker(task)))
    found = {what: round(median(row[1][what] for row in rows), 4) for what in ("wall", "cpu", "sound")}
    return found | {
        f"{what} ratio to one call": ratios([(a[what], b[what]) for a, b in rows]) for what in ("wall", "cpu")
    }


def measure_processes(before: Path, repeats: int) -> Iterator[dict[str, Any]]:
    """Yields the comparisons of fresh processes, one more each time: with the other commit, and of threads that sleep
    or spin."""
    found: dict[str, Any] = {}
    for backend in ("auto", "torch"):
        for name in COMMANDS:
            found[f"{name}, --backend {backend}, 1 thread"] = compare_commits(before, name, backend, 1, repeats)
            yield found
    found["generate, --backend auto, default threads"] = compare_commits(before, "generate", "auto", None, repeats)
    yield found
    for busy in (0, 2):
        found[f"generate, threads sleep / spin, {busy} busy processes"] = compare_waiting(repeats, busy)
        yield found


def measure_formats(workers: Mapping[str, Worker], repeats: int) -> dict[str, Any]:
    """Returns the comparison of all systems for one sound and one sentence, each with its memory after both."""
    rows = {name: compare(workers, tasks()[name], repeats) for name in ONE_CALL.values()}
    memory = {name: worker({"kind": "memory"}) for name, worker in workers.items()}
    return {task: {name: row[name] | memory[name] for name in row} for task, row in rows.items()}


def systems(before: Path, exported: Sequence[Sequence[str]]) -> dict[str, tuple[Path, str, tuple[str, str]]]:
    """Returns the checkout, the backend and the two models of each system."""
    bundled = tuple(str(ROOT / "audiocm" / "pretrained" / name / "graphs") for name in ("tta", "tts"))
    found = {
        BEFORE: (before, "torch", ("tta", "tts")),
        "torch": (ROOT, "torch", ("tta", "tts")),
        "bundled graphs": (ROOT, "onnx", bundled),
    }
    for pair in exported:
        folders = tuple(str(Path(one).resolve()) for one in pair)
        kind = json.loads((Path(folders[0]) / "audiocm.json").read_text(encoding="utf-8"))
        found[f"{kind['backend']}, {kind['precision']}"] = (ROOT, kind["backend"], folders)
    return found


def write_table(results: Mapping[str, Any], file: Path) -> None:
    """Writes the table, ratios first."""

    def spread(values: list[float]) -> str:
        return "{:.2f} [{:.2f}, {:.2f}]".format(*values)

    lines = ["# Seconds, in proportion to another commit", ""]
    lines += ["{machine}, {threads} threads, against {before}; `recipes/benchmarks/speed.py`.".format(**results), ""]

    def add(part: str, head: str, rows: Iterable[list[str]]) -> None:
        if part in results:
            columns = head.split(" | ")
            lines.append(f"| {part}, commit {results[part]['commit']} | {head} |")
            lines.append(f"|---|{'--:|' * len(columns)}")
            lines.extend([*(f"| {' | '.join(row)} |" for row in rows), ""])

    def rows_of(part: str) -> Iterable[tuple[str, Any]]:
        return results.get(part, {}).get("rows", {}).items()

    def seconds(row: Mapping[str, float]) -> list[str]:
        return [f"{row[what]:.3g}" for what in ("cpu", "wall")]

    add(
        "processes",
        "CPU seconds, ratio | wall, ratio | memory, ratio | CPU s | wall s | MB | sound equal bit for bit",
        [
            [
                kind,
                *(spread(row[what]["ratio"]) for what in ("cpu", "wall", "rss")),
                *(f"{row[what]['after']:.3g}" for what in ("cpu", "wall", "rss")),
                "yes" if row["same_sound"] else "no",
            ]
            for kind, row in rows_of("processes")
        ],
    )
    add(
        "loaded",
        "system | CPU seconds, ratio | wall, ratio | CPU s | wall s | before, CPU s | wall s",
        [
            [task, system, spread(one["cpu ratio"]), spread(one["wall ratio"]), *seconds(one), *seconds(row[BEFORE])]
            for task, row in rows_of("loaded")
            for system, one in row.items()
            if system != BEFORE
        ],
    )
    add(
        FORMATS,
        "system | CPU seconds, ratio | wall, ratio | CPU s | wall s | before, CPU s | wall s | MB at its most",
        [
            [
                *(task, system, spread(one["cpu ratio"]), spread(one["wall ratio"]), *seconds(one)),
                *(*seconds(row[BEFORE]), f"{one['rss']:.0f}"),
            ]
            for task, row in rows_of(FORMATS)
            for system, one in row.items()
            if system != BEFORE
        ],
    )
    add(
        "memory",
        "MB at its most | torch imported",
        [[name, f"{one['rss']:.0f}", "yes" if one["imports_torch"] else "no"] for name, one in rows_of("memory")],
    )
    add(
        "torch",
        "CPU seconds, ratio to one call | wall, ratio | CPU s | wall s",
        [
            [task, *(spread(one[f"{what} ratio to one call"]) for what in ("cpu", "wall")), *seconds(one)]
            for task, one in rows_of("torch")
        ],
    )
    file.write_text("\n".join(lines), encoding="utf-8")


def draw(loaded: Mapping[str, Any], file: Path) -> None:
    """Draws wall seconds of each system against the length of one sound, and against the size of a batch of 10 s."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    lengths = {seconds: loaded[f"a sound of {seconds} s"] for seconds in LENGTHS}
    batches = {n: loaded["a sound of 10 s" if n == 1 else f"{n} sounds of 10 s"] for n in BATCHES}
    for axis, rows, label in zip(axes, (lengths, batches), ("seconds of sound", "sounds of 10 s at once"), strict=True):
        for system in rows[next(iter(rows))]:
            divisor = 1 if rows is lengths else 10
            values = [
                row[system]["wall"] / (row[system]["sound"] / divisor if divisor > 1 else 1) for row in rows.values()
            ]
            axis.plot(list(rows), values, marker="o", label=system)
        axis.set_xlabel(label)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds")
    axes[1].set_ylabel("seconds a sound")
    axes[1].set_xscale("log", base=2)
    axes[0].legend()
    figure.savefig(file, dpi=90, pil_kwargs={"optimize": True})


def main() -> None:
    """Runs all comparisons, and writes what was measured after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--exported", nargs=2, metavar="FOLDER", action="append", default=[], help="tta and tts")
    parser.add_argument("--machine", default="two CPU cores")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--parts", nargs="+", choices=[*PARTS, FORMATS], default=PARTS, help="to measure some anew, default all"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    before = args.before.resolve()
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=before, capture_output=True, text=True)
    results = json.loads(args.results.read_text()) if args.results.exists() else {}  # parts not measured stay
    results |= {"machine": args.machine, "before": revision.stdout.strip(), "threads": args.threads}
    results |= {"python": platform.python_version(), "cores": os.cpu_count(), "seed": 0}

    def record(part: str, rows: dict[str, Any]) -> None:
        results[part] = {"commit": commit(), "repeats": args.repeats, "rows": rows}
        write_json(args.results, results)  # after each row: a run that is stopped keeps what it measured
        print(part, json.dumps(rows[list(rows)[-1]]), flush=True)

    if "processes" in args.parts:
        for rows in measure_processes(before, args.repeats):
            record("processes", rows)
    workers = {name: Worker(*system, args.threads) for name, system in systems(before, args.exported).items()}
    try:
        if "loaded" in args.parts:
            rows = {}
            for name, task in tasks().items():
                rows[name] = compare(workers, task, args.repeats)
                record("loaded", rows)
            record("memory", {name: worker({"kind": "memory"}) for name, worker in workers.items()})
        if FORMATS in args.parts:
            record(FORMATS, measure_formats(workers, args.repeats))
        if "torch" in args.parts:
            rows = {}
            for name, task in OF_TORCH.items():
                repeats = 1 if task["steps"] > 50 else args.repeats
                rows[name] = compare_with_one_call(workers["torch"], task, repeats)
                record("torch", rows)
    finally:
        for worker in workers.values():
            worker.close()
    write_table(results, args.results.with_suffix(".md"))
    if "loaded" in results:
        draw(results["loaded"]["rows"], args.results.with_suffix(".png"))


if __name__ == "__main__":
    main()
