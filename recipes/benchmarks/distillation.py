"""Speed and memory of distillation steps at the sizes of published teachers, against a plain loop, with random weights.

    python -m recipes.benchmarks.distillation audioldm2      # 347M, batch 32
    python -m recipes.benchmarks.distillation tango          # 866M, batch 16
    python -m recipes.benchmarks.distillation stable-audio   # 1057M, batch 8

One command takes three to six minutes on an H100 (at most `--limit`, 510 s), and adds its model to
samples/distillation_benchmark.json after every part: a part that fails is there with its error, one that time did not suffice for
as not run, and the others go on. The same command on the same kind of device goes on with what was not run; `--parts` names some
of them. `--tiny` tries the same on a CPU with small networks, into runs/distillation_benchmark.json.

All rows compute the same loss, that of LCM with w as an input: two teacher calls a sample, one of the target and one of the
student with its gradient, with AdamW, gradient clipping and a target average, in bf16 autocast.

    script     as in diffusers' LCM example: guidance in two calls, AdamW of torch, a loop over the average's parameters
    audiocm    `training.Trainer`: guidance in one call, flat parameters, the step replayed as a CUDA graph
    compiled   the same with the blocks of teacher, target and student compiled, of the kinds that the adapter names

Each is measured at the same batch, and at its largest one, which comes from its peaks at the batch and half of it; at a batch that
does not fit, a half of it is tried. `lora` trains a low-rank difference (LCM with one w) at batch 4, with no more memory than
24 GiB. `first_step_seconds` of `compiled` is what compiling costs. Latency is of one call at batch 1 with bf16 weights, with and
without decoding ten seconds (VAE and vocoder in float32), beside 200 guided queries of the teacher, 200 times one. `decoding` is VAE and
vocoder alone: in float32, in float16, and compiled in float16.
"""

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from recipes.benchmarks.distillation_measurements import Measurements
from recipes.benchmarks.published_sizes import MODELS


class Benchmark(Measurements):
    """The parts of the benchmark of one model, in their order and within the time of a command."""

    def run(self) -> None:
        """Measures all parts, the most telling first, as long as there is time; none takes another along."""
        rows, halves = self.args.batch or (2 if self.args.tiny else self.model.batch), (1.0, 0.5, 0.25)
        parts: dict[
            str, tuple[float, Callable[[], dict[str, Any]]]
        ] = {  # name -> (seconds that it may take, what it is)
            "script": (0, lambda: self.fitting("script", rows, halves, half=True)),
            "audiocm": (0, lambda: self.fitting("audiocm", self._batch_of("script", rows), halves, half=True)),
            "latency": (30, self.latency),
            "lora": (40, self.lora),
            "compiled": (120, lambda: self.fitting("compiled", self._batch_of("audiocm", rows), (1.0,))),
            "script, largest batch": (60, lambda: self._at_largest("script", "script")),
            "audiocm, largest batch": (60, lambda: self._at_largest(*self._fastest())),
            "decoding": (90, self.decoding),
        }
        if unknown := set(self.args.parts or ()) - set(parts):
            raise ValueError(f"--parts: {', '.join(sorted(unknown))} is none of {', '.join(parts)}")
        done = {row["part"] for row in self.rows}
        self.waiting = [name for name in parts if name in (self.args.parts or parts) and name not in done]
        for name in list(self.waiting):
            seconds, action = parts[name]
            if name == "audiocm, largest batch" and self._fastest()[0] == "compiled":
                seconds += 2 * self.measured["compiled"]["warm_up_seconds"]
            self.run_part(name, 0 if self.args.tiny else seconds, action)

    def run_part(self, name: str, seconds: float, action: Callable[[], dict[str, Any]]) -> None:
        """Measures a part; records why there is no result if it fails, or if less time than it takes is left."""
        if self.left() < seconds:
            self.record(variant=name, not_run=f"{max(0, self.left()):.0f} s are left, it may take {seconds:.0f} s")
        else:
            try:
                self.measured[name] = action()
            except Exception as error:  # of CUDA, of compilers, of networks
                lines = str(error).strip().splitlines() or [""]
                self.record(variant=name, failed=f"{type(error).__name__}: {lines[0][:300]}")
        with self.lock:
            self.waiting.remove(name)
            self.summarize()
        try:
            self.free()
            torch.zeros(1, device=self.device).item()
        except RuntimeError:  # some errors of CUDA stay until the process ends: the other parts get a new one
            options = [one for one in sys.argv[1:] if one != "--anew"] + ["--limit", f"{self.left():.0f}"]
            os.execv(sys.executable, [sys.executable, "-m", "recipes.benchmarks.distillation", *options])

    def _batch_of(self, part: str, rows: int) -> int:
        """Returns the batch that a part was measured at, at which the next one is compared with it."""
        return self.measured[part]["batch"] if part in self.measured else rows

    def _fastest(self) -> tuple[str, str]:
        """Returns which variant of audiocm is the fastest at the same batch, and the part whose largest batch it has."""
        plain, fast = self.measured.get("audiocm"), self.measured.get("compiled")
        is_faster = fast and (plain is None or fast["samples_per_second"] > plain["samples_per_second"])
        return ("compiled" if is_faster else "audiocm"), "audiocm"

    def _at_largest(self, variant: str, part: str) -> dict[str, Any]:
        """Measures a variant at the largest batch of a part. Raises ValueError if that was not measured."""
        if part not in self.measured:
            raise ValueError(f"{part} was not measured, from which the largest batch comes")
        return self.fitting(variant, self.measured[part]["largest_batch"], (1.0, 0.9, 0.8))


def stop_in_time(seconds: float, benchmark: Benchmark) -> None:
    """Ends the process after some seconds; what was measured is written already, and now what was not run."""

    def stop() -> None:
        benchmark.end()
        print(f"out of time after {seconds:.0f} s: the results so far are written", flush=True)
        os._exit(0)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--batch", type=int, help="at which all are compared (default: 32, 16, 8)")
    parser.add_argument("--parts", nargs="+", help="what is measured, such as decoding (default: all that is not yet)")
    parser.add_argument("--limit", type=float, default=510.0, help="seconds of this command (default 510)")
    parser.add_argument("--results", type=Path, help="default samples/distillation_benchmark.json, or runs/ if tiny")
    parser.add_argument("--tiny", action="store_true", help="small networks, for a test on a CPU")
    parser.add_argument("--anew", action="store_true", help="measure again what an earlier command measured")
    args = parser.parse_args()
    args.results = args.results or Path("runs" if args.tiny else "samples") / "distillation_benchmark.json"
    if args.results.is_file():
        try:
            json.loads(args.results.read_text(encoding="utf-8"))
        except ValueError as error:
            parser.error(f"--results {args.results} is damaged, and would be lost: {error}")
    benchmark = Benchmark(args.model, args)
    if not args.anew:
        benchmark.resume()
    stop_in_time(args.limit, benchmark)
    try:
        benchmark.run()
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
