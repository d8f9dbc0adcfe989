"""train(run): one loop for teachers, students, codecs and vocoders, on one CPU, one GPU or several ranks.

    run = Run("teacher", net, methods.diffusion(), batches, steps=20_000, precision="bf16", cuda_graph=True)
    train(run, "runs/teacher")           # again with the same output: goes on where it stopped

The output folder: log.jsonl, checkpoints/step-*, best/step-* (with keep_best), samples/, model/ (the exported net).
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import operator
import signal
import sys
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor, nn

from .loop import Training

PRECISIONS = ("no", "bf16")


def cosine(progress: float) -> float:
    """Learning-rate factor from 1 to 0."""
    return 0.5 + 0.5 * math.cos(math.pi * min(progress, 1.0))


def constant(progress: float) -> float:
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
    decay: Callable[[float], float] = cosine  # learning-rate factor of progress
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


def train(run: Run, output: str | Path) -> nn.Module:
    """Train, resuming from `output` if it holds a checkpoint; returns the averaged net (the best one with keep_best).

    Raises ValueError where the checkpoint is of another run or damaged, FloatingPointError after `bad_steps` steps in
    a row without a finite gradient.
    """
    training = Training(run, Path(output))
    with training.stream(), training.signals():
        training.resume()
        training.loop()
        net = training.finish()
    if training.stopped == signal.SIGINT:
        raise KeyboardInterrupt
    return net


# --- recipes: files with `def run(**fields) -> Run` -------------------------------------------------------------------


def train_recipe(path: str | Path, fields: list[str], output: str | Path | None = None) -> nn.Module:
    """`audiocm train PATH --field value ...`: train what the file's run() describes. output None: runs/NAME.

    ValueError: no such file, no run() in it, a field that run() does not take, a value of the wrong type.
    """
    path = Path(path)
    make = load_recipe(path)
    values = parse_fields(make, fields)
    torch.manual_seed(values.get("seed", 0))  # the net's first weights
    net = train(make(**values), Path("runs") / path.stem if output is None else output)
    Accelerator().end_training()  # ends the ranks' process group, so nothing can train after it in this process
    return net


def load_recipe(path: Path) -> Callable[..., Run]:
    """The file's run(). Its neighbours can be imported while it loads, by name or as `recipes.name`."""
    if not path.is_file():
        raise ValueError(f"recipe {path}: no such file")
    spec = importlib.util.spec_from_file_location(f"audiocm_recipe_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"recipe {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    folder = path.parent.resolve()
    sys.path[:0] = [str(folder), str(folder.parent)]
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.path[:2]
    if not callable(getattr(module, "run", None)):
        raise ValueError(f"recipe {path}: defines no run(**fields) -> Run")
    return module.run


def parse_fields(make: Callable[..., Run], fields: list[str]) -> dict[str, Any]:
    """["--steps", "100", "--lr=1e-3"] as the keyword arguments of `make`, typed by its signature."""
    parameters, hints = inspect.signature(make).parameters, typing.get_type_hints(make)
    allowed = ", ".join(f"--{name}" for name in parameters) or "none"
    values, rest = {}, list(fields)
    while rest:
        name, equals, text = rest.pop(0).partition("=")
        key = name.removeprefix("--").replace("-", "_")
        if not name.startswith("--") or key not in parameters:
            raise ValueError(f"unknown field {name!r}; this recipe takes: {allowed}")
        if not equals:
            if not rest:
                raise ValueError(f"field {name} needs a value")
            text = rest.pop(0)
        default = parameters[key].default
        values[key] = typed(name, text, hints.get(key, type(default) if default is not None else str))
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in values]
    if missing:
        raise ValueError(f"this recipe needs: {', '.join(f'--{name}' for name in missing)}")
    return values


def typed(name: str, text: str, kind: Any) -> Any:
    """`text` as a bool, int, float, str or Path, or None where `kind` allows it."""
    kinds = typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)
    if type(None) in kinds and text.lower() == "none":
        return None
    truths = {"true": True, "false": False, "1": True, "0": False}
    for one in kinds:
        try:
            if one is bool:
                return truths[text.lower()]
            if one in (int, float, str, Path):
                return one(text)
        except (ValueError, KeyError):
            continue
    names = " or ".join(one.__name__ for one in kinds if one is not type(None))
    raise ValueError(f"field {name}: {text!r} is not {names}")
