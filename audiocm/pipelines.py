"""Prompts -> sound, with diffusers' base class, folder layout and audio keyword names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from torch import Tensor

from . import paths, solvers
from .bundles import described, loaded, model_folder
from .codec import Codec
from .conditioning import INT8_FILE, TextConditioner
from .denoiser import Condition, Net
from .distill import guided
from .weights import save_int8

SILENT = 1e-4  # RMS; -80 dB of full scale
FLAT = 0.01  # share of samples beyond full scale, or stuck at the loudest value, that makes a sound clipped

Prompt = str | Sequence[str]
Seeds = torch.Generator | Sequence[torch.Generator] | None


class SoundError(ValueError):
    """What a net made is not a sound: silent, not finite or clipped."""


@dataclass
class AudioOutput(BaseOutput):
    """audios: float32 [prompt * num, sample] in [-1, 1] (numpy for output_type "np", latents for "latent")."""

    audios: Any
    sample_rate: int


def seeds_of(generator: Seeds, prompts: int, takes: int) -> list[int]:
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


def avoiding(teacher: Net, w: float, negative: Condition) -> Net:
    """Guidance away from a negative prompt instead of from the null condition: clean_neg + w (clean_cond - clean_neg)."""

    def net(x_t: Tensor, t: Tensor, s: Tensor | None = None, cond: Condition | None = None) -> Tensor:
        both = Condition.cat([cond, negative])
        told, avoided = teacher(torch.cat([x_t, x_t]), t.repeat(2), None, both).chunk(2)
        return avoided + w * (told - avoided)

    return net


def checked(wav: Tensor, names: Sequence[str]) -> Tensor:
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
            raise SoundError(f"the sound made for {name!r} {fault}: try another seed, fewer steps or less guidance")
    return wav * torch.where(peak > 1, 0.99 / peak, torch.ones_like(peak))


class TextToAudioPipeline(DiffusionPipeline):
    """Words -> sound: text encoder, latent transformer (a one-step student or a teacher), mel VAE, vocoder.

    A net with a `guidance_range` is a student: it takes w itself and one call makes a sound. Any other is a teacher:
    its ODE is solved with guidance from outside (two rows of one batch a query).
    """

    def __init__(
        self,
        transformer: torch.nn.Module,
        vae: torch.nn.Module,
        vocoder: torch.nn.Module,
        text_encoder: torch.nn.Module,
        tokenizer: Any,
        num_inference_steps: int = 1,
        guidance_scale: float = 3.0,
        guidance_range: tuple[float, float] = (0.0, 10.0),
        seconds_range: tuple[float, float] = (0.5, 10.0),
        max_tokens: int = 32,
    ):
        """num_inference_steps, guidance_scale: defaults of a call; ranges: what a call allows (a student's w: its own)."""
        super().__init__()
        self.register_modules(
            transformer=transformer, vae=vae, vocoder=vocoder, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(
            num_inference_steps=num_inference_steps, guidance_scale=guidance_scale,
            guidance_range=tuple(guidance_range), seconds_range=tuple(seconds_range), max_tokens=max_tokens,
        )  # fmt: skip
        self.codec = Codec(vae, vocoder)
        self.conditioner = TextConditioner(text_encoder, tokenizer, max_tokens)
        if transformer.config.channels != self.codec.channels:
            raise ValueError(
                f"the net makes {transformer.config.channels} channels, the codec has {self.codec.channels}"
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

    @torch.no_grad()
    def __call__(
        self,
        prompt: Prompt,
        audio_length_in_s: float = 4.0,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: Prompt | None = None,
        num_waveforms_per_prompt: int = 1,
        generator: Seeds = None,
        latents: Tensor | None = None,
        solver: solvers.Solver | None = None,
        output_type: str = "pt",
        callback: Callable[[int, float, Tensor], None] | None = None,
    ) -> AudioOutput:
        """Make `num_waveforms_per_prompt` sounds for each prompt; the same seed is the same sound in any batch.

        guidance_scale is Imagen's w: 0 ignores the words, 1 follows them, more exaggerates them. `latents`: the first
        unit noise [prompt * num, channel, frame]. `solver`: any of audiocm.solvers (a teacher's default: heun; a
        student's: jump). callback(step, time, latents) after every step. ValueError for what is not allowed, SoundError
        when a result is silent, not finite or clipped.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        steps = self.config.num_inference_steps if num_inference_steps is None else num_inference_steps
        w = float(self.config.guidance_scale if guidance_scale is None else guidance_scale)
        self.check_inputs(prompts, audio_length_in_s, steps, w, num_waveforms_per_prompt, output_type)
        frames, device = self.codec.frames(audio_length_in_s), self.transformer.device
        cond = self._condition(prompts, num_waveforms_per_prompt, frames)
        net, cond = self._field(cond, w, self._negative(negative_prompt, len(prompts)))
        seeds = seeds_of(generator, len(prompts), num_waveforms_per_prompt)
        draw = ItemNoise(seeds, self.codec.channels, self.transformer.config.max_frames)
        noise = draw(frames, device) if latents is None else self._given(latents, len(seeds), frames)
        default = solvers.jump if self.is_student else solvers.heun
        latent = solvers.sample(
            net, self.path, noise, cond, self._times(steps), solver or default,
            hook=_counted(callback), draw=lambda like: draw(frames, device),
        )  # fmt: skip
        if output_type == "latent":
            return AudioOutput(latent, self.sample_rate)
        wav = self.codec.decode(latent.float())[:, : round(audio_length_in_s * self.sample_rate)]
        names = [one for one in prompts for _ in range(num_waveforms_per_prompt)]
        wav = checked(wav, names).cpu()
        return AudioOutput(wav.numpy() if output_type == "np" else wav, self.sample_rate)

    @property
    def path(self) -> paths.Path:
        """The path that the net was trained on."""
        return getattr(paths, self.transformer.config.path)

    def check_inputs(
        self, prompts: list[str], seconds: float, steps: int, w: float, num: int = 1, output_type: str = "pt"
    ) -> None:
        """ValueError, in one line, for the first input that is not allowed."""
        if not prompts or not all(isinstance(one, str) and one.strip() for one in prompts):
            raise ValueError("the prompt is empty: say in words what should sound")
        low, high = self.config.seconds_range
        if not low <= seconds <= high:
            raise ValueError(f"{seconds:g} seconds is outside what the model was trained on: {low:g} to {high:g}")
        if int(steps) != steps or steps < 1:
            raise ValueError(f"steps must be a whole number of at least 1, not {steps}")
        low, high = self.guidance_range
        if not low <= w <= high:
            raise ValueError(f"guidance {w:g} is outside what the model allows: {low:g} to {high:g}")
        if int(num) != num or num < 1:
            raise ValueError(f"the number of sounds a prompt must be a whole number of at least 1, not {num}")
        if output_type not in ("pt", "np", "latent"):
            raise ValueError(f"output_type must be 'pt', 'np' or 'latent', not {output_type!r}")

    def _condition(self, prompts: list[str], num: int, frames: int) -> Condition:
        cond = self.conditioner(prompts).to(self.transformer.device).repeat_interleave(num)
        cond.mask = torch.ones(len(cond), frames, dtype=torch.bool, device=self.transformer.device)
        return cond

    def _negative(self, negative_prompt: Prompt | None, prompts: int) -> list[str] | None:
        if negative_prompt is None:
            return None
        if self.is_student:
            raise ValueError("negative_prompt needs a teacher: a student has its guidance, away from nothing, built in")
        negative = [negative_prompt] * prompts if isinstance(negative_prompt, str) else list(negative_prompt)
        if len(negative) != prompts:
            raise ValueError(f"{len(negative)} negative prompts for {prompts} prompts")
        return negative

    def _field(self, cond: Condition, w: float, negative: list[str] | None) -> tuple[Net, Condition]:
        """The net whose ODE is followed, and what it is told."""
        if self.is_student:
            return self.transformer, cond.with_guidance(w)
        if negative is not None:
            return avoiding(
                self.transformer, w, self._condition(negative, len(cond) // len(negative), cond.mask.shape[1])
            ), cond
        return (self.transformer if w == 1 else guided(self.transformer, w)), cond

    def _times(self, steps: int) -> list[float]:
        return (solvers.jump_times if self.is_student else solvers.ode_times)(self.path, int(steps))

    def _given(self, latents: Tensor, items: int, frames: int) -> Tensor:
        wanted = (items, self.codec.channels, frames)
        if tuple(latents.shape) != wanted:
            raise ValueError(f"latents must be [sound, channel, frame] = {list(wanted)}, not {list(latents.shape)}")
        return latents.to(self.transformer.device, torch.float32)

    def save_pretrained(self, save_directory: str | os.PathLike, variant: str | None = None, **options: Any) -> None:
        """A complete diffusers folder; variant="int8" stores a quarter of the bytes, readable by audiocm only."""
        super().save_pretrained(save_directory, variant=variant, **options)
        if variant == "int8":
            save_int8(self.text_encoder.state_dict(), Path(save_directory) / "text_encoder" / INT8_FILE)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike, device: torch.device | str = "cpu", **hub: Any):
        """A bundled model by name (see `bundled_models`), a folder, or a hub id "owner/name" (the only use of a network).

        ValueError names an unknown model and lists the bundled ones, or names a missing or damaged file.
        """
        folder = model_folder(name, **hub)
        settings, parts = described(folder)
        return cls(**{part: loaded(part, *where) for part, where in parts.items()}, **settings).to(device)


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
