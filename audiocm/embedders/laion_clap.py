"""Converts LAION's CLAP checkpoints (.pt) to transformers' ClapModel; nothing but tensors is unpickled.

Papers score with `music_audioset_epoch_15_esc_90.14.pt`, `630k-audioset-best.pt` and similar files. They have no
tokenizer; it is RoBERTa's, from a folder or hub id that the user names.
"""

import re
from pathlib import Path

import torch
from torch import Tensor
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from .checkpoints import load_strictly, read_weights

KEY_NAMES = (  # (LAION, transformers)
    ("text_branch", "text_model"),
    ("audio_branch", "audio_model.audio_encoder"),
    ("attn", "attention.self"),
    ("self.proj", "output.dense"),
    ("attention.self_mask", "attn_mask"),
    ("mlp.fc1", "intermediate.dense"),
    ("mlp.fc2", "output.dense"),
    ("norm1", "layernorm_before"),
    ("norm2", "layernorm_after"),
    ("bn0", "batch_norm"),
)
CONSTANTS = ("position_ids", "token_type_ids", "relative_position_index", "logit_scale_a", "logit_scale_t")
# LAION's front end (its htsat.py and model_configs); transformers' default has a lowest frequency of 0 Hz instead
FRONT_END = {"frequency_min": 50, "frequency_max": 14000, "sampling_rate": 48000, "padding": "repeatpad"}


def rename_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames LAION's keys to ClapModel's and splits the joint qkv matrices in three."""
    renamed = {}
    for key, value in state.items():
        key = key.removeprefix("module.")
        for theirs, ours in KEY_NAMES:
            key = key.replace(theirs, ours)
        key = re.sub(r"(_projection)\.(\d+)\.", lambda m: f"{m[1]}.linear{1 if m[2] == '0' else 2}.", key)
        key = re.sub(r"sequential\.(\d+)\.", lambda m: f"layers.{int(m[1]) // 3}.linear.", key)
        if "audio_model" in key and "qkv" in key:
            for name, part in zip(("query", "key", "value"), value.chunk(3), strict=True):
                renamed[key.replace("qkv", name)] = part
        else:
            renamed[key] = value
    return renamed


def config_from_weights(state: dict[str, Tensor]) -> ClapConfig:
    """Reads the model's sizes from renamed weights: HTSAT tiny or base, with or without fusion, and RoBERTa."""
    encoder = "audio_model.audio_encoder"
    width = state[f"{encoder}.patch_embed.proj.weight"].shape[0]
    depths = [len({k.split(".")[5] for k in state if k.startswith(f"{encoder}.layers.{n}.blocks.")}) for n in range(4)]
    fused = any("fusion_model" in key for key in state)
    text, projection = "text_model", state["text_projection.linear1.weight"].shape[0]
    hidden = state[f"{text}.embeddings.word_embeddings.weight"].shape
    layers = {k.split(".")[3] for k in state if k.startswith(f"{text}.encoder.layer.")}
    return ClapConfig(
        audio_config={
            "patch_embeds_hidden_size": width, "hidden_size": width * 8, "depths": depths, "enable_fusion": fused,
            "num_attention_heads": [4, 8, 16, 32], "fusion_type": "aff_2d" if fused else None, "projection_dim": projection,
        },
        text_config={
            "vocab_size": hidden[0], "hidden_size": hidden[1], "num_hidden_layers": len(layers),
            "num_attention_heads": hidden[1] // 64,
            "intermediate_size": state[f"{text}.encoder.layer.0.intermediate.dense.weight"].shape[0],
            "max_position_embeddings": state[f"{text}.embeddings.position_embeddings.weight"].shape[0],
            "type_vocab_size": state[f"{text}.embeddings.token_type_embeddings.weight"].shape[0],
            "projection_dim": projection, "layer_norm_eps": 1e-5,  # RoBERTa's, where ClapConfig has 1e-12
        },
        projection_dim=projection,
    )  # fmt: skip


def load_laion(file: str | Path) -> tuple[ClapModel, ClapFeatureExtractor, bytes]:
    """Loads the model in eval mode, its front end and the file's bytes. Raises ValueError if it is another
    checkpoint."""
    state, data = read_weights(file)
    try:
        state = rename_keys(state)
        config = config_from_weights(state)
        model = ClapModel(config)
    except (KeyError, IndexError) as error:
        raise ValueError(f"{file}: not a LAION CLAP checkpoint with an HTSAT tower ({error} is missing)") from error
    except (ValueError, TypeError, ArithmeticError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{file}: not a LAION CLAP checkpoint, its weights are of odd shapes ({reason})") from error
    model = load_strictly(model, state, file, CONSTANTS)
    truncation = "fusion" if config.audio_config.enable_fusion else "rand_trunc"
    return model, ClapFeatureExtractor(truncation=truncation, **FRONT_END), data


def quantize_int16(wav: Tensor) -> Tensor:
    """Rounds a waveform to 16 bits, as LAION's loader does."""
    return (wav.clamp(-1, 1) * 32767).to(torch.int16).float() / 32767
