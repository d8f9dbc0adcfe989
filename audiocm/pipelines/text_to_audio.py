"""Text-to-audio pipeline: prompts -> sounds, with diffusers' base class, folder layout and keyword names."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..diffusion import solvers
from ..diffusion.denoiser import Condition
from ..diffusion.guidance import negative_guided_net
from ..models.text_encoder import INT8_FILE, TextConditioner
from ..models.weights import save_int8
from .latent_pipeline import AudioOutput, Callback, LatentPipeline, PerItemNoise, Seeds, decode_checked, item_seeds

Prompt = str | Sequence[str]


class TextToAudioPipeline(LatentPipeline):
    """Text-to-audio: text encoder, latent transformer (a one-step student or a teacher), mel VAE and vocoder."""

    required_components = (*LatentPipeline.required_components, "text_encoder", "tokenizer")

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
        """Ranges: what a call allows (a student has its own guidance_range); other settings: defaults of a call."""
        super().__init__()
        self.register_modules(
            transformer=transformer, vae=vae, vocoder=vocoder, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_to_config(
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_range=tuple(guidance_range),
            seconds_range=tuple(seconds_range),
            max_tokens=max_tokens,
            temperature=temperature,
        )
        self.conditioner = TextConditioner(text_encoder, tokenizer, max_tokens)
        self.build_codec()

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
        callback: Callback | None = None,
        temperature: float | None = None,
        gamma: float | None = None,
    ) -> AudioOutput:
        """Generates `num_waveforms_per_prompt` sounds for each prompt; the same seed gives the same sound in any batch.

        guidance_scale  Imagen's w: 0 ignores the prompt, 1 follows it, more exaggerates it
        latents         the unit noise at the start, [prompt * num, channel, frame]
        solver          any of audiocm.diffusion.solvers; default `student_step` for a student, `heun` for a teacher
        callback        called as callback(step, time, latents) after every step
        temperature     standard deviation of all noise (`latents` too), 1 as in training; less is safer, less varied
        gamma           share of fresh noise after a step, see `solvers.sample`; default: see `sample_latents`

        Raises ValueError if an argument is not allowed, AudioError if a sound is silent, not finite or clipped."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        steps = self.config.num_inference_steps if num_inference_steps is None else num_inference_steps
        w = float(self.config.guidance_scale if guidance_scale is None else guidance_scale)
        temperature = self.config.temperature if temperature is None else temperature
        num = num_waveforms_per_prompt
        self.check_inputs(prompts, audio_length_in_s, steps, w, num, temperature)
        if output_type not in ("pt", "np", "latent"):
            raise ValueError(f"output_type must be 'pt', 'np' or 'latent', not {output_type!r}")
        frames, device = self.codec.frames(audio_length_in_s), self.transformer.device
        cond = self._condition(prompts, num, frames)
        negative = self._negative_prompts(negative_prompt, len(prompts))
        if negative is None:
            net, cond = self.apply_guidance(cond, w)
        else:
            net = negative_guided_net(self.transformer, w, self._condition(negative, num, frames))
        seeds = item_seeds(generator, len(prompts), num)
        unit = PerItemNoise(seeds, self.codec.channels, self.transformer.config.max_frames)
        noise = None if latents is None else temperature * self._check_latents(latents, len(seeds), frames)
        latent = self.sample_latents(
            net, cond, lambda: temperature * unit(frames, device), steps, noise, solver, callback, gamma
        )
        if output_type == "latent":
            return AudioOutput(latent, self.sample_rate)
        names = [one for one in prompts for _ in range(num)]
        wav = decode_checked(self.codec, latent, names, round(audio_length_in_s * self.sample_rate))
        return AudioOutput(wav.numpy() if output_type == "np" else wav, self.sample_rate)

    def check_inputs(
        self, prompts: list[str], seconds: float, steps: int, w: float, num: int = 1, temperature: float = 1.0
    ) -> None:
        """Raises ValueError for the first input that is not allowed."""
        if not prompts or not all(isinstance(one, str) and one.strip() for one in prompts):
            raise ValueError("the prompt is empty: describe a sound in words")
        low, high = self.config.seconds_range
        if not low <= seconds <= high:
            raise ValueError(f"{seconds:g} seconds is outside what the model was trained on: {low:g} to {high:g}")
        self.check_sampling(steps, w)
        if int(num) != num or num < 1:
            raise ValueError(f"the number of sounds a prompt must be a whole number of at least 1, not {num}")
        if not 0 < temperature <= 2:
            raise ValueError(f"temperature must be over 0 and at most 2, not {temperature:g}")

    def _condition(self, prompts: list[str], num: int, frames: int) -> Condition:
        cond = self.conditioner(prompts).to(self.transformer.device).repeat_interleave(num)
        cond.mask = torch.ones(cond.batch_size, frames, dtype=torch.bool, device=self.transformer.device)
        return cond

    def _negative_prompts(self, negative_prompt: Prompt | None, prompts: int) -> list[str] | None:
        """Returns one negative prompt for each prompt, or None. Raises ValueError if they are not allowed."""
        if negative_prompt is None:
            return None
        if self.is_student:
            raise ValueError(
                "negative_prompt needs a teacher: the guidance of a student is distilled, without a prompt"
            )
        negative = [negative_prompt] * prompts if isinstance(negative_prompt, str) else list(negative_prompt)
        if len(negative) != prompts:
            raise ValueError(f"{len(negative)} negative prompts for {prompts} prompts")
        return negative

    def _check_latents(self, latents: Tensor, items: int, frames: int) -> Tensor:
        """Returns given latents in float32 on the device. Raises ValueError if their shape does not fit."""
        shape = (items, self.codec.channels, frames)
        if tuple(latents.shape) != shape:
            raise ValueError(f"latents must be [sound, channel, frame] = {list(shape)}, not {list(latents.shape)}")
        return latents.to(self.transformer.device, torch.float32)

    def save_pretrained(self, save_directory: str | os.PathLike, variant: str | None = None, **options: Any) -> None:
        """Writes a complete diffusers folder; variant="int8" is a quarter of the size and read by audiocm only."""
        super().save_pretrained(save_directory, variant=variant, **options)
        if variant == "int8":
            save_int8(self.text_encoder.state_dict(), Path(save_directory) / "text_encoder" / INT8_FILE)
