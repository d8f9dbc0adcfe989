"""Weight files: int8 storage a quarter the size of float32, read by ``from_pretrained`` like any other variant.

Matrices and convolutions are stored as q in int8 and one scale per output row in float16, W = q * scale (symmetric);
small or one-dimensional tensors in float16, integers unchanged. The file is diffusers' "int8" variant,
``diffusion_pytorch_model.int8.safetensors``.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from huggingface_hub import split_torch_state_dict_into_shards
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from typing_extensions import Self

from ..devices import usual_defaults
from ..files import atomic_write, write_json
from ..schema import Rule, read_json, table, text
from .configured import no_init_weights
from .folders import (
    SCALE,
    config_rule,
    record_checksums,
    shards_of,
    verify_checksum,
    weight_file,
)

INT8_FORMAT = "audiocm-int8-1"
SHARD_SIZE = "40MB"  # of int8 files
HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]  # all that is fetched of a hub id: no pickles, no code
HUB_OPTIONS = {"revision", "token", "cache_dir", "force_download", "local_files_only"}  # of from_pretrained
# diffusers' options of how it reads files, with the values that ask for nothing else than what is done; None never does
READING_OPTIONS: dict[str, tuple[bool, ...]] = {
    "use_safetensors": (True,),
    "low_cpu_mem_usage": (True, False),
    **dict.fromkeys(("offload_state_dict", "use_flashpack", "disable_mmap"), (False,)),
}
_LAYERS = (torch.nn.Linear, torch.nn.modules.conv._ConvNd, torch.nn.LayerNorm, torch.nn.MultiheadAttention)
_SMALL = 2**15  # tensors with fewer elements stay float16: input and output layers, tables


def quantize(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Converts a state dict to the tensors of an int8 file. Raises ValueError for values that do not fit float16."""
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
            stored[name + SCALE] = scale
        else:
            stored[name] = value.half().contiguous().clone()
        kept = stored.get(name + SCALE, stored[name])
        if kept.is_floating_point() and not kept.isfinite().all():
            raise ValueError(f"weight {name!r} is not finite or too large for float16")
    return stored


def dequantize(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Converts the tensors of a file to a float32 state dict; no tensor shares memory with `stored`.

    Inverts `quantize` up to half a quantization step, which is 1/127 of a row's largest magnitude. Raises ValueError if
    a scale does not fit its matrix."""
    state: dict[str, Tensor] = {}
    for name, value in stored.items():
        if name + SCALE in stored:
            scale = stored[name + SCALE].float()
            if scale.shape != value.shape[:1] or value.ndim < 2:
                raise ValueError(f"{name!r} of shape {list(value.shape)} has {list(scale.shape)} scales, not one a row")
            state[name] = value.float().mul_(scale.reshape(-1, *[1] * (value.ndim - 1)))
        elif not name.endswith(SCALE):
            state[name] = value.to(torch.float32 if value.is_floating_point() else value.dtype, copy=True)
    return state


def save_int8(state: dict[str, Tensor], file: str | os.PathLike, max_shard_size: int | str = SHARD_SIZE) -> None:
    """Writes a state dict atomically as an int8 file, with its checksum, in the place of an earlier one.

    What is larger than `max_shard_size` becomes several files and their index, named as diffusers names those of a
    variant. Raises ValueError as `quantize` does."""
    file, stored = Path(file), quantize(state)
    stem, variant, _ = file.name.split(".")
    index = file.with_name(f"{stem}.safetensors.index.{variant}.json")
    pattern = f"{stem}.{variant}{{suffix}}.safetensors"
    split = split_torch_state_dict_into_shards(stored, filename_pattern=pattern, max_shard_size=max_shard_size)
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, tensors in split.filename_to_tensors.items():
        with atomic_write(file.with_name(name)) as partial:
            part = {key: stored[key] for key in tensors}
            save_file(part, partial, metadata={"format": "pt", "audiocm": INT8_FORMAT})
            partial.chmod(0o644)  # safetensors makes files readable by the owner only, a packaged file is for everybody
    if split.is_sharded:
        write_json(index, {"metadata": split.metadata, "weight_map": split.tensor_to_filename})
    else:
        index.unlink(missing_ok=True)
    for earlier in file.parent.glob(f"{stem}.{variant}*.safetensors"):
        if earlier.name not in split.filename_to_tensors:
            earlier.unlink()
    record_checksums(file.parent)


def load_state(file: str | os.PathLike) -> dict[str, Tensor]:
    """Reads an int8, float16 or float32 safetensors file as a float32 state dict.

    The index of a model in several files (.json) stands for all of them. Raises ValueError if a file is missing or
    damaged, differs from the checksum beside it, or holds values that are not finite."""
    stored: dict[str, Tensor] = {}
    for one in shards_of(Path(file)) if Path(file).suffix == ".json" else [Path(file)]:
        stored |= _read_tensors(one)
    try:
        return dequantize(stored)
    except ValueError as error:
        raise ValueError(f"weight file {file} is damaged: {error}") from error


def _read_tensors(file: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file as they are stored. Raises ValueError as `load_state` does."""
    if not file.is_file():
        raise ValueError(f"weight file {file} is missing")
    verify_checksum(file)
    try:
        with safe_open(file, framework="pt") as opened:
            stored = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"weight file {file} is damaged ({error}); install or download it again") from error
    for name, value in stored.items():  # finite as stored means finite when dequantized
        if value.is_floating_point() and not value.isfinite().all():
            name = name.removesuffix(SCALE)
            raise ValueError(f"weight file {file} is damaged: {name!r} holds values that are not finite")
    return stored


def load_weights(model: torch.nn.Module, file: str | os.PathLike) -> torch.nn.Module:
    """Loads a weight file into a model and returns the model. Raises ValueError if the weights do not fit it."""
    state = load_state(file)
    for name, value in model.state_dict().items():
        if name in state and state[name].is_floating_point() != value.is_floating_point():
            raise ValueError(f"weight file {file} does not fit {type(model).__name__}: {name!r} is {state[name].dtype}")
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"weight file {file} does not fit {type(model).__name__}: {reason}") from error
    return model


def resolve_folder(name: str | os.PathLike, **hub: Any) -> Path:
    """Returns the folder of a model: `name` itself, or the snapshot of a hub id "owner/name" (the only network access).

    `hub` holds options of huggingface_hub.snapshot_download (revision, token, ...). Raises ValueError for any other
    name, and if the hub cannot provide the snapshot."""
    if str(name) and Path(name).is_dir():
        return Path(name)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", str(name)):
        raise ValueError(f"no model folder {str(name)!r}, and it is not a hub id 'owner/name'")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(name), **{"allow_patterns": HUB_FILES, **hub}))
    except Exception as error:  # the hub client raises many types: unreachable, unknown, gated
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{str(name)!r} is not a folder and could not be loaded from the hub: {reason}") from error


def hub_options(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the options of the hub among those of a from_pretrained. Raises TypeError for one that is not known."""
    given = {name: value for name, value in options.items() if value is not None}
    for name, value in given.items():
        if name not in HUB_OPTIONS and value not in READING_OPTIONS.get(name, ()):
            raise TypeError(
                f"from_pretrained got {name}={value!r}; further options are {', '.join(sorted(HUB_OPTIONS))}"
            )
    return {name: value for name, value in given.items() if name in HUB_OPTIONS}


def has_variant(folder: Path, variant: str) -> bool:
    """Whether a folder has weight files of a variant, for example "fp16"."""
    return any(
        re.search(rf"\.{re.escape(variant)}(-\d+-of-\d+)?\.safetensors$", file.name) for file in folder.glob("*")
    )


def _cast_inputs(layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward pre-hook that gives a layer its inputs in the dtype of its weights."""
    dtype = next(layer.parameters(recurse=False)).dtype
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)


class StoredWeights:
    """Mixin, placed before diffusers' ModelMixin, that reads int8, float16 and float32 folders and writes int8 ones.

    In half precision the layers take inputs of any precision, so that states and times stay in float32 around them."""

    config_rules: ClassVar[Mapping[str, Rule]] = {}  # of each key of config.json: what it may hold
    stored_name: ClassVar[str | None] = None  # of the class in config.json; None: its own

    @classmethod
    @usual_defaults()
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        subfolder: str | None = None,
        variant: str | None = None,
        torch_dtype: torch.dtype | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> Self:
        """Loads a model in eval mode from a folder or hub id; `dtype` is another name of `torch_dtype`.

        `options`: see `hub_options`. Raises ValueError if a file is missing or damaged, TypeError for other options."""
        folder = resolve_folder(name, **hub_options(options)) / (subfolder or "")
        rules = {"_class_name": text(cls.stored_name or cls.__name__), **cls.config_rules}
        config = read_json(folder / "config.json", "model file", table(rules) if cls.config_rules else config_rule)
        file = weight_file(folder, *([(variant,)] if variant else []), with_index=True)
        try:
            with no_init_weights():
                model = cls.from_config({key: value for key, value in config.items() if not key.startswith("_")})
        except (
            ValueError,
            TypeError,
            ArithmeticError,
            LookupError,
            AssertionError,
            RuntimeError,
            MemoryError,
        ) as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"model file {folder / 'config.json'} describes no {cls.__name__}: {reason}") from error
        model = load_weights(model, file)
        dtype = torch_dtype if dtype is None else dtype
        return (model if dtype is None else torch.nn.Module.to(model, dtype)).eval()

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """Moves or casts the model. Buffers that are not saved, such as frequencies, are not cast below float32."""
        constants = [
            (module, name, module._buffers[name])
            for module in self.modules()
            for name in module._non_persistent_buffers_set
        ]
        super()._apply(fn, recurse)
        for module, name, value in constants:
            if module._buffers[name].dtype.itemsize < value.dtype.itemsize:
                module._buffers[name] = value.to(module._buffers[name].device)
        for layer in self.modules():
            weight = next(layer.parameters(recurse=False), None) if isinstance(layer, _LAYERS) else None
            is_half = weight is not None and weight.dtype.itemsize == 2
            if is_half and _cast_inputs not in layer._forward_pre_hooks.values():
                layer.register_forward_pre_hook(_cast_inputs)
        return self

    def save_pretrained(self, folder: str | os.PathLike, variant: str | None = None, **options: Any) -> None:
        """Writes a diffusers folder with checksums; variant="int8": weights in int8, see `save_int8`."""
        if variant != "int8":
            super().save_pretrained(folder, variant=variant, **options)
            record_checksums(folder)
            return
        self.save_config(folder)
        size = options.get("max_shard_size", SHARD_SIZE)
        save_int8(self.state_dict(), Path(folder) / "diffusion_pytorch_model.int8.safetensors", size)
