"""Model folders: bundled models, which share codec and conditioner, and diffusers' folders (model_index.json)."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from ..files import write_json
from ..models.folders import PRETRAINED
from ..models.weights import StoredWeights, has_variant, hub_options, resolve_folder
from ..schema import Rule, interval, list_of, number, optional, read_json, refuse, table, text, whole

# folders of components that models share, relative to the model's own
CODEC = {"vae": "../codec/vae", "vocoder": "../codec/vocoder"}
TEXT_ENCODER = {"text_encoder": "../text-encoder", "tokenizer": "../text-encoder"}
SPEECH_ENCODER = {"speech_encoder": "../speech-encoder"}
# the one class of audiocm that each component has; text encoder and tokenizer have any of transformers
CLASSES = {"transformer": "LatentTransformer", "vae": "MelVAE", "vocoder": "Vocoder", "speech_encoder": "SpeechEncoder"}
SETTINGS: dict[str, Rule] = {  # of the constructors of pipelines, and what a folder may set them to
    "num_inference_steps": whole(1, 1000),
    "guidance_scale": number(0, 100),
    "guidance_range": interval(0, 100),
    "seconds_range": interval(0, 3600),
    "max_tokens": whole(1, 4096),
    "temperature": number(0.01, 2),
    "noise_mean": number(-100, 100),
    "vocoder_iterations": optional(whole(0, 1000)),
}


def bundled_models() -> list[str]:
    """Returns the model names that `from_pretrained` loads from the package itself."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/bundle.json"))


def save_bundle(
    folder: str | os.PathLike, transformer: torch.nn.Module, conditioner: dict[str, str] = TEXT_ENCODER, **settings: Any
) -> None:
    """Writes a transformer in int8, and a bundle.json with the folders of its components and the settings."""
    transformer.save_pretrained(folder, variant="int8")
    components = {"transformer": ".", **CODEC, **conditioner}
    write_json(Path(folder) / "bundle.json", {"components": components, **settings})


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


def read_index(folder: Path) -> tuple[dict[str, Any], dict[str, Path]]:
    """Returns the settings of a model folder, and the folder of each component, from bundle.json or model_index.json.

    Raises ValueError if the file is damaged, or names another class than the component has."""
    if (file := folder / "bundle.json").is_file():
        components = table(dict.fromkeys((*CLASSES, *TEXT_ENCODER), _relative_folder))
        index = read_json(file, "model file", table({"components": components, **SETTINGS}, ["components"]))
        folders = {name: _shared_folder(folder, where) for name, where in index["components"].items()}
    elif (file := folder / "model_index.json").is_file():
        _refuse_others(file)
        classes = {name: _class_rule("audiocm", one) for name, one in CLASSES.items()}
        classes |= dict.fromkeys(TEXT_ENCODER, _class_rule("transformers"))
        index = read_json(file, "model file", table({**classes, **SETTINGS}))
        folders = {name: folder / name for name in classes if name in index}
    else:
        raise ValueError(f"no model in {folder}: it has neither bundle.json nor model_index.json")
    return {name: index[name] for name in SETTINGS if name in index}, folders


def _refuse_others(file: Path) -> None:
    """Raises ValueError for a pipeline of diffusers, such as a student of a teacher of others."""
    kind = read_json(file, "model file", table({}, others=lambda *_: None)).get("_class_name")
    if (
        isinstance(kind, str)
        and kind.endswith("Pipeline")
        and kind not in ("TextToAudioPipeline", "TextToSpeechPipeline")
    ):
        raise ValueError(f"{file.parent} holds diffusers' {kind}, which diffusers.DiffusionPipeline loads, not audiocm")


def _relative_folder(value: Any, place: str) -> None:
    """Allows folders in the model's own, and in the one that it lies in."""
    text()(value, place)
    path = PurePosixPath(value)
    if path.is_absolute() or "\\" in value or ".." in path.parts[1:]:
        refuse(value, place, "a folder in this one or beside it, such as '.' or '../codec/vae'")


def _class_rule(library: str, name: str | None = None) -> Rule:
    """Allows [module of the library, class]; only the library counts, because modules move."""

    def check(value: Any, place: str) -> None:
        list_of(optional(text()), 2, 2)(value, place)
        if (value[0] or "").split(".")[0] != library or not value[1] or value[1] != (name or value[1]):
            raise ValueError(
                f"{place} is a {value[1]!r} of {value[0]!r}: only {library}'s {name + ' is' if name else 'are'} allowed"
            )

    return check


def _shared_folder(folder: Path, relative: str) -> Path:
    """Returns a component's folder beside the model or, for a model trained elsewhere, the bundled one of that name."""
    beside = folder / relative
    return beside if beside.exists() else PRETRAINED / relative.replace("../", "")


def load_net(
    classes: Iterable[type[StoredWeights]], name: str, folder: Path, dtype: torch.dtype | None, variant: str | None
) -> StoredWeights:
    """Loads a net by its name in a pipeline; its class is the one of that name, whatever the folder says.

    dtype: of its weights, default float32; variant: of its weight files, if it has them. Raises ValueError if a file is
    missing, damaged, or asks for other code."""
    variant = variant if variant and has_variant(folder, variant) else None
    net_class = next(one for one in classes if (one.stored_name or one.__name__) == CLASSES[name])
    return net_class.from_pretrained(folder, variant=variant, torch_dtype=dtype)
