"""The cost of fresh processes of `audiocm generate` and `speak`, in pairs. A library of `speed.py`.

The two sides of a pair run in turn, in an order that alternates, after one run of each that does not count. CPU seconds
are user and system of the whole process, the start of Python included. A ratio is the median of the pairs', with the
least and the greatest. `same_sound` says whether all files of a comparison are equal bit for bit."""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

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


def compare_waiting(pairs: int, busy: int) -> dict:
    """Compares threads of torch that sleep while they wait, as the command line sets them, with those that spin, while
    so many other processes keep the machine busy."""
    spinning, sleeping = ((ROOT, more, ["--backend", "torch"]) for more in (SPINNING, {}))
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        return compare(spinning, sleeping, COMMANDS["generate"], pairs)
    finally:
        for one in others:
            one.kill()
            one.wait()


def compare_commits(before: Path, name: str, backend: str, threads: int | None, pairs: int) -> dict:
    """Compares a command of another checkout with one of this, by a backend."""
    more = {"OMP_NUM_THREADS": str(threads)} if threads else {}
    return compare((before, more, []), (ROOT, more, ["--backend", backend]), COMMANDS[name], pairs)
