"""Training and sampling every method of the table on one budget of seconds; see methods_table.py.

What counts: the wall time of training steps on the device, from the batch's making to its end, and of making stored pairs. What
does not: loading, building nets, and the first steps of each batch shape in each stage (they compile, tune and record a CUDA
graph; they do train). Host and device are never more than two steps apart, so the clock is the device's.
"""

from __future__ import annotations

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
from audiocm.data.batches import LatentBatches
from audiocm.data.latents import STEP
from audiocm.diffusion import paths, solvers
from audiocm.distillation import lora
from audiocm.evaluation.provenance import commit
from audiocm.models.adapters import LogVarianceDenoiser
from audiocm.models.text_encoder import TextConditioner
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.training.compile import compile_blocks, tree_signature
from audiocm.training.run import Run, best_device
from audiocm.training.trainer import Trainer
from recipes.methods.settings import CALLS, GUIDANCE, SAMPLERS, SCALE, SETTINGS, Setting, Stage, member
from recipes.text_to_audio.data import Trajectories, batches, codec
from recipes.text_to_audio.generate import System, make, name_of
from recipes.text_to_audio.student import export

WARM = 4  # steps of each batch shape that are not timed: audiocm.optimise.Replayed runs three and records the fourth
PAIRS = 0.4  # of a stage's seconds go into making its stored pairs
TEACHER = {"teacher": (18, solvers.heun), **{f"teacher-euler-{n}": (n, solvers.euler) for n in CALLS}}


class Timed(Trainer):
    """A training whose clock leaves out each batch shape's first steps, and which writes nothing."""

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
        if self.seen[shape] <= WARM:
            self.wait()
            start = time.monotonic()
            self.replayed(x, cond)
            self.wait()
            self.paused += time.monotonic() - start
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
        """Train for the run's budget; what there is to say about it. FloatingPointError where it diverges."""
        with self.stream():
            self.loop()
            self.wait()
            seconds = self.clock()[1]
            if self.step_count % self.run.log_every:
                self.losses.append(self.read_meters()["loss"])
        if not math.isfinite(self.losses[-1]) or not self.counted:
            raise FloatingPointError(f"{self.counted} timed steps, last loss {self.losses[-1]:g}")
        return {
            "steps": self.counted, "samples": self.rows, "seconds": seconds, "loss": [self.losses[0], self.losses[-1]],
            "warm_up_steps": self.step_count - self.counted, "warm_up_seconds": self.warm_seconds,
        }  # fmt: skip


def stored_pairs(guide: nn.Module, source: LatentBatches, seconds: float, seed: int) -> tuple[Trajectories, float]:
    """As many trajectories as can be made in so many seconds, after some that warm up and some that measure; seconds spent."""
    few, shapes = 4 * max(batch for batch, _ in source.buckets), set()
    for _ in range(32):
        x, cond = next(source)
        if x.shape not in shapes:
            shapes.add(x.shape)
            Trajectories(guide, iter([(x, cond)]), 1, w=GUIDANCE, seed=seed)
    start = time.monotonic()

    def more(count: float) -> Trajectories:
        made = Trajectories(guide, source, max(1, int(count)), w=GUIDANCE, seed=seed)
        if source.device.type == "cuda":
            torch.cuda.synchronize()
        return made

    pairs = more(few)
    spent = time.monotonic() - start
    if spent < seconds:
        pairs.parts += more(sum(len(x) for x, _, _ in pairs.parts) * (seconds - spent) / spent).parts
    return pairs, time.monotonic() - start


class Workshop:
    """What all methods share: the teacher, the data, the words, the plan."""

    def __init__(self, args: argparse.Namespace):
        self.args, self.device = args, best_device()
        self.compile = args.compile and self.device.type == "cuda"
        self.guide = LatentTransformer.from_pretrained(args.teacher).to(self.device).requires_grad_(False).eval()
        if self.compile:
            compile_blocks(self.guide)
            torch._dynamo.config.recompile_limit = 512  # all methods' nets share the blocks' code
            torch._dynamo.config.accumulated_recompile_limit = 4096
        self.source = batches(args.corpora, args.vae, self.device, args.seed, scale=args.scale, cache=args.cache)
        self.codec: Codec = codec(args.vae, "", self.device)
        self.words = TextConditioner.from_pretrained().to(self.device)
        plan = Path(args.out) / "plan.json"
        if not plan.exists():
            raise ValueError(
                f"{plan}: no such file; `python -m recipes.text_to_audio.evaluate plan --out {args.out}` draws it up"
            )
        self.entries = json.loads(plan.read_text())

    def student(self, setting: Setting, start: nn.Module | None) -> nn.Module:
        """A net to train that equals `start`, or the teacher."""
        net = self.guide.student(None if setting.guidance == "outside" else GUIDANCE, setting.target_time)
        if start is not None:
            net.load_state_dict(start.state_dict())
        if setting.lora:
            lora.add_lora(net)
        return LogVarianceDenoiser(net, paths.edm) if setting.log_variance else net

    def stage(
        self, setting: Setting, stage: Stage, start: nn.Module | None, graph: bool, compile: bool
    ) -> tuple[nn.Module, dict[str, Any]]:
        """One stage's training; its averaged net, facts."""
        args, seconds = self.args, self.args.seconds * stage.share
        gc.collect()  # the last stage's graphs
        torch.manual_seed(args.seed)
        self.source.step = 0  # every method sees the same batches
        net = self.student(setting, start).to(self.device)

        def copied(other: nn.Module) -> nn.Module:
            one = copy.deepcopy(other).eval().requires_grad_(False)
            if compile:
                compile_blocks(one)
            return one

        method = member(stage, setting.guidance, self.guide, net, copied)
        source, facts = self.source, {"member": stage.member, "lr": stage.lr, "target_ema": stage.target_ema}
        spent = 0.0
        if stage.pairs:
            source, spent = stored_pairs(self.guide, self.source, PAIRS * seconds, args.seed)
            facts |= {"pairs": sum(len(x) for x, _, _ in source.parts), "pairs_seconds": spent}
        run = Run(
            stage.member, net, method, source, steps=10**7, lr=stage.lr, warmup=50, ema=0.999, target_ema=stage.target_ema,
            critic=getattr(method, "critic", None), precision="bf16" if self.device.type == "cuda" else "no", seed=args.seed,
            budget=max(seconds - spent, 0.1 * seconds), save_every=10**7, log_every=25, cuda_graph=graph, compile=compile,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            training = Timed(run, Path(folder))
            facts |= training.train()
            net = training.averaged()
            for tracker in training.accelerator.trackers:
                tracker.finish()
        if setting.lora:
            lora.merge_lora(net)
        return (net.net if setting.log_variance else net), facts

    def trained(self, setting: Setting, graph: bool, compile: bool) -> tuple[dict[int, nn.Module], dict[str, Any]]:
        """All stages of a method: the net for each number of calls, facts."""
        nets, net, stages = {}, None, []
        fresh(self.device)
        resident = torch.cuda.memory_allocated() / 2**30 if self.device.type == "cuda" else 0.0
        for stage in setting.stages:
            net, facts = self.stage(setting, stage, net, graph, compile)
            nets |= dict.fromkeys(stage.calls, net)
            stages.append(facts)
        total = {key: sum(facts[key] for facts in stages) for key in ("steps", "samples", "seconds", "warm_up_seconds")}
        total |= {"steps/s": total["steps"] / total["seconds"], "samples/s": total["samples"] / total["seconds"]}
        total["pairs_seconds"] = sum(facts.get("pairs_seconds", 0.0) for facts in stages)
        if self.device.type == "cuda":
            total["peak GB"], total["resident GB"] = torch.cuda.max_memory_allocated() / 2**30, resident
        return nets, {**total, "graph": graph and self.device.type == "cuda", "compile": compile, "stages": stages}

    def latents(self, net: nn.Module, calls: int, solver: solvers.Solver) -> dict[str, Tensor]:
        """The plan's latents as they are stored, by name, from the plan's seeds."""
        pipe = TextToAudioPipeline(
            net.eval(), self.codec.vae, self.codec.vocoder, self.words.encoder, self.words.tokenizer
        )
        ask, made, system = functools.partial(pipe, solver=solver), {}, System("", "", calls, SCALE)
        ordered = sorted(self.entries, key=lambda entry: entry["seconds"])
        for _, group in groupby(ordered, key=lambda entry: entry["seconds"]):
            alike = list(group)
            for i in range(0, len(alike), self.args.batch):
                part = alike[i : i + self.args.batch]
                for entry, latent in zip(part, make(ask, system, part, "latent"), strict=True):
                    made[f"{calls}/{name_of(entry)}"] = stored(latent, self.args.int8)
        return made

    def facts(self, name: str) -> dict[str, Any]:
        """What is the same for all methods."""
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        args, numbers = (
            self.args,
            {"name": name, "made": int(time.time()), "device": device, "commit": commit(), "torch": torch.__version__},
        )
        numbers |= {"seed": args.seed, "scale": args.scale, "buckets": self.source.buckets, "budget": args.seconds}
        return numbers | {
            "precision": "bf16" if self.device.type == "cuda" else "float32",
            "w": SCALE,
            "int8": args.int8,
        }


def stored(latent: Tensor, int8: bool) -> Tensor:
    """In float16, or rounded to int8 as packed training latents are (half the size), but for numbers that are not finite."""
    whole = int8 and bool(latent.isfinite().all())
    return ((latent / STEP).round().clamp(-127, 127).to(torch.int8) if whole else latent.half()).cpu().contiguous()


def restored(latent: Tensor) -> Tensor:
    return latent.float() * STEP if latent.dtype == torch.int8 else latent


def fresh(device: torch.device) -> None:
    """No leftovers of the last method in memory, nor in its peak."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def attempts(setting: Setting, compile: bool) -> list[tuple[bool, bool]]:
    """(graph, compile) from the fastest that should work to the plainest."""
    compile = compile and setting.compile
    return list(dict.fromkeys([(setting.graph, compile), (False, compile), (False, False)]))


def write(out: Path, name: str, latents: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """NAME.safetensors, then NAME.json, whose being there says that the method is done."""
    (out / f"{name}.json").unlink(missing_ok=True)
    for file, put in (
        (f"{name}.safetensors", lambda path: save_file(latents, path)),
        (f"{name}.json", lambda path: path.write_text(json.dumps(facts, indent=1) + "\n")),
    ):
        put(out / f".{file}.partial")
        (out / f".{file}.partial").replace(out / file)


def teacher(shop: Workshop, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The teacher's own latents, guided (two rows a call)."""
    steps, solver = TEACHER[name]
    queries = 2 * (2 * steps - 1 if solver is solvers.heun else steps)
    return shop.latents(shop.guide, steps, solver), {"group": "teacher", "rows a sound": queries, "calls": [steps]}


def method(shop: Workshop, name: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """One method's latents at 1, 2 and 4 calls. RuntimeError names why no way of running it worked."""
    setting, failed = SETTINGS[name], {}
    for graph, compile in attempts(setting, shop.compile):
        try:
            nets, facts = shop.trained(setting, graph, compile)
            break
        except FloatingPointError:
            raise
        except Exception as error:  # whatever a compiler or a graph trips over: the next attempt goes without
            failed[f"graph={graph} compile={compile}"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            print(f"{name}: {failed}", flush=True)
    else:
        raise RuntimeError(f"no way of running it worked: {failed}")
    start, latents = time.monotonic(), {}
    for calls, net in sorted(nets.items()):
        latents |= shop.latents(net, calls, SAMPLERS[setting.sampler])
    facts |= {"group": setting.group, "guidance": setting.guidance, "sampler": setting.sampler, "note": setting.note}
    facts |= {"calls": sorted(nets), "failed_attempts": failed, "sampling_seconds": time.monotonic() - start}
    facts["finite"] = all(bool(latent.isfinite().all()) for latent in latents.values())
    if shop.args.keep:
        for calls in setting.stages[-1].calls[:1]:
            export(nets[calls], Path(shop.args.out) / "students" / name)
    return latents, facts


def train(args: argparse.Namespace) -> None:
    """All methods asked for that are not done; none is begun that would hardly end within `--minutes`."""
    out, began, longest = Path(args.out), time.monotonic(), args.seconds
    wanted = args.methods or [*TEACHER, *SETTINGS]
    unknown = [name for name in wanted if name not in TEACHER and name not in SETTINGS]
    if unknown:
        raise ValueError(f"no setting for {', '.join(unknown)}; known: {', '.join([*TEACHER, *SETTINGS])}")
    todo = [name for name in wanted if not (out / f"{name}.json").exists()]
    print(f"{len(wanted) - len(todo)} done, to do: {', '.join(todo) or 'nothing'}", flush=True)
    shop = Workshop(args) if todo else None
    for name in todo:
        if args.minutes and time.monotonic() - began + longest > 60 * args.minutes:
            print(f"{name}: not begun, the time is up", flush=True)
            break
        start = time.monotonic()
        make_one: Callable = teacher if name in TEACHER else method
        try:
            latents, facts = make_one(shop, name)
        except Exception as error:  # recorded, shown in the table, tried again by the next call
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:600]}"
            (out / f"{name}.failed").write_text(reason + "\n")
            print(f"{name}: failed: {reason}", flush=True)
            continue
        wall = time.monotonic() - start
        write(out, name, latents, shop.facts(name) | facts | {"wall_seconds": wall})
        (out / f"{name}.failed").unlink(missing_ok=True)
        longest = longest if name in TEACHER else max(longest, wall)
        shown = {
            key: round(facts[key], 2) for key in ("steps/s", "samples/s", "peak GB", "warm_up_seconds") if key in facts
        }
        print(f"{name}: {wall:.0f} s in all, {shown}, loss {[s['loss'] for s in facts.get('stages', [])]}", flush=True)
        fresh(shop.device)
