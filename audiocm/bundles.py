"""Where a pipeline's parts lie: the bundled models, which share codec and text encoder, and diffusers folders."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from .conditioning import load_text_encoder, load_tokenizer
from .weights import local_folder

PRETRAINED = Path(__file__).parent / "pretrained"


def bundled_models() -> list[str]:
    """Names that `from_pretrained` knows without a folder or network."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/bundle.json"))


CODEC = {"vae": "../codec/vae", "vocoder": "../codec/vocoder"}
WORDS = {"text_encoder": "../text-encoder", "tokenizer": "../text-encoder"}
SPEECH = {"speech_encoder": "../speech-encoder"}
CLASSES = {  # of the components that a bundle.json names by folder alone
    "transformer": ("audiocm", "LatentTransformer"),
    "vae": ("audiocm", "MelVAE"),
    "vocoder": ("audiocm", "Vocoder"),
    "text_encoder": ("transformers", ""),
    "tokenizer": ("transformers", ""),
    "speech_encoder": ("audiocm", "SpeechEncoder"),
}


def save_bundle(
    folder: str | os.PathLike, transformer: torch.nn.Module, conditioner: dict[str, str] = WORDS, **settings: Any
) -> None:
    """Write a net in int8 with a bundle.json: shared codec and conditioner (WORDS, SPEECH) by relative folder, settings.

    `settings` are keyword arguments of the pipeline: num_inference_steps, guidance_scale, seconds_range ...
    """
    transformer.save_pretrained(folder, variant="int8")
    components = {"transformer": ".", **CODEC, **conditioner}
    (Path(folder) / "bundle.json").write_text(json.dumps({"components": components, **settings}, indent=2) + "\n")


def model_folder(name: str | os.PathLike, **hub: Any) -> Path:
    """The folder of a bundled model, the folder itself, or a hub id's snapshot. ValueError lists the bundled names."""
    known = bundled_models()
    if str(name) in known:
        return PRETRAINED / str(name)
    if not Path(name).is_dir() and "/" not in str(name):
        bundled = f"bundled are {', '.join(known)}" if known else "this version bundles none; recipes/ trains one"
        raise ValueError(f"unknown model {str(name)!r}: {bundled}; or give a folder or a hub id owner/name")
    return local_folder(name, **hub)


def described(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[str, str, Path]]]:
    """Settings, and (library, class, folder) of each component, from a bundle.json or diffusers' model_index.json."""
    file = next((folder / one for one in ("bundle.json", "model_index.json") if (folder / one).is_file()), None)
    if file is None:
        raise ValueError(f"no model in {folder}: it has neither bundle.json nor model_index.json")
    try:
        index = json.loads(file.read_text())
        if file.name == "bundle.json":
            homes = {part: (*CLASSES[part], _shared(folder, where)) for part, where in index.pop("components").items()}
        else:
            homes = {part: (*index.pop(part), folder / part) for part in CLASSES if part in index}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"model file {file} is damaged: {error!r}") from error
    return {key: value for key, value in index.items() if not key.startswith("_")}, homes


def _shared(folder: Path, where: str) -> Path:
    """A component's folder: beside the model, or, for a model trained elsewhere, the bundled one of that name."""
    beside = folder / where
    return beside if beside.exists() else PRETRAINED / where.replace("../", "")


def loaded(part: str, library: str, class_name: str, folder: Path) -> Any:
    """One component. Only classes of these libraries are ever imported: a model folder must not run other code."""
    if part == "tokenizer":
        return load_tokenizer(folder)
    if part == "text_encoder":
        return load_text_encoder(folder)
    if library.split(".")[0] not in ("audiocm", "diffusers"):
        raise ValueError(
            f"component {part} of {folder} wants library {library!r}: only audiocm and diffusers are allowed"
        )
    return getattr(import_module(library), class_name).from_pretrained(folder)
