"""Adapters: what the pipelines of one architecture do differently from others, in at most 40 lines each.

`README.md` in this folder is the guide to writing one.
"""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from ..diffusion.denoiser import Condition
from ..models.folders import record_checksums
from .denoiser import DenoiserNet
from .schedulers import NoiseSchedule, one_call_scheduler, read_scheduler
from .students import StudentNet, bake

USAGE = """# there is no pipeline of this architecture: this is its network, in plain diffusers
from diffusers import {cls}

{denoiser} = {cls}.from_pretrained(FOLDER, subfolder="{denoiser}")

# and this a sound, by audiocm
import torch
from audiocm import load_teacher, sample

model = load_teacher(FOLDER)
noise = torch.randn(1, *model.latent_shape({seconds}))
audio = model.decode(sample(model.net, model.path, noise, model.condition(["a dog barks"], {seconds})))[0]"""


class Adapter:
    """Says how the denoiser of a pipeline is called and conditioned, and how sound becomes a latent.

    A subclass defines `predict`, `condition`, `latent_shape`, `encode` and `decode`; the class attributes name parts of
    the architecture. `pipe` holds the components as attributes: a pipeline, or a namespace where diffusers has none."""

    components: ClassVar[Mapping[str, str]]  # name of a component -> its class, or "*" for any
    denoiser: ClassVar[str] = "unet"  # the component that is distilled
    time_layer: ClassVar[str] = "time_embedding.linear_1"  # its first linear layer of the time embedding
    float32_layers: ClassVar[Sequence[str]] = ()  # layers that would round the time under bf16 autocast
    blocks: ClassVar[Sequence[str]] = ("BasicTransformerBlock",)  # classes that `Run.compile` compiles
    length: ClassVar[str] = "audio_length_in_s"  # the pipeline's argument for the length in seconds
    seconds: float = 10.0  # of a sound, where the caller names no length

    def __init__(self, pipe: Any):
        self.pipe = pipe

    @property
    def sample_rate(self) -> int:
        """Sample rate in Hz."""
        return self.pipe.vae.config.sampling_rate

    @property
    def channels(self) -> int:
        """Number of audio channels."""
        return 1

    @property
    def device(self) -> torch.device:
        """The device of the denoiser."""
        return next(getattr(self.pipe, self.denoiser).parameters()).device

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        """Returns the raw output of the denoiser. A static method: copies of a network must not copy the pipeline."""
        raise NotImplementedError

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        """Encodes prompts; no row may depend on the other prompts of the batch."""
        raise NotImplementedError

    def null_condition(self) -> Condition:
        """Returns what replaces dropped conditions: of the fields set here, one row for all or a table [row, ...]."""
        return self.condition([""], self.seconds)

    @staticmethod
    def null_row(cond: Condition) -> Tensor | None:
        """Returns the row [batch] of the table of null conditions for each row; None: the only one."""
        return None

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        """Returns the shape of one latent."""
        raise NotImplementedError

    def needed(self, latent: Tensor, seconds: float) -> Tensor:
        """Returns the part of latents [batch, *latent_shape] on which the first seconds of their sound depend."""
        return latent

    def tokens(self) -> int | None:
        """Returns the number of latent tokens of a sound of the default length, for dynamic flow shifts."""
        return self.latent_shape(self.seconds)[1]

    def encode(self, wav: Tensor) -> Tensor:
        """Encodes waveforms [batch, sample] or, for stereo, [batch, channel, sample]."""
        raise NotImplementedError

    def decode(self, latent: Tensor) -> Tensor:
        """Decodes latents to waveforms of the form that `encode` takes."""
        raise NotImplementedError

    @functools.cached_property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule of the pipeline's scheduler. Raises ValueError if it is not supported."""
        return read_scheduler(self.pipe.scheduler, self.tokens())

    def build_net(self) -> nn.Module:
        """Returns the contract net of the denoiser. Raises ValueError if that also predicts a variance."""
        net = getattr(self.pipe, self.denoiser)
        given, made = net.config.get("in_channels"), net.config.get("out_channels")
        if given is not None and made is not None and given != made:
            raise ValueError(
                f"the {self.denoiser} takes {given} channels and gives {made}: it must predict the sample only"
            )
        return DenoiserNet(net, self.schedule, type(self), self.null_condition())

    def build_student(
        self, net: Any, guidance_range: tuple[float, float] | None, target_time: bool, lora: int | None
    ) -> nn.Module:
        """Returns a student of the contract net, see `Teacher.student`."""
        return StudentNet(net, guidance_range, target_time, lora)

    def save(self, student: Any, folder: Path, w: float | None) -> None:
        """Writes the pipeline with the student at a fixed w, the scheduler of its single call, and checksums."""
        changes = {self.denoiser: bake(student, w), "scheduler": one_call_scheduler(self.pipe.scheduler)}
        if hasattr(self.pipe, "components"):
            type(self.pipe)(**(self.pipe.components | changes)).save_pretrained(folder)
        else:
            for name, component in (vars(self.pipe) | changes).items():
                component.save_pretrained(folder / name)
        record_checksums(folder, with_parts=True)

    def usage(self, of_lora: bool = False) -> str:
        """Returns Python code that calls a saved student, or adds its low-rank difference to the teacher, for its card."""
        if of_lora:
            return self._usage_of_lora()
        if hasattr(self.pipe, "components"):
            load = "from diffusers import DiffusionPipeline\n\npipe = DiffusionPipeline.from_pretrained(FOLDER)"
            options = f"{self.length}={self.seconds:g}, num_inference_steps=1, guidance_scale=1.0"
            return f'{load}\naudio = pipe("a dog barks", {options}).audios[0]'
        cls = type(getattr(self.pipe, self.denoiser)).__name__
        return USAGE.format(denoiser=self.denoiser, cls=cls, seconds=f"{self.seconds:g}")

    def _usage_of_lora(self) -> str:
        net, scheduler = getattr(self.pipe, self.denoiser), type(one_call_scheduler(self.pipe.scheduler)).__name__
        by_diffusers = 'net.load_lora_adapter(FOLDER, prefix=None, weight_name="pytorch_lora_weights.safetensors")'
        own = "audiocm.teachers.load_lora(net, FOLDER)"
        return (
            f"{by_diffusers if hasattr(net, 'load_lora_adapter') else own}  # net: the teacher's {self.denoiser}\n"
            f'scheduler = diffusers.{scheduler}.from_pretrained(FOLDER, subfolder="scheduler")  # of its single call'
        )


AdapterClass = TypeVar("AdapterClass", bound=type[Adapter])
_ADAPTERS: dict[str, type[Adapter]] = {}
GUIDE = "audiocm/teachers/README.md says how to write an adapter"


def register_adapter(*pipelines: str) -> Callable[[AdapterClass], AdapterClass]:
    """Decorates the `Adapter` of the pipelines with these class names; a later one replaces an earlier one.

    Raises ValueError if no name is given or the adapter names no components."""

    def register(adapter: AdapterClass) -> AdapterClass:
        if not pipelines:
            raise ValueError("register_adapter needs the class name of a pipeline, such as 'AudioLDMPipeline'")
        if not getattr(adapter, "components", None):
            raise ValueError(f"{adapter.__name__} must name its components: {{'unet': 'UNet2DConditionModel', ...}}")
        _ADAPTERS.update(dict.fromkeys(pipelines, adapter))
        return adapter

    return register


def known_pipelines() -> list[str]:
    """Returns the class names of the pipelines that have an adapter."""
    return sorted(_ADAPTERS)


def adapter_of_pipeline(name: str) -> type[Adapter]:
    """Returns the adapter of a pipeline's class name. Raises ValueError, with the known ones, for another."""
    if name not in _ADAPTERS:
        raise ValueError(f"no adapter for {name}: known are {', '.join(known_pipelines())}; {GUIDE}")
    return _ADAPTERS[name]


def adapter_of_components(classes: Mapping[str, str]) -> type[Adapter]:
    """Returns the adapter whose components have these names and classes, where no pipeline names it.

    The most specific one is taken. Raises ValueError, with what the nearest one misses, if there is none."""
    candidates = list(dict.fromkeys(_ADAPTERS.values()))
    fitting = [one for one in candidates if not misfits(one, classes)]
    if fitting:
        return max(fitting, key=lambda one: len(one.components))
    found = ", ".join(f"{name} ({cls})" for name, cls in sorted(classes.items())) or "none"
    nearest = min(candidates, key=lambda one: len(misfits(one, classes)))
    missing = "; ".join(misfits(nearest, classes))
    raise ValueError(f"components {found} fit no adapter; for {nearest.__name__}, {missing}; {GUIDE}")


def misfits(adapter: type[Adapter], classes: Mapping[str, str]) -> list[str]:
    """Returns, in words, which components of an adapter are missing or of another class."""
    wrong = []
    for name, wanted in adapter.components.items():
        if name not in classes:
            wrong.append(f"{name} is missing")
        elif wanted not in ("*", classes[name]):
            wrong.append(f"{name} must be a {wanted}, not a {classes[name]}")
    return wrong


def padded_tokens(tokenizer: Any, prompts: Sequence[str], length: int) -> Any:
    """Returns input_ids and attention_mask [batch, length] of prompts; longer prompts are cut, with a UserWarning."""
    length = min(length, tokenizer.model_max_length)
    for prompt, ids in zip(prompts, tokenizer(list(prompts), truncation=False, verbose=False).input_ids, strict=True):
        if len(ids) > length:
            warnings.warn(f"prompt {prompt[:40]!r} has {len(ids)} tokens and is cut to {length}", stacklevel=4)
    options = {"padding": "max_length", "truncation": True, "max_length": length, "return_tensors": "pt"}
    return tokenizer(list(prompts), **options)
