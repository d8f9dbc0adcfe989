"""Settings of files: types, ranges, depths and unknown keys are told in one line, with the file and the key."""

from __future__ import annotations

import inspect
import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_model import tiny_pipeline

from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from audiocm.embedders.small_clap import SmallClap
from audiocm.models.folders import CHECKSUMS, PRETRAINED, read_checksums, sha256
from audiocm.models.transformer import LatentTransformer
from audiocm.pipelines.loading import SETTINGS, read_index
from audiocm.pipelines.text_to_audio import TextToAudioPipeline
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.schema import flag, interval, list_of, number, optional, parse_json, table, text, whole
from audiocm.speech.encoder import SpeechEncoder

NETS = (LatentTransformer, MelVAE, Vocoder, SpeechEncoder, SmallClap)


def refused(folder, match):
    with pytest.raises(ValueError, match=match) as error:
        TextToAudioPipeline.from_pretrained(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, reason",
    [
        ("[" * 100_000, "nests deeper"),
        ('{"a":' * 100_000, "nests deeper"),
        ("[" * 40 + "]" * 40, "nests deeper"),
        ('{"a": 1, "a": 1}', "'a' is there twice"),
        ("NaN", "no number of JSON"),
        ("1e999", "too large"),
        ('"\\ud800"', "surrogate"),
        ("1" * 5000, "limit"),
        (b"\xff", "not UTF-8"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_refused(content, reason):
    with pytest.raises(ValueError, match=reason):
        parse_json(content)


def test_json_that_is_allowed():
    assert parse_json(b'\xef\xbb\xbf{"a": ["\\ud83d\\ude00", 1e3]}') == {"a": ["😀", 1000.0]}
    assert parse_json("[NaN]", allow_nan=True)[0] != 0


@pytest.mark.parametrize(
    "rule, good, bad",
    [
        (whole(1, 9), [1, 9], [0, 10, 1.0, True, "1", None, 10**40]),
        (number(0, 1), [0, 0.5, 1], [-1, float("nan"), float("inf"), True, "x", None]),
        (flag, [True, False], [1, "true", None]),
        (text(), ["a"], ["", 5, None, "a" * 1001]),
        (text("a", "b"), ["a"], ["c", 1]),
        (optional(whole(0, 1)), [None, 1], [2]),
        (list_of(whole(0, 1), 1, 2), [[0], (1, 1)], [[], [0, 0, 0], [2], "01", {}, None]),
        (interval(0, 9), [[0, 9], (1.0, 1.0)], [[2, 1], [0], [0, 10], "ab", None]),
        (table({"a": flag}, ["a"]), [{"a": True}, {"a": True, "_b": 0}], [{}, {"a": 1}, {"a": True, "b": 1}, [], None]),
    ],
)
def test_rules(rule, good, bad):
    for value in good:
        rule(value, "x")
    for value in bad:
        with pytest.raises(ValueError, match="x"):
            rule(value, "x")


def test_the_place_of_an_error_names_every_key_on_the_way():
    with pytest.raises(ValueError, match=r"^a\.b\[1\] must be a whole number from 0 to 1, not 5$"):
        table({"a": table({"b": list_of(whole(0, 1))})})({"a": {"b": [0, 5]}}, "")


@pytest.mark.parametrize("cls", NETS)
def test_every_setting_of_a_network_has_a_rule_that_its_default_keeps(cls):
    parameters = {
        name: one.default for name, one in inspect.signature(cls.__init__).parameters.items() if name != "self"
    }
    assert parameters.keys() == cls.config_rules.keys()
    for name, default in parameters.items():
        cls.config_rules[name](default, name)


@pytest.mark.parametrize("cls", [TextToAudioPipeline, TextToSpeechPipeline])
def test_every_setting_of_a_pipeline_has_a_rule_that_its_default_keeps(cls):
    parameters = inspect.signature(cls.__init__).parameters.values()
    settings = {one.name: one.default for one in parameters if one.default is not one.empty}
    assert settings and settings.keys() <= SETTINGS.keys()
    for name, default in settings.items():
        SETTINGS[name](default, name)


@pytest.mark.parametrize(
    "part, key, value",
    [
        *[("transformer", "channels", value) for value in (-1, "x", 10**9, None, 1.5, True)],
        *[("transformer", "depth", value) for value in ("x", 10**12, 0)],
        ("transformer", "heads", 0),
        *[("transformer", "max_frames", value) for value in (-1, 10**12)],
        *[("transformer", "guidance_range", value) for value in ("ab", [3, 1], [1], 5)],
        ("transformer", "path", "ddpm"),
        ("transformer", "unheard", 1),
        ("transformer", "_class_name", "MelVAE"),
        ("vae", "widths", [10**9]),
        ("vae", "blocks", 5),
        ("vocoder", "n_fft", 10**9),
        ("vocoder", "depth", "[" * 9),
        ("text_encoder", "hidden_size", 10**9),
        ("text_encoder", "num_hidden_layers", 10**12),
    ],
)
def test_a_setting_of_a_network(model, part, key, value):
    file = model / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    refused(model, rf"{part}/config\.json is damaged: '?{key}'?(\[0\])? (must be|is not known)")


@pytest.mark.parametrize(
    "part, entries",
    [
        ("transformer", {"heads": 5}),
        ("vae", {"widths": [8]}),
        ("text_encoder", {"hidden_size": "x"}),
        ("text_encoder", {"vocab_size": 7}),
    ],
)
def test_settings_that_do_not_go_together(model, part, entries):
    file = model / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
    refused(model, part)


@pytest.mark.parametrize(
    "key, value",
    [
        *[("num_inference_steps", value) for value in (None, 0, 1e9, "x")],
        *[("guidance_scale", value) for value in ("x", None, -1)],
        *[("guidance_range", value) for value in (5, "ab", [2, 1])],
        *[("seconds_range", value) for value in ([None, None], "ab")],
        *[("max_tokens", value) for value in (-1, "x", 10**9)],
        *[("temperature", value) for value in ("x", None, 0)],
        ("unheard", 1),
        ("noise_mean", 1.0),
    ],
)
def test_a_setting_of_a_pipeline(tmp_path, key, value):
    components = dict.fromkeys(("transformer", "vae", "vocoder", "text_encoder", "tokenizer"), ".")
    (tmp_path / "bundle.json").write_text(json.dumps({"components": components, key: value}))
    refused(tmp_path, rf"(bundle\.json is damaged: '?{key}'?.* (must be|is not known))|sets noise_mean")


def test_a_setting_of_the_constructor_is_named():
    for key, value in {"max_tokens": "x", "temperature": None, "guidance_range": 5, "seconds_range": [2, 1]}.items():
        with pytest.raises(ValueError, match=f"^{key}"):
            tiny_pipeline(**{key: value})
    with pytest.raises(ValueError, match="max_tokens must be a whole number from 1 to 64"):
        tiny_pipeline(max_tokens=65)


@pytest.mark.parametrize(
    "file", ["tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "text_encoder/config.json"]
)
def test_brackets_answer_at_once(model, file):
    (model / file).write_text("[" * 100_000)
    refused(model, rf"{file} is damaged: it nests deeper")


# --- weights and their checksums --------------------------------------------------------------------------------------


def test_one_flipped_bit_is_told(model):
    for part in ("transformer", "vae", "vocoder", "text_encoder"):
        file = next((model / part).glob("*.safetensors"))
        whole_file = file.read_bytes()
        file.write_bytes(whole_file[:-9] + bytes([whole_file[-9] ^ 1]) + whole_file[-8:])
        refused(model, rf"{part}/{file.name} is damaged: its SHA-256 is not that of checksums\.json")
        file.write_bytes(whole_file)
    TextToAudioPipeline.from_pretrained(model)


@pytest.mark.parametrize("content", ["[]", '{"../x": "0"}', '{"x": "0"}', "["])
def test_damaged_checksums(model, content):
    (model / "vae" / CHECKSUMS).write_text(content)
    refused(model, r"vae/checksums\.json")


def test_the_shipped_weights_have_their_checksums():
    folders = {file.parent for file in PRETRAINED.rglob("*.safetensors")}
    assert len(folders) == 9
    for folder in folders:
        expected = {file.name: sha256(file) for file in folder.glob("*.safetensors")}
        assert read_checksums(folder) == expected, f"run record_checksums on {folder}"


def test_the_shipped_bundles_keep_the_rules():
    for name in ("tta", "tta-teacher", "tts", "tts-teacher"):
        settings, components = read_index(PRETRAINED / name)
        assert settings and all(folder.is_dir() for folder in components.values())


@pytest.mark.parametrize("damage", ["row", "scales", "scalar", "type", "unscaled"])
def test_weights_of_another_shape(model, damage):
    file = next((model / "text_encoder").glob("*.safetensors"))
    weights, name = load_file(file), "embeddings.word_embeddings.weight"
    weights |= {
        "row": lambda: {name: weights[name][:-1].clone()},
        "scales": lambda: {f"{name}::scale": weights[f"{name}::scale"][:-1].clone()},
        "scalar": lambda: {f"{name}::scale": torch.zeros(())},
        "type": lambda: {"pooler.dense.bias": torch.ones(16, dtype=torch.int64)},
        "unscaled": lambda: {},
    }[damage]()
    if damage == "unscaled":
        del weights[f"{name}::scale"]
    (file.parent / CHECKSUMS).unlink()
    save_file(weights, file, metadata={"format": "pt"})
    refused(model, rf"weight file .*{file.name} (is damaged|does not fit)")
