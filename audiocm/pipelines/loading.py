"""Model folders: bundled models, which share codec and conditioner, and diffusers' folders (model_index.json)."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..models.text_encoder import load_text_encoder, load_tokenizer
from ..models.weights import PRETRAINED, has_variant, hub_options, resolve_folder

# folders of components that models share, relative to the model's own
CODEC = {"vae": "../codec/vae", "vocoder": "../codec/vocoder"}
TEXT_ENCODER = {"text_encoder": "../text-encoder", "tokenizer": "../text-encoder"}
SPEECH_ENCODER = {"speech_encoder": "../speech-encoder"}
# classes of the other components of audiocm; a bundle.json gives a component's folder only
CLASSES = {"transformer": "LatentTransformer", "vae": "MelVAE", "vocoder": "Vocoder", "speech_encoder": "SpeechEncoder"}


@dataclass(frozen=True)
class Component:
    """A component of a pipeline as a model folder describes it; text encoder and tokenizer need no class."""

    name: str
    library: str  # only the part before the first dot counts, because modules move
    class_name: str
    folder: Path


def bundled_models() -> list[str]:
    """Returns the model names that `from_pretrained` loads from the package itself."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/bundle.json"))


def save_bundle(
    folder: str | os.PathLike, transformer: torch.nn.Module, conditioner: dict[str, str] = TEXT_ENCODER, **settings: Any
) -> None:
    """Writes a transformer in int8, and a bundle.json with the folders of its components and the settings."""
    transformer.save_pretrained(folder, variant="int8")
    components = {"transformer": ".", **CODEC, **conditioner}
    (Path(folder) / "bundle.json").write_text(json.dumps({"components": components, **settings}, indent=2) + "\n")


def model_folder(name: str | os.PathLike, **hub: Any) -> Path:
    """Returns the folder of a bundled model, a hub id or a path. Raises ValueError with the names of bundled models, and
    TypeError for an option that the hub does not have."""
    hub, known = hub_options(hub), bundled_models()
    if str(name) in known:
        return PRETRAINED / str(name)
    if not Path(name).is_dir() and "/" not in str(name):
        bundled = f"bundled are {', '.join(known)}" if known else "this version bundles none; recipes/ trains one"
        raise ValueError(f"unknown model {str(name)!r}: {bundled}; or give a folder or a hub id owner/name")
    return resolve_folder(name, **hub)


def read_index(folder: Path) -> tuple[dict[str, Any], dict[str, Component]]:
    """Reads settings and components from bundle.json or model_index.json. Raises ValueError if it is damaged."""
    file = next((folder / name for name in ("bundle.json", "model_index.json") if (folder / name).is_file()), None)
    if file is None:
        raise ValueError(f"no model in {folder}: it has neither bundle.json nor model_index.json")
    text = file.read_bytes()
    try:
        index = json.loads(text)
        if file.name == "bundle.json":
            folders = {name: _shared_folder(folder, where) for name, where in index.pop("components").items()}
            components = [Component(name, "audiocm", CLASSES.get(name, ""), folders[name]) for name in folders]
        else:
            names = [name for name in (*CLASSES, *TEXT_ENCODER) if name in index]
            components = [Component(name, *index.pop(name), folder / name) for name in names]
        settings = {key: value for key, value in index.items() if not key.startswith("_")}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"model file {file} is damaged: {error!r}") from error
    return settings, {one.name: one for one in components}


def _shared_folder(folder: Path, relative: str) -> Path:
    """Returns a component's folder beside the model or, for a model trained elsewhere, the bundled one of that name."""
    beside = folder / relative
    return beside if beside.exists() else PRETRAINED / relative.replace("../", "")


def load_component(component: Component, dtype: torch.dtype | None = None, variant: str | None = None) -> Any:
    """Loads a component, of named classes of audiocm and of diffusers only: a folder must not run other code.

    dtype: of its weights, default float32; variant: of its weight files, if it has them. Raises ValueError for another
    class."""
    if component.name == "tokenizer":
        return load_tokenizer(component.folder)
    variant = variant if variant and has_variant(component.folder, variant) else None
    if component.name == "text_encoder":
        return load_text_encoder(component.folder, dtype, variant)
    from ..codec.vae import MelVAE
    from ..codec.vocoder import Vocoder
    from ..models.transformer import LatentTransformer
    from ..speech.encoder import SpeechEncoder

    own = {one.__name__: one for one in (LatentTransformer, MelVAE, SpeechEncoder, Vocoder)}
    library, name = component.library.split(".")[0], component.class_name
    if library == "audiocm" and name in own:
        return own[name].from_pretrained(component.folder, variant=variant, torch_dtype=dtype)
    if library == "diffusers":
        import diffusers

        if hasattr(diffusers, name):
            return getattr(diffusers, name).from_pretrained(component.folder, variant=variant, torch_dtype=dtype)
    named = f"component {component.name} of {component.folder} is a {name!r} of {library!r}"
    raise ValueError(f"{named}: only audiocm's {', '.join(own)} and classes of diffusers are allowed")
