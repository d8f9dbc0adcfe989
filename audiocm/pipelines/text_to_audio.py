"""Text-to-audio pipeline: prompts -> sounds, with diffusers' base class, folder layout and keyword names."""

import os
from pathlib import Path
from typing import Any

from ..codec.vae import MelVAE
from ..codec.vocoder import Vocoder
from ..models.text_encoder import INT8_FILE
from ..models.transformer import LatentTransformer
from ..models.weights import save_int8
from .latent_pipeline import AudioOutput, LatentPipeline, with_types
from .text_to_audio_sampler import TextToAudioSampler


class TextToAudioPipeline(LatentPipeline, TextToAudioSampler):
    """Text-to-audio: text encoder, latent transformer (a one-step student or a teacher), mel VAE and vocoder."""

    model_cpu_offload_seq = "text_encoder->transformer->vae->vocoder"
    output_class = AudioOutput
    __init__ = with_types(TextToAudioSampler.__init__, transformer=LatentTransformer, vae=MelVAE, vocoder=Vocoder)

    def save_pretrained(self, save_directory: str | os.PathLike, variant: str | None = None, **options: Any) -> None:
        """Writes a complete diffusers folder, see `LatentPipeline.save_pretrained`.

        variant="int8" is a quarter of the size and read by audiocm only."""
        super().save_pretrained(save_directory, variant=variant, **options)
        if variant == "int8":
            save_int8(self.text_encoder.state_dict(), Path(save_directory) / "text_encoder" / INT8_FILE)
