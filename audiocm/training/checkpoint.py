"""Training state on disk: safetensors and json, no pickles, written beside and renamed, so that a kill never harms it."""

from __future__ import annotations

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

from ..files import sync_file, sync_folder, write_json

STATE_FILE = "state.json"


def write(folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], shard_mb: float | None) -> Path:
    """Write `folder`/step-00001234 and drop the older ones. No file is over shard_mb megabytes (1e6 bytes)."""
    final = folder / f"step-{step:08d}"
    partial = folder / f".partial-{step:08d}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    places = write_tensors(partial, tensors, shard_mb)
    write_json(partial / STATE_FILE, {"step": step, "tensors": places, **state})
    sync_folder(partial)
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    sync_folder(folder)
    for old in folder.iterdir():
        if old != final:
            shutil.rmtree(old, ignore_errors=True)
    return final


def newest_checkpoint(folder: Path) -> Path | None:
    """The latest complete checkpoint in `folder`."""
    found = sorted(folder.glob("step-*")) if folder.is_dir() else []
    return next((path for path in reversed(found) if (path / STATE_FILE).is_file()), None)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, on the CPU, and the rest. ValueError names a damaged or missing file."""
    try:
        state = json.loads((path / STATE_FILE).read_text())
        return read_tensors(path, state.pop("tensors")), state
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"checkpoint {path / STATE_FILE} is damaged: {error}") from error


def write_tensors(folder: Path, tensors: dict[str, Tensor], shard_mb: float | None) -> dict[str, Any]:
    """Write shards; returns where each tensor is: {name: {shape, parts: [[file, key], ...]}}."""
    room = None if shard_mb is None else int(shard_mb * 1e6) - 65536  # less a safetensors header
    if room is not None and room <= 0:
        raise ValueError(f"shard_mb {shard_mb}: must be at least 0.1")
    places: dict[str, Any] = {}
    shard: dict[str, Tensor] = {}
    used = count = 0

    def flush() -> None:
        nonlocal used, count
        if shard:
            path = folder / f"tensors-{count:05d}.safetensors"
            save_file(shard, path)
            sync_file(path)
            shard.clear()
            used, count = 0, count + 1

    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        places[name] = {"shape": list(tensor.shape), "parts": []}
        position = 0
        while position < flat.numel() or not places[name]["parts"]:
            size = flat.element_size()
            if room is not None and room - used < size:
                flush()
            take = flat.numel() - position if room is None else min((room - used) // size, flat.numel() - position)
            key = f"{name}:{position}"
            shard[key] = flat[position : position + take].clone()
            places[name]["parts"].append([f"tensors-{count:05d}.safetensors", key])
            position, used = position + take, used + take * size
    flush()
    return places


def read_tensors(folder: Path, places: dict[str, Any]) -> dict[str, Tensor]:
    """What write_tensors wrote. ValueError names a damaged or missing file."""
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
    """The state of every generator that training may draw from: torch (CPU and `device`), numpy, python."""
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
    """What get_rng gave."""
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
    """Whatever is drawn inside leaves training's own draws as they would have been."""
    state = get_rng(device)
    try:
        yield
    finally:
        set_rng(state, device)


# --- nested states (a batch source's) as tensors and json ----------------------------------------------------------------


def split_tensors(tree: Any, prefix: str, tensors: dict[str, Tensor]) -> Any:
    """`tree` with each tensor replaced by {"__tensor__": name}; the tensors are added to `tensors`."""
    if isinstance(tree, Tensor):
        tensors[prefix] = tree
        return {"__tensor__": prefix}
    if isinstance(tree, dict):
        return {key: split_tensors(value, f"{prefix}.{key}", tensors) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [split_tensors(value, f"{prefix}.{i}", tensors) for i, value in enumerate(tree)]
    return tree


def join_tensors(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """What split took apart."""
    if isinstance(tree, dict):
        if "__tensor__" in tree:
            return tensors[tree["__tensor__"]]
        return {key: join_tensors(value, tensors) for key, value in tree.items()}
    return [join_tensors(value, tensors) for value in tree] if isinstance(tree, list) else tree
