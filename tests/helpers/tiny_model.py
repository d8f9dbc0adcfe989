"""A complete text-to-audio model of random nets, small enough to build in a test, that still makes audible noise."""

import functools

import torch
from transformers import BertConfig, BertModel

from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_tokenizer
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.text_to_audio import TextToAudioPipeline

ENCODER = BertConfig(
    vocab_size=30522, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
    max_position_embeddings=64,
)  # fmt: skip
tokenizer = functools.cache(lambda: load_tokenizer(BUNDLED_ENCODER))


def tiny_pipeline(student: bool = True, **settings) -> TextToAudioPipeline:
    torch.manual_seed(0)
    net = LatentTransformer(
        channels=4, width=32, depth=2, heads=2, token_width=16, pooled_width=16,
        guidance_range=(0.0, 6.0) if student else None,
    )  # fmt: skip
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    vae = MelVAE(mel_bins=100, channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2)
    with torch.no_grad():
        vae.linear_decoder.weight.mul_(0.3)  # a random linear path is too loud for full scale
    vocoder = Vocoder(width=16, depth=1, noise_channels=2, iterations=2)
    defaults = {"num_inference_steps": 1 if student else 18} | settings
    return TextToAudioPipeline(
        net.eval(), vae.eval(), vocoder.eval(), BertModel(ENCODER).eval(), tokenizer(), **defaults
    )
