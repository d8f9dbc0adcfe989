"""Trains and samples every method of the table for the same number of seconds; a library of recipes/methods/table.py.

The seconds are wall time of training steps on the device, making the batch included, and of making stored pairs. Not
counted are loading, building networks, and the first steps of each batch shape in each stage: they train, but also
compile, tune and record a CUDA graph. Host and device are at most two steps apart, so that the clock is the device's.
"""

import argparse
import copy
import functools
import gc
import json
import math
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from audiocm.codec.codec import Codec
from audiocm.cuda_graphs import side_stream
from audiocm.data.latent_batches import LatentBatches
from audiocm.diffusion import paths, solvers
from audiocm.diffusion.solvers import Solver
from audiocm.evaluation.provenance import commit
from audiocm.files import atomic_write, write_json
from audiocm.models.adapters import LogVarianceDenoiser
from audiocm.models.text_encoder import TextConditioner
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.teachers import lora
from audiocm.training.compile import compile_blocks
from audiocm.training.run import Run, best_device
from audiocm.training.trainer import Trainer
from audiocm.training.trees import tree_signature
from recipes.methods.settings import CALLS, GUIDANCE, SAMPLERS, SCALE, SETTINGS, Setting, Stage, build_method
from recipes.text_to_audio.data import Trajectories, latent_run, load_batches, load_codec
from recipes.text_to_audio.generate import System, device_name, entry_name, generate_latents

WARM_UP = 4  # steps of each batch shape that are not timed: CUDAGraphStep runs three and records the fourth
PAIRS_SHARE = 0.4  # of a stage's seconds, for making its stored pairs
TEACHERS = {"teacher": (18, solvers.heun), **{f"teacher-euler-{n}": (n, solvers.euler) for n in CALLS}}


class TimedTrainer(Trainer):
    """A trainer whose clock leaves out the first steps of each batch shape, and that writes no log."""

    def __init__(self, run: Run, output: Path):
        self.seen: Counter = Counter()
        self.counted = self.rows = 0
        self.warm_seconds, self.losses = 0.0, []
        self.ahead: deque[torch.cuda.Event] = deque()
        super().__init__(run, output)
        self.replayed, self.advance = self.advance, self.timed

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def timed(self, x: Any, cond: Any) -> None:
        shape = tree_signature((x, cond))
        self.seen[shape] += 1
        if self.seen[shape] <= WARM_UP:
            self.wait()
            start = time.monotonic()
            self.replayed(x, cond)
            self.wait()
            self.untimed_seconds += time.monotonic() - start
            self.warm_seconds += time.monotonic() - start
            return
        self.replayed(x, cond)
        self.counted += 1
        self.rows += len(x[0] if isinstance(x, tuple) else x)
        if self.device.type == "cuda":
            self.ahead.append(torch.cuda.Event())
            self.ahead[-1].record()
            if len(self.ahead) > 2:
                self.ahead.popleft().synchronize()

    def log(self, values: dict[str, float]) -> None:
        self.losses.append(values["loss"])

    def train(self) -> dict[str, Any]:
        """Trains for the run's seconds and returns facts about it. Raises FloatingPointError if it diverges."""
        with side_stream(self.device):
            self.loop()
            self.wait()
            seconds = self.clock()[1]
            if self.step_count % self.run.log_every:
                self.losses.append(self.meters.read()["loss"])
        if not math.isfinite(self.losses[-1]) or not self.counted:
            raise FloatingPointError(f"{self.counted} timed steps, last loss {self.losses[-1]:g}")
        facts = {"warm_up_steps": self.step_count - self.counted, "warm_up_seconds": self.warm_seconds}
        facts |= {"steps": self.counted, "samples": self.rows, "seconds": seconds}
        return facts | {"loss": [self.losses[0], self.losses[-1]]}


def stored_pairs(guide: nn.Module, source: LatentBatches, seconds: float, seed: int) -> tuple[Trajectories, float]:
    """Returns the trajectories that can be made in some seconds, after a warm-up, and the seconds spent."""
    few, shapes = 4 * max(batch for batch, _ in source.buckets), set()
    for _ in range(32):
        x, cond = next(source)
        if x.shape not in shapes:
            shapes.add(x.shape)
            Trajectories(guide, iter([(x, cond)]), 1, w=GUIDANCE, seed=seed)
    start = time.monotonic()

    def more(count: float) -> Trajectories:
        pairs = Trajectories(guide, source, max(1, int(count)), w=GUIDANCE, seed=seed)
        if source.device.type == "cuda":
            torch.cuda.synchronize()
        return pairs

    pairs = more(few)
    spent = time.monotonic() - start
    if spent < seconds:
        pairs.parts += more(sum(len(x) for x, _, _ in pairs.parts) * (seconds - spent) / spent).parts
    return pairs, time.monotonic() - start


class MethodTrainer:
    """Everything that the methods share: teacher, data, text encoder and the plan of sounds."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.device = args, best_device()
        self.compile = args.compile and self.device.type == "cuda"
        self.guide = LatentTransformer.from_pretrained(args.teacher).to(self.device).requires_grad_(False).eval()
        if self.compile:
            compile_blocks(self.guide)
            torch._dynamo.config.recompile_limit = 512  # all methods' nets share the blocks' code
            torch._dynamo.config.accumulated_recompile_limit = 4096
        self.source = load_batches(args.corpora, args.vae, args.seed, scale=args.scale, cache=args.cache)
        self.codec: Codec = load_codec(args.vae, "", self.device)
        self.conditioner = TextConditioner.from_pretrained().to(self.device)
        plan = Path(args.output) / "plan.json"
        if not plan.exists():
            raise ValueError(f"{plan}: no such file; make it by `python -m recipes.text_to_audio.evaluate plan`")
        self.entries = json.loads(plan.read_text())

    def student(self, setting: Setting, start: nn.Module | None) -> nn.Module:
        """Returns a network to train that equals `start` or, without one, the teacher."""
        net = self.guide.student(None if setting.guidance == "outside" else GUIDANCE, setting.target_time)
        if start is not None:
            net.load_state_dict(start.state_dict())
        if setting.lora:
            lora.add_lora(net)
        return LogVarianceDenoiser(net, paths.edm) if setting.log_variance else net

    def train_stage(self, setting: Setting, stage: Stage, start: nn.Module | None) -> tuple[nn.Module, dict[str, Any]]:
        """Trains one stage; returns its averaged network and facts."""
        args, seconds, compile = self.args, self.args.seconds * stage.share, self.compile and setting.compile
        gc.collect()  # the graphs of the stage before
        torch.manual_seed(args.seed)
        self.source.step = 0  # every method sees the same batches
        net = self.student(setting, start).to(self.device)

        def copied(other: nn.Module) -> nn.Module:
            one = copy.deepcopy(other).eval().requires_grad_(False)
            if compile:
                compile_blocks(one)
            return one

        method = build_method(stage, setting.guidance, self.guide, net, copied)
        source, facts = self.source, {"method": stage.method, "lr": stage.lr, "target_ema": stage.target_ema}
        spent = 0.0
        if stage.pairs:
            source, spent = stored_pairs(self.guide, self.source, PAIRS_SHARE * seconds, args.seed)
            facts |= {"pairs": sum(len(x) for x, _, _ in source.parts), "pairs_seconds": spent}
        settings = {"steps": 10**7, "lr": stage.lr, "warmup": 50, "target_ema": stage.target_ema, "seed": args.seed}
        settings |= {"critic": getattr(method, "critic", None), "cuda_graph": setting.graph, "save_every": 10**7}
        minutes = max(seconds - spent, 0.1 * seconds) / 60
        run = latent_run(stage.method, net, method, source, minutes, compile, ema=0.999, log_every=25, **settings)
        with tempfile.TemporaryDirectory() as folder:
            training = TimedTrainer(run, Path(folder))
            facts |= training.train()
            net = training.averaged_net()
            for tracker in training.accelerator.trackers:
                tracker.finish()
        if setting.lora:
            lora.merge_lora(net)
        return (net.net if setting.log_variance else net), facts

    def train_method(self, setting: Setting) -> tuple[dict[int, nn.Module], dict[str, Any]]:
        """Trains all stages of a method; returns the network for each number of calls, and facts."""
        nets, net, stages = {}, None, []
        reset_memory(self.device)
        for stage in setting.stages:
            net, facts = self.train_stage(setting, stage, net)
            nets |= dict.fromkeys(stage.calls, net)
            stages.append(facts)
        total = {key: sum(facts[key] for facts in stages) for key in ("steps", "samples", "seconds", "warm_up_seconds")}
        total |= {"steps/s": total["steps"] / total["seconds"], "samples/s": total["samples"] / total["seconds"]}
        total["pairs_seconds"] = sum(facts.get("pairs_seconds", 0.0) for facts in stages)
        if self.device.type == "cuda":
            total["peak GB"] = torch.cuda.max_memory_allocated() / 2**30
        modes = {"graph": setting.graph and self.device.type == "cuda", "compile": self.compile and setting.compile}
        return nets, total | modes | {"stages": stages}

    def sample_latents(self, net: nn.Module, calls: int, solver: Solver, gamma: float = 0.0) -> dict[str, Tensor]:
        """Returns the latents of the plan's sounds, from its seeds, in the form in which they are stored, by name."""
        text = self.conditioner
        pipe = TextToAudioPipeline(net.eval(), self.codec.vae, self.codec.vocoder, text.encoder, text.tokenizer)
        call, latents, system = functools.partial(pipe, solver=solver, gamma=gamma), {}, System("", "", calls, SCALE)
        ordered = sorted(self.entries, key=lambda entry: entry["seconds"])
        for _, group in groupby(ordered, key=lambda entry: entry["seconds"]):
            alike = list(group)
            for i in range(0, len(alike), self.args.batch):
                part = alike[i : i + self.args.batch]
                for entry, latent in zip(part, generate_latents(call, system, part), strict=True):
                    latents[f"{calls}/{entry_name(entry)}"] = latent.half().cpu().contiguous()
        return latents

    def shared_facts(self, name: str) -> dict[str, Any]:
        """Returns the facts that all methods share."""
        args, on_gpu = self.args, self.device.type == "cuda"
        numbers = {"name": name, "trained_at": int(time.time()), "commit": commit(), "w": SCALE}
        numbers |= {"torch": torch.__version__, "seed": args.seed, "scale": args.scale, "buckets": self.source.buckets}
        numbers |= {"device": device_name(self.device.type), "budget": args.seconds}
        return numbers | {"precision": "bf16" if on_gpu else "float32"}


def reset_memory(device: torch.device) -> None:
    """Frees what the method before left in memory, and resets the peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def sample_teacher(trainer: MethodTrainer, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the latents of the guided teacher (two rows a call), and facts."""
    steps, solver = TEACHERS[name]
    queries = 2 * (2 * steps - 1 if solver is solvers.heun else steps)
    facts = {"group": "teacher", "rows a sound": queries, "calls": [steps]}
    return trainer.sample_latents(trainer.guide, steps, solver), facts


def train_and_sample(trainer: MethodTrainer, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns a method's latents at 1, 2 and 4 calls, and facts."""
    setting = SETTINGS[name]
    nets, facts = trainer.train_method(setting)
    start, latents = time.monotonic(), {}
    for calls, net in sorted(nets.items()):
        latents |= trainer.sample_latents(net, calls, *SAMPLERS[setting.sampler])
    facts |= {"group": setting.group, "guidance": setting.guidance, "sampler": setting.sampler, "note": setting.note}
    facts |= {"calls": sorted(nets), "sampling_seconds": time.monotonic() - start}
    facts["finite"] = all(bool(latent.isfinite().all()) for latent in latents.values())
    return latents, facts


def train(args: argparse.Namespace) -> None:
    """Trains the methods that have no NAME.json yet, and writes NAME.safetensors and NAME.json, or NAME.failed."""
    out = Path(args.output)
    wanted = args.methods or [*TEACHERS, *SETTINGS]
    unknown = [name for name in wanted if name not in TEACHERS and name not in SETTINGS]
    if unknown:
        raise ValueError(f"unknown methods {', '.join(unknown)}: must be among {', '.join([*TEACHERS, *SETTINGS])}")
    todo = [name for name in wanted if not (out / f"{name}.json").exists()]
    print(f"{len(wanted) - len(todo)} done, to do: {', '.join(todo) or 'nothing'}", flush=True)
    trainer = MethodTrainer(args) if todo else None
    for name in todo:
        start = time.monotonic()
        make_one: Callable = sample_teacher if name in TEACHERS else train_and_sample
        try:
            latents, facts = make_one(trainer, name)
        except Exception as error:  # it is recorded, shown in the table and tried again by the next call
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
            (out / f"{name}.failed").write_text(reason + "\n")
            print(f"{name}: failed: {reason}", flush=True)
            continue
        wall = time.monotonic() - start
        with atomic_write(out / f"{name}.safetensors") as partial:
            save_file(latents, partial)
        write_json(out / f"{name}.json", trainer.shared_facts(name) | facts | {"wall_seconds": wall})
        (out / f"{name}.failed").unlink(missing_ok=True)
        print(f"{name}: {wall:.0f} s in all, losses {[s['loss'] for s in facts.get('stages', [])]}", flush=True)
        reset_memory(trainer.device)
