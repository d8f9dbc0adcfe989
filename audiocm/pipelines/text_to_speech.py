"""Text-to-speech pipeline: text -> speech, spoken or sung, with diffusers' base class and folder layout."""

from dataclasses import dataclass
from typing import ClassVar

from diffusers.utils import BaseOutput

from ..codec.vae import MelVAE
from ..codec.vocoder import Vocoder
from ..models.transformer import LatentTransformer
from ..speech.encoder import SpeechEncoder
from .latent_pipeline import LatentPipeline, with_types
from .text_to_speech_sampler import Speech, TextToSpeechSampler


@dataclass
class SpeechOutput(BaseOutput, Speech):
    """Generated speech, also by key and by number as all outputs of diffusers."""


class TextToSpeechPipeline(LatentPipeline, TextToSpeechSampler):
    """Text-to-speech: speech encoder, latent transformer (a one-step student or a teacher), mel VAE and vocoder."""

    model_cpu_offload_seq = "speech_encoder->transformer->vae->vocoder"
    _exclude_from_cpu_offload: ClassVar[list[str]] = ["speech_encoder"]  # its attention reads weights of a child
    output_class = SpeechOutput
    _types: ClassVar[dict[str, type]] = {"transformer": LatentTransformer, "vae": MelVAE, "vocoder": Vocoder}
    __init__ = with_types(TextToSpeechSampler.__init__, **_types, speech_encoder=SpeechEncoder)
