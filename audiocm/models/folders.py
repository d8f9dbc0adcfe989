"""Model folders as transformers and diffusers write them: what may be in one, and the checksums of its weights.

Both libraries take more from a folder than weights and sizes: names of code to run, of other models to fetch, and
pickles. `check_folder` refuses those before either library sees the folder, and `SAFE` goes to every call of them.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import write_json
from ..schema import read_json, table, text

PRETRAINED = Path(__file__).parents[1] / "pretrained"  # the bundled models
SAFE: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
SCALE = "::scale"  # after the name of an int8 weight: the scales of its rows
CHECKSUMS = "checksums.json"  # {name of a weight file beside it: SHA-256}
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack", ".h5")
# of config files; further JSON files, such as those of tokenizers, hold words and may hold any number
SIZED = (
    "config.json",
    "scheduler_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
)
CODE_KEYS = ("auto_map", "custom_pipelines", "quantization_config", "compression_config", "kernel_config")
LARGEST, MOST_REPEATS, MOST_ITEMS = 2**24, 1024, 2**17
_REPEATS = re.compile(r"layer|depth|blocks|repeat")  # in the names of how often a part of a network is built


def check_folder(folder: str | os.PathLike, has_weights: bool = True) -> None:
    """Raises ValueError, in one line, unless a folder holds nothing but sound JSON and, if asked, safetensors weights.

    JSON files must be objects that name neither code nor other models, with sizes that a network can have. Weights that
    have a checksum must have that checksum."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"component {folder.name} is missing: there is no folder {folder}")
    for file in sorted(folder.glob("*.json")):
        if has_weights and file.name == "tokenizer.json":  # large, and not read with weights
            continue
        rule = config_rule if file.name in SIZED else _index_rule if ".index." in file.name else json_rule
        read_json(file, "model file", rule)
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"model file {folder / 'adapter_config.json'} names another model to load, which is not done")
    if has_weights:
        refuse_pickles(folder)
        for name in read_checksums(folder):
            verify_checksum(folder / name)


def refuse_pickles(folder: Path) -> None:
    """Raises ValueError, with how to convert them, if the weights of a folder are pickled only."""
    files = sorted(one for one in (folder.iterdir() if folder.is_dir() else ()) if one.is_file())
    pickled = [one for one in files if one.suffix in PICKLED]
    if pickled and not any(one.suffix == ".safetensors" for one in files):
        raise ValueError(
            f"the weights {pickled[0]} are pickled, which can run code, and are not read; if you trust them, load the "
            "model with its own library and write it by save_pretrained(folder, safe_serialization=True)"
        )


def config_rule(value: Any, place: str) -> None:
    """Allows the sizes of any network, and neither names of code nor of other models."""
    json_rule(value, place)
    _check_names(value, True)


def json_rule(value: Any, place: str) -> None:
    """Allows any object that names neither code nor other models."""
    table({}, others=lambda *_: None)(value, place)
    _check_names(value, False)


def _check_names(value: Any, is_sized: bool, key: str = "") -> None:
    """Raises ValueError for keys that name code or other models and, `is_sized`, for numbers that are no sizes."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            if name in CODE_KEYS and one:
                raise ValueError(f"{name} names code, of the folder or of others, which is never run: remove it")
            if name.lstrip("_").endswith("_implementation") and one not in (None, "eager", "sdpa"):
                raise ValueError(f"{name} must be 'eager' or 'sdpa', not {one!r}: others can fetch code")
            _check_names(one, is_sized, name)
    elif isinstance(value, list):
        for one in value:
            _check_names(one, is_sized, key)
    elif is_sized and isinstance(value, int) and not isinstance(value, bool):
        most = MOST_REPEATS if _REPEATS.search(key) and not re.search("channel|dim|size", key) else LARGEST
        if abs(value) > most:
            raise ValueError(f"{key} must be a whole number from {-most} to {most}, not {value}")
    if is_sized and isinstance(value, Mapping | list) and len(value) > MOST_ITEMS:
        raise ValueError(f"{key or 'it'} holds {len(value)} values: at most {MOST_ITEMS}")


def _index_rule(value: Any, place: str) -> None:
    """The index of weights in several files may name safetensors files beside it only."""
    table({"weight_map": table({}, others=text())}, ["weight_map"], lambda *_: None)(value, place)
    for name in value["weight_map"].values():
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise ValueError(f"weight_map must name .safetensors files beside it, not {name!r}")


def shards_of(index: Path) -> list[Path]:
    """Returns the weight files beside an index that it names. Raises ValueError if it is damaged."""
    return [
        index.parent / name for name in sorted(set(read_json(index, "weight file", _index_rule)["weight_map"].values()))
    ]


def weight_file(
    folder: Path,
    variants: tuple[str | None, ...] = ("int8", "fp16", "bf16", None),
    with_index: bool = False,
    stems: tuple[str, ...] = ("diffusion_pytorch_model", "model"),
) -> Path:
    """Returns the first weight file of a folder, in the order of variants; with_index: or the index of several files.

    stems: the names that diffusers and transformers give. Raises ValueError if there is none, or only pickled ones."""
    names: list[str] = []
    for suffix in [f".{variant}" if variant else "" for variant in variants]:
        names += [f"{stem}{suffix}.safetensors" for stem in stems]
        indices = [f"{stem}.safetensors.index{suffix}.json" for stem in stems if with_index]
        for name in (*names[-len(stems) :], *indices):
            if (folder / name).is_file():
                return folder / name
    refuse_pickles(folder)
    others = f", and so are {', '.join(names[1:])}" if names[1:] else ""
    raise ValueError(f"weight file {folder / names[0]} is missing{others}")


def read_checksums(folder: Path) -> dict[str, str]:
    """Returns the SHA-256 of weight files by their names; empty for a folder that has none. Raises ValueError."""
    file = folder / CHECKSUMS
    found = read_json(file, "model file", table({}, others=_digest_rule)) if file.is_file() else {}
    if outside := [name for name in found if Path(name).name != name]:
        raise ValueError(f"model file {file}: {outside[0]!r} is not the name of a file beside it")
    return found


def _digest_rule(value: Any, place: str) -> None:
    if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
        raise ValueError(f"{place} must be a SHA-256 of 64 hexadecimal digits, not {value!r}")


def sha256(file: str | os.PathLike) -> str:
    """Returns the SHA-256 of a file, read in parts."""
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while part := stream.read(1 << 24):
            digest.update(part)
    return digest.hexdigest()


def verify_checksum(file: Path) -> None:
    """Raises ValueError if a file is there and is not the one whose SHA-256 stands beside it."""
    expected = read_checksums(file.parent).get(file.name)
    if expected is not None and file.is_file() and sha256(file) != expected:
        raise ValueError(
            f"weight file {file} is damaged: its SHA-256 is not that of {CHECKSUMS}; install or download it again, or, "
            f"if it was replaced on purpose, delete {CHECKSUMS}"
        )


def record_checksums(folder: str | os.PathLike, with_parts: bool = False) -> None:
    """Writes the SHA-256 of each safetensors file of a folder beside them; does nothing if there is none.

    with_parts: in each folder in it too, the components of a pipeline."""
    folder = Path(folder)
    if files := sorted(folder.glob("*.safetensors")):
        write_json(folder / CHECKSUMS, {file.name: sha256(file) for file in files})
    for part in sorted(folder.iterdir()) if with_parts else ():
        if part.is_dir():
            record_checksums(part)
