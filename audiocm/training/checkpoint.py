"""Training state on disk: a folder of safetensors and JSON, never pickles, that a kill at any moment leaves intact."""

import contextlib
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import atomic_write, write_json

STATE_FILE = "state.json"


def write(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], shard_mb: float | None) -> Path:
    """Writes the folder `folder`/step-00001234 and deletes the older ones. No file exceeds shard_mb megabytes (1e6 bytes)."""
    path = folder / f"step-{step:08d}"
    with atomic_write(path, sync=True) as partial:
        partial.mkdir()
        places = write_tensors(partial, tensors, shard_mb)
        write_json(partial / STATE_FILE, {"step": step, "tensors": places, **state})
    for other in folder.iterdir():
        if other != path:
            shutil.rmtree(other, ignore_errors=True)
    return path


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the latest complete checkpoint in `folder`, or None."""
    paths = sorted(folder.glob("step-*")) if folder.is_dir() else []
    return next((path for path in reversed(paths) if (path / STATE_FILE).is_file()), None)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns a checkpoint's tensors by name, on the CPU, and its state. Raises ValueError for a damaged or missing file."""
    try:
        state = json.loads((path / STATE_FILE).read_text(encoding="utf-8"))
        return read_tensors(path, state.pop("tensors")), state
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"checkpoint {path / STATE_FILE} is damaged: {error}") from error


def write_tensors(folder: Path, tensors: dict[str, Tensor], shard_mb: float | None) -> dict[str, Any]:
    """Writes tensors to files of limited size; returns where each is: {name: {shape, parts: [[file, key], ...]}}."""
    capacity = None if shard_mb is None else int(shard_mb * 1e6) - 65536  # less a safetensors header
    if capacity is not None and capacity <= 0:
        raise ValueError(f"shard_mb must be at least 0.1, not {shard_mb}")
    places: dict[str, Any] = {}
    shard: dict[str, Tensor] = {}
    used = count = 0

    def flush() -> None:
        nonlocal used, count
        if shard:
            save_file(shard, folder / f"tensors-{count:05d}.safetensors")
            shard.clear()
            used, count = 0, count + 1

    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        size, position = flat.element_size(), 0
        places[name] = {"shape": list(tensor.shape), "parts": []}
        while position < flat.numel() or not places[name]["parts"]:
            if capacity is not None and capacity - used < size:
                flush()
            left = flat.numel() - position
            take = left if capacity is None else min((capacity - used) // size, left)
            key = f"{name}:{position}"
            shard[key] = flat[position : position + take].clone()
            places[name]["parts"].append([f"tensors-{count:05d}.safetensors", key])
            position, used = position + take, used + take * size
    flush()
    return places


def read_tensors(folder: Path, places: dict[str, Any]) -> dict[str, Tensor]:
    """Returns what `write_tensors` wrote. Raises ValueError for a damaged or missing file."""
    shards: dict[str, dict[str, Tensor]] = {}
    out = {}
    for name, place in places.items():
        parts = []
        for file, key in place["parts"]:
            try:
                if file not in shards:
                    shards[file] = load_file(folder / file)
                parts.append(shards[file][key])
            except Exception as error:  # safetensors raises its own bare exceptions
                raise ValueError(f"checkpoint file {folder / file} is missing or damaged: {error}") from error
        out[name] = torch.cat(parts).reshape(place["shape"])
    return out


# --- random generators -------------------------------------------------------------------------------------------------


def get_rng(device: torch.device) -> dict[str, Tensor]:
    """Returns the states of the global random generators: torch (CPU and `device`), NumPy and Python."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached = np.random.get_state()
    out = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python.gauss": torch.tensor([gauss is not None, gauss or 0.0], dtype=torch.float64),
        "numpy": torch.from_numpy(keys.astype(np.int64)),
        "numpy.rest": torch.tensor([position, has_gauss, cached], dtype=torch.float64),
    }
    if device.type == "cuda":
        out["cuda"] = torch.cuda.get_rng_state(device)
    return out


def set_rng(state: dict[str, Tensor], device: torch.device) -> None:
    """Restores the states that `get_rng` returned."""
    torch.set_rng_state(state["torch"])
    version, *words = state["python"].tolist()
    has, gauss = state["python.gauss"].tolist()
    random.setstate((version, tuple(words), gauss if has else None))
    position, has_gauss, cached = state["numpy.rest"].tolist()
    np.random.set_state(
        ("MT19937", state["numpy"].numpy().astype(np.uint32), int(position), int(has_gauss), float(cached))
    )
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


@contextlib.contextmanager
def preserved_rng(device: torch.device) -> Iterator[None]:
    """Restores the states of the random generators at the end of the block."""
    state = get_rng(device)
    try:
        yield
    finally:
        set_rng(state, device)


# --- nested states of batches as tensors and JSON ----------------------------------------------------------------------


def split_tensors(tree: Any, prefix: str, tensors: dict[str, Tensor]) -> Any:
    """Returns `tree` with each tensor replaced by {"__tensor__": name}, and adds the tensors to `tensors`."""
    if isinstance(tree, Tensor):
        tensors[prefix] = tree
        return {"__tensor__": prefix}
    if isinstance(tree, dict):
        return {key: split_tensors(value, f"{prefix}.{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [split_tensors(value, f"{prefix}.{i}", tensors) for i, value in enumerate(tree)]
    return tree


def join_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns the tree that `split_tensors` took apart."""
    if isinstance(tree, dict):
        if "__tensor__" in tree:
            return tensors[tree["__tensor__"]]
        return {key: join_tensors(value, tensors) for key, value in tree.items()}
    return [join_tensors(value, tensors) for value in tree] if isinstance(tree, list) else tree
