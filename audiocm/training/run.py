"""train(run): one loop for teachers, students, codecs and vocoders, on one CPU, one GPU or several ranks.

    run = Run("teacher", net, methods.diffusion(), batches, steps=20_000, precision="bf16", cuda_graph=True)
    train(run, "runs/teacher")           # again with the same output: goes on where it stopped

The output folder: log.jsonl, checkpoints/step-*, best/step-* (with keep_best), samples/, model/ (the exported net).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn

PRECISIONS = ("no", "bf16")


def cosine_decay(progress: float) -> float:
    """Learning-rate factor from 1 to 0."""
    return 0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0))


def constant_rate(progress: float) -> float:
    """Learning-rate factor 1."""
    return 1.0


def save_net(net: nn.Module, folder: Path) -> None:
    """A diffusers folder where the net is a diffusers model, else its state as safetensors."""
    if hasattr(net, "save_pretrained"):
        net.save_pretrained(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in net.state_dict().items()},
            folder / "model.safetensors",
        )


class Loss(Protocol):
    """A method, and also a critic (which has .parameters() besides). target None: no target net is kept."""

    def loss(self, student, target, x, cond, progress) -> Tensor: ...


@dataclass
class Run:
    """Everything that one training needs. The net, and the critic if it has `.to`, are moved to the device; what the
    method owns (a teacher) is the recipe's to place, see `best_device`."""

    name: str
    net: nn.Module
    method: Loss
    batches: Iterator  # __next__ -> (x, cond) on the device; state_dict, load_state_dict; few fixed shapes
    steps: int
    lr: float = 5e-4
    warmup: int = 200  # steps of linear rise
    decay: Callable[[float], float] = cosine_decay  # learning-rate factor of progress
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0  # on matrices and kernels only
    clip: float | None = 1.0  # largest gradient norm
    ema: float | None = 0.999  # the slow average: validated, sampled, exported
    target_ema: float | None = None  # the loss's own target; None: the method uses the student without gradient
    critic: Any = None  # stepped first, with an optimizer of its own
    critic_lr: float | None = None  # None: lr
    precision: str = "no"  # or "bf16": autocast around the losses
    seed: int = 0
    seconds: float | None = None  # this call ends by then, checkpoint written
    budget: float | None = (
        None  # seconds of training in all calls together; progress follows the clock (not repeatable)
    )
    save_every: int = 1000
    log_every: int = 50
    validate: Callable[[nn.Module], dict[str, float]] | None = None  # net -> metrics, on the main rank, no gradient
    validate_every: int = 1000
    keep_best: str | None = None  # a metric: the best validated average is what gets exported
    better: Callable[[float, float], bool] = operator.lt  # (new, old)
    sample: Callable[[nn.Module, Path], None] | None = None  # writes what it likes into the folder
    sample_every: int = 5000
    cuda_graph: bool = False  # record whole steps; no effect off CUDA. The losses may not wait for the device
    compile: bool = False  # torch.compile the blocks of student and target
    export: Callable[[nn.Module, Path], None] = save_net
    shard_mb: float | None = None  # largest checkpoint file
    bad_steps: int = 20  # as many steps in a row without a finite gradient end the run

    def __post_init__(self) -> None:
        positive = ("steps", "save_every", "log_every", "validate_every", "sample_every", "bad_steps")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r}: must be one of {', '.join(PRECISIONS)}")
        for name in ("ema", "target_ema"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name} {value}: must be in [0, 1)")
        if self.keep_best and self.validate is None:
            raise ValueError(f"keep_best {self.keep_best!r} needs a validate function")


def best_device() -> torch.device:
    """Where train() will run: this rank's GPU, or the CPU."""
    return Accelerator().device
