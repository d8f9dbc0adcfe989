"""A complete text-to-speech model with random weights, small enough to build in a test, that still makes audible noise."""

from pathlib import Path

import torch
from tiny_model import perturb

from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines import loading
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.speech.encoder import SpeechEncoder

WIDTH = 16


def tiny_encoder(channels: int = 4, depth: int = 2, **settings) -> SpeechEncoder:
    """A speech encoder of two voices that follows pitch."""
    torch.manual_seed(0)
    size = {"width": WIDTH, "depth": depth, "heads": 2, "frame_depth": depth, "voices": ("anna", "ben")}
    return perturb(SpeechEncoder(channels, **(size | {"follows_pitch": True} | settings)))


def tiny_net(channels: int = 4, student: bool = True, **settings) -> LatentTransformer:
    """A latent transformer that is conditioned on the encoder's states and prior."""
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
    return perturb(net, 0.1 if student else 0.01)  # more, and the ODE of a teacher leaves full scale


def tiny_speech(student: bool = True, depth: int = 2, **settings) -> TextToSpeechPipeline:
    """A pipeline of random networks of `depth` blocks: a student of one step or a teacher of three."""
    torch.manual_seed(2)
    vae = MelVAE(mel_bins=100, channels=4, widths=(8, 8, 8), blocks=(1, 1, 1), noise_channels=2)
    vocoder = Vocoder(width=16, depth=1, noise_channels=2, iterations=2)
    vae.init_from_pca(torch.randn(4, 100, 64) * 1.5 - 5)
    defaults = {"num_inference_steps": 1 if student else 3} | settings
    net, encoder = tiny_net(student=student, depth=depth), tiny_encoder(depth=depth)
    return TextToSpeechPipeline(net, vae.eval(), vocoder.eval(), encoder, **defaults)


def save_tiny_speech(home: Path, student: str = "tts", teacher: str = "tts-teacher", depth: int = 2) -> Path:
    """Saves a tiny student and teacher as bundles, with the codec and encoder that they share beside them; returns `home`."""
    pipe = tiny_speech(depth=depth)
    pipe.vae.save_pretrained(home / "codec" / "vae", variant="int8")
    pipe.vocoder.save_pretrained(home / "codec" / "vocoder", variant="int8")
    pipe.speech_encoder.save_pretrained(home / "speech-encoder", variant="int8")
    loading.save_bundle(home / student, pipe.transformer, loading.SPEECH_ENCODER, num_inference_steps=1)
    loading.save_bundle(home / teacher, tiny_speech(False, depth).transformer, loading.SPEECH_ENCODER)
    return home
