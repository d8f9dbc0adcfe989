"""ConsistencyTTA's checkpoint layout, with random weights: the converted folder makes what the original's formula makes."""

from __future__ import annotations

import math
import pickle
import re

import diffusers
import pytest
import torch
import transformers

from audiocm import load_teacher, sample
from audiocm.model_cards import read_model_card
from audiocm.teachers.consistencytta import CODEC_FILE, SCHEDULER, UNET_FILE, convert_consistencytta
from recipes.teachers.tiny_forms import UNET, mel_parts, t5, t5_tokenizer

CONFIG = {**UNET, "cross_attention_dim": 32, "use_linear_projection": True}
VOCODER = {
    "sampling_rate": 16000,
    "upsample_rates": [5, 4, 2, 2, 2],
    "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    "resblock_kernel_sizes": [3],
    "resblock_dilation_sizes": [[1, 3]],
    "normalize_before": False,
}
BLOCKS = 3  # of the VAE


def original_name(name: str) -> str:
    """The name in latent diffusion's layout of a weight of diffusers' AutoencoderKL."""
    name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"up.{BLOCKS - 1 - int(m[1])}.block.{m[2]}", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{BLOCKS - 1 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    for theirs, ours in {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}.items():
        name = name.replace(f"mid_block.attentions.0.{theirs}", f"mid.attn_1.{ours}")
    return name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A checkpoint in the released layout, its U-Net, its parts, and a folder with a text encoder."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("consistencytta")
    unet = diffusers.UNet2DConditionModel(**CONFIG).eval()
    width = unet.time_embedding.linear_2.out_features
    guidance = {"guidance_proj.weight": torch.randn(width // 2)}
    for i in (1, 2):
        guidance |= {f"guidance_embedding.linear_{i}.weight": torch.randn(width, width) / width**0.5}
        guidance |= {f"guidance_embedding.linear_{i}.bias": torch.randn(width)}
    torch.save(unet.state_dict() | guidance, folder / UNET_FILE)
    parts = mel_parts()
    state = {}
    for name, value in parts["vae"].state_dict().items():
        is_attention = ".attentions.0.to_" in name and name.endswith("weight")
        state[original_name(name)] = value[..., None, None] if is_attention else value
    for name, value in parts["vocoder"].state_dict().items():
        if name not in ("mean", "scale"):
            state["vocoder." + name.replace("upsampler.", "ups.")] = value
    torch.save({"state_dict": state, "scale_factor": 0.41}, folder / CODEC_FILE)
    t5().save_pretrained(folder / "flan-t5")
    t5_tokenizer().save_pretrained(folder / "flan-t5")
    return {"folder": folder, "unet": unet, "guidance": guidance, **parts}


def convert(original, output, **changes):
    folder = changes.pop("folder", original["folder"])
    given = {"unet_config": CONFIG, "vocoder": VOCODER, "w": 3.0} | changes
    convert_consistencytta(folder, original["folder"] / "flan-t5", output, **given)


@pytest.mark.parametrize("w", [0.0, 1.0, 4.5])
def test_the_converted_folder_makes_what_the_original_makes(original, tmp_path, w):
    convert(original, tmp_path / "out", w=w)
    model = load_teacher(tmp_path / "out")
    cond = model.condition(["a dog", "a saw"], 0.64)
    noise = torch.randn(2, *model.latent_shape(0.64), generator=torch.Generator().manual_seed(1))

    embedding = original["guidance"]
    angle = torch.full((1, 1), w) * embedding["guidance_proj.weight"] * 2 * math.pi
    layers = [[embedding[f"guidance_embedding.linear_{i}.{part}"] for part in ("weight", "bias")] for i in (1, 2)]
    features = torch.cat([torch.cos(angle), torch.sin(angle)], -1)
    hidden = torch.nn.functional.silu(torch.nn.functional.linear(features, *layers[0]))
    added = torch.nn.functional.linear(hidden, *layers[1])
    unet = original["unet"]
    hook = unet.time_embedding.register_forward_hook(lambda *call: call[-1] + added)
    scheduler = diffusers.HeunDiscreteScheduler(
        beta_start=SCHEDULER["beta_start"], beta_end=SCHEDULER["beta_end"], beta_schedule="scaled_linear"
    )
    scheduler.set_timesteps(18)
    first = scheduler.timesteps[0]
    scaled = scheduler.scale_model_input(noise * scheduler.init_noise_sigma, first)
    try:
        with torch.no_grad():
            theirs = unet(
                scaled, first, encoder_hidden_states=cond.tokens, encoder_attention_mask=cond.token_mask
            ).sample
            wav = original["vocoder"](original["vae"].decode(theirs / 0.41).sample.squeeze(1))
    finally:
        hook.remove()
    ours = sample(model.net, model.path, noise, cond)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(model.decode(theirs), wav, atol=1e-5, rtol=1e-4)
    assert "cc-by-nc-nd-4.0" in read_model_card(tmp_path / "out")


class Payload:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (open, (self.mark, "w"))


def test_bad_checkpoints_are_told_in_one_line_and_run_no_code(original, tmp_path):
    def spoilt(file, change):
        folder = tmp_path / "spoilt"
        folder.mkdir(exist_ok=True)
        for name in (UNET_FILE, CODEC_FILE):
            content = torch.load(original["folder"] / name, weights_only=True)
            torch.save(change(content) if name == file else content, folder / name)
        return folder

    def check(message, **changes):
        with pytest.raises(ValueError, match=message) as caught:
            convert(original, tmp_path / "out", **changes)
        assert "\n" not in str(caught.value) and not (tmp_path / "out").exists()

    check("w must be a number", w=float("nan"))
    check("unet_state_dict.pt is missing", folder=tmp_path / "none")
    check(
        "is no ConsistencyTTA: guidance_proj.weight is missing",
        folder=spoilt(UNET_FILE, lambda s: {"a": s["conv_in.bias"]}),
    )
    check("conv_in.bias has the shape", folder=spoilt(UNET_FILE, lambda s: s | {"conv_in.bias": torch.zeros(3)}))
    check("extra is not known", folder=spoilt(UNET_FILE, lambda s: s | {"extra": torch.zeros(3)}))
    check("not finite", folder=spoilt(UNET_FILE, lambda s: s | {"conv_in.bias": s["conv_in.bias"] * float("nan")}))
    check("must hold state_dict and scale_factor", folder=spoilt(CODEC_FILE, lambda s: s["state_dict"]))
    check("has another layout", folder=spoilt(CODEC_FILE, lambda s: s | {"state_dict": {"a": torch.zeros(1)}}))
    folder = spoilt(UNET_FILE, lambda s: s)
    (folder / UNET_FILE).write_bytes(pickle.dumps({"a": Payload(str(tmp_path / "OWNED"))}))
    check("damaged, or holds more than tensors", folder=folder)
    assert not (tmp_path / "OWNED").exists()
    with pytest.raises(ValueError, match="no FLAN-T5"):
        convert_consistencytta(original["folder"], tmp_path, tmp_path / "out", unet_config=CONFIG, vocoder=VOCODER)


def test_the_true_architecture_has_the_size_of_the_release():
    from audiocm.teachers.consistencytta import UNET_CONFIG, VOCODER as TRUE_VOCODER

    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(**UNET_CONFIG)
        vocoder = transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**TRUE_VOCODER, model_in_dim=64))
    assert unet.time_embedding.linear_2.out_features == 1024 and unet.conv_in.weight.shape == (256, 8, 3, 3)
    assert math.prod(vocoder.config.upsample_rates) == 160
