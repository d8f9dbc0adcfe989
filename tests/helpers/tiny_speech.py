"""A complete text-to-speech model of random nets, small enough to build in a test, that still makes audible noise."""

import torch

from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.speech.encoder import SpeechEncoder

WIDTH = 16


def shaken(net: torch.nn.Module, scale: float = 0.1) -> torch.nn.Module:
    """Random where it was zero; in eval mode."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(scale * torch.randn_like(weight))
    return net.eval()


def tiny_encoder(channels: int = 4, **settings) -> SpeechEncoder:
    torch.manual_seed(0)
    size = {"width": WIDTH, "depth": 2, "heads": 2, "frame_depth": 2, "voices": ("anna", "ben"), "follows_pitch": True}
    return shaken(SpeechEncoder(channels, **(size | settings)))


def tiny_net(channels: int = 4, student: bool = True, **settings) -> LatentTransformer:
    torch.manual_seed(1)
    size = {
        "width": 32,
        "depth": 2,
        "heads": 2,
        "token_width": WIDTH,
        "pooled_width": WIDTH,
        "prior_channels": channels,
    }
    net = LatentTransformer(channels, guidance_range=(0.0, 6.0) if student else None, **(size | settings))
    return shaken(net, 0.1 if student else 0.01)  # an ODE through wilder nets leaves full scale


def tiny_speech(student: bool = True, **settings) -> TextToSpeechPipeline:
    torch.manual_seed(2)
    vae = MelVAE(mel_bins=100, channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2)
    vocoder = Vocoder(width=16, depth=1, noise_channels=2, iterations=2)
    vae.begin(torch.randn(4, 100, 64) * 1.5 - 5)
    defaults = {"num_inference_steps": 1 if student else 3} | settings
    return TextToSpeechPipeline(tiny_net(student=student), vae.eval(), vocoder.eval(), tiny_encoder(), **defaults)
