"""Adapters of latent diffusion on 64-bin log mels at 16 kHz: AudioLDM, AudioLDM 2 and TANGO."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..audio.spectral import FLOOR, mel_filters
from ..diffusion.denoiser import Condition
from .adapter import Adapter, padded_tokens, register_adapter

N_FFT = 1024
PEAK = 0.5  # of the waveforms that the VAEs were trained on, after their mean is removed
MOST_TOKENS = 128  # of a prompt


class MelAdapter(Adapter):
    """Sound to log mel to AutoencoderKL's latent, and back through SpeechT5HifiGan."""

    @property
    def sample_rate(self) -> int:
        return self.pipe.vocoder.config.sampling_rate

    @property
    def hop(self) -> int:
        """Samples of a mel frame."""
        return math.prod(self.pipe.vocoder.config.upsample_rates)

    def latent_shape(self, seconds: float) -> tuple[int, ...]:
        factor = 2 ** (len(self.pipe.vae.config.block_out_channels) - 1)
        bins = self.pipe.vocoder.config.model_in_dim
        frames = math.ceil(int(seconds * self.sample_rate / self.hop) / factor)
        return (self.pipe.unet.config.in_channels, frames, bins // factor)

    def tokens(self) -> int | None:
        return math.prod(self.latent_shape(self.seconds)[1:])

    def log_mel(self, wav: Tensor) -> Tensor:
        """Returns the mel magnitudes' logarithm [batch, 1, frame, bin] of waveforms [batch, sample]."""
        wav = wav.float() - wav.float().mean(1, keepdim=True)
        wav = wav * (PEAK / wav.abs().amax(1, keepdim=True).clamp_min(1e-8))
        window = torch.hann_window(N_FFT, device=wav.device)
        spectrum = torch.stft(wav, N_FFT, self.hop, window=window, return_complex=True)
        filters = mel_filters(self.sample_rate, N_FFT, self.pipe.vocoder.config.model_in_dim).to(wav.device)
        mel = (filters @ spectrum.abs()).clamp_min(FLOOR).log()
        return mel.transpose(1, 2)[:, None, : wav.shape[1] // self.hop]

    def encode(self, wav: Tensor) -> Tensor:
        vae = self.pipe.vae
        return vae.encode(self.log_mel(wav).to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor

    def decode(self, latent: Tensor) -> Tensor:
        vae = self.pipe.vae
        return self.pipe.vocoder(vae.decode((latent / vae.config.scaling_factor).to(vae.dtype)).sample.squeeze(1))


PARTS = {"vae": "AutoencoderKL", "vocoder": "SpeechT5HifiGan", "tokenizer": "*", "scheduler": "*"}


@register_adapter("AudioLDMPipeline")
class AudioLDM(MelAdapter):
    """Liu et al. 2023: CLAP's sentence vector is a class embedding; there is no cross-attention to words."""

    components: ClassVar[dict[str, str]] = {
        **PARTS,
        "unet": "UNet2DConditionModel",
        "text_encoder": "ClapTextModelWithProjection",
    }

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        return net(x_t, timestep, encoder_hidden_states=None, class_labels=cond.pooled, return_dict=False)[0]

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        positions = self.pipe.text_encoder.config.max_position_embeddings - 2  # RoBERTa counts them from 2
        words = padded_tokens(self.pipe.tokenizer, prompts, positions).to(self.device)
        vectors = self.pipe.text_encoder(words.input_ids, attention_mask=words.attention_mask).text_embeds
        return Condition(pooled=F.normalize(vectors, dim=-1))


@register_adapter("TangoPipeline")
class Tango(MelAdapter):
    """Ghosal et al. 2023: FLAN-T5's states. diffusers has no pipeline of it: a folder or a dict of components."""

    components: ClassVar[dict[str, str]] = {**PARTS, "unet": "UNet2DConditionModel", "text_encoder": "T5EncoderModel"}

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        text = {"encoder_hidden_states": cond.tokens, "encoder_attention_mask": cond.token_mask}
        return net(x_t, timestep, **text, return_dict=False)[0]

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        words = padded_tokens(self.pipe.tokenizer, prompts, MOST_TOKENS).to(self.device)
        states = self.pipe.text_encoder(words.input_ids, attention_mask=words.attention_mask)[0]
        return Condition(tokens=states, token_mask=words.attention_mask.bool())


AUDIOLDM2_PARTS = {
    **PARTS,
    "unet": "AudioLDM2UNet2DConditionModel",
    "text_encoder": "ClapModel",
    "text_encoder_2": "T5EncoderModel",
    "projection_model": "AudioLDM2ProjectionModel",
    "language_model": "*",  # see `generating_gpt2`
    "tokenizer_2": "*",
}


def generating_gpt2(model: nn.Module) -> nn.Module:
    """Returns a GPT2LMHeadModel for a GPT2Model, which older folders have and which cannot generate."""
    from transformers import GPT2LMHeadModel

    if hasattr(model, "_update_model_kwargs_for_generation"):
        return model
    generating = GPT2LMHeadModel(model.config).to(model.device)
    generating.transformer, generating.lm_head.weight = model, model.wte.weight
    return generating.eval()


@register_adapter("AudioLDM2Pipeline")
class AudioLDM2(MelAdapter):
    """Liu et al. 2023b: GPT-2's eight states, and FLAN-T5's as the second stream.

    GPT-2 counts padding as positions: its states of a prompt depend on the longest prompt of a batch, and those of the
    empty prompt on the length that it is padded to. So each prompt is encoded alone, and every length has its null."""

    components: ClassVar[dict[str, str]] = AUDIOLDM2_PARTS

    def __init__(self, pipe: Any):
        super().__init__(pipe)
        pipe.register_modules(language_model=generating_gpt2(pipe.language_model))

    @staticmethod
    def predict(net: nn.Module, x_t: Tensor, timestep: Tensor, cond: Condition) -> Tensor:
        text = {"encoder_hidden_states": cond.tokens, "encoder_hidden_states_1": cond.tokens_2}
        return net(x_t, timestep, **text, encoder_attention_mask_1=cond.token_mask_2, return_dict=False)[0]

    def _padded(self, states: Tensor, mask: Tensor, generated: Tensor) -> Condition:
        room = min(MOST_TOKENS, self.pipe.tokenizer_2.model_max_length) - states.shape[1]
        states, mask = F.pad(states, (0, 0, 0, room)), F.pad(mask.bool(), (0, room))
        return Condition(tokens=generated, tokens_2=states, token_mask_2=mask)

    def condition(self, prompts: Sequence[str], seconds: float) -> Condition:
        padded_tokens(self.pipe.tokenizer_2, prompts, MOST_TOKENS)  # warns of prompts that are cut
        return Condition.cat([self._padded(*self.pipe.encode_prompt([one], self.device, 1, False)) for one in prompts])

    def null_condition(self) -> Condition:
        pipe, device, rows = self.pipe, self.device, []
        given = {"generated_prompt_embeds": torch.zeros(1, 8, pipe.language_model.config.n_embd, device=device)}
        for length in range(1, min(MOST_TOKENS, pipe.tokenizer_2.model_max_length) + 1):
            given["prompt_embeds"] = torch.zeros(1, length, pipe.text_encoder_2.config.d_model, device=device)
            rows.append(self._padded(*(part[:1] for part in pipe.encode_prompt(None, device, 1, True, **given))))
        return Condition.cat(rows)

    @staticmethod
    def null_row(cond: Condition) -> Tensor | None:
        return cond.token_mask_2.sum(1).clamp_min(1) - 1
