"""wav2vec 2.0 and WavLM under fairseq's names of weights, as judges of speech hold them, in transformers' classes."""

import re

import torch
from torch import Tensor, nn
from transformers import Wav2Vec2Config, Wav2Vec2Model, WavLMConfig, WavLMModel

from .checkpoints import load_strictly

RECEPTIVE, FRAME = 400, 320  # samples that the first frame needs, and each further one
STRIDES = (5, 2, 2, 2, 2, 2, 2)  # of all published models
KEY_NAMES = (  # (fairseq, transformers), applied in this order
    (r"^mask_emb$", "masked_spec_embed"),
    (r"^layer_norm\.", "feature_projection.layer_norm."),
    (r"^post_extract_proj\.", "feature_projection.projection."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.0\.", r"\1.conv."),
    (r"^(feature_extractor\.conv_layers\.\d+)\.2\.(1\.)?", r"\1.layer_norm."),
    (r"^encoder\.pos_conv\.0\.bias$", "encoder.pos_conv_embed.conv.bias"),
    (r"^encoder\.pos_conv\.0\.weight_g$", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (r"^encoder\.pos_conv\.0\.weight_v$", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (r"\.self_attn_layer_norm\.", ".layer_norm."),
    (r"\.self_attn\.grep_linear\.", ".attention.gru_rel_pos_linear."),
    (r"\.self_attn\.grep_a$", ".attention.gru_rel_pos_const"),
    (r"\.self_attn\.relative_attention_bias\.", ".attention.rel_attn_embed."),
    (r"\.self_attn\.", ".attention."),
    (r"\.fc1\.", ".feed_forward.intermediate_dense."),
    (r"\.fc2\.", ".feed_forward.output_dense."),
)


def split_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the entries whose keys start with `prefix`, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def rename_keys(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames fairseq's keys to transformers'."""
    renamed = {}
    for key, value in state.items():
        for theirs, ours in KEY_NAMES:
            key = re.sub(theirs, ours, key)
        renamed[key] = value
    return renamed


def load_speech_encoder(state: dict[str, Tensor], file: str) -> nn.Module:
    """Builds a Wav2Vec2Model or WavLMModel of the sizes of `state`, whose keys are fairseq's, in eval mode.

    Models whose convolutions have layer norms normalise before each block, as the published large ones do. Raises
    ValueError, which names `file`, if weights are missing."""
    state = rename_keys(state)
    try:
        convolutions = [state[f"feature_extractor.conv_layers.{n}.conv.weight"].shape for n in range(len(STRIDES))]
        width = len(state["feature_projection.projection.weight"])
        positions = state["encoder.pos_conv_embed.conv.parametrizations.weight.original1"].shape
        inner = len(state["encoder.layers.0.feed_forward.intermediate_dense.weight"])
        constant = state.get("encoder.layers.0.attention.gru_rel_pos_const")
        large = "feature_extractor.conv_layers.1.layer_norm.weight" in state
        sizes = {
            "hidden_size": width,
            "intermediate_size": inner,
            "num_hidden_layers": len({key.split(".")[2] for key in state if key.startswith("encoder.layers.")}),
            "num_attention_heads": width // 64 if constant is None else constant.shape[1],
            "conv_dim": [shape[0] for shape in convolutions],
            "conv_kernel": [shape[2] for shape in convolutions],
            "conv_stride": STRIDES,
            "conv_bias": "feature_extractor.conv_layers.0.conv.bias" in state,
            "num_conv_pos_embeddings": positions[2],
            "num_conv_pos_embedding_groups": width // positions[1],
            "feat_extract_norm": "layer" if large else "group",
            "do_stable_layer_norm": large,
            "apply_spec_augment": False,
        }
        if constant is None:
            model = Wav2Vec2Model(Wav2Vec2Config(**sizes))
        else:
            buckets = len(state["encoder.layers.0.attention.rel_attn_embed.weight"])
            model = WavLMModel(WavLMConfig(**sizes, num_buckets=buckets))
    except (KeyError, IndexError) as error:
        raise ValueError(f"{file}: holds no wav2vec 2.0 or WavLM of fairseq's ({error} is missing)") from error
    return load_strictly(model, state, file, ("masked_spec_embed",)).requires_grad_(False)


def hidden_states(model: nn.Module, wavs: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns the input of the first block and the outputs of all, the last one after the model's last norm, [layer, clip,
    frame, width], of wavs [clip, sample].

    `mask` [clip, sample] is 1 where there is sound."""
    states = model(wavs, attention_mask=mask, output_hidden_states=True)
    return torch.stack((*states.hidden_states[:-1], states.last_hidden_state))  # not all transformers norm the last one
