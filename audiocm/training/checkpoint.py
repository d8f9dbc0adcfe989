"""Training state on disk: a folder of safetensors and JSON, never pickles, that a kill at any moment leaves intact."""

import functools
import hashlib
import json
import math
import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..files import atomic_write, write_json
from ..schema import list_of, number, optional, read_json, refuse, table, text, whole

STATE_FILE = "state.json"


def write(
    folder: Path, step: int, tensors: dict[str, Tensor], state: dict[str, Any], shard_mb: float | None, keep: int = 1
) -> Path:
    """Writes the folder `folder`/step-00001234 and deletes all older ones but `keep` - 1. No file exceeds shard_mb
    megabytes (1e6 bytes); the state holds the SHA-256 of each. Raises OSError if the disk is full.

    `state` can be nested; a tensor in it is stored with the others, and is {"__tensor__": name} in the JSON file."""
    tensors = dict(tensors)

    def move_tensor(tensor: Tensor) -> dict[str, str]:
        name = f"state.{len(tensors)}"
        tensors[name] = tensor
        return {"__tensor__": name}

    plain = json.loads(json.dumps(state, default=move_tensor))
    path = folder / f"step-{step:08d}"
    with atomic_write(path, sync=True) as partial:
        partial.mkdir()
        places = _write_shards(partial, tensors, shard_mb)
        digests = {file.name: _digest(file) for file in sorted(partial.glob("*.safetensors"))}
        write_json(partial / STATE_FILE, {"step": step, "tensors": places, "sha256": digests, **plain})
    kept = checkpoints(folder)[:keep]
    for other in folder.iterdir():
        if other not in kept:
            shutil.rmtree(other, ignore_errors=True)
    return path


def _digest(file: Path) -> str:
    """Returns the SHA-256 of a file, read in parts."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while part := stream.read(1 << 24):
            digest.update(part)
    return digest.hexdigest()


def checkpoints(folder: Path) -> list[Path]:
    """Returns the complete checkpoints in `folder`, the newest first."""
    return sorted((file.parent for file in folder.glob(f"step-*/{STATE_FILE}")), reverse=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Returns the latest complete checkpoint in `folder`, or None."""
    return next(iter(checkpoints(folder)), None)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns a checkpoint's tensors by name, on the CPU, and its state. Raises ValueError for a damaged or missing
    file."""
    file = path / STATE_FILE
    state = read_json(file, "checkpoint", _STATE, allow_nan=True)
    for name, digest in state.pop("sha256", {}).items():
        if not (path / name).is_file():
            raise ValueError(f"checkpoint file {path / name} is missing")
        if _digest(path / name) != digest:
            raise ValueError(f"checkpoint file {path / name} is damaged: its checksum differs")
    load, tensors = functools.cache(_load_shard), {}
    try:
        for name, place in state.pop("tensors").items():
            parts = [load(path / shard)[key] for shard, key in place["parts"]]
            tensors[name] = torch.cat(parts).reshape(place["shape"])
        return tensors, _restore_tensors(state, tensors)
    except (LookupError, RuntimeError, TypeError, RecursionError) as error:
        raise ValueError(f"checkpoint {file} is damaged: its tensors do not fit its files ({error})") from error


def _shard_name(value: Any, place: str) -> None:
    """Allows names of files beside the state."""
    text()(value, place)
    if Path(value).name != value:
        refuse(value, place, "the name of a file beside it")


def _part(value: Any, place: str) -> None:
    list_of(text(), 2, 2)(value, place)
    _shard_name(value[0], place)


def _anything(value: Any, place: str) -> None:
    """Allows what the trainer checks itself."""


_TENSOR = table({"shape": list_of(whole(0, 2**40), most=16), "parts": list_of(_part, 1)}, ["shape", "parts"])
_DIGESTS = table({}, others=text(longest=64))
_STATE = table(
    {
        **{"step": whole(0, 2**40), "tensors": table({}, others=_TENSOR), "sha256": _DIGESTS},
        **{"run": text(), "trained": number(0, 1e12), "best": optional(number(-math.inf, math.inf))},
        "ranks": list_of(table({}, others=_anything), 1),
    },
    ["step", "tensors"],
    _anything,
)


def _restore_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Puts tensors in the place of their names, {"__tensor__": name}, and takes them out of `tensors`."""
    if isinstance(value, dict):
        if "__tensor__" in value:
            return tensors.pop(value["__tensor__"])
        return {name: _restore_tensors(one, tensors) for name, one in value.items()}
    return [_restore_tensors(one, tensors) for one in value] if isinstance(value, list) else value


def read_newest(folder: Path) -> tuple[Path, dict[str, Tensor], dict[str, Any]] | None:
    """Returns the newest readable checkpoint in `folder` with its tensors and state, or None if there is none.

    A damaged one costs a warning and the steps since the one before. Raises ValueError if all are damaged."""
    found = checkpoints(folder)
    for path in found:
        try:
            return path, *read(path)
        except ValueError as error:
            if path == found[-1]:
                raise
            warnings.warn(f"{error}: the one before is taken", stacklevel=3)
    return None


def _write_shards(folder: Path, tensors: dict[str, Tensor], shard_mb: float | None) -> dict[str, Any]:
    """Writes tensors to files of limited size; returns where each is: {name: {shape, parts: [[file, key], ...]}}."""
    if shard_mb is not None and shard_mb < 0.1:
        raise ValueError(f"shard_mb must be at least 0.1, not {shard_mb}")
    capacity = int((shard_mb or 1e12) * 1e6) - 65536  # less a safetensors header
    places: dict[str, Any] = {}
    shards: dict[str, dict[str, Tensor]] = {}
    free = 0
    for name, tensor in tensors.items():
        flat, parts = tensor.detach().cpu().reshape(-1), []
        for i, part in enumerate(flat.split(capacity // flat.element_size())):
            if part.nbytes > free or not shards:
                file, free = f"tensors-{len(shards):05d}.safetensors", capacity
                shards[file] = {}
            shards[file][f"{name}:{i}"] = part.clone()
            parts.append([file, f"{name}:{i}"])
            free -= part.nbytes
        places[name] = {"shape": list(tensor.shape), "parts": parts}
    for file, shard in shards.items():
        try:
            save_file(shard, folder / file)
        except Exception as error:  # safetensors raises its own bare exceptions
            raise OSError(f"the checkpoint {folder / file} could not be written: {error}") from error
    return places


def _load_shard(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except Exception as error:  # safetensors raises its own bare exceptions
        raise ValueError(f"checkpoint file {file} is missing or damaged: {error}") from error


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
    return out | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_rng(state: dict[str, Tensor], device: torch.device) -> None:
    """Restores the states that `get_rng` returned."""
    torch.set_rng_state(state["torch"])
    version, *words = state["python"].tolist()
    has, gauss = state["python.gauss"].tolist()
    random.setstate((version, tuple(words), gauss if has else None))
    keys, (position, has_gauss, cached) = state["numpy"].numpy().astype(np.uint32), state["numpy.rest"].tolist()
    np.random.set_state(("MT19937", keys, int(position), int(has_gauss), cached))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
