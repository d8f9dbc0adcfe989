"""The training loop, for teachers, students, codecs and vocoders alike, on one CPU, one GPU or several ranks.

The file is long because one class holds the whole state of a run: steps, averages, schedules, log, validation,
checkpoints.
"""

import contextlib
import copy
import importlib.util
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn
from tqdm import tqdm

try:
    import fcntl
except ImportError:  # on Windows two runs are not kept apart
    fcntl = None  # type: ignore[assignment]

from ..files import atomic_write, read_json_lines, write_json_lines
from . import checkpoint
from .compile import CUDAGraphStep, checkpoint_blocks, compile_blocks
from .meters import Meters
from .optimizer import FlatLayout, FlatParameters, Optimizer, Parameters
from .run import ResumableBatches, Run
from .sharding import ShardedParameters, copy_whole, shard_net, unsharded_copy


class Trainer:
    """A run's state on the device, and its steps.

    All that a step changes is in tensors that a captured CUDA graph can write to. Raises ValueError if the critic is on
    another device than the run, and if the ranks of a launcher do not know of each other."""

    def __init__(self, run: Run, output: Path):
        self.run, self.output, self.start_time = run, output, time.monotonic()
        logger = "tensorboard" if importlib.util.find_spec("tensorboard") else None
        output.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(log_with=logger, project_dir=str(output))
        self.device, self.is_main = self.accelerator.device, self.accelerator.is_main_process
        if (ranks := int(os.environ.get("WORLD_SIZE", 1))) > self.accelerator.num_processes:
            raise ValueError(f"{ranks} ranks would train alone: on CPUs, set ACCELERATE_USE_CPU=true before they start")
        self.accelerator.init_trackers(run.name)
        self.step_count = 0
        self.earlier_seconds = 0.0  # of training, in earlier calls
        self.untimed_seconds = 0.0  # of this call, spent on other things than training
        self.save_seconds = 0.0  # of the slowest checkpoint
        self.best: float | None = None  # value of the metric run.keep_best
        self.stop_signal: int | None = None
        self._shared_clock: list[float] | None = None  # the clock that the ranks agreed on
        self._build()
        torch.manual_seed(run.seed + 1_000_003 * self.accelerator.process_index)

    def _build(self) -> None:
        run, device = self.run, self.device
        net, self.whole = run.net.train(), None
        if run.shard:  # from the CPU, shard by shard
            layout = FlatLayout(p for p in net.parameters() if p.requires_grad)
            self.whole = unsharded_copy(net)
        else:
            net.to(device)
        self.ema = None if run.ema is None else copy.deepcopy(net).eval()
        self.target = None if run.target_ema is None else copy.deepcopy(net)
        self.net = net

        def parameters(module: nn.Module, trained: bool) -> Parameters:
            if run.shard:
                return ShardedParameters(shard_net(module, device), layout, trained)
            return FlatParameters((p for p in module.parameters() if p.requires_grad), trained)

        self.flat = parameters(net, True)
        self.averages: dict[str, tuple[Parameters, nn.Module]] = {}
        for name, module in (("ema", self.ema), ("target", self.target)):
            if module is not None:
                self.averages[name] = (parameters(module, False), module.requires_grad_(False))
        settings = run.betas, run.weight_decay, run.max_grad_norm
        self.optimizers = {"student": Optimizer(self.flat, *settings)}
        self.critic = None
        if run.critic is not None:
            if isinstance(run.critic, nn.Module):
                run.critic.to(device)
            self.critic = FlatParameters(run.critic.parameters())
            if (there := self.critic.values.device) != (here := self.flat.values.device):
                raise ValueError(f"the critic is on {there}, the run on {here}: move it there")
            self.optimizers["critic"] = Optimizer(self.critic, *settings)
        if self.accelerator.num_processes > 1 and not run.shard:
            for optimizer in self.optimizers.values():
                torch.distributed.broadcast(optimizer.flat.values, 0)
            for flat, _ in self.averages.values():
                flat.values.copy_(self.flat.values)
        self.progress, self.ema_weight = torch.zeros(2, device=device).unbind()
        self.meters = Meters(device, with_critic=run.critic is not None)
        for net in (self.net, self.target):
            if run.compile and net is not None:
                compile_blocks(net)
        if run.gradient_checkpointing:
            checkpoint_blocks(self.net)
        # ranks draw batches of different shapes, so that they would record, and join collectives, at different steps
        graphed = run.cuda_graph and device.type == "cuda" and self.accelerator.num_processes == 1
        self.advance = CUDAGraphStep(self.step) if graphed else self.step

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Runs the block on a side stream on CUDA, as recording CUDA graphs requires."""
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
        """Makes SIGTERM and the first SIGINT end the run with a checkpoint after the current step."""

        def stop(number: int, frame: object) -> None:
            self.stop_signal = number
            signal.signal(number, before[number])

        numbers = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
        before = {number: signal.signal(number, stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # --- one step, eager or recorded ---------------------------------------------------------------------------------

    def _gradient(self, flat: Parameters, loss: Callable[..., Tensor], batches: Sequence[Any]) -> Tensor:
        """Fills the gradients of `flat` with the mean over batches x, cond, x, cond ...; returns the mean loss."""
        flat.zero_grads()
        total, share = torch.zeros((), device=self.device), 2 / len(batches)
        for x, cond in zip(batches[::2], batches[1::2], strict=True):
            # no cache of cast weights: one filled under no_grad (by the target's call) would cut the student's gradient
            with self._autocast(cache_enabled=False):
                value = loss(self.net, self.target, x, cond, self.progress)
            (value if share == 1 else share * value).backward()
            total += share * value.detach().float()
        return total

    def _autocast(self, **options: bool) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.run.precision == "bf16", **options)

    def step(self, *batches: Any) -> None:
        """Updates critic, student, averages and meters by batches x, cond, x, cond ..., of which there are `accumulate`.

        It only uses device tensors and never waits for them."""
        run, critic_loss = self.run, torch.zeros((), device=self.device)
        if self.critic is not None:
            self.critic.require_grad(True)
            critic_loss = self._gradient(self.critic, run.critic.loss, batches)
            self.optimizers["critic"].step(critic_loss)
            self.critic.require_grad(False)
        loss = self._gradient(self.flat, run.method.loss, batches)
        norm, finite = self.optimizers["student"].step(loss)
        self._update_averages()
        self.meters.update(loss, critic_loss, norm, finite)

    def _update_averages(self) -> None:
        """Moves each average towards the student: average += (1 - decay) (student - average)."""
        weights = {"ema": self.ema_weight, "target": 1 - (self.run.target_ema or 0.0)}
        for name, (flat, _) in self.averages.items():
            flat.move_towards(self.flat, weights[name])
        self._copy_buffers()

    @torch.no_grad()
    def _copy_buffers(self) -> None:
        """Gives the averages the student's buffers, such as batch statistics, which are not averaged."""
        for _, module in self.averages.values():
            for own, current in zip(module.buffers(), self.net.buffers(), strict=True):
                own.copy_(current)

    # --- the loop ----------------------------------------------------------------------------------------------------

    def clock(self) -> tuple[float, float, int]:
        """Returns (seconds of this call, seconds of training in all calls, signal or 0), the same on every rank."""
        values = [time.monotonic() - self.start_time, self.trained_seconds(), float(self.stop_signal or 0)]
        if self.accelerator.num_processes > 1:
            if self.step_count % self.run.log_every == 0 or self._shared_clock is None:
                shared = torch.tensor(values, device=self.device, dtype=torch.float64)
                torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
                self._shared_clock = shared.tolist()
            values = self._shared_clock
        return values[0], values[1], int(values[2])

    def trained_seconds(self) -> float:
        """Returns the seconds of training in all calls."""
        return self.earlier_seconds + time.monotonic() - self.start_time - self.untimed_seconds

    def loop(self) -> None:
        """Takes steps until the run is complete, its time is over or a signal arrives."""
        run, first, timed_out = self.run, self.step_count, False
        self.untimed_seconds = time.monotonic() - self.start_time  # setting up is not training
        bar = tqdm(total=run.steps, initial=first, disable=not self.is_main, desc=run.name, mininterval=0.5)
        window_start, window_first, samples = time.monotonic(), first, 0  # of the steps whose rate is logged
        with bar:  # also after an error, whose line would follow it
            while self.step_count < run.steps:
                wall, trained, stop = self.clock()
                over = run.train_seconds is not None and trained >= run.train_seconds
                late = run.max_wall_seconds is not None and wall + 1.5 * self.save_seconds >= run.max_wall_seconds
                if over or late or stop:
                    self.stop_signal = stop or self.stop_signal
                    timed_out = over and not stop
                    break
                progress = max(self.step_count / run.steps, trained / run.train_seconds if run.train_seconds else 0.0)
                rate = self.set_scalars(min(progress, 1.0))
                batches = [part for _ in range(run.accumulate) for part in next(run.batches)]
                self.advance(*batches)
                self.step_count += 1
                rows = sum(len(x[0] if isinstance(x, tuple) else x) for x in batches[::2])
                samples += rows * self.accelerator.num_processes
                bar.update()
                logging = self.step_count % run.log_every == 0
                if logging or self.device.type == "cpu":
                    self.raise_on_divergence()
                if logging:
                    steps, seconds = self.step_count - window_first, time.monotonic() - window_start
                    rates = {"steps_per_second": steps / seconds, "samples_per_second": samples / seconds}
                    line = {**self.meters.read(), "progress": progress, "lr": rate, **rates}
                    self.log(line)
                    bar.set_postfix(loss=f"{line['loss']:.4g}", refresh=False)
                if self.run_callbacks() or logging:
                    window_start, window_first, samples = time.monotonic(), self.step_count, 0
        complete = timed_out or self.step_count == run.steps
        validated = self.step_count % run.validate_every == 0 or self.step_count == first
        if complete and run.validate is not None and not validated:
            self.evaluate(True, False)

    def set_scalars(self, progress: float) -> float:
        """Writes progress, learning rates and the average's weight of this step to the device; returns the learning
        rate."""
        run, k = self.run, self.step_count
        factor = min(1.0, (k + 1) / max(run.warmup, 1)) * run.decay(progress)
        self.progress.fill_(progress)
        self.optimizers["student"].lr.fill_(run.lr * factor)
        if self.critic is not None:
            self.optimizers["critic"].lr.fill_((run.critic_lr or run.lr) * factor)
        if run.ema is not None:  # over the first steps the average has a shorter memory
            self.ema_weight.fill_(1 - min(run.ema, (1 + k) / (10 + k)))
        return run.lr * factor

    def raise_on_divergence(self) -> None:
        """Raises FloatingPointError after `bad_steps` bad steps in a row. Waits for the device."""
        if self.meters.longest.item() >= self.run.bad_steps:
            raise FloatingPointError(
                f"{self.run.name}: {self.run.bad_steps} steps in a row without a finite loss and gradient, the last one "
                f"step {self.step_count}; the last checkpoint in {self.output} is from before. Lower lr or max_grad_norm, "
                "or try precision 'no'"
            )

    def log(self, values: dict[str, float]) -> None:
        """Appends a line to log.jsonl and to the trackers."""
        if self.is_main:
            line = {"step": self.step_count, **values, "seconds": round(self.trained_seconds(), 3)}
            with (self.output / "log.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        self.accelerator.log(values, step=self.step_count)

    def run_callbacks(self) -> bool:
        """Validates, samples and saves after the steps that are due; returns whether any was. This is not training
        time."""
        run, start = self.run, time.monotonic()
        validating = run.validate is not None and self.step_count % run.validate_every == 0
        sampling = run.sample is not None and self.step_count % run.sample_every == 0
        saving = self.step_count % run.save_every == 0
        if validating or sampling:
            self.evaluate(validating, sampling)
        if saving and self.step_count < run.steps:
            self.save()
        self.untimed_seconds += time.monotonic() - start
        return validating or sampling or saving

    def averaged_net(self) -> nn.Module:
        """Returns the network that is validated and exported, in eval mode: the average, or the student if there is
        none.

        It is sharded if the run is, so that every rank has to call it."""
        return (self.net if self.ema is None else self.ema).eval()

    @torch.no_grad()
    def evaluate(self, validating: bool, sampling: bool) -> None:
        """Validates and samples the averaged network on the main rank, without effect on training's random
        generators.

        A sharded network is called by all ranks, of which the main one logs and writes."""
        takes_part = self.is_main or self.run.shard
        validating, sampling = validating and takes_part, sampling and takes_part
        rng = checkpoint.get_rng(self.device)
        with self._autocast():
            if validating:
                values = {key: float(value) for key, value in self.run.validate(self.averaged_net()).items()}
            if sampling:
                folder = self.output / "samples" / f"step-{self.step_count:08d}"
                folder.mkdir(parents=True, exist_ok=True)
                self.run.sample(self.averaged_net(), folder)
        checkpoint.set_rng(rng, self.device)
        self.net.train()
        if validating:
            self.log({f"valid/{key}": value for key, value in values.items()})
            self._keep_best(values)
        self.accelerator.wait_for_everyone()

    def _keep_best(self, values: dict[str, float]) -> None:
        """Writes the averaged network to best/ if its metric is the best one so far."""
        run, name = self.run, self.run.keep_best
        if name is not None and name not in values:
            raise ValueError(f"keep_best={name!r} is not among the metrics of validate: {', '.join(values)}")
        if name is not None and (self.best is None or run.is_better(values[name], self.best)):
            self.best = values[name]
            tensors, state = self.averaged_net().state_dict(prefix="net."), {"run": run.name, "metrics": values}
            checkpoint.write(self.output / "best", self.step_count, tensors, state, run.shard_mb)

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, Tensor]:
        """Returns all tensors of the run that change, by name; every rank calls this."""
        tensors = {f"{name}.values": flat.values for name, (flat, _) in self.averages.items()}
        for name, optimizer in self.optimizers.items():
            tensors |= optimizer.tensors(name)
        return tensors | self._other_tensors()

    def _other_tensors(self) -> dict[str, Tensor]:
        """Returns meters and buffers; not copies, so they can be restored."""
        tensors = {"meters": self.meters.values}
        for name, module in (("buffer", self.net), ("critic.buffer", self.run.critic)):
            if isinstance(module, nn.Module):
                persistent = module.state_dict().keys()
                tensors |= {f"{name}.{k}": v for k, v in module.named_buffers() if k in persistent}
        return tensors

    def save(self) -> None:
        """Writes a checkpoint; every rank calls this."""
        start = time.monotonic()
        own = {"rng": checkpoint.get_rng(self.device)}
        if isinstance(self.run.batches, ResumableBatches):
            own["batches"] = self.run.batches.state_dict()
        ranks = gather_object([own]) if self.accelerator.num_processes > 1 else [own]
        tensors = self.tensors()
        if self.is_main:
            state = {"run": self.run.name, "trained": self.trained_seconds(), "best": self.best, "ranks": ranks}
            checkpoint.write(self.output / "checkpoints", self.step_count, tensors, state, self.run.shard_mb, keep=2)
        self.accelerator.wait_for_everyone()
        self.save_seconds = max(self.save_seconds, time.monotonic() - start)

    def resume(self) -> None:
        """Continues from the newest readable checkpoint, if any. Raises ValueError if it does not fit the run.

        On another number of ranks, where the batches allow it (`any_ranks`), the noise is drawn anew from there on."""
        newest = checkpoint.read_newest(self.output / "checkpoints")
        own = self.tensors()
        self.save_seconds = sum(t.nbytes for t in own.values()) / 2e8  # an estimate: 200 MB a second
        if newest is not None:
            path, saved, state = newest
            try:
                self._check_fits(path, own, saved, state)
                self._restore(saved)
                self._restore_rank(state)
                self.step_count, self.earlier_seconds, self.best = state["step"], state["trained"], state["best"]
            except (LookupError, TypeError, AttributeError, RuntimeError) as error:
                raise ValueError(f"checkpoint {path} is damaged: {' '.join(str(error).split())[:200]}") from error
        log = self.output / "log.jsonl"
        if self.is_main and log.is_file():  # without the steps after the checkpoint, which this call repeats
            lines = read_json_lines(log, skip_damaged=True)
            write_json_lines(log, [line for line in lines if line["step"] <= self.step_count])

    def _restore_rank(self, state: dict[str, Any]) -> None:
        """Restores this rank's batches and random generators."""
        same_ranks = len(state["ranks"]) == self.accelerator.num_processes
        own = state["ranks"][self.accelerator.process_index if same_ranks else 0]
        if "batches" in own:
            self.run.batches.load_state_dict(own["batches"])
        if same_ranks:
            checkpoint.set_rng(own["rng"], self.device)
        else:
            torch.manual_seed(self.run.seed + 1_000_003 * self.accelerator.process_index + 7919 * state["step"])

    def _restore(self, saved: dict[str, Tensor]) -> None:
        for name, optimizer in self.optimizers.items():
            optimizer.load(name, saved)
        for name, (flat, _) in self.averages.items():
            flat.load_values(saved[f"{name}.values"])
        for name, tensor in self._other_tensors().items():
            tensor.copy_(saved[name])
        self._copy_buffers()

    def _check_fits(self, path: Path, own: dict[str, Tensor], saved: dict[str, Tensor], state: dict[str, Any]) -> None:
        if state["run"] != self.run.name:
            raise ValueError(f"{path} is of run {state['run']!r}, not {self.run.name!r}: choose another output folder")
        here, there = ({(name, x.shape) for name, x in tensors.items()} for tensors in (own, saved))
        if different := sorted({name for name, _ in here ^ there}):
            names = ", ".join(different[:5])
            raise ValueError(f"{path} does not fit this run (net, critic or averages differ): {names}")
        before, now = len(state["ranks"]), self.accelerator.num_processes
        if before != now and not getattr(self.run.batches, "any_ranks", False):
            raise ValueError(f"{path} was written by {before} ranks, now {now}, and its batches belong to their ranks")

    def finish(self) -> nn.Module:
        """Saves, then exports and returns the averaged network, or the best one with keep_best.

        After a signal nothing is exported. Raises FloatingPointError for a network with weights that are not finite."""
        self.save()
        net = self.averaged_net() if self.whole is None else copy_whole(self.averaged_net(), self.whole).eval()
        best = checkpoint.newest_checkpoint(self.output / "best")
        if self.best is not None and best is not None:
            saved, _ = checkpoint.read(best)
            net.load_state_dict({name.removeprefix("net."): value for name, value in saved.items()})
        bad = [
            name for name, value in net.state_dict().items() if value.is_floating_point() and not value.isfinite().all()
        ]
        if bad:
            raise FloatingPointError(
                f"{self.run.name}: weights that are not finite are not exported: {', '.join(bad[:3])}"
            )
        if self.is_main and not self.stop_signal:
            with atomic_write(self.output / "model") as partial:
                self.run.export(net, partial)
        self.accelerator.wait_for_everyone()
        for tracker in self.accelerator.trackers:  # not end_training(): it would end the ranks' process group as well
            tracker.finish()
        return net


def train(run: Run, output: str | Path) -> nn.Module:
    """Trains, resuming from `output` if it holds a checkpoint; returns the averaged network, or the best one with
    keep_best.

    Raises ValueError if all checkpoints are damaged, of another run, or another process trains into the folder, and
    FloatingPointError after `bad_steps` steps in a row without a finite loss and gradient, or if the weights are not
    finite. A signal ends it with a checkpoint and without an export: SIGINT by KeyboardInterrupt, SIGTERM by
    SystemExit(143)."""
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with _lock(output):
        trainer = Trainer(run, output)
        with trainer.stream(), trainer.signals():
            trainer.resume()
            trainer.loop()
            net = trainer.finish()
    if trainer.stop_signal == signal.SIGINT:
        raise KeyboardInterrupt
    if trainer.stop_signal:
        raise SystemExit(128 + trainer.stop_signal)
    return net


@contextlib.contextmanager
def _lock(output: Path) -> Iterator[None]:
    """Holds OUTPUT/.lock for the run's main process. Raises ValueError if another process holds it.

    The system lets go of it when the process ends, however it ends."""
    if fcntl is None or int(os.environ.get("RANK", 0)):
        yield
        return
    with (output / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(f"another process trains into {output}: wait for it, or choose another folder") from error
        yield
