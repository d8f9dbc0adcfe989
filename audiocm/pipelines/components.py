"""Components of the public pipelines: models of diffusers and transformers."""

from pathlib import Path
from typing import Any

import torch

from ..codec.vae import MelVAE
from ..codec.vocoder import Vocoder
from ..models.text_encoder import load_text_encoder, load_tokenizer
from ..models.transformer import LatentTransformer
from ..models.weights import has_variant
from ..speech.encoder import SpeechEncoder
from .loading import load_net


def load_component(name: str, folder: Path, dtype: torch.dtype | None = None, variant: str | None = None) -> Any:
    """Loads a component by its name in a pipeline; its class is the one of that name, whatever the folder says.

    dtype: of its weights, default float32; variant: of its weight files, if it has them. Raises ValueError if a file is
    missing, damaged, or asks for other code."""
    if name == "tokenizer":
        return load_tokenizer(folder)
    if name == "text_encoder":
        return load_text_encoder(folder, dtype, variant if variant and has_variant(folder, variant) else None)
    return load_net((LatentTransformer, MelVAE, SpeechEncoder, Vocoder), name, folder, dtype, variant)
