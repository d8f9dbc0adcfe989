"""Adapters of latent diffusion transformers on stereo waveforms: Stable Audio Open and Stable Audio 3."""

import functools
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..diffusion.denoiser import Condition
from .adapter import Adapter, padded_tokens, register_adapter


@functools.cache
def rotary_table(dim: int, tokens: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the rotary embedding on a device, made once: a copy from the host cannot be captured in a CUDA graph."""
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    cos, sin = get_1d_rotary_pos_embed(dim, tokens, use_real=True, repeat_interleave_real=False)
    return cos.to(device), sin.to(device)


MOST_TOKENS = 256  # of a prompt; Stable Audio 3's own `encode_prompt` fails on a GPU if a prompt has as many
MARGIN = 32  # frames that a convolutional decoder hears beyond those of a sound: more than it is wide


class StereoAdapter(Adapter):
    """Latents [channel, frame] of stereo waveforms [batch, 2, sample]."""

    denoiser = "transformer"

    def __init__(self, pipe: Any, window: int | None = None):
        """window: the samples of a network that takes no longer sounds."""
        super().__init__(pipe)
        self.longest = math.inf if window is None else window / self.sample_rate
        self.seconds = min(self.seconds, self.longest)

    def list_prompts(self, prompts: Sequence[str]) -> list[str]:
        """Returns prompts for `encode_prompt`, with a UserWarning for each that it cuts."""
        padded_tokens(self.pipe.tokenizer, prompts, self.pipe.tokenizer.model_max_length)
        return list(prompts)

    def check_window(self, seconds: float) -> None:
        """Raises ValueError for a sound that is longer than the window."""
        if seconds > self.longest + 0.5 / self.sample_rate:
            raise ValueError(f"seconds must be at most {self.longest:g}, the window of this teacher, not {seconds:g}")

    @property
    def channels(self) -> int:
        return 2

    def padded(self, wav: Tensor, samples: int) -> Tensor:
        """Returns waveforms with silence up to a length. Raises ValueError if they are longer or not stereo."""
        if wav.ndim != 3 or wav.shape[1] != 2 or wav.shape[2] > samples:
            raise ValueError(f"wav must be [batch, 2, at most {samples} samples], not {list(wav.shape)}")
        return F.pad(wav, (0, samples - wav.shape[2])).to(self.pipe.vae.dtype)

    def decode(self, latent: Tensor) -> Tensor:
        return self.pipe.vae.decode(latent.to(self.pipe.vae.dtype)).sample


@register_adapter("StableAudioPipeline")
class StableAudio(StereoAdapter):
    """Evans et al. 2024: a window of one length. Dropped, T5's states and two tokens of seconds are zero, a third is not."""

    components: ClassVar[dict[str, str]] = {
        "vae": "AutoencoderOobleck",
        "text_encoder": "T5EncoderModel",
        "projection_model": "StableAudioProjectionModel",
        "tokenizer": "*",
        "transformer": "StableAudioDiTModel",
        "scheduler": "*",
    }
    time_layer, float32_layers = "timestep_proj.0", ("time_proj",)
    blocks, length = ("StableAudioDiTBlock",), "audio_end_in_s"

    def __init__(self, pipe: Any):
        super().__init__(pipe, pipe.transformer.config.sample_size * pipe.vae.hop_length)

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        self.check_window(seconds)
        return (self.pipe.transformer.config.in_channels, self.pipe.transformer.config.sample_size)

    def needed(self, latent: Tensor, seconds: float) -> Tensor:
        return latent[..., : math.ceil(seconds * self.sample_rate / self.pipe.vae.hop_length) + MARGIN]

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        rotary = rotary_table(net.config.attention_head_dim // 2, x_t.shape[2] + 1, x_t.device)
        text = {"encoder_hidden_states": cond.tokens, "global_hidden_states": cond.pooled[:, None]}
        return net(x_t, timestep, **text, rotary_embedding=rotary, return_dict=False)[0]

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        states = self.pipe.encode_prompt(self.list_prompts(prompts), self.device, False)
        start, end = self.pipe.encode_duration(0.0, seconds, self.device, False, len(prompts))
        return Condition(tokens=torch.cat([states, start, end], 1), pooled=torch.cat([start, end], 2)[:, 0])

    def null_condition(self) -> Condition:
        return Condition(tokens=torch.zeros_like(self.condition([""], 1.0).tokens))

    def encode(self, wav: Tensor) -> Tensor:
        return self.pipe.vae.encode(self.padded(wav, round(self.longest * self.sample_rate))).latent_dist.mode()


@register_adapter("StableAudio3Pipeline")
class StableAudio3(StereoAdapter):
    """T5Gemma's states and the duration, as a last token and as a vector; a null condition keeps the duration."""

    components: ClassVar[dict[str, str]] = {
        "vae": "AutoencoderSAME",
        "text_encoder": "*",
        "tokenizer": "*",
        "duration_embedder": "StableAudio3DurationEmbedder",
        "transformer": "StableAudio3DiTModel",
        "scheduler": "*",
    }
    time_layer, blocks, length = "to_timestep_embed.0", ("StableAudio3DiTBlock",), "duration"

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        rate = self.sample_rate / self.pipe.vae.downsampling_ratio
        return (self.pipe.vae.config.latent_dim, math.ceil(seconds * rate))

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        tokens, mask = torch.cat([cond.tokens, cond.pooled[:, None]], 1), F.pad(cond.token_mask, (0, 1), value=True)
        return net(x_t, timestep, tokens, cond.pooled, encoder_attention_mask=mask, return_dict=False)[0]

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        words = padded_tokens(self.pipe.tokenizer, prompts, MOST_TOKENS).to(self.device)  # see MOST_TOKENS
        states = self.pipe.text_encoder(words.input_ids, attention_mask=words.attention_mask)[0]
        duration = self.pipe.encode_duration(seconds, self.device, 1, len(prompts))
        return Condition(tokens=states, token_mask=words.attention_mask.bool(), pooled=duration)

    def null_condition(self) -> Condition:
        null = self.condition([""], 1.0)
        return Condition(tokens=null.tokens, token_mask=null.token_mask)

    def encode(self, wav: Tensor) -> Tensor:
        ratio = self.pipe.vae.downsampling_ratio
        return self.pipe.vae.encode(self.padded(wav, -(-wav.shape[-1] // ratio) * ratio)).latents
