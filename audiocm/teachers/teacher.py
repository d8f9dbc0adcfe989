"""Teachers by name: `load_teacher` gives a `Teacher`, a contract net with its path, its conditions and its codec."""

import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check_path
from ..devices import usual_defaults
from ..diffusion import paths
from ..diffusion.denoiser import Condition
from ..errors import explain_import_error
from ..models.folders import SAFE, check_folder
from ..models.text_encoder import load_tokenizer
from ..models.weights import resolve_folder
from ..schema import Rule, flag, list_of, number, optional, read_json, table, text
from . import audioldm, bundled, stable_audio  # noqa: F401  they register their adapters
from .adapter import Adapter, adapter_of_components, adapter_of_pipeline, misfits

OTHERS = ("feature_extractor",)  # components that a pipeline may have besides those of its adapter


class Teacher:
    """A diffusion model as audiocm's methods and samplers take it.

    net      frozen contract net (x_t, t, s, cond) -> clean, on `path`
    path     its noise path; methods take it as net_path and path
    name     where it came from: a folder, a hub id, a bundled name or the class of a pipeline
    adapter  its architecture; adapter.pipe holds the components"""

    def __init__(self, adapter: Adapter, name: str):
        self.adapter, self.name = adapter, name
        for part, module in self._modules().items():
            module.requires_grad_(False).eval()
            for key, value in module.named_parameters():
                if not value.isfinite().all():
                    raise ValueError(f"{name}, component {part}: its weight {key} is not finite")
        with torch.no_grad():
            self.net: nn.Module = adapter.build_net().requires_grad_(False).eval()
        self.path: paths.Path = adapter.schedule.path

    def _modules(self) -> dict[str, nn.Module]:
        """Returns the networks among the components by their names."""
        pipe = self.adapter.pipe
        components = pipe.components if hasattr(pipe, "components") else vars(pipe)
        return {part: component for part, component in components.items() if isinstance(component, nn.Module)}

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz of what `encode` takes and `decode` returns."""
        return self.adapter.sample_rate

    @property
    def channels(self) -> int:
        """Number of audio channels of what `encode` takes and `decode` returns: 1 or 2."""
        return self.adapter.channels

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """Returns the shape of one latent of a sound of a length, such as (channel, frame, bin) or (channel, frame)."""
        return self.adapter.latent_shape(seconds)

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """Encodes waveforms [batch, sample], for stereo [batch, 2, sample], to latents [batch, *latent_shape].

        Levels become those of the teacher's training data, where it had one level."""
        return self.adapter.encode(wav.to(self.adapter.device))

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        """Decodes latents [batch, *latent_shape] to float32 waveforms of the form that `encode` takes.

        They may be longer than the sound: a teacher of one window decodes all of it."""
        return self.adapter.decode(latent.to(self.adapter.device)).float()

    @torch.no_grad()
    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        """Encodes prompts for sounds of a length. No row depends on the others, so rows can be stored and mixed."""
        return self.adapter.condition(list(prompts), seconds)

    def student(
        self, guidance_range: tuple[float, float] | None = None, target_time: bool = False, lora: int | None = None
    ) -> nn.Module:
        """Returns a network to train that equals the teacher bit for bit before the first step.

        guidance_range  the weights w that the student takes as cond.guidance; None: it takes none
        target_time     whether the student takes the end s of a jump
        lora            rank of a low-rank difference to the frozen teacher; None: all weights are trained

        The parameters to train are those with requires_grad. Raises ValueError for a rank below 1, or a range that is
        not two rising numbers."""
        if guidance_range is not None and not guidance_range[0] < guidance_range[1]:
            raise ValueError(f"guidance_range must be two rising numbers, not {guidance_range}")
        return self.adapter.build_student(self.net, guidance_range, target_time, lora)

    def to(self, device: torch.device | str) -> "Teacher":
        """Moves the net, text encoders and codec to a device and returns the teacher."""
        for module in (*self._modules().values(), self.net):
            module.to(device)
        return self


@usual_defaults()
def load_teacher(source: str | os.PathLike | Mapping[str, Any] | Any, **hub: Any) -> Teacher:
    """Loads a teacher: a bundled name, a diffusers folder, a hub id "owner/name", a pipeline, or a dict of components.

    hub: options of huggingface_hub.snapshot_download (revision, token, ...). Only safetensors weights are read, in
    float32, and no code of a folder is run; the internet is used for a hub id alone. Raises ValueError, in one line, if
    there is no teacher, its architecture is not known, a component is missing, weights are pickled or not finite, or
    its scheduler contradicts itself or is not supported, and ImportError for a package that it needs."""
    if isinstance(source, (str, os.PathLike)):
        return _load(check_path("the teacher", source), hub)
    name = "components" if isinstance(source, Mapping) else type(source).__name__
    components = source if isinstance(source, Mapping) else getattr(source, "components", None)
    if components is None:
        raise ValueError(f"a teacher is a name, a folder, a pipeline or a dict of components, not a {name}")
    classes = _class_names(components)
    if isinstance(source, Mapping):
        return Teacher(adapter_of_components(classes)(SimpleNamespace(**source)), name)
    return Teacher(_fitting(name, classes, name)(source), name)


def _class_names(components: Mapping[str, Any]) -> dict[str, str]:
    return {name: type(one).__name__ for name, one in components.items() if one is not None}


def _fitting(pipeline: str, classes: Mapping[str, str], where: str) -> type[Adapter]:
    """Returns the adapter of a pipeline. Raises ValueError if components are missing or of another class."""
    adapter = adapter_of_pipeline(pipeline)
    if wrong := misfits(adapter, classes):
        raise ValueError(f"{where} is no teacher that {adapter.__name__} reads: {'; '.join(wrong)}")
    return adapter


def _load(name: str, hub: dict[str, Any]) -> Teacher:
    """Loads a bundled model, a folder or a hub id."""
    from ..pipelines.loading import model_folder

    if "/" in name and not Path(name).is_dir():
        folder = resolve_folder(name, **hub)
    else:
        folder = Path(name) if Path(name).is_dir() else model_folder(name)
    file = folder / "model_index.json"
    index = read_json(file, "model file", _INDEX) if file.is_file() else {}
    kind = index.get("_class_name", "")
    kind = kind[-1] if isinstance(kind, list) else kind
    if index and not kind:
        raise ValueError(f"model file {file} does not name the class of its pipeline (_class_name)")
    if kind == "TextToAudioPipeline" or (folder / "bundle.json").is_file():
        from ..pipelines.text_to_audio import TextToAudioPipeline

        pipe = TextToAudioPipeline.from_pretrained(folder)
        return Teacher(adapter_of_pipeline("TextToAudioPipeline")(pipe), name)
    classes = _classes_of_index(index) if index else _classes_of_folders(folder)
    if not classes:
        raise ValueError(
            f"no teacher in {folder}: it has neither model_index.json nor folders of components (unet/, vae/, ...)"
        )
    adapter = _fitting(kind, classes, name) if index else adapter_of_components(classes)
    wanted = {part: cls for part, cls in classes.items() if part in (*adapter.components, *OTHERS)}
    if index and (unknown := sorted(set(classes) - set(wanted))):
        raise ValueError(f"model file {file}: {unknown[0]} is no component that {adapter.__name__} reads")
    for part in wanted:
        check_folder(folder / part, has_weights=not part.startswith(("tokenizer", "scheduler", *OTHERS)))
    parts = {}
    for part, cls in wanted.items():
        with _explained(f"{name}, component {part}"):
            parts[part] = _component(folder / part, cls)
    with _explained(name):
        pipe = _pipeline(kind, parts, index) if index else SimpleNamespace(**parts)
    try:
        return Teacher(adapter(pipe), name)
    except (TypeError, ArithmeticError, LookupError, AttributeError, RuntimeError) as error:
        raise ValueError(f"{name} cannot be a teacher: {' '.join(str(error).split())[:300]}") from error


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Raises ValueError, or ImportError, in one line for whatever diffusers, transformers and tokenizers raise."""
    try:
        yield
    except ImportError as error:
        raise explain_import_error(error) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        for words, meaning in _REASONS.items():
            if words in reason:
                reason = reason.partition(words)[0] + meaning
        raise ValueError(f"{what} could not be read: {reason}") from error


_REASONS = {  # words from which on an error is replaced, where it only speaks of options that a folder has not
    " If you want to instead overwrite": "; its weights and its config.json do not fit each other",
    "You set `ignore_mismatched_sizes`": "its weights and its config.json do not fit each other",
    "Unable to load weights from checkpoint": "its weights are damaged or no safetensors file",
}
_INDEX = table(
    {"_class_name": lambda value, place: (list_of(text(), 1, 2) if isinstance(value, list) else text())(value, place)},
    others=lambda *_: None,
)
_CONFIG = table({"_class_name": optional(text()), "architectures": optional(list_of(text()))}, others=lambda *_: None)


def _classes_of_index(index: Mapping[str, Any]) -> dict[str, str]:
    """Returns the classes of a pipeline's components. Raises ValueError for one that needs code of the folder."""
    classes = {}
    for name, entry in index.items():
        if isinstance(entry, list) and len(entry) == 2 and entry[0] is not None:
            if entry[0] not in ("diffusers", "transformers", "audioldm2", "stable_audio", "stable_audio_3"):
                raise ValueError(
                    f"component {name} is a {entry[1]} of {entry[0]!r}: only diffusers' and transformers' are read"
                )
            text()(entry[1], f"the class of component {name}")
            classes[name] = entry[1]
    return classes


def _classes_of_folders(folder: Path) -> dict[str, str]:
    """Returns the classes that the folders of components without a pipeline name in their configurations."""
    classes = {}
    for file in sorted(folder.glob("*/*.json")):
        if file.name in ("config.json", "scheduler_config.json"):
            config = read_json(file, "model file", _CONFIG)
            if cls := config.get("_class_name") or next(iter(config.get("architectures") or ()), None):
                classes[file.parent.name] = cls
        elif file.name == "tokenizer_config.json":
            classes[file.parent.name] = "AutoTokenizer"
    return classes


def _component(folder: Path, name: str) -> Any:
    """Loads a component of a class of diffusers or transformers. Raises ValueError for a name of anything else."""
    import diffusers
    import transformers
    from transformers.utils.logging import disable_progress_bar

    if folder.name.startswith("tokenizer"):
        return load_tokenizer(folder)
    cls = getattr(diffusers, name, None) or getattr(transformers, name, None)
    bases = (
        diffusers.ModelMixin,
        diffusers.SchedulerMixin,
        transformers.PreTrainedModel,
        transformers.FeatureExtractionMixin,
    )
    if not isinstance(cls, type) or not issubclass(cls, bases):
        raise ValueError(
            f"component {folder.name} is a {name!r}: only networks and schedulers of diffusers and transformers are read"
        )
    disable_progress_bar()
    if issubclass(cls, diffusers.SchedulerMixin):
        read_json(folder / "scheduler_config.json", "model file", _constructor_rule(cls))
        return cls.from_pretrained(folder, local_files_only=True)
    if issubclass(cls, transformers.FeatureExtractionMixin):
        return cls.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if issubclass(cls, diffusers.ModelMixin):
        return cls.from_pretrained(folder, torch_dtype=torch.float32, **SAFE)
    return cls.from_pretrained(folder, dtype=torch.float32, **SAFE)


def _constructor_rule(cls: type) -> Rule:
    """Allows settings of the types of a scheduler's defaults; those without a default are as diffusers takes them."""
    of_type: dict[type, Rule] = {bool: flag, int: number(-1e9, 1e9), float: number(-1e9, 1e9), str: text()}
    defaults = {name: one.default for name, one in inspect.signature(cls.__init__).parameters.items()}
    rules = {name: optional(of_type[type(one)]) for name, one in defaults.items() if type(one) in of_type}
    return table(rules, others=lambda *_: None)


def _pipeline(kind: str, parts: Mapping[str, Any], index: Mapping[str, Any]) -> Any:
    """Returns a pipeline of diffusers with these components and the settings of model_index.json."""
    import diffusers

    cls = getattr(diffusers, kind)
    settings = {name: index[name] for name in inspect.signature(cls.__init__).parameters if name in index}
    return cls(**{name: one for name, one in settings.items() if not isinstance(one, list)} | dict(parts))
