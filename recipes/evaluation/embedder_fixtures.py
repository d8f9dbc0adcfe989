"""What original implementations of embedders and judges give on weights that anyone can make again.

`python -m recipes.evaluation.embedder_fixtures passt msclap-2023` runs the originals (each function names its package,
to be installed beside audiocm with `pip install --no-deps`) and adds their outputs to
`tests/embedders/originals.json`, against which `tests/embedders/test_originals.py` checks audiocm's ports without any of
these packages. The networks are the originals' at smaller widths where they allow it, under the keys of their published
files; weights are drawn by `make_weights`, sound by `make_sound`. On two CPU cores it takes seconds a case.
"""

import argparse
import json
import math
import zlib
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiocm.files import write_json

FILE = Path(__file__).parents[2] / "tests" / "embedders" / "originals.json"


def make_weights(shapes: dict[str, Iterable[int]]) -> dict[str, Tensor]:
    """Draws a tensor for each key, from a seed that is the CRC-32 of the key: matrices and filters normal with variance
    1 / fan-in, "running_var" 1 to 2, gains ("weight" of one dimension, "weight_g") 1 ± 0.1, all else ± 0.1."""
    state = {}
    for key, shape in shapes.items():
        generator, shape = np.random.default_rng(zlib.crc32(key.encode())), tuple(shape)
        values = generator.standard_normal(shape)
        if key.endswith("running_var"):
            values = 1 + generator.random(shape)
        elif key.endswith("weight_g") or (len(shape) == 1 and key.endswith("weight")):
            values = 1 + 0.1 * values
        elif len(shape) > 1 and math.prod(shape[1:]) > 1 and "embed" not in key and "token" not in key:
            values = values / math.prod(shape[1:]) ** 0.5
        else:
            values = 0.1 * values
        state[key] = torch.tensor(values, dtype=torch.float32)
    return state


def make_sound(rate: int, seconds: float, seed: int = 0) -> np.ndarray:
    """Returns a rising tone in faint noise, float32 [sample]."""
    at = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(at))
    return (0.3 * np.sin(2 * np.pi * 220 * at * (1 + at / seconds)) * np.exp(-at / seconds) + noise).astype(np.float32)


def _fill(net: nn.Module, fixed: tuple[str, ...] = ()) -> dict[str, list[int]]:
    """Gives `net`, in eval mode, made weights, except whole numbers and keys that contain one of `fixed`, and returns
    their shapes."""
    state = net.eval().state_dict()
    kept = {key for key, value in state.items() if not value.is_floating_point() or any(part in key for part in fixed)}
    shapes = {key: list(value.shape) for key, value in state.items() if key not in kept}
    net.load_state_dict(state | make_weights(shapes))
    return shapes


def _numbers(values: Tensor | np.ndarray) -> list:
    return json.loads(
        json.dumps(np.asarray(values, dtype=np.float64).tolist()), parse_float=lambda x: float(f"{float(x):.8g}")
    )


@torch.inference_mode()
def passt() -> dict[str, Any]:
    """hear21passt: window of 10 s and a clip of 1 s; features, then logits."""
    from hear21passt.models import preprocess
    from hear21passt.models.passt import PaSST

    complex_stft = torch.stft  # the package asks for the real form, which torch has dropped
    net = PaSST(
        img_size=(128, 998), stride=(10, 10), embed_dim=192, depth=2, num_heads=3, num_classes=20, distilled=True
    )
    shapes = _fill(net)
    mel = preprocess.AugmentMelSTFT(freqm=48, timem=192, fmin_aug_range=10, fmax_aug_range=2000).eval()
    torch.stft = lambda *args, return_complex, **more: torch.view_as_real(
        complex_stft(*args, return_complex=True, **more)
    )
    outputs = [net(mel(torch.from_numpy(make_sound(32000, seconds))[None])[:, None]) for seconds in (10.0, 1.0)]
    torch.stft = complex_stft
    logits, features = (torch.cat(parts) for parts in zip(*outputs, strict=True))
    return {"package": "hear21passt", "shapes": shapes, "embedding": features, "logits": logits}


def _msclap(year: str) -> dict[str, Any]:
    """msclap: clips of the heard length and token ids; GPT-2 and BERT small, HTSAT and Cnn14 of true size."""
    import msclap.models.clap as original
    from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

    small = {
        "vocab_size": 99,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "intermediate_size": 96,
    }
    words = BertModel(BertConfig(**small))
    if year == "2023":
        words = GPT2Model(GPT2Config(vocab_size=99, n_positions=80, n_embd=64, n_layer=2, n_head=1))
    original.AutoModel = type("AutoModel", (), {"from_pretrained": staticmethod(lambda name: words)})
    names = {"audioenc_name": "Cnn14", "text_model": "bert", "out_emb": 2048, "fmax": 14000}
    if year == "2023":
        names = {"audioenc_name": "HTSAT", "text_model": "gpt2", "out_emb": 768, "fmax": 8000}
    sizes = {"sample_rate": 44100, "window_size": 1024, "hop_size": 320, "mel_bins": 64, "fmin": 50, "classes_num": 20}
    net = original.CLAP(**names, **sizes, transformer_embed_dim=64, d_proj=32)
    shapes = _fill(net, ("extractor", "attn_mask", "logit_scale"))
    wav = make_sound(44100, 7.0 if year == "2023" else 5.0)
    ids = torch.tensor([[5, 7, 9, 98, 0, 0, 0], [5, 3, 8, 3, 4, 5, 98]])
    tokens = {"input_ids": ids, "attention_mask": torch.tensor([[1] * 4 + [0] * 3, [1] * 7])}
    tokens |= {} if year == "2023" else {"token_type_ids": torch.zeros_like(ids)}
    with torch.inference_mode():
        embedding, text = net.audio_encoder(torch.from_numpy(wav)[None])[0], net.caption_encoder(tokens)
    return {"package": "msclap", "shapes": shapes, "embedding": embedding, "text": text, "ids": ids}


SMALL_WAVLM = {
    "encoder_layers": 2, "encoder_embed_dim": 128, "encoder_ffn_embed_dim": 96, "encoder_attention_heads": 2,
    "conv_feature_layers": "[(32,10,5)] + [(32,3,2)] * 4 + [(32,2,2)] * 2", "conv_pos": 16, "conv_pos_groups": 4,
    "relative_position_embedding": True, "gru_rel_pos": True, "num_buckets": 320, "max_distance": 800,
}  # fmt: skip


def _wavlm_speaker(large: bool) -> dict[str, Any]:
    """UniSpeech's ECAPA_TDNN_SMALL on the WavLM of s3prl. PYTHONPATH must hold downstreams/speaker_verification of a
    clone of github.com/microsoft/UniSpeech (commit 40d3227); its import of fairseq, which is not used, is satisfied
    by an empty module."""
    import sys
    import tempfile
    import types

    from s3prl.upstream.wavlm.expert import UpstreamExpert
    from s3prl.upstream.wavlm.WavLM import WavLM, WavLMConfig

    unused = types.ModuleType("models.utils")
    unused.UpstreamExpert = None
    sys.modules["models.utils"] = unused
    from models.ecapa_tdnn import ECAPA_TDNN_SMALL

    settings = SMALL_WAVLM | {"layer_norm_first": large, "normalize": large}
    settings |= {"extractor_mode": "layer_norm" if large else "default"}
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        torch.save({"cfg": settings, "model": WavLM(WavLMConfig(settings)).state_dict()}, file.name)
        torch.hub.load = lambda *_: UpstreamExpert(file.name)
        net = ECAPA_TDNN_SMALL(feat_dim=128, feat_type="wavlm_large" if large else "wavlm_base_plus")
    shapes = _fill(net)
    with torch.inference_mode():
        vectors = torch.cat([net(torch.from_numpy(make_sound(16000, seconds))[None]) for seconds in (2.0, 0.7)])
    source = "s3prl.upstream.wavlm and UniSpeech/downstreams/speaker_verification 40d3227"
    return {"package": "s3prl", "source": source, "shapes": shapes, "embedding": vectors}


def utmos() -> dict[str, Any]:
    """UTMOS-PyTorch, whose names of weights are those of the original's Lightning module, with a small wav2vec 2.0."""
    from utmos_pytorch import utmos_torch

    sizes = {"conv_feature_layers": SMALL_WAVLM["conv_feature_layers"], "encoder_layers": 2, "conv_pos": 16}
    small = utmos_torch.Wav2Vec2Config(**sizes, encoder_ffn_embed_dim=96)
    utmos_torch.Wav2Vec2Config = lambda: small
    net = utmos_torch.UTMOSModel()
    shapes = _fill(net)
    wavs = [torch.from_numpy(make_sound(16000, seconds))[None] for seconds in (2.0, 0.7)]
    with torch.inference_mode():
        frames = [
            net(wav=wav[None], domains=torch.zeros(1, dtype=torch.int), judge_id=torch.tensor([288])) for wav in wavs
        ]
    ratings = torch.stack([one.mean(dim=1)[0] * 2 + 3 for one in frames])
    return {"package": "utmos-pytorch", "shapes": shapes, "embedding": ratings}


def aesthetics() -> dict[str, Any]:
    """audiobox_aesthetics in float32 with a small WavLM: windows of 10 s of clips of 12 s and 0.7 s."""
    from audiobox_aesthetics import infer
    from audiobox_aesthetics.model import aes

    aes.DEFAULT_AUDIO_CFG.update(SMALL_WAVLM)
    settings = {"proj_num_layer": 2, "proj_ln": True, "proj_act_fn": "gelu", "proj_dropout": 0, "nth_layer": 3,
                "use_weighted_layer_sum": True, "precision": "32", "normalize_embed": True, "output_dim": 1}  # fmt: skip
    scale = {axis: {"mean": 5.0 + i, "std": 1.0 + i / 10} for i, axis in enumerate(aes.AXES_NAME)}
    predictor = infer.AesPredictor.__new__(infer.AesPredictor)
    predictor.model, predictor.device = aes.AesMultiOutput(**settings, target_transform=scale), torch.device("cpu")
    shapes = _fill(predictor.model)
    predictor.sample_rate, predictor.data_col = 16000, "wav"
    predictor.target_transform = {axis: aes.Normalize(**scale[axis]) for axis in scale}
    clips = [
        {"wav": torch.from_numpy(make_sound(16000, seconds))[None], "sample_rate": 16000} for seconds in (12.0, 0.7)
    ]
    ratings = torch.tensor([list(row.values()) for clip in clips for row in predictor.forward([clip])])
    options = {"model_cfg": settings, "target_transform": scale}
    return {"package": "audiobox-aesthetics", "shapes": shapes, "options": options, "embedding": ratings}


def openl3() -> dict[str, Any]:
    """openl3 with TensorFlow: windows of clips of 1.3 s and 0.4 s every half second. Keys are layers' weights in order."""
    import tempfile
    from importlib.metadata import PackageNotFoundError

    import openl3

    net = openl3.models._construct_mel256_audio_network()
    arrays = [weight for layer in net.layers for weight in layer.weights]
    shapes = {weight.name.removesuffix(":0"): list(weight.shape) for weight in arrays}
    named = {key.replace("moving_variance", "running_var").replace("gamma", "weight"): key for key in shapes}
    made = make_weights({name: _as_torch(shapes[key]) for name, key in named.items()})
    for weight, value in zip(arrays, made.values(), strict=True):
        weight.assign(value.permute(2, 3, 1, 0).numpy() if value.ndim == 4 else value.numpy())
    with tempfile.TemporaryDirectory() as folder:
        net.save_weights(f"{folder}/openl3_audio_mel256_music.h5")
        model = openl3.models.load_audio_embedding_model_from_path(
            f"{folder}/openl3_audio_mel256_music.h5", "mel256", 512
        )
    clips = [openl3.get_audio_embedding(make_sound(48000, s), 48000, model, hop_size=0.5)[0] for s in (1.3, 0.4)]
    try:
        found = version("openl3")
    except PackageNotFoundError:  # run from a checkout
        found = openl3.version.version
    return {"package": "openl3", "version": found, "shapes": shapes, "long": clips[0], "short": clips[1]}


def _as_torch(shape: list[int]) -> list[int]:
    """Returns the order of dimensions in which weights are drawn: that of torch for a kernel of Keras."""
    return [shape[3], shape[2], shape[0], shape[1]] if len(shape) == 4 else shape


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "aesthetics": aesthetics,
    "openl3": openl3,
    "passt": passt,
    "sim-o-base": lambda: _wavlm_speaker(False),
    "sim-o-large": lambda: _wavlm_speaker(True),
    "utmos": utmos,
    "msclap-2022": lambda: _msclap("2022"),
    "msclap-2023": lambda: _msclap("2023"),
}


def main() -> None:
    """Runs the named originals and adds what they give to the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("-o", "--output", type=Path, default=FILE)
    args = parser.parse_args()
    stored = json.loads(args.output.read_text(encoding="utf-8")) if args.output.exists() else {}
    for name in args.cases:
        case = CASES[name]()
        source = {"version": version(case["package"])} if "version" not in case else {}
        arrays = {key: _numbers(value) for key, value in case.items() if isinstance(value, Tensor | np.ndarray)}
        stored[name] = case | source | arrays
    write_json(args.output, dict(sorted(stored.items())))


if __name__ == "__main__":
    main()
