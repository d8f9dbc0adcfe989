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
import gc
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.guidance import guided_net
from audiocm.distillation import Method, get_method
from audiocm.teachers.denoiser import DenoiserNet
from audiocm.teachers.schedulers import read_scheduler
from audiocm.teachers.students import StudentNet
from audiocm.training.memory import GIB, estimate_memory
from audiocm.training.run import best_device
from recipes.benchmarks.distillation_results import LORA_GIB, Results
from recipes.benchmarks.distillation_steps import script_step, trainer_step
from recipes.benchmarks.published_sizes import MODELS, Model
from recipes.benchmarks.timing import median_seconds, recorded, wall_seconds

W = (3.0, 15.0)  # LCM's range of guidance weights
USED_MEMORY = 0.92  # of the card, at the largest batch
QUERIES = 200  # of a teacher, each of two rows
CALLS = 20  # of which a latency is the median
LORA_RANK, LORA_BATCH = 64, 4


class Benchmark(Results):
    """Measures one model; every result is printed and written at once."""

    def __init__(self, name: str, args: argparse.Namespace):
        super().__init__(name, args, best_device())
        self.model: Model = MODELS[name]
        self.shape = self.model.small_shape if args.tiny else self.model.shape
        self.schedule = read_scheduler(self.model.scheduler())

    def networks(self, lora: int | None = None) -> tuple[nn.Module, nn.Module, Method]:
        """Returns a teacher, a student and the method, with the same weights each time.

        lora: the rank of a student that is a low-rank difference and takes no w"""
        torch.manual_seed(0)
        with torch.device(self.device):
            net = self.model.denoiser(self.args.tiny).eval().requires_grad_(False)
        null = self.model.null().to(self.device)
        teacher = DenoiserNet(net, self.schedule, self.model.adapter, null)
        if lora is None:
            student, method = StudentNet(teacher, W), get_method("lcm", teacher, W, self.schedule.path)
        else:
            student, method = (
                StudentNet(teacher, lora=lora),
                get_method("lcm-lora", teacher, W[:1] * 2, self.schedule.path),
            )
        self.summary["million_parameters"] = round(sum(p.numel() for p in net.parameters()) / 1e6, 2)
        return teacher.to(self.device), student.to(self.device), method

    def batch(self, rows: int) -> tuple[Tensor, Condition]:
        """Returns random latents and conditions."""
        torch.manual_seed(1)
        return torch.randn(rows, *self.shape).to(self.device), self.model.condition(rows).to(self.device)

    def free(self) -> None:
        """Releases what an earlier measurement left."""
        gc.collect()
        torch._dynamo.reset()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> float:
        """Returns the peak of memory in GiB, with that of CUDA graphs."""
        return torch.cuda.max_memory_reserved() / GIB if self.device.type == "cuda" else 0.0

    def measure(self, variant: str, rows: int, half: bool = False) -> dict[str, Any] | None:
        """Measures a variant; with `half`, also the peak at half the batch, and with it the largest batch."""
        self.free()
        self.say(f"{variant}, batch {rows}")
        teacher, student, method = self.networks()
        estimate = None
        with tempfile.TemporaryDirectory() as folder:
            if variant == "script":
                step = script_step(teacher, student, method, self.device)
                row = self._timed(variant, step, rows)
                more = {"largest_batch": self._largest(step, rows, row["allocated_gib"])} if half else {}
            else:
                estimate = self._estimate(teacher, student)
                step, trainer = trainer_step(teacher, student, method, variant == "compiled", folder)
                with trainer.stream():
                    row = self._timed(variant, step, rows)
                    eager = lambda x, cond: trainer.step(x, cond)  # noqa: E731  half a batch needs no graph
                    more = {"largest_batch": self._largest(eager, rows, row["allocated_gib"])} if half else {}
                more["estimated_gib"] = estimate.needed(rows) / GIB
        return self.record(**row, **more)

    def _estimate(self, teacher: nn.Module, student: nn.Module) -> Any:
        x, cond = self.batch(1)
        t = torch.full((1,), self.schedule.path.t_max, device=self.device)
        inputs = (x, t, torch.zeros_like(t), cond.with_guidance(W[0]))
        with torch.no_grad():
            student(*inputs)
        return estimate_memory(student, teacher, inputs, 1, None, self.device, "bf16")[0]

    def _timed(self, variant: str, step: Callable, rows: int) -> dict[str, Any]:
        x, cond = self.batch(rows)
        start = time.perf_counter()
        first = wall_seconds(lambda: step(x, cond), self.device)
        if self.device.type == "cuda":  # of the second step: torch's AdamW makes its moments at the end of the first
            torch.cuda.reset_peak_memory_stats()
        wall_seconds(lambda: step(x, cond), self.device)
        allocated = torch.cuda.max_memory_allocated() / GIB if self.device.type == "cuda" else 0.0
        for _ in range(0 if self.args.tiny else 4):  # the first three of a shape are eager, the fourth is recorded
            wall_seconds(lambda: step(x, cond), self.device)
        warm = time.perf_counter() - start
        seconds = [wall_seconds(lambda: step(x, cond), self.device) for _ in range(2 if self.args.tiny else 8)]
        median = statistics.median(seconds)
        return {
            "variant": variant,
            "batch": rows,
            "samples_per_second": rows / median,
            "ms": 1e3 * median,
            "slowest_to_fastest": max(seconds) / min(seconds),
            "first_step_seconds": first,
            "warm_up_seconds": warm,
            "peak_gib": self.peak(),
            "allocated_gib": allocated,
            "loss": float(step(x, cond)),
        }

    def _largest(self, step: Callable, rows: int, allocated: float) -> int:
        """Returns the largest batch, from the peaks of eager steps at two batches."""
        if self.device.type != "cuda":
            return 2 * rows
        if rows < 2:
            return rows
        x, cond = self.batch(rows // 2)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        wall_seconds(lambda: step(x, cond), self.device)
        slope = (allocated - torch.cuda.max_memory_allocated() / GIB) / (rows - rows // 2)
        total = USED_MEMORY * torch.cuda.get_device_properties(0).total_memory / GIB
        return max(rows, int(rows + (total - allocated) / slope)) if slope > 0 else rows

    def fitting(self, variant: str, rows: int, parts: Sequence[float], half: bool = False) -> dict[str, Any]:
        """Measures a variant at a batch, or at the first of `parts` of it that fits. Raises OutOfMemoryError if none
        does."""
        for part in parts:
            try:
                return self.measure(variant, max(1, int(part * rows)), half)
            except torch.OutOfMemoryError:
                self.say(f"{variant}: batch {max(1, int(part * rows))} does not fit")
                self.free()
        raise torch.OutOfMemoryError(f"no batch down to {max(1, int(parts[-1] * rows))} fits")

    def lora(self) -> dict[str, Any]:
        """Measures steps of a low-rank difference, with a limit of memory."""
        self.free()
        rows = 2 if self.args.tiny else LORA_BATCH
        if self.device.type == "cuda":
            share = LORA_GIB * GIB / torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, share))
        try:
            teacher, student, method = self.networks(2 if self.args.tiny else LORA_RANK)
            with tempfile.TemporaryDirectory() as folder:
                step, trainer = trainer_step(teacher, student, method, False, folder)
                with trainer.stream():
                    row = self._timed("lora", step, rows)
        finally:
            if self.device.type == "cuda":
                torch.cuda.set_per_process_memory_fraction(1.0)
        trained = sum(p.numel() for p in student.parameters() if p.requires_grad)
        row |= {
            "million_trained": trained / 1e6,
            "limit_gib": LORA_GIB,
            "is_within": row["peak_gib"] <= LORA_GIB if row["peak_gib"] else None,
        }
        return self.record(**row)

    @torch.no_grad()
    def latency(self) -> dict[str, Any]:
        """Measures one call of a student and one guided query of the teacher, at batch 1, and decoding."""
        self.free()
        teacher, _, _ = self.networks()
        teacher.net.to(torch.bfloat16)
        for name in self.model.adapter.float32_layers:
            teacher.net.get_submodule(name).float()
        decode = self.model.decoder(self.args.tiny)
        latent = self._decoded()
        x, cond = self.batch(1)
        t = torch.full((1,), self.schedule.path.t_max, device=self.device)
        guided, student_cond = guided_net(teacher, 7.0), cond

        def student_call() -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16):
                return teacher(x, t, None, student_cond)

        def query() -> Tensor:
            with torch.autocast(self.device.type, torch.bfloat16):
                return guided(x, t, None, cond)

        def with_decoding() -> Tensor:
            student_call()
            return decode(latent)

        row: dict[str, Any] = {"variant": "latency", "batch": 1}
        actions = {
            "call": student_call,
            "query": query,
            "decoding": lambda: decode(latent),
            "call_and_decoding": with_decoding,
        }
        for name, action in actions.items():
            row |= self._milliseconds(name, action)
        best = "graph" if "query_graph_ms" in row else "eager"
        row["teacher_seconds"] = QUERIES * row[f"query_{best}_ms"] / 1e3  # 200 times one query
        decoding = row.get(f"decoding_{best}_ms", row["decoding_eager_ms"]) / 1e3
        row["teacher_and_decoding_seconds"] = row["teacher_seconds"] + decoding
        call, both = (row.get(f"{name}_{best}_ms", row[f"{name}_eager_ms"]) for name in ("call", "call_and_decoding"))
        row["times_faster"] = 1e3 * row["teacher_seconds"] / call
        row["times_faster_with_decoding"] = 1e3 * row["teacher_and_decoding_seconds"] / both
        return self.record(**row)

    def _milliseconds(self, name: str, action: Callable[[], Tensor]) -> dict[str, float]:
        """Returns the medians of an action, called and as a CUDA graph where it can be recorded."""
        calls = 2 if self.args.tiny else CALLS
        found = {f"{name}_eager_ms": 1e3 * median_seconds(action, calls, self.device, 3)}
        try:
            replay = recorded(action) if self.device.type == "cuda" else None
        except RuntimeError as error:
            self.say(f"no graph: {str(error).splitlines()[0]}")
            return found
        return found | ({f"{name}_graph_ms": 1e3 * median_seconds(replay, calls, self.device, 3)} if replay else {})

    def _decoded(self) -> Tensor:
        """Returns a random latent of ten seconds, or a short one."""
        shape = self.model.decoded
        return torch.randn((*shape[:2], 8, *shape[3:]) if self.args.tiny else shape, device=self.device)

    @torch.no_grad()
    def decoding(self) -> dict[str, Any]:
        """Measures VAE and vocoder at batch 1 in float32 and, on a GPU, in float16, and compiled in float16."""
        self.free()
        decode, latent, row = self.model.decoder(self.args.tiny), self._decoded(), {"variant": "decoding", "batch": 1}
        row |= self._milliseconds("float32", lambda: decode(latent))
        if self.device.type == "cuda":
            decode, latent = decode.half(), latent.half()
            row |= self._milliseconds("float16", lambda: decode(latent))
            compiled = torch.compile(decode)
            row["compile_seconds"] = wall_seconds(lambda: compiled(latent), self.device)
            row |= self._milliseconds("compiled", lambda: compiled(latent))
        return self.record(**row)

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
