"""The description of one training run, for `training.trainer.train`.

    run = Run("teacher", net, methods.diffusion(), batches, steps=20_000, precision="bf16", cuda_graph=True)
    train(run, "runs/teacher")  # a second call with the same folder continues the first

The output folder gets log.jsonl, checkpoints/step-*, best/step-* (with keep_best), samples/ and model/ (the exported
network).
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checks import check_callable, check_choice, check_number, check_whole


def cosine_decay(progress: float) -> float:
    """Returns a learning-rate factor that falls from 1 to 0 along half a cosine."""
    return 0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0))


def save_net(net: nn.Module, folder: Path) -> None:
    """Writes a diffusers model as a diffusers folder, any other network as model.safetensors."""
    if hasattr(net, "save_pretrained"):
        net.save_pretrained(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        state = {name: value.cpu().contiguous().clone() for name, value in net.state_dict().items()}
        save_file(state, folder / "model.safetensors")


class Loss(Protocol):
    """A training objective, such as a distillation method."""

    def loss(self, student: nn.Module, target: nn.Module | None, x: Any, cond: Any, progress: Tensor) -> Tensor:
        """Returns the scalar loss of a batch (x, cond); `progress` [] is in [0, 1], `target` None if no target is
        kept."""


class Critic(Loss, Protocol):
    """A second network, trained before the student in every step. An `nn.Module` is moved to the device."""

    def parameters(self) -> Iterable[nn.Parameter]: ...


class Batches(Protocol):
    """An endless source of batches (x, cond) on the run's device, in a few fixed shapes."""

    def __next__(self) -> tuple[Any, Any]: ...


@runtime_checkable
class ResumableBatches(Batches, Protocol):
    """Batches whose position is part of a checkpoint; their state holds tensors, numbers, strings, lists and dicts.

    With an attribute `any_ranks` that is true, the state of rank 0 is that of every rank of another number of them."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


MAX_STEPS = 10**9


@dataclass
class Run:
    """All settings of one training run.

    Network and critic are moved to the device; the recipe places what the method owns, such as a teacher, on
    `best_device`. Raises ValueError for a setting out of range."""

    name: str
    net: nn.Module
    method: Loss
    batches: Batches
    steps: int  # optimizer steps
    lr: float = 5e-4
    warmup: int = 200  # steps over which the learning rate rises linearly
    decay: Callable[[float], float] = cosine_decay  # learning-rate factor as a function of progress in [0, 1]
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0  # of matrices and convolution kernels only
    max_grad_norm: float | None = 1.0
    ema: float | None = 0.999  # decay of the average that is validated, sampled and exported
    target_ema: float | None = None  # decay of the target network; None: the method uses the student without gradient
    critic: Critic | None = None  # stepped before the student by an optimizer of its own
    critic_lr: float | None = None  # None: lr
    accumulate: int = 1  # batches of a step, whose gradients are averaged
    precision: str = "no"  # "bf16": autocast around the losses
    gradient_checkpointing: bool = False  # compute the activations inside of the student's blocks again in the backward
    shard: bool = False  # cut weights, gradients, moments and averages up over the ranks (FSDP2)
    seed: int = 0
    max_wall_seconds: float | None = None  # limit of this call: it ends in time for a checkpoint
    train_seconds: float | None = None  # limit of all calls together; progress then follows the clock, so runs differ
    save_every: int = 1000  # steps, as are the other intervals
    log_every: int = 50
    validate: Callable[[nn.Module], dict[str, float]] | None = None  # metrics, on the main rank, without gradient
    validate_every: int = 1000
    keep_best: str | None = None  # name of a metric: the average with its best value is exported
    is_better: Callable[[float, float], bool] = operator.lt  # of that metric, (new, old)
    sample: Callable[[nn.Module, Path], None] | None = None  # writes samples into a folder
    sample_every: int = 5000
    cuda_graph: bool = False  # replay whole steps as CUDA graphs, on one CUDA device; the losses may not wait for it
    compile: bool = False  # torch.compile the blocks of student and target
    export: Callable[[nn.Module, Path], None] = save_net
    shard_mb: float | None = None  # largest file of a checkpoint, megabytes
    bad_steps: int = 20  # the run fails after so many steps in a row without a finite loss and gradient

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "save_every", "log_every", "validate_every", "sample_every", "bad_steps"):
            check_whole(name, getattr(self, name), least=1, most=MAX_STEPS)
        for name in ("warmup", "seed"):
            check_whole(name, getattr(self, name), least=0)
        for name in ("lr", "weight_decay"):
            check_number(name, getattr(self, name), least=0)
        if self.critic_lr is not None:
            check_number("critic_lr", self.critic_lr, least=0)
        for name in ("max_grad_norm", "max_wall_seconds", "train_seconds", "shard_mb"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), above=0)
        for name in ("ema", "target_ema"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), least=0, below=1)
        if not isinstance(self.betas, Sequence) or len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers, not {self.betas!r}")
        for beta in self.betas:
            check_number("betas", beta, least=0, below=1)
        check_choice("precision", self.precision, ("no", "bf16"))
        if not isinstance(self.net, nn.Module):
            raise ValueError(f"net must be a torch.nn.Module, not {type(self.net).__name__}")
        for name, part, method in (("method", self.method, "loss"), ("batches", self.batches, "__next__")):
            if not callable(getattr(part, method, None)):
                raise ValueError(f"{name} must have a method {method}, which {type(part).__name__} has not")
        for name in ("decay", "is_better", "export", "validate", "sample"):
            value = getattr(self, name)
            if value is not None or name not in ("validate", "sample"):
                check_callable(name, value)
        unshardable = [name for name in ("critic", "keep_best", "compile", "cuda_graph") if getattr(self, name)]
        if self.shard and unshardable:
            raise ValueError(f"shard does not go with {' and '.join(unshardable)}")
        if self.keep_best and self.validate is None:
            raise ValueError(f"keep_best={self.keep_best!r} needs a validate function")


def best_device() -> torch.device:
    """Returns the device on which `train` will run: this rank's GPU, or the CPU."""
    return Accelerator().device
