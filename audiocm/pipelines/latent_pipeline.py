"""What diffusers' DiffusionPipeline adds to the samplers: the base of the public pipelines."""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from typing_extensions import Self

from ..devices import resolve_device
from ..files import write_json
from ..models.folders import record_checksums
from ..schema import read_json
from .components import load_component
from .sampler import LatentSampler, Sounds


@dataclass
class AudioOutput(BaseOutput, Sounds):
    """Generated sounds, also by key and by number as all outputs of diffusers."""


def with_types(init: Callable[..., None], **types: type) -> Callable[..., None]:
    """Returns an `__init__` that does the same and says other types of its arguments, which diffusers checks."""

    @functools.wraps(init)
    def typed(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)

    typed.__annotations__ = {**init.__annotations__, **types}
    return typed


class LatentPipeline(DiffusionPipeline):
    """Base, placed before a sampler, of a public pipeline; devices, hooks and components are diffusers'."""

    stored_name = None  # that of the class, also of one derived from a public one
    from_pretrained = classmethod(LatentSampler.from_pretrained.__func__)
    _load_component = staticmethod(load_component)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves and converts the models, see `DiffusionPipeline.to`. Raises ValueError for a device that does not work."""
        args = tuple(resolve_device(one) if isinstance(one, str | torch.device) else one for one in args)
        kwargs |= {key: resolve_device(kwargs[key]) for key in {"device", "torch_device"} & kwargs.keys()}
        return super().to(*args, **kwargs)

    def save_pretrained(self, save_directory: str | os.PathLike, **options: Any) -> None:
        """Writes a complete diffusers folder, which `from_pretrained` reads.

        Its pipeline.py, one import, lets DiffusionPipeline.from_pretrained(folder, trust_remote_code=True) load it."""
        super().save_pretrained(save_directory, **options)
        name, index = type(self).__name__, Path(save_directory) / self.config_name
        write_json(index, read_json(index, "model file") | {"_class_name": ["pipeline", name]})
        record_checksums(index.parent, with_parts=True)
        (index.parent / "pipeline.py").write_text(f"from audiocm.pipelines import {name}  # noqa: F401\n")
