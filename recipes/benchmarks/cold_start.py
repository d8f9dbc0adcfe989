"""The cost of a fresh process of `audiocm generate` and `speak`, against another commit and between OpenMP's wait policies.

    git worktree add ../before a75a411
    python -m recipes.benchmarks.cold_start --before ../before --machine "two CPU cores"

The two sides of a pair run in turn, in an order that alternates, after one run of each that does not count. CPU seconds
are user and system of the whole process, the start of Python included. A ratio is the median of the pairs', with the
least and the greatest. `--busy` is the number of processes that keep the machine busy while wait policies are compared.
`same_sound` says whether all files of a comparison are equal bit for bit. Writes samples/cold_start.json."""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from audiocm.evaluation.provenance import commit
from audiocm.files import write_json

ROOT = Path(__file__).parents[2]
MAIN = """import sys
try:
    from audiocm.cli.main import main
except ImportError:  # commits in which audiocm.cli is one file
    from audiocm.cli import main
sys.exit(main(sys.argv[1:]))"""
COMMANDS = {
    "generate": ["generate", "a dog barks", "--seed", "7"],
    "speak": ["speak", "The train leaves at 5:45 p.m.", "--seed", "3"],
}
SPINNING = {"GOMP_SPINCOUNT": "300000"}  # GNU OpenMP's default, which a set OMP_WAIT_POLICY does not change
KINDS = (  # command, threads, backend of the side after; the one before has torch only
    ("generate", "1", "torch"),
    ("generate", None, "torch"),
    ("speak", "1", "torch"),
    ("generate", "1", "auto"),
    ("speak", "1", "auto"),
)
Side = tuple[Path, dict[str, str], list[str]]  # a checkout, and what its environment and command line have more


def measure(side: Side, command: list[str]) -> dict[str, float | str]:
    """Returns CPU and wall seconds and the peak memory in MB of a fresh process, and the SHA-256 of its sound."""
    tree, more, options = side
    unset = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    env = {name: value for name, value in os.environ.items() if name not in unset} | {"PYTHONPATH": str(tree)} | more
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sound.wav"
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *command, *options, "-o", str(file)],
            cwd=folder,
            env=env,
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"{command} in {tree} ended with {process.returncode}")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"cpu": used.ru_utime + used.ru_stime, "wall": wall, "rss": used.ru_maxrss / 1024, "sound": digest}


def compare(before: Side, after: Side, command: list[str], pairs: int) -> dict:
    """Returns medians of both sides, ratios after / before as [median, least, greatest], and whether sounds are equal."""
    sides = (before, after)
    rows: list[list[dict]] = [[], []]
    for k in range(pairs + 1):
        for side in (0, 1) if k % 2 else (1, 0):
            row = measure(sides[side], command)
            if k:
                rows[side].append(row)
    found: dict = {"pairs": pairs}
    for name in ("cpu", "wall", "rss"):
        one, two = ([row[name] for row in of_side] for of_side in rows)
        ratios = sorted(b / a for a, b in zip(one, two, strict=True))
        found[name] = {
            "before": round(median(one), 3),
            "after": round(median(two), 3),
            "ratio": [round(value, 3) for value in (median(ratios), ratios[0], ratios[-1])],
        }
    return found | {"same_sound": len({row["sound"] for of_side in rows for row in of_side}) == 1}


def main() -> None:
    """Runs the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, type=Path, help="a checkout of the commit to compare with")
    parser.add_argument("--machine", required=True)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--busy", type=int, default=2)
    parser.add_argument("--results", type=Path, default=ROOT / "samples" / "cold_start.json")
    args = parser.parse_args()
    before = args.before.resolve()
    revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=before, capture_output=True, text=True)
    versions = {"python": platform.python_version(), "cores": os.cpu_count()}
    results = {"machine": args.machine, "commit": commit(), "before": revision.stdout.strip(), **versions}

    def record(kind: str, row: dict) -> None:
        results[kind] = row
        write_json(args.results, results)  # after each comparison: a run that is stopped keeps what it measured
        print(kind, json.dumps(row), flush=True)

    torch_sides = [(ROOT, more, ["--backend", "torch"]) for more in (SPINNING, {})]
    for busy in (0, args.busy):
        others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
        try:
            record(
                f"threads sleep / spin, {busy} busy processes", compare(*torch_sides, COMMANDS["generate"], args.pairs)
            )
        finally:
            for one in others:
                one.kill()
                one.wait()
    for name, threads, backend in KINDS:
        more = {"OMP_NUM_THREADS": threads} if threads else {}
        sides = (before, more, []), (ROOT, more, ["--backend", backend])
        kind = f"{name}, --backend {backend}, {threads + ' thread' if threads else 'default threads'}"
        record(kind, compare(*sides, COMMANDS[name], args.pairs))


if __name__ == "__main__":
    main()
