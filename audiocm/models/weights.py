"""Weights on disk: int8 files a quarter the size of float32, read back by ``from_pretrained`` like any other variant.

Matrices and convolutions are stored as q in int8 and one scale per output row in float16, W = q * scale (symmetric);
small or one-dimensional tensors in float16, integers as they are. The file is diffusers' "int8" variant,
``diffusion_pytorch_model.int8.safetensors``.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

INT8_FORMAT = "audiocm-int8-1"
_SCALE = "::scale"
_SMALL = 2**15  # tensors below this many numbers stay float16: input and output layers, tables


def quantize(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict -> what an int8 file holds. ValueError for a number that is not finite or too large for float16."""
    stored: dict[str, Tensor] = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if not value.is_floating_point():
            stored[name] = value.clone()
        elif value.ndim >= 2 and value.numel() >= _SMALL:
            rows = value.float().flatten(1)
            scale = (rows.abs().amax(1) / 127).half()
            stored[name] = (rows / scale.float().clamp_min(1e-7)[:, None]).round().clamp(-127, 127).to(torch.int8)
            stored[name] = stored[name].reshape(value.shape).contiguous()
            stored[name + _SCALE] = scale
        else:
            stored[name] = value.half().contiguous().clone()
        kept = stored.get(name + _SCALE, stored[name])
        if kept.is_floating_point() and not kept.isfinite().all():
            raise ValueError(f"weight {name!r} is not finite or too large for float16")
    return stored


def dequantize(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """What a file holds -> float32 state dict; inverse of quantise up to half a step of 1/127 of a row's largest.

    All tensors are new: none shares memory with `stored`.
    """
    state: dict[str, Tensor] = {}
    for name, value in stored.items():
        if name.endswith(_SCALE):
            continue
        scale = stored.get(name + _SCALE)
        if scale is not None:
            state[name] = value.float().mul_(scale.float().reshape(-1, *[1] * (value.ndim - 1)))
        else:
            state[name] = value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
    return state


def save_int8(state: dict[str, Tensor], file: str | os.PathLike) -> None:
    """Write a state dict as an int8 file, through a temporary file, so that a half-written one is never seen."""
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(file.name + ".partial")
    save_file(quantize(state), beside, metadata={"format": "pt", "audiocm": INT8_FORMAT})
    beside.chmod(0o644)  # safetensors writes for the owner alone; a packaged file is for everybody
    os.replace(beside, file)


def load_state(file: str | os.PathLike) -> dict[str, Tensor]:
    """Float32 state dict of an int8, float16 or float32 safetensors file. ValueError names a bad or missing file."""
    if not Path(file).is_file():
        raise ValueError(f"weight file {file} is missing")
    try:
        with safe_open(file, framework="pt") as opened:
            stored = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weight file {file} is damaged ({error}); install or download it again") from error
    for name, value in stored.items():  # what is finite here is finite when restored
        if value.is_floating_point() and not value.isfinite().all():
            name = name.removesuffix(_SCALE)
            raise ValueError(f"weight file {file} is damaged: {name!r} holds numbers that are not finite")
    return dequantize(stored)


def load_weights(model: torch.nn.Module, file: str | os.PathLike) -> torch.nn.Module:
    """Load a file's weights into a model and return it. ValueError names the file when it does not fit the model."""
    state = load_state(file)
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"weight file {file} does not fit {type(model).__name__}: {reason}") from error
    return model


def resolve_folder(name: str | os.PathLike, **hub: Any) -> Path:
    """The folder that holds a model: `name` itself, or the snapshot of a hub id "owner/name" (the only network use).

    ValueError for anything else; `hub` goes to huggingface_hub.snapshot_download (revision, token, ...).
    """
    if str(name) and Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(name)):
        raise ValueError(f"no model folder {str(name)!r}, and it is not a hub id like 'owner/name' either")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), **hub))
    except Exception as error:  # the hub client raises many kinds: unreachable, unknown, gated
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{str(name)!r} is no folder here and could not be had from the hub: {reason}") from error


def weight_file(folder: Path, variants: tuple[str | None, ...] = ("int8", "fp16", None)) -> Path:
    """The first weight file that the folder has, in order of variants. ValueError when it has none."""
    stems = ("diffusion_pytorch_model", "model")
    names = [f"{stem}{'.' + variant if variant else ''}.safetensors" for variant in variants for stem in stems]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"weight file {folder / names[0]} is missing (nor is there another of {', '.join(names[1:])})")


class StoredWeights:
    """Mixin before diffusers' ModelMixin: reads folders of int8, float16 or float32 weights; writes variant="int8"."""

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        subfolder: str | None = None,
        variant: str | None = None,
        torch_dtype: torch.dtype | None = None,
        **hub: Any,
    ):
        """Model in eval mode from a folder or hub id. ValueError names a missing or damaged file."""
        folder = resolve_folder(name, **hub) / (subfolder or "")
        if not (folder / "config.json").is_file():
            raise ValueError(f"model file {folder / 'config.json'} is missing")
        try:
            config = cls.load_config(folder)
        except (OSError, ValueError) as error:
            raise ValueError(f"model file {folder / 'config.json'} is damaged: {error}") from error
        from transformers.initialization import no_init_weights

        file = weight_file(folder, *([(variant,)] if variant else []))
        with no_init_weights():
            model = cls.from_config(config)
        load_weights(model, file)
        return (model if torch_dtype is None else model.to(torch_dtype)).eval()

    def save_pretrained(self, folder: str | os.PathLike, variant: str | None = None, **options: Any) -> None:
        """diffusers' save_pretrained; variant="int8" writes the small file."""
        if variant != "int8":
            super().save_pretrained(folder, variant=variant, **options)
            return
        self.save_config(folder)
        save_int8(self.state_dict(), Path(folder) / "diffusion_pytorch_model.int8.safetensors")


PRETRAINED = Path(__file__).parents[1] / "pretrained"
