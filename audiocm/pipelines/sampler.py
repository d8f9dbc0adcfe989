"""Base class of the samplers: noise, guidance, solver, decoding, checks, loading. Subclasses add the conditioner.

A sampler is all of a pipeline but what diffusers adds, which is imported by `latent_pipeline` only.
"""

import inspect
import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self

from ..checks import check_callable, check_instance, check_number, check_whole
from ..codec.codec import Codec
from ..codec.vae_net import MelVAENet
from ..codec.vocoder_net import VocoderNet
from ..devices import resolve_device
from ..diffusion import paths, solvers
from ..diffusion.denoiser import Condition, Net
from ..diffusion.guidance import guided_net, negative_guided_net
from ..failed_sounds import Failure
from ..models.bert import load_plain_text_encoder, load_plain_tokenizer
from ..models.configured import Configured
from ..models.transformer_net import TransformerNet
from ..models.weights import StoredWeights, has_variant
from .failures import raise_failures
from .loading import SETTINGS, load_net, model_folder, read_index

MAX_STEPS = 1000  # of a solver
Seeds = torch.Generator | Sequence[torch.Generator] | None
Callback = Callable[[int, float, Tensor], None]  # diffusers' (step, time, latents), called after a step
Hook = Callable[[Tensor, float], Tensor]
Dtypes = torch.dtype | dict[str, torch.dtype] | None
StepCallback = Callable[[Any, int, float, dict[str, Tensor]], dict[str, Tensor]]  # (pipeline, step, time, tensors)


@dataclass
class Sounds:
    """Generated sounds."""

    audios: Any  # float32 [prompt * num, sample] in [-1, 1]; numpy for output_type "np", latents for "latent"
    sample_rate: int
    failures: list[Failure] = field(default_factory=list)  # empty unless on_failure is "return"
    retries: list[int] = field(default_factory=list)  # of each sound; n retries moved its seed by n * RETRY_STRIDE


def item_seeds(generator: Seeds, prompts: int, takes: int) -> list[int]:
    """Returns a seed for each sound, from the generator and the take alone, so that a sound is the same in any batch.

    The takes of a prompt have the seeds n, n + 1, ...; a list holds a generator for each prompt or for each sound.
    Raises ValueError for a list of another length, or of anything else."""
    given = generator if isinstance(generator, Sequence) else [generator]
    if not all(one is None or isinstance(one, torch.Generator) for one in given):
        raise ValueError(f"generator must be a torch.Generator, a list of them, or None, not {generator!r}")
    if isinstance(generator, Sequence):
        seeds = [_draw_seed(one) for one in generator]
        if len(seeds) == prompts * takes:
            return seeds
        if len(seeds) != prompts:
            raise ValueError(f"{len(seeds)} generators for {prompts} prompts of {takes} sounds each")
    else:
        seeds = [_draw_seed(generator)] * prompts
    return [seed + take for seed in seeds for take in range(takes)]


def _draw_seed(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**62, (1,), generator=generator, device=device))


class PerItemNoise:
    """Draws unit noise [item, channel, frame] on the CPU, with one generator an item, independent of batch and device.

    The noise of a shorter sound is the beginning of that of a longer one."""

    def __init__(self, seeds: Sequence[int], channels: int, max_frames: int):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape = (max_frames, channels)

    def __call__(self, frames: int, device: torch.device | str) -> Tensor:
        rows = [torch.randn(self.shape, generator=generator)[:frames].T for generator in self.generators]
        return torch.stack(rows).to(device)


class LatentSampler(Configured):
    """A latent transformer and a codec.

    A transformer with a `guidance_range` is a student, which takes the guidance weight as an input and makes a sound in
    one call. Any other is a teacher, whose ODE is solved with classifier-free guidance, two rows a call."""

    required_components: ClassVar[tuple[str, ...]] = ("transformer", "vae", "vocoder")
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]
    stored_name: ClassVar[str | None] = None  # of the pipeline in model_index.json; None: that of the class
    component_classes: ClassVar[tuple[type[StoredWeights], ...]] = (TransformerNet, MelVAENet, VocoderNet)

    def register_modules(self, **components: Any) -> None:
        """Makes components attributes, of which the configuration holds the names."""
        self.register_to_config(**dict.fromkeys(components))
        for name, component in components.items():
            setattr(self, name, component)

    @property
    def device(self) -> torch.device:
        """Where the models are."""
        return next(self.transformer.parameters()).device

    @property
    def _execution_device(self) -> torch.device:
        """Where the models run; diffusers' may be offloaded elsewhere."""
        return self.device

    def to(self, device: torch.device | str, **_: Any) -> Self:
        """Moves the models. Raises ValueError for a device that does not work."""
        device = resolve_device(device)
        for name in self.required_components:
            if isinstance(component := getattr(self, name), torch.nn.Module):
                component.to(device)
        return self

    def maybe_free_model_hooks(self) -> None:
        """Does nothing: only diffusers' pipelines are offloaded."""

    def register_settings(self, **settings: Any) -> None:
        """Stores settings of the constructor in the configuration. Raises ValueError for one that is not allowed."""
        for name, value in settings.items():
            SETTINGS[name](value, name)
        self.register_to_config(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})

    def check_text_width(self, encoder: str, width: int) -> None:
        """Raises ValueError, in a subclass' __init__, if an encoder's states are not of the transformer's width."""
        taken = None if self.transformer is None else self.transformer.config.token_width
        if taken not in (None, width):
            raise ValueError(f"the {encoder} gives states of {width} numbers, the transformer takes {taken}")

    def build_codec(self, iterations: int | None = None) -> None:
        """Builds `codec` in a subclass' __init__, if no part is None. Raises ValueError if the transformer does not
        fit."""
        if None in (self.transformer, self.vae, self.vocoder):
            return
        if self.vae.config.mel_bins != self.vocoder.config.mel_bins:
            bins = f"{self.vae.config.mel_bins} mel bins, the vocoder {self.vocoder.config.mel_bins}"
            raise ValueError(f"the vae has {bins}: they do not belong together")
        self.codec = Codec(self.vae, self.vocoder, iterations)
        channels = self.transformer.config.channels
        if channels != self.codec.channels:
            raise ValueError(f"the transformer has {channels} latent channels, the codec {self.codec.channels}")

    def finish(self, output: Any, on_failure: str, return_dict: bool) -> Any:
        """Returns the output of a call, or its sounds in a tuple. Raises AudioError for failures if so wanted."""
        self.maybe_free_model_hooks()
        raise_failures(output.failures if on_failure == "raise" else [], output)
        return output if return_dict else (output.audios,)

    @property
    def sample_rate(self) -> int:
        """Sample rate of `.audios` in Hz."""
        return self.codec.sample_rate

    @property
    def is_student(self) -> bool:
        """Whether the transformer takes the guidance weight as an input."""
        return self.transformer.config.guidance_range is not None

    @property
    def guidance_range(self) -> tuple[float, float]:
        """Allowed guidance_scale: what a student was trained on, or the pipeline's configuration for a teacher."""
        low, high = self.transformer.config.guidance_range or self.config.guidance_range
        return low, high

    @property
    def path(self) -> paths.Path:
        """The noise path that the transformer was trained on."""
        return getattr(paths, self.transformer.config.path)

    def check_sampling(self, steps: int, w: float) -> None:
        """Raises ValueError if the number of steps or the guidance weight is not allowed."""
        check_whole("num_inference_steps", steps, least=1, most=MAX_STEPS)
        check_number("guidance_scale", w)
        low, high = self.guidance_range
        if not low <= w <= high:
            raise ValueError(f"guidance {w:g} is outside what the model allows: {low:g} to {high:g}")

    def apply_guidance(self, cond: Condition, w: float, negative: Condition | None = None) -> tuple[Net, Condition]:
        """Returns the network to sample and its condition, with guidance weight w, for a teacher away from `negative`."""
        if negative is not None:
            return negative_guided_net(self.transformer, w, negative), cond
        if self.is_student:
            return self.transformer, cond.with_guidance(w)
        return guided_net(self.transformer, w), cond

    def step_hooks(
        self, callback: Callback | None, every: int, on_step_end: StepCallback | None, tensors: Sequence[str]
    ) -> Callable[[], Hook]:
        """Returns a function that makes a hook of `solvers.sample` of diffusers' callbacks; each run needs its own.

        `callback` is called after every `every` steps, `on_step_end` after each; the "latents" that it returns take the
        place of the sample. Raises ValueError for options that are not allowed."""
        for name, function in (("callback", callback), ("callback_on_step_end", on_step_end)):
            if function is not None:
                check_callable(name, function)
        check_whole("callback_steps", every, least=1)
        for tensor in check_instance("callback_on_step_end_tensor_inputs", tensors, list | tuple, "a list of names"):
            if tensor not in self._callback_tensor_inputs:
                raise ValueError(f"callback_on_step_end_tensor_inputs may hold 'latents' only, not {tensor!r}")

        def new_hook() -> Hook:
            steps = itertools.count()

            def after_step(x: Tensor, time: float) -> Tensor:
                step = next(steps)
                if callback is not None and step % every == 0:
                    callback(step, time, x)
                return on_step_end(self, step, time, dict.fromkeys(tensors, x)).get("latents", x) if on_step_end else x

            return after_step

        return new_hook

    def sample_latents(
        self,
        net: Net,
        cond: Condition,
        draw_noise: Callable[[], Tensor],
        steps: int,
        noise: Tensor | None = None,
        solver: solvers.Solver | None = None,
        new_hook: Callable[[], Hook] | None = None,
        gamma: float | None = None,
    ) -> Tensor:
        """Samples latents: a student with `student_step` and gamma 1, a teacher with `heun` and gamma 0, by default.

        `draw_noise` returns the noise of the start (or `noise` is it) and of every re-noising. With another `solver`,
        gamma is 0 by default, see `solvers.sample`. Raises ValueError for a solver or gamma that is none."""
        if solver is not None:
            check_callable("solver", solver)
        if gamma is not None:
            check_number("gamma", gamma, least=0, most=1)
        times = (solvers.student_times if self.is_student else solvers.ode_times)(self.path, int(steps))
        if gamma is None:
            gamma = 1.0 if self.is_student and solver is None else 0.0
        solver = solver or (solvers.student_step if self.is_student else solvers.heun)
        noise, self.num_timesteps = draw_noise() if noise is None else noise, len(times) - 1
        hook = None if new_hook is None else new_hook()
        return solvers.sample(
            net, self.path, noise, cond, times, solver, gamma, hook=hook, draw_noise=lambda _: draw_noise()
        )

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike,
        device: torch.device | str = "cpu",
        torch_dtype: Dtypes = None,
        variant: str | None = None,
        dtype: Dtypes = None,
        device_map: str | None = None,
        **options: Any,
    ) -> Self:
        """Loads a bundled model by name (see `bundled_models`), a folder, or a hub id "owner/name", over the network.

        device       where the models run; `device_map` is the same
        torch_dtype  of the weights, or {component: dtype, "default": dtype}; default float32; `dtype` is the same
        variant      of the weight files ("fp16"), of the components that have it; default: int8, fp16, bf16 or none
        options      components (None: without it) and settings of the constructor, which replace the stored ones, and
                     options of the hub (revision, token, cache_dir, force_download, local_files_only)

        Raises ValueError if the model is unknown or of another kind, no component has the variant, or a file is missing
        or damaged, and TypeError for any other option."""
        own = set(inspect.signature(cls.__init__).parameters) - {"self"}
        given = {key: options.pop(key) for key in own & set(options)}
        check_instance("name", name, str | os.PathLike, "the name of a model, a folder or a hub id")
        if device_map is not None and (not isinstance(device_map, str) or device_map in ("auto", "balanced")):
            raise ValueError(f"device_map may only name a device, not {device_map!r}: the models are small")
        device = resolve_device(device_map or device)
        settings, components = read_index(folder := model_folder(name, **options))
        if set(components) | (set(cls.required_components) & set(given)) != set(cls.required_components):
            raise ValueError(
                f"{str(name)!r} is no model for {cls.stored_name or cls.__name__}: it has {', '.join(sorted(components))}"
            )
        if unknown := sorted(set(settings) - own):
            raise ValueError(
                f"model folder {folder} sets {unknown[0]}, which {cls.stored_name or cls.__name__} does not have"
            )
        if variant is not None and not any(has_variant(one, variant) for one in components.values()):
            raise ValueError(f"You are trying to load the model files of the `variant={variant}`, but {name} has none")
        dtypes = torch_dtype if dtype is None else dtype
        dtypes = dtypes if isinstance(dtypes, dict) else {"default": dtypes}
        for part in set(components) - set(given):
            given[part] = cls._load_component(part, components[part], dtypes.get(part, dtypes.get("default")), variant)
        return cls(**(settings | given)).to(device, silence_dtype_warnings=True)

    @classmethod
    def _load_component(cls, name: str, folder: Path, dtype: torch.dtype | None, variant: str | None) -> Any:
        """Loads a component by its name, see `load_component`."""
        if name == "tokenizer":
            return load_plain_tokenizer(folder)
        if name == "text_encoder":
            return load_plain_text_encoder(folder, dtype, variant)
        return load_net(cls.component_classes, name, folder, dtype, variant)
