"""Trainings that are killed three times each, also while they write a checkpoint, and end with the same bits.

    python -m recipes.benchmarks.kills --output samples/kills_results.json

A toy network of 0.9 million weights is trained for 240 steps with a checkpoint every four, once undisturbed. Then each run
is killed by SIGKILL at random times, three times, half of them while a checkpoint is half-written, started again after each,
and its curve and its exported weights are compared to those of the undisturbed one. Takes about a minute on a CPU.
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocm.evaluation.provenance import commit, versions
from audiocm.files import read_json_lines, write_json
from audiocm.training.run import Run
from audiocm.training.trainer import train

STEPS, SAVE_EVERY, KILLS = 240, 4, 3
LONGEST = 60.0  # seconds that a started training may take until it is killed or ends


class Noise:
    """Batches of noise from a generator of their own, whose state is part of a checkpoint."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(1)

    def __next__(self) -> tuple[Tensor, None]:
        return torch.randn(8, 64, generator=self.generator), None

    def state_dict(self) -> dict[str, Tensor]:
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.generator.set_state(state["generator"])


class Regression:
    """The squared error of a sum with noise from torch's global generator."""

    def loss(self, student: nn.Module, target: Any, x: Tensor, cond: Any, progress: float) -> Tensor:
        return (student(x) - x.sum(1, keepdim=True) - 0.1 * torch.randn(len(x), 1)).square().mean()


def make_run() -> Run:
    """Returns the training."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 900), nn.Tanh(), nn.Linear(900, 900), nn.Tanh(), nn.Linear(900, 1))
    return Run("kills", net, Regression(), Noise(), STEPS, lr=1e-3, warmup=5, save_every=SAVE_EVERY, log_every=10)


def start(folder: Path) -> int:
    """Starts or resumes the training in a forked child and returns its process id."""
    sys.stdout.flush()
    if child := os.fork():
        return child
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        train(make_run(), folder)
        code = 0
    finally:
        os._exit(code)


def half_written(folder: Path) -> bool:
    """Whether a checkpoint is being written."""
    return any(folder.rglob("*.partial"))


def kill_at_random(child: int, folder: Path, while_writing: bool, generator: random.Random) -> bool | None:
    """Kills a training at a random time; returns whether a checkpoint was half-written, None if it had ended before."""
    wait, begun = generator.uniform(0.1, 1.0), time.monotonic()
    while time.monotonic() - begun < LONGEST:
        if os.waitpid(child, os.WNOHANG)[0]:
            return None
        if time.monotonic() - begun > wait and (not while_writing or half_written(folder)):
            break
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return half_written(folder)


def result_of(folder: Path) -> tuple[list[Any], bytes]:
    """Returns the curve of a finished training, without times, and its exported weights."""
    rows = [{k: v for k, v in row.items() if k in ("step", "loss")} for row in read_json_lines(folder / "log.jsonl")]
    curve = list({json.dumps(row, sort_keys=True): None for row in rows if "loss" in row})
    if len(curve) < STEPS // 10:
        raise ValueError(f"the log of {folder} has {len(curve)} rows")
    (weights,) = (folder / "model").glob("*.safetensors")
    return curve, weights.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=12, help="trainings, each killed three times (default 12)")
    parser.add_argument("--seed", type=int, default=0, help="of the times (default 0)")
    parser.add_argument("--output", type=Path, help="JSON file of the results, such as samples/kills_results.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator, rows = random.Random(args.seed), []
    with tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        home = Path(temporary)
        os.waitpid(start(home / "undisturbed"), 0)
        wanted = result_of(home / "undisturbed")
        for number in range(args.runs):
            folder, killed, writing = home / str(number), 0, 0
            while killed < KILLS:
                was_writing = kill_at_random(start(folder), folder, killed % 2 == 0, generator)
                if was_writing is None:  # it ended before: the next one is killed earlier
                    shutil.rmtree(folder)
                    killed, writing = 0, 0
                    continue
                killed, writing = killed + 1, writing + was_writing
            _, status = os.waitpid(start(folder), 0)
            curve, weights = result_of(folder)
            same = {"ended": status == 0, "curve": curve == wanted[0], "weights": weights == wanted[1]}
            rows.append({"kills": killed, "half_written": writing, **same})
            print(rows[-1], flush=True)
    good = sum(row["kills"] for row in rows if row["ended"] and row["curve"] and row["weights"])
    print(f"{good} of {sum(row['kills'] for row in rows)} kills end with the same curve and weights")
    if args.output:
        about = {
            "device": f"{platform.machine()}, {os.cpu_count()} CPU cores",
            "commit": commit(),
            "versions": versions(),
        }
        facts = {"seed": args.seed, "kills": sum(row["kills"] for row in rows), "identical": good}
        write_json(args.output, about | facts | {"runs": rows})


if __name__ == "__main__":
    main()
