"""Networks of published teachers at their true sizes, or tiny, with random weights, and random inputs of their shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch import Tensor, nn

from audiocm.diffusion.denoiser import Condition
from audiocm.teachers.audioldm import AudioLDM2, Tango
from audiocm.teachers.stable_audio import StableAudio
from audiocm.training.run import best_device

SMALL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
}
SMALL |= {"block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "attention_head_dim": 4}


class Decoder(nn.Module):
    """A VAE's decoder and a vocoder, or none: from a latent to a waveform."""

    def __init__(self, vae: nn.Module, vocoder: nn.Module | None = None):
        super().__init__()
        self.vae, self.vocoder = vae, vocoder

    def forward(self, latent: Tensor) -> Tensor:
        made = self.vae.decode(latent).sample
        return made if self.vocoder is None else self.vocoder(made.squeeze(1))


@dataclass(frozen=True)
class Model:
    """A published architecture: its denoiser, small or not, and random inputs of the true shapes."""

    adapter: Any
    denoiser: Callable[[bool], nn.Module]
    scheduler: Callable[[], Any]
    shape: tuple[int, ...]  # of a latent of ten seconds
    small_shape: tuple[int, ...]
    batch: int
    condition: Callable[[int], Condition]
    null: Callable[[], Condition]
    decoder: Callable[[bool], nn.Module]  # from `decoded` to a waveform
    decoded: tuple[int, ...]  # shape of the latent that is decoded


def audioldm2_denoiser(small: bool) -> nn.Module:
    from diffusers.pipelines.audioldm2.modeling_audioldm2 import AudioLDM2UNet2DConditionModel

    wide = {
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        "block_out_channels": (128, 256, 384, 640),
    }
    options = {"in_channels": 8, "out_channels": 8, "sample_size": 256, "use_linear_projection": True}
    states = [[None, 768, 1024]] * (2 if small else 4)
    return AudioLDM2UNet2DConditionModel(**options, **(SMALL if small else wide), cross_attention_dim=states)


def tango_denoiser(small: bool) -> nn.Module:
    wide = {"block_out_channels": (320, 640, 1280, 1280), "attention_head_dim": (5, 10, 20, 20)}
    options = {"in_channels": 8, "out_channels": 8, "sample_size": [256, 16], "use_linear_projection": True}
    return diffusers.UNet2DConditionModel(**options, **(SMALL if small else wide), cross_attention_dim=1024)


def stable_audio_denoiser(small: bool) -> nn.Module:
    heads = {"num_layers": 2, "attention_head_dim": 8, "num_attention_heads": 4, "num_key_value_attention_heads": 2}
    return diffusers.StableAudioDiTModel(**(heads if small else {}))


def random_states(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(shape) for shape in shapes]


def token_mask(batch: int, tokens: int, used: int = 18) -> Tensor:
    """Returns the mask of prompts of `used` tokens [batch, tokens]."""
    return (torch.arange(tokens) < used).expand(batch, tokens).clone()


def audioldm2_condition(batch: int) -> Condition:
    generated, states = random_states((batch, 8, 768), (batch, 32, 1024))
    return Condition(tokens=generated, tokens_2=states, token_mask_2=token_mask(batch, 32))


def audioldm2_null() -> Condition:
    """A row for each length of a prompt, as the adapter keeps them."""
    generated, states = random_states((32, 8, 768), (32, 32, 1024))
    return Condition(tokens=generated, tokens_2=states, token_mask_2=torch.ones(32, 32).tril().bool())


def tango_condition(batch: int) -> Condition:
    return Condition(tokens=random_states((batch, 64, 1024))[0], token_mask=token_mask(batch, 64))


def stable_audio_condition(batch: int) -> Condition:
    tokens, pooled = random_states((batch, 130, 768), (batch, 1536))
    return Condition(tokens=tokens, pooled=pooled)


def mel_decoder(small: bool) -> nn.Module:
    """Returns AudioLDM's VAE and vocoder, from a latent [batch, 8, frame, 16] to a waveform."""
    import transformers

    width = (8, 8, 16) if small else (128, 256, 512)
    vae = diffusers.AutoencoderKL(
        in_channels=1,
        out_channels=1,
        latent_channels=8,
        layers_per_block=2,
        block_out_channels=width,
        norm_num_groups=8 if small else 32,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
    )
    config = transformers.SpeechT5HifiGanConfig(
        model_in_dim=64,
        sampling_rate=16000,
        upsample_initial_channel=64 if small else 1024,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        normalize_before=False,
    )
    return Decoder(vae, transformers.SpeechT5HifiGan(config)).to(best_device()).eval()


def oobleck_decoder(small: bool) -> nn.Module:
    """Returns Stable Audio's decoder, from a latent [batch, 64, frame] to a stereo waveform."""
    widths = {"encoder_hidden_size": 8, "decoder_channels": 8, "channel_multiples": [1, 1, 1, 1, 1]} if small else {}
    return Decoder(diffusers.AutoencoderOobleck(**widths)).to(best_device()).eval()


def ddim(start: float, end: float, prediction: str) -> Any:
    betas = {"beta_start": start, "beta_end": end, "beta_schedule": "scaled_linear"}
    return diffusers.DDIMScheduler(**betas, clip_sample=False, prediction_type=prediction)


MEL = {"shape": (8, 256, 16), "small_shape": (8, 16, 16), "decoder": mel_decoder, "decoded": (1, 8, 250, 16)}
MODELS = {
    "audioldm2": Model(
        AudioLDM2,
        audioldm2_denoiser,
        lambda: ddim(0.0015, 0.0195, "epsilon"),
        batch=32,
        condition=audioldm2_condition,
        null=audioldm2_null,
        **MEL,
    ),
    "tango": Model(
        Tango,
        tango_denoiser,
        lambda: ddim(0.00085, 0.012, "v_prediction"),
        batch=16,
        condition=tango_condition,
        null=lambda: tango_condition(1),
        **MEL,
    ),
    "stable-audio": Model(
        StableAudio,
        stable_audio_denoiser,
        lambda: diffusers.CosineDPMSolverMultistepScheduler(sigma_min=0.3, sigma_max=500),
        shape=(64, 1024),
        small_shape=(64, 16),
        batch=8,
        condition=stable_audio_condition,
        null=lambda: Condition(tokens=torch.zeros(1, 130, 768)),
        decoder=oobleck_decoder,
        decoded=(1, 64, 216),
    ),
}
