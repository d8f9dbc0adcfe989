"""What `distillation.py` measures of a model: training steps, latency of one call, and decoding."""

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from audiocm.cuda_graphs import record_graph, side_stream
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
from recipes.benchmarks.timing import median_seconds, wall_seconds

W = (3.0, 15.0)  # LCM's range of guidance weights
USED_MEMORY = 0.92  # of the card, at the largest batch
QUERIES = 200  # of a teacher, each of two rows
CALLS = 20  # of which a latency is the median
LORA_RANK, LORA_BATCH = 64, 4


class Measurements(Results):
    """The networks of one model and the measurements of them; every result is printed and written at once."""

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
                with side_stream(trainer.device):
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
                with side_stream(trainer.device):
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
            replay = record_graph(action, self.device).replay if self.device.type == "cuda" else None
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
