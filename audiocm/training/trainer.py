"""A run's state on the device, its steps, and its checkpoints: what train() drives."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import json
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from tqdm import tqdm

from . import checkpoint
from .compile import CUDAGraphStep, compile_blocks
from .optimizer import FlatParameters, Optimizer
from .run import Run


class Trainer:
    """A run's state on the device. All that a step changes is in tensors that a captured graph can write to."""

    METERS = ("loss", "critic_loss", "grad_norm", "counted", "in_a_row", "longest", "skipped")

    def __init__(self, run: Run, output: Path):
        self.run, self.output, self.began = run, output, time.monotonic()
        logger = "tensorboard" if importlib.util.find_spec("tensorboard") else None
        output.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(log_with=logger, project_dir=str(output))
        self.device, self.main = self.accelerator.device, self.accelerator.is_main_process
        self.accelerator.init_trackers(run.name)
        self.step_count, self.trained, self.paused = 0, 0.0, 0.0
        self.best: float | None = None
        self.stopped: int | None = None
        self.save_seconds = 0.0
        self._build()
        torch.manual_seed(run.seed + 1_000_003 * self.accelerator.process_index)

    def _build(self) -> None:
        run, device = self.run, self.device
        self.net = run.net.to(device).train()
        self.ema = None if run.ema is None else copy.deepcopy(self.net).eval()
        self.target = None if run.target_ema is None else copy.deepcopy(self.net)
        self.flat = FlatParameters(p for p in self.net.parameters() if p.requires_grad)
        self.copies = {}  # name -> (flat, module)
        for name, module in (("ema", self.ema), ("target", self.target)):
            if module is not None:
                self.copies[name] = (FlatParameters(p for p in module.parameters() if p.requires_grad), module)
                self.copies[name][0].freeze()
                module.requires_grad_(False)
        self.optimisers = {"student": Optimizer(self.flat, run.betas, run.weight_decay, run.clip)}
        self.critic = None
        if run.critic is not None:
            if hasattr(run.critic, "to"):
                run.critic.to(device)
            self.critic = FlatParameters(run.critic.parameters())
            if self.critic.values.device != self.flat.values.device:
                where = f"the critic is on {self.critic.values.device}, the run on {self.flat.values.device}"
                raise ValueError(f"{where}: move it there")
            self.optimisers["critic"] = Optimizer(self.critic, run.betas, run.weight_decay, run.clip)
        if self.accelerator.num_processes > 1:
            for optimiser in self.optimisers.values():
                torch.distributed.broadcast(optimiser.flat.values, 0)
            for flat, _ in self.copies.values():
                flat.values.copy_(self.flat.values)
        self.progress = torch.zeros((), device=device)
        self.ema_weight = torch.zeros((), device=device)
        self.meters = torch.zeros(len(self.METERS), device=device)
        for net in (self.net, self.target):
            if run.compile and net is not None:
                compile_blocks(net)
        graphed = run.cuda_graph and device.type == "cuda"
        self.advance = CUDAGraphStep(self.step) if graphed else self.step

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """On CUDA everything happens on one side stream, as recording graphs asks for."""
        if self.device.type != "cuda":
            yield
            return
        side = torch.cuda.Stream(self.device)
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(side):
            yield
        torch.cuda.current_stream(self.device).wait_stream(side)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """SIGTERM and the first SIGINT end the run after the step at hand, with a checkpoint."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, frame: object) -> None:
            self.stopped = number
            signal.signal(number, before[number])

        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # --- one step, eager or recorded ---------------------------------------------------------------------------------

    def _gradient(self, flat: FlatParameters, loss: Callable[..., Tensor], x: Any, cond: Any) -> Tensor:
        flat.grads.zero_()
        # no cache of cast weights: one filled under no_grad (by the target's call) would cut the student's gradient
        bf16 = self.run.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
            value = loss(self.net, self.target, x, cond, self.progress)
        value.backward()
        return value.detach().float()

    def step(self, x: Any, cond: Any) -> None:
        """Critic, student, averages, meters. Reads and writes device tensors only and never waits for them."""
        run, critic_loss = self.run, 0.0
        if self.critic is not None:
            self.critic.require_grad(True)
            critic_loss = self._gradient(self.critic, run.critic.loss, x, cond)
            self.optimisers["critic"].step(critic_loss)
            self.critic.require_grad(False)
        loss = self._gradient(self.flat, run.method.loss, x, cond)
        norm, finite = self.optimisers["student"].step(loss)
        with torch.no_grad():
            self._follow()
            self._measure(loss, critic_loss, norm, finite)

    def _follow(self) -> None:
        """Moving averages: copy <- copy + (1 - decay) (student - copy)."""
        weights = {"ema": self.ema_weight, "target": 1 - (self.run.target_ema or 0.0)}
        for name, (flat, _) in self.copies.items():
            flat.values.lerp_(self.flat.values, weights[name])
        self._share_buffers()

    def _share_buffers(self) -> None:
        """Statistics that are no parameters are not averaged: the copies have the student's."""
        current = list(self.net.buffers())
        for _, module in self.copies.values():
            if current:
                torch._foreach_copy_(list(module.buffers()), current)

    def _measure(self, loss: Tensor, critic_loss: Tensor | float, norm: Tensor, finite: Tensor) -> None:
        bad = 1 - finite.float()
        zero = torch.zeros_like(loss)
        row = (self.meters[4] + 1) * bad
        seen = [torch.where(finite, value, zero) for value in (loss, critic_loss + zero, norm)]
        totals = [self.meters[i] + value for i, value in enumerate(seen)]
        rest = [self.meters[3] + 1 - bad, row, torch.maximum(self.meters[5], row), self.meters[6] + bad]
        self.meters.copy_(torch.stack([*totals, *rest]))

    # --- the loop ----------------------------------------------------------------------------------------------------

    def clock(self) -> tuple[float, float, int]:
        """(seconds since train() was called, seconds of training in all, signal), the same on every rank."""
        now = time.monotonic() - self.began
        values = [now, self.trained + now - self.paused, float(self.stopped or 0)]
        if self.accelerator.num_processes == 1:
            return values[0], values[1], int(values[2])
        if self.step_count % self.run.log_every == 0 or not hasattr(self, "_agreed"):
            shared = torch.tensor(values, device=self.device, dtype=torch.float64)
            torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
            self._agreed = shared.tolist()
        return self._agreed[0], self._agreed[1], int(self._agreed[2])

    def loop(self) -> None:
        run = self.run
        self.paused = time.monotonic() - self.began  # setting up is not training
        bar = tqdm(total=run.steps, initial=self.step_count, disable=not self.main, desc=run.name, mininterval=0.5)
        first, self.complete = self.step_count, False
        mark, marked, samples = time.monotonic(), first, 0
        while self.step_count < run.steps:
            wall, trained, stop = self.clock()
            over = run.budget is not None and trained >= run.budget
            late = run.seconds is not None and wall + 1.5 * self.save_seconds >= run.seconds
            if over or late or stop:
                self.stopped = stop or self.stopped
                self.complete = over and not stop
                break
            progress = max(self.step_count / run.steps, trained / run.budget if run.budget else 0.0)
            rate = self.set_scalars(min(progress, 1.0))
            x, cond = next(run.batches)
            self.advance(x, cond)
            self.step_count += 1
            samples += len(x[0] if isinstance(x, tuple) else x) * self.accelerator.num_processes
            bar.update()
            if self.step_count % run.log_every == 0 or self.device.type == "cpu":
                self.check()
            if self.step_count % run.log_every == 0:
                steps, seconds = self.step_count - marked, time.monotonic() - mark
                line = self.read_meters() | {"progress": progress, "lr": rate}
                line |= {"steps_per_second": steps / seconds, "samples_per_second": samples / seconds}
                self.log(line)
                bar.set_postfix(loss=f"{line['loss']:.4g}", refresh=False)
            if self.pause() or self.step_count % run.log_every == 0:
                mark, marked, samples = time.monotonic(), self.step_count, 0
        self.complete = self.complete or self.step_count == run.steps
        if (
            self.complete
            and run.validate is not None
            and self.step_count % run.validate_every
            and self.step_count > first
        ):
            self.look(True, False)
        bar.close()

    def set_scalars(self, progress: float) -> float:
        """Hand this step's numbers to the device; returns the learning rate."""
        run, k = self.run, self.step_count
        factor = min(1.0, (k + 1) / max(run.warmup, 1)) * run.decay(progress)
        self.progress.fill_(progress)
        self.optimisers["student"].lr.fill_(run.lr * factor)
        if self.critic is not None:
            self.optimisers["critic"].lr.fill_((run.critic_lr or run.lr) * factor)
        if run.ema is not None:  # a young average forgets faster
            self.ema_weight.fill_(1 - min(run.ema, (1 + k) / (10 + k)))
        return run.lr * factor

    def check(self) -> None:
        """Waits for the device. Raises FloatingPointError after too many bad steps in a row."""
        if self.meters[5].item() >= self.run.bad_steps:
            raise FloatingPointError(
                f"{self.run.name}: {self.run.bad_steps} steps in a row without a finite loss and gradient, the last one "
                f"step {self.step_count}; the last checkpoint in {self.output} is from before. Lower lr or clip, or try "
                "precision 'no'"
            )

    def read_meters(self) -> dict[str, float]:
        """Means since the last call, which are then set to zero. Waits for the device."""
        values = dict(zip(self.METERS, self.meters.tolist(), strict=True))
        self.meters[:4] = 0
        self.meters[5] = self.meters[4]
        count = values["counted"]
        means = {k: values[k] / count if count else math.nan for k in ("loss", "critic_loss", "grad_norm")}
        if self.critic is None:
            means.pop("critic_loss")
        return means | {"skipped": values["skipped"]}

    def log(self, values: dict[str, float]) -> None:
        if self.main:
            seconds = round(self.trained + time.monotonic() - self.began - self.paused, 3)
            with (self.output / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": self.step_count, **values, "seconds": seconds}) + "\n")
        self.accelerator.log(values, step=self.step_count)

    def pause(self) -> bool:
        """Validate, sample and save where it is time to. Their time is not training time."""
        run, start, k = self.run, time.monotonic(), self.step_count
        due = [k % n == 0 for n in (run.validate_every, run.sample_every, run.save_every)]
        validating, sampling = due[0] and run.validate is not None, due[1] and run.sample is not None
        if validating or sampling:
            self.look(validating, sampling)
        if due[2] and k < run.steps:
            self.save()
        if validating or sampling or due[2]:
            self.paused += time.monotonic() - start
            return True
        return False

    def averaged(self) -> nn.Module:
        """The net that counts, in eval mode."""
        return (self.net if self.ema is None else self.ema).eval()

    @torch.no_grad()
    def look(self, validating: bool, sampling: bool) -> None:
        """Validation metrics and samples of the averaged net, on the main rank, leaving training's randomness alone."""
        run, values = self.run, {}
        bf16 = run.precision == "bf16"
        with checkpoint.preserved_rng(self.device), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            if self.main and validating:
                values = {key: float(value) for key, value in run.validate(self.averaged()).items()}
            if self.main and sampling:
                folder = self.output / "samples" / f"step-{self.step_count:08d}"
                folder.mkdir(parents=True, exist_ok=True)
                run.sample(self.averaged(), folder)
        self.net.train()
        if self.main and validating:
            self.log({f"valid/{key}": value for key, value in values.items()})
            self._keep(values)
        self.accelerator.wait_for_everyone()

    def _keep(self, values: dict[str, float]) -> None:
        name = self.run.keep_best
        if name is None:
            return
        if name not in values:
            raise ValueError(f"keep_best {name!r}: validate gave only {', '.join(values)}")
        if self.best is None or self.run.better(values[name], self.best):
            self.best = values[name]
            tensors = {f"net.{k}": v for k, v in self.averaged().state_dict().items()}
            state = {"run": self.run.name, "metrics": values}
            checkpoint.write(self.output / "best", self.step_count, tensors, state, self.run.shard_mb)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """All of the run's tensors that change, by name; the tensors themselves."""
        out = {"meters": self.meters}
        for name, optimiser in self.optimisers.items():
            out |= optimiser.tensors(name)
        out |= {f"{name}.values": flat.values for name, (flat, _) in self.copies.items()}
        for name, module in (("buffer", self.net), ("critic.buffer", self.run.critic)):
            if isinstance(module, nn.Module):
                persistent = module.state_dict().keys()
                out |= {f"{name}.{k}": v for k, v in module.named_buffers() if k in persistent}
        return out

    def save(self) -> None:
        """Write a checkpoint; every rank calls this."""
        start = time.monotonic()
        mine = {"rng": checkpoint.get_rng(self.device)}
        if hasattr(self.run.batches, "state_dict"):
            mine["batches"] = self.run.batches.state_dict()
        ranks = gather_object([mine]) if self.accelerator.num_processes > 1 else [mine]
        if self.main:
            tensors = dict(self.tensors())
            trained = self.trained + start - self.began - self.paused
            state = {"run": self.run.name, "trained": trained, "best": self.best}
            state["ranks"] = checkpoint.split_tensors(ranks, "rank", tensors)
            checkpoint.write(self.output / "checkpoints", self.step_count, tensors, state, self.run.shard_mb)
        self.accelerator.wait_for_everyone()
        self.save_seconds = max(self.save_seconds, time.monotonic() - start)

    def resume(self) -> None:
        """Go on from the newest checkpoint in the output folder, if there is one."""
        path = checkpoint.newest_checkpoint(self.output / "checkpoints")
        self.save_seconds = sum(t.nbytes for t in self.tensors().values()) / 2e8
        if path is None:
            self._trim_log(0)
            return
        saved, state = checkpoint.read(path)
        self._same_run(path, saved, state)
        for name, tensor in self.tensors().items():
            tensor.copy_(saved[name])
        self._share_buffers()
        ranks = checkpoint.join_tensors(state["ranks"], saved)
        mine = ranks[self.accelerator.process_index]
        if "batches" in mine:
            self.run.batches.load_state_dict(mine["batches"])
        checkpoint.set_rng(mine["rng"], self.device)
        self.step_count, self.trained, self.best = state["step"], state["trained"], state["best"]
        self._trim_log(self.step_count)

    def _same_run(self, path: Path, saved: dict[str, Tensor], state: dict[str, Any]) -> None:
        if state["run"] != self.run.name:
            raise ValueError(f"{path} is of run {state['run']!r}, not {self.run.name!r}: choose another output folder")
        here = {name: tuple(tensor.shape) for name, tensor in self.tensors().items()}
        there = {name: tuple(tensor.shape) for name, tensor in saved.items() if not name.startswith("rank.")}
        odd = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        if odd:
            raise ValueError(f"{path} does not fit this run (net, critic or averages differ): {', '.join(odd[:5])}")
        if len(state["ranks"]) != self.accelerator.num_processes:
            raise ValueError(f"{path} was written by {len(state['ranks'])} ranks, now {self.accelerator.num_processes}")

    def _trim_log(self, step: int) -> None:
        """Drop what a killed call logged after its last checkpoint: those steps are run again."""
        path = self.output / "log.jsonl"
        if not self.main or not path.is_file():
            return
        kept = []
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # a line cut by a kill
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
        partial = path.with_suffix(".partial")
        partial.write_text("".join(kept))
        partial.replace(path)

    def finish(self) -> nn.Module:
        """Save, then export the averaged net, or the best one."""
        self.save()
        net = self.averaged()
        best = checkpoint.newest_checkpoint(self.output / "best") if self.best is not None else None
        if best is not None:
            saved, _ = checkpoint.read(best)
            net.load_state_dict({name.removeprefix("net."): value for name, value in saved.items()})
        if self.main:
            partial, final = self.output / ".model-partial", self.output / "model"
            shutil.rmtree(partial, ignore_errors=True)
            self.run.export(net, partial)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
        self.accelerator.wait_for_everyone()
        for tracker in self.accelerator.trackers:  # not end_training(): it would end the ranks' process group as well
            tracker.finish()
        return net


def train(run: Run, output: str | Path) -> nn.Module:
    """Train, resuming from `output` if it holds a checkpoint; returns the averaged net (the best one with keep_best).

    Raises ValueError where the checkpoint is of another run or damaged, FloatingPointError after `bad_steps` steps in
    a row without a finite gradient.
    """
    training = Trainer(run, Path(output))
    with training.stream(), training.signals():
        training.resume()
        training.loop()
        net = training.finish()
    if training.stopped == signal.SIGINT:
        raise KeyboardInterrupt
    return net
