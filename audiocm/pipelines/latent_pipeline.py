"""What every pipeline on latents shares: noise, solver, codec, checks, folders. A pipeline adds only its conditioner."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor

from ..codec.codec import Codec
from ..diffusion import paths, solvers
from ..diffusion.denoiser import Condition, Net
from ..diffusion.guidance import guided_net
from .loading import load_component, model_folder, read_index

SILENT = 1e-4  # RMS; -80 dB of full scale
LOUDEST = 0.3  # RMS of a frame, -10 dB; what the nets learn from is levelled well below
FLAT = 0.01  # share of samples beyond full scale, or stuck at the loudest value, that makes a sound clipped
Seeds = torch.Generator | Sequence[torch.Generator] | None


class AudioError(ValueError):
    """What a net made is not a sound: silent, not finite or clipped."""


@dataclass
class AudioOutput(BaseOutput):
    """audios: float32 [prompt * num, sample] in [-1, 1] (numpy for output_type "np", latents for "latent")."""

    audios: Any
    sample_rate: int


def item_generators(generator: Seeds, prompts: int, takes: int) -> list[int]:
    """One seed for each sound: it follows from the generator and the take alone, so a sound keeps its seed in any batch.

    Takes of one seed are seed, seed + 1, ...; a list of generators holds one for each prompt or one for each sound.
    ValueError when it has another length.
    """
    if isinstance(generator, Sequence):
        if len(generator) not in (prompts, prompts * takes):
            raise ValueError(f"{len(generator)} generators for {prompts} prompts of {takes} sounds each")
        bases = [_base(one) for one in generator]
        if len(generator) == prompts * takes:
            return bases
    else:
        bases = [_base(generator)] * prompts
    return [base + take for base in bases for take in range(takes)]


def _base(generator: torch.Generator | None) -> int:
    device = "cpu" if generator is None else generator.device
    return int(torch.randint(2**62, (1,), generator=generator, device=device))


class ItemNoise:
    """Unit noise [item, channel, frame], each item from its own generator, on the CPU: batch, length and device do not matter."""

    def __init__(self, seeds: Sequence[int], channels: int, max_frames: int):
        self.generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self.shape = (max_frames, channels)

    def __call__(self, frames: int, device: torch.device | str) -> Tensor:
        rows = [torch.randn(self.shape, generator=generator)[:frames].T for generator in self.generators]
        return torch.stack(rows).to(device)


def validate_audio(wav: Tensor, names: Sequence[str]) -> Tensor:
    """The sounds [item, sample] in [-1, 1]: peaks over full scale are turned down. SoundError names the first bad one."""
    wav = wav.float()
    peak = wav.abs().amax(-1, keepdim=True)
    bad = {
        "has numbers that are not finite": ~wav.isfinite().all(-1),
        "is silent": wav.square().mean(-1).sqrt() < SILENT,
        "is clipped": ((wav.abs() > 1).float().mean(-1) > FLAT)
        | ((wav.abs() >= peak * (1 - 1e-5)).float().mean(-1) > FLAT),
    }
    for fault, where in bad.items():
        if where.any():
            name = names[int(where.nonzero()[0, 0])]
            raise AudioError(f"the sound made for {name!r} {fault}: try another seed, fewer steps or less guidance")
    return wav * torch.where(peak > 1, 0.99 / peak, torch.ones_like(peak))


def decode_checked(codec: Codec, latent: Tensor, names: Sequence[str], samples: int | None = None) -> Tensor:
    """What a net made, as sounds `[item, sample]` on the CPU: limited, decoded, cut to `samples` and `checked` (SoundError)."""
    return validate_audio(codec.decode(latent.float(), LOUDEST)[:, :samples], names).cpu()


class LatentPipeline(DiffusionPipeline):
    """Codec, latent transformer and the way from noise to a latent.

    A net with a `guidance_range` is a student: it takes w itself and one call makes a sound. Any other is a teacher:
    its ODE is solved with guidance from outside (two rows of one batch a query).
    """

    def join(self, iterations: int | None = None) -> None:
        """For the end of a subclass' __init__; `iterations` as for `Codec`. ValueError when net and codec do not fit."""
        self.codec = Codec(self.vae, self.vocoder, iterations)
        if self.transformer.config.channels != self.codec.channels:
            raise ValueError(
                f"the net makes {self.transformer.config.channels} channels, the codec has {self.codec.channels}"
            )

    @property
    def sample_rate(self) -> int:
        """Samples a second of `.audios`."""
        return self.codec.sample_rate

    @property
    def is_student(self) -> bool:
        """Whether the net takes the guidance weight itself."""
        return self.transformer.config.guidance_range is not None

    @property
    def guidance_range(self) -> tuple[float, float]:
        """Allowed guidance_scale: what a student was trained on, or the config's for a teacher."""
        low, high = self.transformer.config.guidance_range or self.config.guidance_range
        return low, high

    @property
    def path(self) -> paths.Path:
        """The path that the net was trained on."""
        return getattr(paths, self.transformer.config.path)

    def check_sampling(self, steps: int, w: float) -> None:
        """ValueError, in one line, for steps or guidance that are not allowed."""
        if int(steps) != steps or steps < 1:
            raise ValueError(f"steps must be a whole number of at least 1, not {steps}")
        low, high = self.guidance_range
        if not low <= w <= high:
            raise ValueError(f"guidance {w:g} is outside what the model allows: {low:g} to {high:g}")

    def field(self, cond: Condition, w: float) -> tuple[Net, Condition]:
        """The net whose ODE is followed, and what it is told."""
        if self.is_student:
            return self.transformer, cond.with_guidance(w)
        return (self.transformer if w == 1 else guided_net(self.transformer, w)), cond

    def solved(
        self,
        net: Net,
        cond: Condition,
        draw: Callable[[], Tensor],
        steps: int,
        noise: Tensor | None = None,
        solver: solvers.Solver | None = None,
        callback: Callable[[int, float, Tensor], None] | None = None,
    ) -> Tensor:
        """The latent at the end; `draw` gives unit noise whenever some is needed, `noise` the first if it is given."""
        times = (solvers.student_times if self.is_student else solvers.ode_times)(self.path, int(steps))
        default = solvers.student_step if self.is_student else solvers.heun
        return solvers.sample(
            net, self.path, draw() if noise is None else noise, cond, times, solver or default,
            hook=_counted(callback), draw=lambda like: draw(),
        )  # fmt: skip

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, device: torch.device | str = "cpu", **hub: Any):
        """A bundled model by name (see `bundled_models`), a folder, or a hub id "owner/name" (the only use of a network).

        ValueError names an unknown model and lists the bundled ones, names a missing or damaged file, or says that the
        model is of another kind.
        """
        folder = model_folder(name, **hub)
        settings, parts = read_index(folder)
        wanted = [
            n for n, p in inspect.signature(cls.__init__).parameters.items() if p.default is p.empty and n != "self"
        ]
        if set(wanted) != set(parts):
            raise ValueError(f"{str(name)!r} is no model for {cls.__name__}: it has {', '.join(sorted(parts))}")
        return cls(**{part: load_component(part, *where) for part, where in parts.items()}, **settings).to(device)


def _counted(callback: Callable[[int, float, Tensor], None] | None) -> Callable[[Tensor, float], Tensor] | None:
    """diffusers' callback(step, time, latents) as a sampler's hook."""
    if callback is None:
        return None
    step = 0

    def hook(x: Tensor, time: float) -> Tensor:
        nonlocal step
        callback(step, time, x)
        step += 1
        return x

    return hook
