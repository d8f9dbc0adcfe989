"""A data set that was encoded into files: where its rows are, and how they are read."""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn.functional import pad

from ..diffusion.denoiser import Condition

MASKED = {"tokens": "token_mask", "tokens_2": "token_mask_2"}  # padding of these is not stored


@dataclass
class EncodedSet:
    """Where the rows of an encoded data set are. Row i is a part of a recording; its captions are rows of another table.

    A part of a recording has one latent; captions of row i are caption_ids[first_caption[i] : first_caption[i + 1]]."""

    latent_files: list[Path]
    latent_places: np.ndarray  # int32 [row, 2]: number of the file, row in it
    first_caption: np.ndarray  # int64 [row + 1]
    caption_ids: np.ndarray  # int32
    condition_files: list[Path]
    condition_places: np.ndarray  # int32 [caption, 2]
    seconds: float  # of sound, of all rows
    skipped: dict[str, str] = field(default_factory=dict)  # name of a recording -> why it is not among them

    def __len__(self) -> int:
        return len(self.latent_places)

    def latents(self, rows: np.ndarray) -> Tensor:
        """Reads latents [row, ...] in float32."""
        places = self.latent_places[rows].tolist()
        return torch.cat([_open(self.latent_files[file]).get_slice("x")[i : i + 1] for file, i in places]).float()

    def conditions(self, captions: np.ndarray) -> Condition:
        """Reads the conditions of captions [row], floating-point fields in float32."""
        rows = [_read_condition(self.condition_files[file], i) for file, i in self.condition_places[captions].tolist()]
        return Condition.cat(rows)


@functools.lru_cache(maxsize=16_384)
def _open(file: Path) -> Any:
    """Maps a shard into memory. Raises ValueError if it is missing or damaged."""
    try:
        return safe_open(file, "pt")
    except Exception as error:  # safetensors raises its own bare exceptions
        raise ValueError(f"encoded data {file} is missing or damaged ({error}): delete {file.parent}") from error


def _read_condition(file: Path, row: int) -> Condition:
    """Reads one row of a shard of conditions."""
    shard, values = _open(file), {}
    for name in shard.keys():  # noqa: SIM118
        if name.endswith(".first"):
            continue
        part = shard.get_slice(name)
        if name in MASKED and f"{name}.first" in shard.keys():  # noqa: SIM118
            first, end = shard.get_slice(f"{name}.first")[row : row + 2].tolist()
            length = shard.get_slice(MASKED[name]).get_shape()[1]
            value = pad(part[first:end], (0, 0, 0, length - (end - first)))[None]
        else:
            value = part[row : row + 1]
        values[name] = value.float() if value.is_floating_point() else value
    return Condition(**values)
