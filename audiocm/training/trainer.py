"""The training loop, for teachers, students, codecs and vocoders alike, on one CPU, one GPU or several ranks."""

import contextlib
import importlib.util
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
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

from ..cuda_graphs import side_stream
from ..files import atomic_write, read_json_lines, write_json_lines
from . import checkpoint
from .run import ResumableBatches, Run
from .sharding import copy_whole
from .step import TrainingStep


class Trainer(TrainingStep):
    """The steps of a run in their order: schedules, time limits, log, validation and checkpoints.

    Raises ValueError if the critic is on another device than the run, or if the ranks of a launcher do not know of each
    other."""

    def __init__(self, run: Run, output: Path):
        self.output, self.start_time = output, time.monotonic()
        logger = "tensorboard" if importlib.util.find_spec("tensorboard") else None
        output.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(log_with=logger, project_dir=str(output))
        self.is_main = self.accelerator.is_main_process
        if (ranks := int(os.environ.get("WORLD_SIZE", 1))) > self.accelerator.num_processes:
            raise ValueError(f"{ranks} ranks would train alone: on CPUs, set ACCELERATE_USE_CPU=true before they start")
        self.accelerator.init_trackers(run.name)
        self.earlier_seconds = 0.0  # of training, in earlier calls
        self.untimed_seconds = 0.0  # of this call, spent on other things than training
        self.save_seconds = 0.0  # of the slowest checkpoint
        self.best: float | None = None  # value of the metric run.keep_best
        self.stop_signal: int | None = None
        self._shared_clock: list[float] | None = None  # the clock that the ranks agreed on
        super().__init__(run, self.accelerator.device, self.accelerator.num_processes)
        torch.manual_seed(run.seed + 1_000_003 * self.accelerator.process_index)

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

    @torch.no_grad()
    def evaluate(self, validating: bool, sampling: bool) -> None:
        """Validates and samples the averaged network on the main rank, without effect on training's random
        generators.

        A sharded network is called by all ranks, of which the main one logs and writes."""
        takes_part = self.is_main or self.run.shard
        validating, sampling = validating and takes_part, sampling and takes_part
        rng = checkpoint.get_rng(self.device)
        with self.autocast():
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
                self.restore(saved)
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
        with side_stream(trainer.device), trainer.signals():
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
