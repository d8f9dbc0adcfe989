"""Conditions of clips: the protocol of what batches draw from, and encoded captions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..diffusion.denoiser import Condition
from .manifest import Clip


class ClipConditions(Protocol):
    """The conditions of some clips, captions or phoneme lines, stored as rows; its length is the number of clips.

    `choose` returns one row for each of clips [batch] by random numbers in [0, 1); `condition` returns the condition of
    rows [batch] with null bool [batch] and mask bool [batch, frame]."""

    def __len__(self) -> int: ...

    def choose(self, clips: np.ndarray, uniform: np.ndarray) -> np.ndarray: ...

    def condition(self, rows: Tensor, null: Tensor, mask: Tensor) -> Any: ...


@dataclass
class CaptionTable:
    """The encoded captions of some clips. Row i of the tensors is caption i; equal captions share a row."""

    captions: list[str]
    tokens: Tensor  # float16 [caption, token, dim]
    token_mask: Tensor  # bool [caption, token]
    pooled: Tensor  # float16 [caption, dim]
    first: np.ndarray  # [clip + 1]: the captions of clip i are ids[first[i]:first[i + 1]]
    ids: np.ndarray

    def __len__(self) -> int:
        return len(self.first) - 1

    def choose(self, clips: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Returns the row of one caption of each clip [batch]."""
        first, end = self.first[clips], self.first[clips + 1]
        return self.ids[first + (uniform * (end - first)).astype(np.int64)]

    def condition(self, rows: Tensor, null: Tensor, mask: Tensor) -> Condition:
        """Returns the Condition of captions [batch] in float32."""
        return Condition(self.tokens[rows].float(), self.token_mask[rows], self.pooled[rows].float(), mask, null=null)


def encode_captions(
    clips: Sequence[Clip], conditioner: Callable[[list[str]], Condition], device: torch.device | str = "cpu"
) -> CaptionTable:
    """Encodes all captions with a frozen text conditioner. Raises ValueError if a clip has no caption."""
    captions: dict[str, int] = {}
    ids, first = [], [0]
    for clip in clips:
        if not clip.captions:
            raise ValueError(f"{clip.file} has no caption")
        ids += [captions.setdefault(caption, len(captions)) for caption in clip.captions]
        first.append(len(ids))
    unique = list(captions)
    parts = [conditioner(unique[i : i + 256]).to(device, torch.float16) for i in range(0, len(unique), 256)]
    cond = Condition.cat(parts)
    return CaptionTable(unique, cond.tokens, cond.token_mask, cond.pooled, np.array(first), np.array(ids))
