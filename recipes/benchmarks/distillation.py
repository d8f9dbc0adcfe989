"""Speed and memory of distillation steps at the sizes of published teachers, against a plain loop, with random weights.

    python -m recipes.benchmarks.distillation audioldm2      # 347M, batch 32
    python -m recipes.benchmarks.distillation tango          # 866M, batch 16
    python -m recipes.benchmarks.distillation stable-audio   # 1057M, batch 8

One command takes less than nine minutes on an H100, and adds its model to samples/distillation_benchmark.json after every
measurement. `--tiny` tries the same on a CPU with small networks.

All rows compute the same loss, that of LCM with w as an input: two teacher calls a sample, one of the target and one of the
student with its gradient, with AdamW, gradient clipping and a target average, in bf16 autocast.

    script     as in diffusers' LCM example: guidance in two calls, AdamW of torch, a loop over the average's parameters
    audiocm    `training.Trainer`: guidance in one call, flat parameters, the step replayed as a CUDA graph
    compiled   the same with the blocks of teacher, target and student compiled, of the kinds that the adapter names

Each is measured at the same batch, and at its largest one, which comes from its peaks at the batch and half of it. Latency
is of one call at batch 1 with bf16 weights, with and without decoding ten seconds (VAE and vocoder in float32).
"""

import argparse
import copy
import gc
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from audiocm.diffusion.denoiser import Condition, Net
from audiocm.diffusion.guidance import guided_net
from audiocm.diffusion.paths import broadcast_like
from audiocm.distillation import Method, get_method
from audiocm.distillation.states import teacher_field
from audiocm.evaluation.provenance import commit
from audiocm.files import write_json
from audiocm.teachers.audioldm import AudioLDM2, Tango
from audiocm.teachers.denoiser import DenoiserNet
from audiocm.teachers.schedulers import read_scheduler
from audiocm.teachers.stable_audio import StableAudio
from audiocm.teachers.students import StudentNet
from audiocm.training.compile import compile_blocks
from audiocm.training.memory import GIB, estimate_memory
from audiocm.training.run import Run, best_device
from audiocm.training.trainer import Trainer
from recipes.benchmarks.timing import wall_seconds

W = (3.0, 15.0)  # LCM's range of guidance weights
USED_MEMORY = 0.92  # of the card, at the largest batch
QUERIES = 200  # of a teacher, each of two rows
CALLS = 20  # of which a latency is the median


# --- the networks ----------------------------------------------------------------------------------------------------

SMALL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
SMALL |= {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 4}


@dataclass(frozen=True)
class Model:
    """A published architecture: its denoiser, small or not, and random inputs of the true shapes."""

    adapter: Any
    denoiser: Callable[[bool], nn.Module]
    scheduler: Callable[[], Any]
    shape: tuple[int, ...]  # of a latent of ten seconds
    small_shape: tuple[int, ...]
    batch: int
    condition: Callable[[int], Condition]
    null: Callable[[], Condition]
    decoder: Callable[[bool], Callable[[Tensor], Tensor]]
    decoded: tuple[int, ...]  # shape of the latent that is decoded


def audioldm2_denoiser(small: bool) -> nn.Module:
    from diffusers.pipelines.audioldm2.modeling_audioldm2 import AudioLDM2UNet2DConditionModel

    wide = {
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        "block_out_channels": (128, 256, 384, 640),
    }
    options = {"in_channels": 8, "out_channels": 8, "sample_size": 256, "use_linear_projection": True}
    states = [[None, 768, 1024]] * (2 if small else 4)
    return AudioLDM2UNet2DConditionModel(**options, **(SMALL if small else wide), cross_attention_dim=states)


def tango_denoiser(small: bool) -> nn.Module:
    wide = {"block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": (5, 10, 20, 20)}
    options = {"in_channels": 8, "out_channels": 8, "sample_size": [256, 16], "use_linear_projection": True}
    return diffusers.UNet2DConditionModel(**options, **(SMALL if small else wide), cross_attention_dim=1024)


def stable_audio_denoiser(small: bool) -> nn.Module:
    heads = {"num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 4, "num_key_value_attention_heads": 2}
    return diffusers.StableAudioDiTModel(**(heads if small else {}))


def random_states(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(shape) for shape in shapes]


def token_mask(batch: int, tokens: int, used: int = 18) -> Tensor:
    """Returns the mask of prompts of `used` tokens [batch, tokens]."""
    return (torch.arange(tokens) < used).expand(batch, tokens).clone()


def audioldm2_condition(batch: int) -> Condition:
    generated, states = random_states((batch, 8, 768), (batch, 32, 1024))
    return Condition(tokens=generated, tokens_2=states, token_mask_2=token_mask(batch, 32))


def audioldm2_null() -> Condition:
    """A row for each length of a prompt, as the adapter keeps them."""
    generated, states = random_states((32, 8, 768), (32, 32, 1024))
    return Condition(tokens=generated, tokens_2=states, token_mask_2=torch.ones(32, 32).tril().bool())


def tango_condition(batch: int) -> Condition:
    return Condition(tokens=random_states((batch, 64, 1024))[0], token_mask=token_mask(batch, 64))


def stable_audio_condition(batch: int) -> Condition:
    tokens, pooled = random_states((batch, 130, 768), (batch, 1536))
    return Condition(tokens=tokens, pooled=pooled)


def mel_decoder(small: bool) -> Callable[[Tensor], Tensor]:
    """Returns AudioLDM's VAE and vocoder, from a latent [batch, 8, frame, 16] to a waveform."""
    import transformers

    width = (8, 8, 16) if small else (128, 256, 512)
    vae = diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=8,
        layers_per_block=2,
        block_out_channels=width,
        norm_num_groups=8 if small else 32,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=64,
        sampling_rate=16000,
        upsample_initial_channel=64 if small else 1024,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        normalize_before=False,
    )
    device, vocoder = best_device(), transformers.SpeechT5HifiGan(config)
    vae, vocoder = vae.to(device).eval(), vocoder.to(device).eval()
    return lambda latent: vocoder(vae.decode(latent).sample.squeeze(1))


def oobleck_decoder(small: bool) -> Callable[[Tensor], Tensor]:
    """Returns Stable Audio's decoder, from a latent [batch, 64, frame] to a stereo waveform."""
    widths = {"encoder_hidden_size": 8, "decoder_channels": 8, "channel_multiples": [1, 1, 1, 1, 1]} if small else {}
    vae = diffusers.AutoencoderOobleck(**widths).to(best_device()).eval()
    return lambda latent: vae.decode(latent).sample


def ddim(start: float, end: float, prediction: str) -> Any:
    betas = {"beta_start": start, "beta_end": end, "beta_schedule": "scaled_linear"}
    return diffusers.DDIMScheduler(**betas, clip_sample=False, prediction_type=prediction)


MEL = {"shape": (8, 256, 16), "small_shape": (8, 32, 16), "decoder": mel_decoder, "decoded": (1, 8, 250, 16)}
MODELS = {
    "audioldm2": Model(
        AudioLDM2,
        audioldm2_denoiser,
        lambda: ddim(0.0015, 0.0195, "epsilon"),
        batch=32,
        condition=audioldm2_condition,
        null=audioldm2_null,
        **MEL,
    ),
    "tango": Model(
        Tango,
        tango_denoiser,
        lambda: ddim(0.00085, 0.012, "v_prediction"),
        batch=16,
        condition=tango_condition,
        null=lambda: tango_condition(1),
        **MEL,
    ),
    "stable-audio": Model(
        StableAudio,
        stable_audio_denoiser,
        lambda: diffusers.CosineDPMSolverMultistepScheduler(sigma_min=0.3, sigma_max=500),
        shape=(64, 1024),
        small_shape=(64, 16),
        batch=8,
        condition=stable_audio_condition,
        null=lambda: Condition(tokens=torch.zeros(1, 130, 768)),
        decoder=oobleck_decoder,
        decoded=(1, 64, 216),
    ),
}


# --- the steps -------------------------------------------------------------------------------------------------------


def guided_in_two_calls(teacher: Net) -> Net:
    """Returns the guided teacher as diffusers' example has it: the condition and its absence in calls of their own."""

    def net(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Any = None) -> Tensor:
        plain = cond.with_guidance(None)
        with_cond, without = teacher(x_t, t, s, plain), teacher(x_t, t, s, plain.as_null())
        return without + broadcast_like(cond.guidance, x_t) * (with_cond - without)

    return net


def script_step(teacher: nn.Module, student: nn.Module, method: Method, device: torch.device) -> Callable:
    """Returns a step in the style of diffusers' train_lcm_distill scripts."""
    method = replace(method, field=teacher_field(guided_in_two_calls(teacher)))
    target = copy.deepcopy(student).requires_grad_(False)
    parameters = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, 1e-6, betas=(0.9, 0.99), weight_decay=0.0)
    progress = torch.zeros((), device=device)

    def step(x: Tensor, cond: Condition) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            loss = method.loss(student, target, x, cond, progress)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for average, p in zip(target.parameters(), student.parameters(), strict=True):
                average.mul_(0.95).add_(p, alpha=0.05)
        return loss.detach()

    return step


def trainer_step(
    teacher: nn.Module, student: nn.Module, method: Method, compiled: bool, folder: str
) -> tuple[Callable, Trainer]:
    """Returns a step of audiocm's trainer, and the trainer."""
    if compiled:
        compile_blocks(teacher)
    run = Run(
        name="benchmark",
        net=student,
        method=method,
        batches=iter(()),
        steps=1000,
        lr=1e-6,
        ema=None,
        target_ema=0.95,
        precision="bf16",
        cuda_graph=True,
        compile=compiled,
    )
    trainer = Trainer(run, Path(folder))
    trainer.set_scalars(0.0)

    def step(x: Tensor, cond: Condition) -> Tensor:
        trainer.advance(x, cond)
        return trainer.meters.sums[0] / trainer.meters.sums[3]  # the mean so far; waits for nothing

    return step, trainer


# --- the measurements ------------------------------------------------------------------------------------------------


class Benchmark:
    """Measures one model; every result is printed and written at once."""

    def __init__(self, name: str, args: argparse.Namespace):
        self.name, self.args, self.device, self.start = name, args, best_device(), time.monotonic()
        self.model: Model = MODELS[name]
        self.shape = self.model.small_shape if args.tiny else self.model.shape
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.schedule = read_scheduler(self.model.scheduler())

    def left(self) -> float:
        """Returns the seconds that are left."""
        return self.args.limit - (time.monotonic() - self.start)

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.start:4.0f} s] {self.name}: {text}", flush=True)

    def record(self, **row: Any) -> dict[str, Any]:
        """Prints a result and writes all of them."""
        row = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        self.rows.append(row)
        self.say(json.dumps(row))
        self.write()
        return row

    def write(self) -> None:
        """Puts this model's results into the file, beside those of others."""
        path = self.args.results
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"
        card = {"device": device, "torch": torch.__version__, "diffusers": diffusers.__version__, "commit": commit()}
        known[self.name] = {"card": card | {"tiny": self.args.tiny}, "summary": self.summary, "rows": self.rows}
        write_json(path, known)

    def networks(self) -> tuple[nn.Module, nn.Module, Method]:
        """Returns a teacher, a student and the method, with the same weights each time."""
        torch.manual_seed(0)
        with torch.device(self.device):
            net = self.model.denoiser(self.args.tiny).eval().requires_grad_(False)
        null = self.model.null().to(self.device)
        teacher = DenoiserNet(net, self.schedule, self.model.adapter, null)
        student = StudentNet(teacher, W)
        return teacher.to(self.device), student.to(self.device), get_method("lcm", teacher, W, self.schedule.path)

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
        first = wall_seconds(lambda: step(x, cond), self.device)
        allocated = torch.cuda.max_memory_allocated() / GIB if self.device.type == "cuda" else 0.0
        for _ in range(1 if self.args.tiny else 5):  # the first three of a shape are eager, the fourth is recorded
            wall_seconds(lambda: step(x, cond), self.device)
        seconds = [wall_seconds(lambda: step(x, cond), self.device) for _ in range(2 if self.args.tiny else 8)]
        median = statistics.median(seconds)
        return {
            "variant": variant,
            "batch": rows,
            "samples_per_second": rows / median,
            "ms": 1e3 * median,
            "slowest_to_fastest": max(seconds) / min(seconds),
            "first_step_seconds": first,
            "peak_gib": self.peak(),
            "allocated_gib": allocated,
            "loss": float(step(x, cond)),
        }

    def _largest(self, step: Callable, rows: int, allocated: float) -> int:
        """Returns the largest batch, from the peaks of eager steps at two batches."""
        if self.device.type != "cuda":
            return 2 * rows
        x, cond = self.batch(rows // 2)
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        wall_seconds(lambda: step(x, cond), self.device)
        slope = (allocated - torch.cuda.max_memory_allocated() / GIB) / (rows - rows // 2)
        total = USED_MEMORY * torch.cuda.get_device_properties(0).total_memory / GIB
        return max(rows, int(rows + (total - allocated) / slope))

    def at_largest(self, variant: str, rows: int) -> dict[str, Any] | None:
        """Measures a variant at its largest batch, or a smaller one if that does not fit after all."""
        for part in (1.0, 0.9, 0.8):
            try:
                return self.measure(variant, max(1, int(part * rows)))
            except torch.OutOfMemoryError:
                self.say(f"{variant}: batch {int(part * rows)} does not fit")
        return None

    @torch.no_grad()
    def latency(self) -> None:
        """Measures one call of a student and one guided query of the teacher, at batch 1, and decoding."""
        self.free()
        teacher, _, _ = self.networks()
        teacher.net.to(torch.bfloat16)
        for name in self.model.adapter.float32_layers:
            teacher.net.get_submodule(name).float()
        decode = self.model.decoder(self.args.tiny)
        decoded = self.model.decoded if not self.args.tiny else (*self.model.decoded[:2], 8, *self.model.decoded[3:])
        latent = torch.randn(decoded, device=self.device)
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
            for label, one in (("eager", action), ("graph", self._recorded(action))):
                if one is not None:
                    for _ in range(3):
                        one()
                    seconds = [wall_seconds(one, self.device) for _ in range(2 if self.args.tiny else CALLS)]
                    row[f"{name}_{label}_ms"] = 1e3 * statistics.median(seconds)
        best = "graph" if "query_graph_ms" in row else "eager"
        row["teacher_seconds"] = QUERIES * row[f"query_{best}_ms"] / 1e3  # 200 times one query
        self.record(**row)

    def _recorded(self, action: Callable[[], Tensor]) -> Callable[[], None] | None:
        """Returns the replay of an action's CUDA graph, None without CUDA or if it cannot be recorded."""
        if self.device.type != "cuda":
            return None
        graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
        try:
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(3):
                    action()
            torch.cuda.synchronize()
            with torch.cuda.graph(graph):
                action()
        except RuntimeError as error:
            self.say(f"no graph: {str(error).splitlines()[0]}")
            return None
        return graph.replay

    def run(self) -> None:
        """Measures all variants, the most telling first, as long as there is time."""
        rows = self.args.batch or (2 if self.args.tiny else self.model.batch)
        script = self.measure("script", rows, half=True)
        plain = self.measure("audiocm", rows, half=True)
        self.summarize(script, plain)
        self.latency()
        script_best = self.at_largest("script", script["largest_batch"]) if self.left() > 60 else None
        fast = self.measure("compiled", rows) if self.left() > 120 else None
        self.summarize(script, plain, fast, script_best)
        best = None
        if self.left() > (120 if fast is None else 60 + fast["first_step_seconds"] * 2):
            is_compiled = fast is not None and fast["samples_per_second"] > plain["samples_per_second"]
            best = self.at_largest("compiled" if is_compiled else "audiocm", plain["largest_batch"])
        self.summarize(script, plain, fast, script_best, best)

    def summarize(self, script: dict, plain: dict, fast: Any = None, script_best: Any = None, best: Any = None) -> None:
        """Writes how much faster audiocm is, at the same batch and each at its best."""

        def fastest(*rows: dict | None) -> float:
            return max(row["samples_per_second"] for row in rows if row is not None)

        ours, theirs = (plain, fast), (script,)
        self.summary = {
            "batch": script["batch"],
            "ratio_at_equal_batch": round(fastest(*ours) / fastest(*theirs), 3),
            "ratio_uncompiled": round(fastest(plain) / fastest(script), 3),
        }
        if script_best is not None and best is not None:
            self.summary["best_script"] = round(fastest(script, script_best), 2)
            self.summary["best_audiocm"] = round(fastest(plain, fast, best), 2)
            self.summary["ratio_at_best"] = round(fastest(plain, fast, best) / fastest(script, script_best), 3)
        self.say(json.dumps(self.summary))
        self.write()


def stop_in_time(seconds: float) -> None:
    """Ends the process after some seconds; what was measured is written already."""

    def stop() -> None:
        print(f"out of time after {seconds:.0f} s: the results so far are written", flush=True)
        os._exit(0)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--batch", type=int, help="at which all are compared (default: 32, 16, 8)")
    parser.add_argument("--limit", type=float, default=510.0, help="seconds of this command (default 510)")
    parser.add_argument("--results", type=Path, default=Path("samples/distillation_benchmark.json"))
    parser.add_argument("--tiny", action="store_true", help="small networks, for a test on a CPU")
    args = parser.parse_args()
    stop_in_time(args.limit)
    Benchmark(args.model, args).run()


if __name__ == "__main__":
    main()
