"""Conversion of ConsistencyTTA's released checkpoint (Bai et al. 2024) to a folder of plain diffusers components.

Its U-Net is TANGO's with a second embedding, of the guidance weight w, that is added to the time embedding. For one w
that embedding is a constant vector, so it goes into the bias of the time embedding's last layer, and what is left is a
plain UNet2DConditionModel that predicts the clean latent. The U-Net's weights derive from TANGO's, which may be used
for non-commercial purposes and whose derivatives may not be shared: the converted folder is for the one who makes it.
"""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..checks import check_number
from ..files import atomic_write
from ..models.folders import SAFE
from ..models.text_encoder import load_tokenizer

UNET_FILE, CODEC_FILE = "unet_state_dict.pt", "vae_state_dict.pt"
UNET_CONFIG: dict[str, Any] = {  # of the lighter TANGO that the release was distilled to
    "in_channels": 8,
    "out_channels": 8,
    "sample_size": [32, 2],
    "block_out_channels": [256, 512, 1024, 1024],
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3,
    "use_linear_projection": True,
    "upcast_attention": True,
}
SCHEDULER: dict[str, Any] = {  # Stable Diffusion 2.1's noise, of which the network predicts the clean latent
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "prediction_type": "sample",
}
VOCODER: dict[str, Any] = {  # AudioLDM's HiFi-GAN
    "sampling_rate": 16000,
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "resblock_kernel_sizes": [3, 7, 11],
    "resblock_dilation_sizes": [[1, 3, 5]] * 3,
    "normalize_before": False,
}
CARD = """---
license: cc-by-nc-nd-4.0
library_name: diffusers
pipeline_tag: text-to-audio
tags: [audiocm, consistency-distillation]
---

# ConsistencyTTA at guidance {w:g}

Converted from the checkpoint that the authors of [ConsistencyTTA](https://arxiv.org/abs/2309.10740) released. It derives from TANGO: for
non-commercial use, and not to be shared in this form. One call makes a sound of about ten seconds:

```python
import torch
from audiocm import load_teacher, sample

model = load_teacher(FOLDER)
cond = model.condition(["a dog barks"], 10.0)
noise = torch.randn(1, *model.latent_shape(10.0))
wav = model.decode(sample(model.net, model.path, noise, cond))  # [1, sample] at model.sample_rate Hz
```
"""


def convert_consistencytta(
    checkpoint: str | os.PathLike,
    text_encoder: str | os.PathLike,
    output: str | os.PathLike,
    w: float = 3.0,
    unet_config: Mapping[str, Any] = UNET_CONFIG,
    scheduler: Mapping[str, Any] = SCHEDULER,
    vocoder: Mapping[str, Any] = VOCODER,
) -> None:
    """Writes a folder that `load_teacher` reads, from a folder with ConsistencyTTA's two files and one with FLAN-T5.

    checkpoint    folder of unet_state_dict.pt and vae_state_dict.pt, which are read without running code of theirs
    text_encoder  folder of google/flan-t5-large, as `save_pretrained` writes encoder and tokenizer
    w             the guidance weight that is fixed in the converted network, 0 to 10

    Raises ValueError if a file is missing, damaged, of another layout, or the output cannot be written."""
    import diffusers
    import transformers

    check_number("w", w, least=0, most=10)
    unet_state = _read_tensors(Path(checkpoint) / UNET_FILE)
    codec = _read_tensors(Path(checkpoint) / CODEC_FILE)
    codec_state, factor = codec.get("state_dict"), codec.get("scale_factor")
    if not isinstance(codec_state, Mapping) or factor is None:
        raise ValueError(f"{Path(checkpoint) / CODEC_FILE} must hold state_dict and scale_factor")
    unet = diffusers.UNet2DConditionModel(**unet_config)
    _load(unet, fold_guidance(unet_state, w), UNET_FILE)
    vae = _convert_vae(codec_state, float(factor))
    parts = {name.removeprefix("vocoder."): value for name, value in codec_state.items() if name.startswith("vocoder.")}
    state = {re.sub(r"^ups\.", "upsampler.", name): value for name, value in parts.items()}
    bins, width = state.get("conv_pre.weight", torch.zeros(1, 64, 1)).shape[1::-1]
    config = transformers.SpeechT5HifiGanConfig(**vocoder, model_in_dim=bins, upsample_initial_channel=width)
    hifigan = transformers.SpeechT5HifiGan(config)
    _load(hifigan, state, f"the vocoder of {CODEC_FILE}", optional={"mean", "scale"})
    try:
        encoder = transformers.T5EncoderModel.from_pretrained(Path(text_encoder), **SAFE)
        tokenizer = load_tokenizer(Path(text_encoder))
    except (OSError, ValueError) as error:
        raise ValueError(f"no FLAN-T5 in {text_encoder}: {' '.join(str(error).split())[:200]}") from error
    components = {
        "unet": unet,
        "vae": vae,
        "vocoder": hifigan,
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "scheduler": diffusers.DDIMScheduler(**scheduler),
    }
    with atomic_write(output) as partial:
        partial.mkdir()
        for name, component in components.items():
            component.save_pretrained(partial / name)
        (partial / "README.md").write_text(CARD.format(w=w), encoding="utf-8")


def fold_guidance(state: Mapping[str, Tensor], w: float) -> dict[str, Tensor]:
    """Returns the state of a plain U-Net with a fixed w: the embedding of w becomes part of a bias.

    The embedding is linear_2(silu(linear_1([cos, sin](2 pi w f)))) of stored frequencies f. Raises ValueError if the
    state has none."""
    names = [f"guidance_embedding.linear_{i}.{part}" for i in (1, 2) for part in ("weight", "bias")]
    if missing := [name for name in ("guidance_proj.weight", *names) if name not in state]:
        raise ValueError(f"{UNET_FILE} is no ConsistencyTTA: {missing[0]} is missing")
    angle = 2 * math.pi * w * state["guidance_proj.weight"].double()
    weight_1, bias_1, weight_2, bias_2 = (state[name].double() for name in names)
    features = torch.cat([angle.cos(), angle.sin()])
    embedding = weight_2 @ torch.nn.functional.silu(weight_1 @ features + bias_1) + bias_2
    plain = {name: value for name, value in state.items() if not name.startswith(("guidance_", "time_proj."))}
    bias = "time_embedding.linear_2.bias"
    return plain | {bias: (plain[bias].double() + embedding).to(plain[bias].dtype)}


def _convert_vae(state: Mapping[str, Tensor], factor: float) -> Any:
    """Returns the AutoencoderKL of a VAE in the layout of latent diffusion, whose widths are those of its convolutions."""
    import diffusers
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    state = {name: value for name, value in state.items() if not name.startswith(("vocoder.", "loss.", "ema_"))}
    try:
        widths = []
        while f"encoder.down.{len(widths)}.block.0.conv1.weight" in state:
            widths.append(len(state[f"encoder.down.{len(widths)}.block.0.conv1.weight"]))
        config: dict[str, Any] = {
            "in_channels": state["encoder.conv_in.weight"].shape[1],
            "out_channels": len(state["decoder.conv_out.weight"]),
            "latent_channels": state["post_quant_conv.weight"].shape[1],
            "block_out_channels": widths,
            "layers_per_block": len({name.split(".")[4] for name in state if name.startswith("encoder.down.0.block.")}),
            "down_block_types": ["DownEncoderBlock2D"] * len(widths),
            "up_block_types": ["UpDecoderBlock2D"] * len(widths),
            "norm_num_groups": math.gcd(32, widths[0]),
            "scaling_factor": factor,
        }
        converted = convert_ldm_vae_checkpoint(dict(state), config)
    except (KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"the VAE of {CODEC_FILE} has another layout: {error!r}") from error
    vae = diffusers.AutoencoderKL(**config)
    _load(vae, converted, f"the VAE of {CODEC_FILE}")
    return vae


def _read_tensors(file: Path) -> dict[str, Any]:
    """Returns the tensors and numbers of a .pt file; code in it is not run. Raises ValueError if it cannot be read."""
    if not file.is_file():
        raise ValueError(f"{file} is missing")
    try:
        value = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # unpicklers raise many types
        raise ValueError(
            f"{file} is damaged, or holds more than tensors: {' '.join(str(error).split())[:160]}"
        ) from error
    if not isinstance(value, Mapping):
        raise ValueError(f"{file} must hold a state dict, not a {type(value).__name__}")
    return dict(value)


def _load(
    net: torch.nn.Module, state: Mapping[str, Tensor], what: str, optional: frozenset | set = frozenset()
) -> None:
    """Loads weights that must fit. Raises ValueError, which names the first that does not."""
    own = net.state_dict()
    for name in sorted((own.keys() | state.keys()) - optional):
        if name not in state or name not in own:
            raise ValueError(f"{what}: {name} is {'missing' if name in own else 'not known'}")
        if own[name].shape != state[name].shape:
            raise ValueError(f"{what}: {name} has the shape {list(state[name].shape)}, not {list(own[name].shape)}")
        if not state[name].isfinite().all():
            raise ValueError(f"{what}: {name} holds values that are not finite")
    net.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)
