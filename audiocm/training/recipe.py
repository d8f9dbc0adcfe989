"""Recipes: Python files with a function `run(**fields) -> Run`, trained by `audiocm train FILE --field value ...`."""

import importlib.util
import inspect
import os
import sys
import traceback
import types
import typing
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from .run import Run
from .trainer import train


def train_recipe(path: str | Path, fields: list[str], output: str | Path | None = None) -> nn.Module:
    """Trains the run that a recipe describes; the default of `output` is runs/ and the run's name.

    Raises ValueError for a file that does not exist or defines no run(), and for an unknown field or wrong type."""
    path = Path(path)
    make_run = load_recipe(path)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not torch.cuda.is_available():
        os.environ["ACCELERATE_USE_CPU"] = "true"  # without it Accelerate takes the ranks for processes of their own
    values = parse_fields(make_run, fields)
    torch.manual_seed(values.get("seed", 0))  # for the initial weights
    try:
        run = make_run(**values)
    except (ValueError, OSError, ImportError):
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(f"recipe {path}: run() failed: {_words(error)}") from error
    if not isinstance(run, Run):
        raise ValueError(f"recipe {path}: run() returned {type(run).__name__}, not a Run")
    net = train(run, Path("runs") / run.name if output is None else output)
    Accelerator().end_training()  # ends the ranks' process group, so nothing can train after it in this process
    return net


def _words(error: BaseException) -> str:
    """Returns the class and message of an error of a recipe, and the line of the recipe or of what it calls."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__}: {error} (line {frames[-1].lineno} of {frames[-1].filename})"


class _UncachedLoader(SourceFileLoader):
    """Loads a recipe without a folder of bytecode beside it."""

    def set_data(self, *_: Any, **__: Any) -> None: ...


def load_recipe(path: Path) -> Callable[..., Run]:
    """Returns the function run() of a recipe.

    A recipe anywhere below a folder called `recipes` can import the others as `recipes.folder.name`; elsewhere it can
    import the files of its own folder by name."""
    if not path.is_file():
        raise ValueError(f"recipe {path}: no such file")
    name = f"audiocm_recipe_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_UncachedLoader(name, str(path)))
    if path.suffix != ".py" or spec is None or spec.loader is None:
        raise ValueError(f"recipe {path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    folders = path.resolve().parents
    roots = [folder.parent for folder in folders if folder.name == "recipes"]
    added = [str(folder) for folder in (roots or folders[:2])]
    sys.path[:0] = added
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"recipe {error.filename}, line {error.lineno}: {error.msg}") from error
    except (ValueError, OSError, ImportError):
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(f"recipe {path}: {_words(error)}") from error
    finally:
        for folder in added:
            sys.path.remove(folder)
    if not callable(getattr(module, "run", None)):
        raise ValueError(f"recipe {path}: defines no run(**fields) -> Run")
    return module.run


def parse_fields(make_run: Callable[..., Run], fields: list[str]) -> dict[str, Any]:
    """Converts ["--steps", "100", "--lr=1e-3"] to keyword arguments of `make_run`, typed by its signature.

    Raises ValueError for an unknown or missing field and for a value of the wrong type."""
    parameters, hints = inspect.signature(make_run).parameters, typing.get_type_hints(make_run)
    allowed = ", ".join(f"--{name}" for name in parameters) or "none"
    values, rest = {}, list(fields)
    while rest:
        name, equals, text = rest.pop(0).partition("=")
        key = name.removeprefix("--").replace("-", "_")
        if not name.startswith("--") or key not in parameters:
            raise ValueError(f"unknown field {name!r}; this recipe takes: {allowed}")
        if not equals and not rest:
            raise ValueError(f"field {name} needs a value")
        text = text if equals else rest.pop(0)
        default = parameters[key].default
        values[key] = parse_value(name, text, hints.get(key, type(default) if default is not None else str))
    if missing := [f"--{n}" for n, p in parameters.items() if p.default is p.empty and n not in values]:
        raise ValueError(f"this recipe needs: {', '.join(missing)}")
    return values


def parse_value(name: str, text: str, kind: Any) -> Any:
    """Converts the text of the field `name` to the type `kind`.

    It can be a bool, int, float, str, Path, a tuple or list of one of these, separated by commas (`tuple[int, ...]`),
    or a union of them, with None. Raises ValueError if the text is none of them."""
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
            if typing.get_origin(one) in (tuple, list):
                parts = [part.strip() for part in text.split(",") if part.strip()]
                item = typing.get_args(one)[0]
                return typing.get_origin(one)(parse_value(name, part, item) for part in parts)
        except (ValueError, KeyError):
            continue
    names = " or ".join(str(one) if typing.get_origin(one) else one.__name__ for one in kinds if one is not type(None))
    raise ValueError(f"field {name}: {text!r} is not {names}")
