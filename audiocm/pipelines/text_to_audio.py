"""Prompts -> sound, with diffusers' base class, folder layout and audio keyword names."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..diffusion import solvers
from ..diffusion.denoiser import Condition
from ..diffusion.guidance import negative_guided_net
from ..models.text_encoder import INT8_FILE, TextConditioner
from ..models.weights import save_int8
from .latent_pipeline import AudioOutput, ItemNoise, LatentPipeline, Seeds, decode_checked, item_generators

Prompt = str | Sequence[str]


class TextToAudioPipeline(LatentPipeline):
    """Words -> sound: text encoder, latent transformer (a one-step student or a teacher), mel VAE, vocoder."""

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
        temperature: float = 1.0,
    ):
        """num_inference_steps, guidance_scale, temperature: defaults of a call; ranges: what a call allows (a student's w: its own)."""
        super().__init__()
        self.register_modules(
            transformer=transformer, vae=vae, vocoder=vocoder, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(
            num_inference_steps=num_inference_steps, guidance_scale=guidance_scale,
            guidance_range=tuple(guidance_range), seconds_range=tuple(seconds_range), max_tokens=max_tokens,
            temperature=temperature,
        )  # fmt: skip
        self.conditioner = TextConditioner(text_encoder, tokenizer, max_tokens)
        self.join()

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
        temperature: float | None = None,
    ) -> AudioOutput:
        """Make `num_waveforms_per_prompt` sounds for each prompt; the same seed is the same sound in any batch.

        guidance_scale is Imagen's w: 0 ignores the words, 1 follows them, more exaggerates them. `latents`: the first
        unit noise [prompt * num, channel, frame]. `solver`: any of audiocm.solvers (a teacher's default: heun; a
        student's: jump). callback(step, time, latents) after every step. `temperature`: the std of all noise that is
        put in (`latents` too), 1 as in training; a little less is a little safer and less various. ValueError for
        what is not allowed, SoundError when a result is silent, not finite or clipped.
        """
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        steps = self.config.num_inference_steps if num_inference_steps is None else num_inference_steps
        w = float(self.config.guidance_scale if guidance_scale is None else guidance_scale)
        heat = self.config.temperature if temperature is None else temperature
        self.check_inputs(prompts, audio_length_in_s, steps, w, num_waveforms_per_prompt, output_type, heat)
        frames, device = self.codec.frames(audio_length_in_s), self.transformer.device
        cond = self._condition(prompts, num_waveforms_per_prompt, frames)
        negative = self._negative(negative_prompt, len(prompts))
        if negative is None:
            net, cond = self.field(cond, w)
        else:
            net = negative_guided_net(self.transformer, w, self._condition(negative, num_waveforms_per_prompt, frames))
        seeds = item_generators(generator, len(prompts), num_waveforms_per_prompt)
        unit = ItemNoise(seeds, self.codec.channels, self.transformer.config.max_frames)
        noise = None if latents is None else heat * self._given(latents, len(seeds), frames)
        latent = self.solved(net, cond, lambda: heat * unit(frames, device), steps, noise, solver, callback)
        if output_type == "latent":
            return AudioOutput(latent, self.sample_rate)
        names = [one for one in prompts for _ in range(num_waveforms_per_prompt)]
        wav = decode_checked(self.codec, latent, names, round(audio_length_in_s * self.sample_rate))
        return AudioOutput(wav.numpy() if output_type == "np" else wav, self.sample_rate)

    def check_inputs(
        self,
        prompts: list[str],
        seconds: float,
        steps: int,
        w: float,
        num: int = 1,
        output_type: str = "pt",
        temperature: float = 1.0,
    ) -> None:
        """ValueError, in one line, for the first input that is not allowed."""
        if not prompts or not all(isinstance(one, str) and one.strip() for one in prompts):
            raise ValueError("the prompt is empty: say in words what should sound")
        low, high = self.config.seconds_range
        if not low <= seconds <= high:
            raise ValueError(f"{seconds:g} seconds is outside what the model was trained on: {low:g} to {high:g}")
        self.check_sampling(steps, w)
        if int(num) != num or num < 1:
            raise ValueError(f"the number of sounds a prompt must be a whole number of at least 1, not {num}")
        if output_type not in ("pt", "np", "latent"):
            raise ValueError(f"output_type must be 'pt', 'np' or 'latent', not {output_type!r}")
        if not 0 < temperature <= 2:
            raise ValueError(f"temperature must be over 0 and at most 2, not {temperature:g}")

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
