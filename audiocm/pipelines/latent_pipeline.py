"""Base class of the pipelines: noise, guidance, solver, decoding, checks, loading. Subclasses add the conditioner."""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor
from typing_extensions import Self

from ..codec.codec import Codec
from ..diffusion import paths, solvers
from ..diffusion.denoiser import Condition, Net
from ..diffusion.guidance import guided_net
from .loading import load_component, model_folder, read_index

SILENCE_RMS = 1e-4  # of full scale: -80 dB
MAX_FRAME_RMS = 0.3  # of full scale: -10 dB; training data are well below
CLIPPED_SHARE = 0.01  # share of samples beyond full scale, or at the maximum, from which a sound counts as clipped
Seeds = torch.Generator | Sequence[torch.Generator] | None
Callback = Callable[[int, float, Tensor], None]  # diffusers' (step, time, latents), called after every step


class AudioError(ValueError):
    """A generated sound is silent, not finite or clipped."""


@dataclass
class AudioOutput(BaseOutput):
    """Generated sounds."""

    audios: Any  # float32 [prompt * num, sample] in [-1, 1]; numpy for output_type "np", latents for "latent"
    sample_rate: int


def item_seeds(generator: Seeds, prompts: int, takes: int) -> list[int]:
    """Returns a seed for each sound, from the generator and the take alone, so that a sound is the same in any batch.

    The takes of a prompt have the seeds n, n + 1, ...; a list holds a generator for each prompt or for each sound.
    Raises ValueError for a list of another length."""
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


def validate_audio(wav: Tensor, names: Sequence[str]) -> Tensor:
    """Returns sounds [item, sample] in float32, with those that exceed full scale scaled to a peak of 0.99.

    Raises AudioError with the name of the first sound that is silent, not finite or clipped."""
    wav = wav.float()
    peak = wav.abs().amax(-1, keepdim=True)
    too_loud, at_peak = wav.abs() > 1, wav.abs() >= peak * (1 - 1e-5)
    faults = {
        "has numbers that are not finite": ~wav.isfinite().all(-1),
        "is silent": wav.square().mean(-1).sqrt() < SILENCE_RMS,
        "is clipped": (too_loud.float().mean(-1) > CLIPPED_SHARE) | (at_peak.float().mean(-1) > CLIPPED_SHARE),
    }
    for fault, where in faults.items():
        if where.any():
            name = names[int(where.nonzero()[0, 0])]
            raise AudioError(f"the sound made for {name!r} {fault}: try another seed, fewer steps or less guidance")
    return wav * torch.where(peak > 1, 0.99 / peak, torch.ones_like(peak))


def decode_checked(codec: Codec, latent: Tensor, names: Sequence[str], samples: int | None = None) -> Tensor:
    """Decodes generated latents to valid sounds [item, sample] on the CPU, limited in level and cut to `samples`."""
    return validate_audio(codec.decode(latent.float(), MAX_FRAME_RMS)[:, :samples], names).cpu()


class LatentPipeline(DiffusionPipeline):
    """A pipeline with a latent transformer and a codec.

    A transformer with a `guidance_range` is a student, which takes the guidance weight as an input and makes a sound in
    one call. Any other is a teacher, whose ODE is solved with classifier-free guidance, two rows a call."""

    required_components: ClassVar[tuple[str, ...]] = ("transformer", "vae", "vocoder")

    def build_codec(self, iterations: int | None = None) -> None:
        """Builds `codec` at the end of a subclass' __init__. Raises ValueError if the transformer does not fit it."""
        self.codec = Codec(self.vae, self.vocoder, iterations)
        channels = self.transformer.config.channels
        if channels != self.codec.channels:
            raise ValueError(f"the transformer has {channels} latent channels, the codec {self.codec.channels}")

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
        if int(steps) != steps or steps < 1:
            raise ValueError(f"steps must be a whole number of at least 1, not {steps}")
        low, high = self.guidance_range
        if not low <= w <= high:
            raise ValueError(f"guidance {w:g} is outside what the model allows: {low:g} to {high:g}")

    def apply_guidance(self, cond: Condition, w: float) -> tuple[Net, Condition]:
        """Returns the network to sample and its condition, with guidance weight w."""
        if self.is_student:
            return self.transformer, cond.with_guidance(w)
        return guided_net(self.transformer, w), cond

    def sample_latents(
        self,
        net: Net,
        cond: Condition,
        draw_noise: Callable[[], Tensor],
        steps: int,
        noise: Tensor | None = None,
        solver: solvers.Solver | None = None,
        callback: Callback | None = None,
        gamma: float | None = None,
    ) -> Tensor:
        """Samples latents: a student with `student_step` and gamma 1, a teacher with `heun` and gamma 0, by default.

        `draw_noise` returns the noise of the start (or `noise` is it) and of every re-noising. With another `solver`,
        gamma is 0 by default, see `solvers.sample`."""
        times = (solvers.student_times if self.is_student else solvers.ode_times)(self.path, int(steps))
        if gamma is None:
            gamma = 1.0 if self.is_student and solver is None else 0.0
        solver = solver or (solvers.student_step if self.is_student else solvers.heun)
        noise = draw_noise() if noise is None else noise
        hook = _step_hook(callback)
        return solvers.sample(
            net, self.path, noise, cond, times, solver, gamma, hook=hook, draw_noise=lambda _: draw_noise()
        )

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, device: torch.device | str = "cpu", **hub: Any) -> Self:
        """Loads a bundled model by name (see `bundled_models`), a folder, or a hub id "owner/name", over the network.

        Raises ValueError if the model is unknown or of another kind, or a file is missing or damaged."""
        settings, components = read_index(model_folder(name, **hub))
        if set(components) != set(cls.required_components):
            raise ValueError(f"{str(name)!r} is no model for {cls.__name__}: it has {', '.join(sorted(components))}")
        return cls(**{part: load_component(one) for part, one in components.items()}, **settings).to(device)


def _step_hook(callback: Callback | None) -> Callable[[Tensor, float], Tensor] | None:
    """Returns a hook of `solvers.sample` that numbers the steps for a callback."""
    steps = itertools.count()

    def hook(x: Tensor, time: float) -> Tensor:
        callback(next(steps), time, x)
        return x

    return None if callback is None else hook
