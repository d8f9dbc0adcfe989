"""Recipes: files with `def run(**fields) -> Run`."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from .run import Run
from .trainer import train

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
        values[key] = parse_value(name, text, hints.get(key, type(default) if default is not None else str))
    missing = [n for n, p in parameters.items() if p.default is p.empty and n not in values]
    if missing:
        raise ValueError(f"this recipe needs: {', '.join(f'--{name}' for name in missing)}")
    return values


def parse_value(name: str, text: str, kind: Any) -> Any:
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
