"""Networks and a complete text-to-audio model with random weights, small enough to build in a test."""

import functools

import torch
from transformers import BertConfig, BertModel

from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.diffusion.denoiser import Condition
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_tokenizer
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.text_to_audio import TextToAudioPipeline

TINY = {"channels": 4, "width": 32, "depth": 2, "heads": 2, "token_width": 8, "pooled_width": 6, "max_frames": 240}
ENCODER = BertConfig(
    vocab_size=30522,
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    max_position_embeddings=64,
)


@functools.cache
def tokenizer():
    """The bundled text encoder's tokenizer."""
    return load_tokenizer(BUNDLED_ENCODER)


def perturb(net: torch.nn.Module, scale: float = 0.1) -> torch.nn.Module:
    """Adds noise to all weights, because zero-initialised layers would hide what a test looks for; in eval mode."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(scale * torch.randn_like(weight))
    return net.eval()


def tiny_transformer(seed: int = 0, **changes) -> LatentTransformer:
    """A transformer for latents of 4 channels, with perturbed weights."""
    torch.manual_seed(seed)
    return perturb(LatentTransformer(**{**TINY, **changes}))


def tiny_condition(batch: int, frames: int, lengths: list[int] | None = None, **fields) -> Condition:
    """Random text for `tiny_transformer` and a mask of the given lengths (default: all frames)."""
    generator = torch.Generator().manual_seed(7)
    known = {
        "tokens": torch.randn(batch, 5, 8, generator=generator),
        "token_mask": torch.arange(5) < torch.arange(2, 2 + batch)[:, None],
        "pooled": torch.randn(batch, 6, generator=generator),
        "mask": torch.arange(frames) < torch.tensor(lengths or [frames] * batch)[:, None],
    }
    return Condition(**{**known, **fields})


def tiny_pipeline(student: bool = True, **settings) -> TextToAudioPipeline:
    """A pipeline of random networks that makes audible noise."""
    guidance_range = (0.0, 6.0) if student else None
    net = tiny_transformer(token_width=16, pooled_width=16, guidance_range=guidance_range)
    vae = MelVAE(mel_bins=100, channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2)
    with torch.no_grad():
        vae.linear_decoder.weight.mul_(0.3)  # a random linear path is too loud for full scale
    vocoder = Vocoder(width=16, depth=1, noise_channels=2, iterations=2)
    defaults = {"num_inference_steps": 1 if student else 18} | settings
    return TextToAudioPipeline(net, vae.eval(), vocoder.eval(), BertModel(ENCODER).eval(), tokenizer(), **defaults)
