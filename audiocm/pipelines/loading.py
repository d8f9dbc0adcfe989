"""Where a pipeline's parts lie: the bundled models, which share codec and text encoder, and diffusers folders."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch

from ..models.text_encoder import load_text_encoder, load_tokenizer
from ..models.weights import PRETRAINED, resolve_folder


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
    return resolve_folder(name, **hub)


def read_index(folder: Path) -> tuple[dict[str, Any], dict[str, tuple[str, str, Path]]]:
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


def load_component(part: str, library: str, class_name: str, folder: Path) -> Any:
    """One component. Only named classes of audiocm and those of diffusers are loaded: a model folder must not run other code."""
    if part == "tokenizer":
        return load_tokenizer(folder)
    if part == "text_encoder":
        return load_text_encoder(folder)
    return component_class(part, library.split(".")[0], class_name, folder).from_pretrained(folder)


def component_class(part: str, library: str, class_name: str, folder: Path) -> Any:
    """The class of a component. Raises ValueError naming what is not allowed."""
    from ..codec.vae import MelVAE
    from ..codec.vocoder import Vocoder
    from ..models.transformer import LatentTransformer
    from ..speech.encoder import SpeechEncoder

    own = {one.__name__: one for one in (LatentTransformer, MelVAE, SpeechEncoder, Vocoder)}
    if library == "audiocm" and class_name in own:
        return own[class_name]
    if library == "diffusers":
        import diffusers

        if hasattr(diffusers, class_name):
            return getattr(diffusers, class_name)
    allowed = f"audiocm's {', '.join(own)} and classes of diffusers"
    raise ValueError(f"component {part} of {folder} is a {class_name!r} of {library!r}: only {allowed} are allowed")
