"""Text-to-audio: prompts -> sounds, with the keyword names of diffusers' pipelines."""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..checks import check_choice, check_instance, check_number, check_tensor, check_text, check_whole
from ..codec.vae_net import MelVAENet
from ..codec.vocoder_net import VocoderNet
from ..devices import usual_defaults
from ..diffusion import solvers
from ..diffusion.denoiser import Condition
from ..failed_sounds import check_retries
from ..models.text_encoder import TextConditioner, sentence_vector
from ..models.transformer_net import TransformerNet
from .failures import attempt, decode_checked, summary
from .filling import EditSettings
from .sampler import Callback, LatentSampler, PerItemNoise, Seeds, Sounds, StepCallback, item_seeds
from .sound_editor import edit_audio

MAX_SOUNDS = 10_000  # of a prompt, in one call

Prompt = str | Sequence[str]


def check_prompts(prompts: Sequence[str]) -> None:
    """Raises ValueError if there is no prompt, or one of them is none in words."""
    if not prompts or not all(isinstance(one, str) and one.strip() for one in prompts):
        raise ValueError("the prompt is empty: describe a sound in words")
    for prompt in prompts:
        check_text("prompt", prompt)


class TextToAudioSampler(LatentSampler):
    """Text-to-audio: text encoder, latent transformer (a one-step student or a teacher), mel VAE and vocoder."""

    required_components = (*LatentSampler.required_components, "text_encoder", "tokenizer")
    stored_name = "TextToAudioPipeline"
    output_class: ClassVar[type[Sounds]] = Sounds

    def __init__(
        self,
        transformer: TransformerNet,
        vae: MelVAENet,
        vocoder: VocoderNet,
        text_encoder: torch.nn.Module,
        tokenizer: Any,
        num_inference_steps: int = 1,
        guidance_scale: float = 3.0,
        guidance_range: tuple[float, float] | list[float] = (0.0, 10.0),
        seconds_range: tuple[float, float] | list[float] = (0.5, 10.0),
        max_tokens: int = 32,
        temperature: float = 1.0,
    ):
        """Ranges: what a call allows (a student has its own guidance_range); other settings: defaults of a call."""
        super().__init__()
        self.register_modules(
            transformer=transformer, vae=vae, vocoder=vocoder, text_encoder=text_encoder, tokenizer=tokenizer
        )
        self.register_settings(
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_range=guidance_range,
            seconds_range=seconds_range,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        self.conditioner = None
        if text_encoder is not None:
            self.check_text_width("text encoder", text_encoder.config.hidden_size)
            self.conditioner = TextConditioner(text_encoder, tokenizer, max_tokens)
        self.build_codec()

    @usual_defaults()
    @torch.no_grad()
    def __call__(
        self,
        prompt: Prompt | None = None,
        audio_length_in_s: float | None = None,
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
        *,
        audio_end_in_s: float | None = None,
        prompt_embeds: Tensor | None = None,
        attention_mask: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        negative_attention_mask: Tensor | None = None,
        return_dict: bool = True,
        callback_steps: int = 1,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        max_retries: int = 3,
        on_failure: str = "raise",
        refine: bool = False,
        audio: Tensor | np.ndarray | None = None,
        sampling_rate: int | None = None,
        mask_start_seconds: float | None = None,
        mask_end_seconds: float | None = None,
        strength: float | None = None,
    ) -> Sounds | tuple[Any]:
        """Generates `num_waveforms_per_prompt` sounds for each prompt; the same seed gives the same sound in any batch.

        audio_length_in_s  seconds, 4 by default; `audio_end_in_s` is the same
        guidance_scale     Imagen's w: 0 ignores the prompt, 1 follows it, more exaggerates it
        negative_prompt    what a teacher is guided away from; students take none
        latents            the unit noise at the start, [prompt * num, channel, frame]; a sound of it is not tried again
        solver             any of audiocm.diffusion.solvers; default `student_step` for a student, `heun` for a teacher
        output_type        "pt", "np" or "latent"; latents are not checked
        callback           called as callback(step, time, latents) after every `callback_steps` steps
        temperature        standard deviation of all noise (`latents` too), 1 as in training; less is safer, less varied
        gamma              share of fresh noise after a step, see `solvers.sample`; default: see `sample_latents`
        prompt_embeds      with `attention_mask` what `encode_prompt` returns, in the place of prompts; so the negative ones
        return_dict        False: a tuple of the sounds alone
        callback_on_step_end  called as callback(pipeline, step, time, {"latents": x}); its "latents" are taken over
        max_retries        times that a silent, clipped or non-finite sound is made again, see `attempt`
        on_failure         "raise", or "return" the others, with silence and a `Failure` for each that is missing
        refine             the noise of every call is that of the first: more calls then keep the sound of one call
        audio              a sound to edit, [sample], [channel, sample] or [1, channel, sample], at `sampling_rate` Hz (default:
                           the pipeline's): with `mask_start_seconds` and `mask_end_seconds` what lies between is made
                           anew, else `strength` says how far it is changed, see `SoundEditor.transform`. The prompt is
                           one text or None; `audios` is [take, sample] or [take, channel, sample]

        Raises ValueError if an argument is not allowed, AudioError if a sound is silent, not finite or clipped with all
        seeds; its `output` holds the others."""
        edit = {
            "sampling_rate": sampling_rate,
            "mask_start_seconds": mask_start_seconds,
            "mask_end_seconds": mask_end_seconds,
            "strength": strength,
        }
        if audio is not None:
            check_choice("output_type", output_type, ("pt", "np"))
            settings = {"prompt": prompt, "steps": num_inference_steps, "guidance": guidance_scale}
            settings |= {"temperature": temperature, "max_retries": max_retries}
            seeds = item_seeds(generator, 1, check_whole("num_waveforms_per_prompt", num_waveforms_per_prompt, least=1))
            takes = [EditSettings(seed=seed, **settings) for seed in seeds]
            wav = edit_audio(self, audio, takes, **edit)
            output = self.output_class(wav.numpy() if output_type == "np" else wav, sampling_rate or self.sample_rate)
            return self.finish(output, on_failure, return_dict)
        if given := [name for name, value in edit.items() if value is not None]:
            raise ValueError(f"{given[0]} belongs to a sound that is edited: give audio too")
        texts = self._texts(prompt, prompt_embeds, "prompt")
        if None not in (audio_length_in_s, audio_end_in_s):
            raise ValueError("audio_length_in_s and audio_end_in_s are two names of the same: give one")
        seconds = next((one for one in (audio_length_in_s, audio_end_in_s) if one is not None), 4.0)
        steps = self.config.num_inference_steps if num_inference_steps is None else num_inference_steps
        w = self.config.guidance_scale if guidance_scale is None else guidance_scale
        temperature = self.config.temperature if temperature is None else temperature
        num = num_waveforms_per_prompt
        self.check_inputs(texts, seconds, steps, w, num, temperature)
        check_retries(max_retries, on_failure)
        check_choice("output_type", output_type, ("pt", "np", "latent"))
        callbacks = (callback, callback_steps, callback_on_step_end, callback_on_step_end_tensor_inputs)
        new_hook = self.step_hooks(*callbacks)
        frames, device = self.codec.frames(seconds), self._execution_device
        cond = self._condition(self._text_condition(texts, prompt_embeds, attention_mask), num, frames)
        avoided = self._negative(negative_prompt, negative_prompt_embeds, negative_attention_mask, len(texts))
        negative = None if avoided is None else self._condition(avoided, num, frames)
        seeds = item_seeds(generator, len(texts), num)
        noise = None if latents is None else temperature * self._check_latents(latents, len(seeds), frames)

        def sample(rows: list[int], seeds: list[int]) -> Tensor:
            chosen = torch.tensor(rows, device=device)
            net, given = self.apply_guidance(cond[chosen], w, None if negative is None else negative[chosen])
            unit = PerItemNoise(seeds, self.codec.channels, self.transformer.config.max_frames)
            first = temperature * unit(frames, device) if noise is None else noise

            def draw_noise() -> Tensor:
                return first if refine else temperature * unit(frames, device)

            return self.sample_latents(net, given, draw_noise, steps, first, solver, new_hook, gamma)

        def make(rows: list[int], seeds: list[int]) -> Iterable[tuple[Tensor, str | None]]:
            samples = round(seconds * self.sample_rate)
            return zip(*decode_checked(self.codec, sample(rows, seeds), samples), strict=True)

        if output_type == "latent":
            output = self.output_class(sample(list(range(len(seeds))), seeds), self.sample_rate)
        else:
            attempts = attempt(make, seeds, max_retries if latents is None else 0)
            wav, failures, retries = summary(attempts, [text for text in texts for _ in range(num)])
            output = self.output_class(wav.numpy() if output_type == "np" else wav, self.sample_rate, failures, retries)
        return self.finish(output, on_failure, return_dict)

    def encode_prompt(self, prompt: Prompt) -> tuple[Tensor, Tensor]:
        """Returns a call's `prompt_embeds` [prompt, token, dim] and `attention_mask`, bool [prompt, token]."""
        cond = self._text_condition(self._texts(prompt, None, "prompt"), None, None)
        return cond.tokens, cond.token_mask

    def sound_condition(self, prompts: Sequence[str], frames: int) -> Condition:
        """Returns the condition of one sound of so many latent frames for each prompt."""
        return self._condition(self._text_condition(list(prompts), None, None), 1, frames)

    def check_inputs(
        self, prompts: list[str], seconds: float, steps: int, w: float, num: int = 1, temperature: float = 1.0
    ) -> None:
        """Raises ValueError for the first input that is not allowed."""
        check_prompts(prompts)
        low, high = self.config.seconds_range
        if not low <= check_number("audio_length_in_s", seconds) <= high:
            raise ValueError(f"{seconds:g} seconds is outside what the model was trained on: {low:g} to {high:g}")
        self.check_sampling(steps, w)
        check_whole("num_waveforms_per_prompt", num, least=1, most=MAX_SOUNDS)
        check_number("temperature", temperature, above=0, most=2)

    def _texts(self, prompt: Prompt | None, embeds: Tensor | None, name: str) -> list[str]:
        """Returns the prompts, or names of given embeddings. Raises ValueError if both are given."""
        if embeds is None:
            texts = [prompt] if isinstance(prompt, str) else prompt or ()
            check_instance(name, texts, list | tuple, "a text or a list of texts")
            if not all(isinstance(one, str) for one in texts):
                raise ValueError(f"{name} must be a text or a list of texts, not {prompt!r}")
            return list(texts)
        check_tensor(f"{name}_embeds", embeds, ("prompt", "token", self.transformer.config.token_width))
        if prompt is not None:
            raise ValueError(f"{name} and {name}_embeds exclude each other: give one")
        return [f"{name}_embeds[{i}]" for i in range(len(embeds))]

    def _text_condition(self, texts: list[str], embeds: Tensor | None, mask: Tensor | None) -> Condition:
        """Returns the text part of a condition, of texts or of embeddings. Raises ValueError for other shapes."""
        device = self._execution_device
        if embeds is None:
            return self.conditioner(texts, device).to(device)
        if mask is not None and (not isinstance(mask, Tensor) or mask.shape != embeds.shape[:2]):
            shape = list(mask.shape) if isinstance(mask, Tensor) else mask
            raise ValueError(f"attention_mask must be [prompt, token] = {list(embeds.shape[:2])}, not {shape}")
        mask = embeds.new_ones(embeds.shape[:2]) if mask is None else mask
        return Condition(tokens=embeds, token_mask=mask.bool(), pooled=sentence_vector(embeds, mask)).to(device)

    def _condition(self, text: Condition, num: int, frames: int) -> Condition:
        """Returns the condition of `num` sounds of so many frames for each text."""
        cond, device = text.repeat_interleave(num), self._execution_device
        cond.mask = torch.ones(cond.batch_size, frames, dtype=torch.bool, device=device)
        if self.transformer.config.takes_duration:
            cond.duration = torch.full((cond.batch_size,), float(frames), device=device)
        return cond

    def _negative(self, prompt: Prompt | None, embeds: Tensor | None, mask: Tensor | None, n: int) -> Condition | None:
        """Returns the text part of the negative condition, or None. Raises ValueError if it is not allowed."""
        if prompt is None and embeds is None:
            return None
        if self.is_student:
            raise ValueError("negative_prompt needs a teacher: a student's guidance is distilled, without a prompt")
        texts = self._texts(prompt, embeds, "negative_prompt") * (n if isinstance(prompt, str) else 1)
        for text in texts:
            check_text("negative_prompt", text)
        if len(texts) != n:
            raise ValueError(f"{len(texts)} negative prompts for {n} prompts")
        return self._text_condition(texts, embeds, mask)

    def _check_latents(self, latents: Tensor, items: int, frames: int) -> Tensor:
        """Returns given latents in float32 on the device. Raises ValueError if their shape does not fit."""
        latents = check_tensor("latents", latents, (items, self.codec.channels, frames))
        return latents.to(self._execution_device, torch.float32)
