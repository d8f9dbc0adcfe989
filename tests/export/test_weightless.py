"""Graphs that take their weights from the weight files of the model: the bundled ones, and small ones made here."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import TensorProto, helper, numpy_helper

from audiocm.cli import graphs
from audiocm.cli.main import main
from audiocm.export.onnx_files import signal_to_noise
from audiocm.export.weightless import take_weights_out
from audiocm.models.folders import weight_file
from audiocm.models.weights import dequantize, save_int8
from audiocm.pipelines import TextToAudioPipeline
from audiocm.runtime import GraphFolder, OnnxTextToAudio
from audiocm.runtime.folder import _onnx_graph
from audiocm.runtime.weights import read_weights, weight

BUNDLED = graphs.PRETRAINED / "tta" / "graphs"
STATE = {
    "table": torch.randn(300, 128, generator=torch.Generator().manual_seed(0)),
    "layer.weight": torch.randn(256, 128, generator=torch.Generator().manual_seed(1)),
    "layer.bias": torch.randn(256, generator=torch.Generator().manual_seed(2)),
}


@pytest.fixture
def stored(tmp_path):
    save_int8(STATE, tmp_path / "model.int8.safetensors")
    return read_weights(weight_file(tmp_path))


def test_weights_are_those_that_torch_reads(tmp_path, stored):
    save_int8(STATE, tmp_path / "split" / "model.int8.safetensors", max_shard_size=40_000)
    split = weight_file(tmp_path / "split", ("int8",), with_index=True)
    assert split.suffix == ".json" and read_weights(split).keys() == stored.keys()
    wanted = dequantize({name: torch.from_numpy(value) for name, value in stored.items()})
    for name, value in wanted.items():
        for read in (stored, read_weights(split)):
            np.testing.assert_array_equal(weight(read, name), value.numpy())
        if value.ndim == 2:
            np.testing.assert_array_equal(weight(stored, name, "transposed"), value.numpy().T)


def lookup_and_product(stored) -> onnx.ModelProto:
    """A graph of table[ids] @ W^T + b with its weights in it."""
    table, matrix, bias = (weight(stored, name) for name in STATE)
    constants = {"table": table, "matrix": np.ascontiguousarray(matrix.T), "bias": bias}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"], "look up"),
        helper.make_node("MatMul", ["rows", "matrix"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["out"]),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 256])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", [ids], [out], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("few_calls", [False, True])
def test_a_graph_without_weights_computes_the_same(stored, few_calls):
    model, ids = lookup_and_product(stored), np.array([0, 7, 299])
    whole = model.SerializeToString()
    places = take_weights_out(model, {"net": stored})
    assert sorted(places) == ["bias", "matrix_int8", "matrix_scale", "table_int8", "table_scale"]
    bare = model.SerializeToString()
    assert len(bare) < 0.02 * len(whole)
    weights = {one: weight(stored, key, form) for one, (_, key, form) in places.items()}
    (made,) = _onnx_graph(bare, 1, weights, few_calls)(ids=ids)
    (wanted,) = _onnx_graph(whole, 1, {}, False)(ids=ids)
    np.testing.assert_allclose(made, wanted, rtol=1e-6, atol=1e-6)


def test_weights_that_are_no_integers_or_are_used_otherwise_are_read_in_float32(stored):
    model, ids = lookup_and_product(stored), np.array([0, 7, 299])
    (wanted,) = _onnx_graph(model.SerializeToString(), 1, {}, True)(ids=ids)
    model.graph.node.append(helper.make_node("Neg", ["table"], ["unused"]))
    halves = {key: weight(stored, key).astype(np.float16).astype(np.float32) for key in ("layer.weight", "layer.bias")}
    for name, key in (("matrix", "layer.weight"), ("bias", "layer.bias")):
        tensor = next(one for one in model.graph.initializer if one.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(halves[key].T), name))
    kept = {"table": stored["table"], "table::scale": stored["table::scale"], **halves}
    places = take_weights_out(model, {"net": kept})
    assert {name: form for name, (_, _, form) in places.items()} == {
        "table": "plain",
        "matrix": "transposed",
        "bias": "plain",
    }
    weights = {one: weight(kept, key, form) for one, (_, key, form) in places.items()}
    (made,) = _onnx_graph(model.SerializeToString(), 1, weights, True)(ids=ids)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=0.01 * abs(wanted).max())


def test_damaged_weights_are_one_line(tmp_path, stored):
    with pytest.raises(ValueError, match="'nothing' is missing"):
        weight(stored, "nothing")
    file = tmp_path / "model.int8.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ValueError, match="SHA-256 is not that"):
        read_weights(file)
    (tmp_path / "checksums.json").unlink()
    file.write_bytes(content[:99])
    with pytest.raises(ValueError, match="is damaged"):
        read_weights(file)
    with pytest.raises(ValueError, match="is missing"):
        weight_file(tmp_path / "other")


def test_bundled_graphs_are_of_the_bundled_models():
    """Their settings are those of bundle.json, and the students name the same files of the codec that they share."""
    manifests = {}
    for model in ("tta", "tts"):
        folder = graphs.PRETRAINED / model
        manifests[model] = json.loads((folder / "graphs" / "audiocm.json").read_text())
        settings = {"temperature": 1.0} | json.loads((folder / "bundle.json").read_text())
        names = (
            {"guidance_scale", "guidance_range", "seconds_range", "temperature"} & set(settings) & set(manifests[model])
        )
        assert len(names) >= 3 and all(manifests[model][name] == settings[name] for name in names)
    assert len({json.dumps([one["files"][name] for name in one["shared"]]) for one in manifests.values()}) == 1


def test_components_outside_are_refused(tmp_path):
    folder = shutil.copytree(BUNDLED, tmp_path / "models" / "tta" / "graphs")
    manifest = json.loads((folder / "audiocm.json").read_text())
    manifest["components"]["text_encoder"] = "../../../../etc"
    (folder / "audiocm.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="no component 'text_encoder' beside it"):
        GraphFolder(folder, "text-to-audio").graph("text_encoder")


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "diffusers", "transformers", "accelerate", "librosa", "torchaudio"):
            raise ImportError(f"{name} is not to be imported")
sys.meta_path.insert(0, Block())
from audiocm.cli.main import main
"""


def without_torch(*calls, cwd):
    python = BLOCK + "".join(f"assert main({words}) == 0\n" for words in calls)
    env = {"PYTHONPATH": ":".join([str(Path(__file__).parents[2]), *sys.path]), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", python], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_bundled_models_sound_and_speak_without_torch_as_with_it(tmp_path):
    generate = ["generate", "a dog barks", "rain", "--seed", "7", "--seconds", "1.5", "-o"]
    speak = ["speak", "The train leaves at 5:45 p.m.", "--seed", "3", "-o"]
    without_torch([*generate, "made"], [*speak, "made.wav"], cwd=tmp_path)
    for words, files in ((generate, None), (speak, ["wanted.wav"])):
        assert main([*words, str(tmp_path / (files[0] if files else "wanted")), "--backend", "torch"]) == 0
    pairs = [(tmp_path / "made.wav", tmp_path / "wanted.wav")]
    pairs += [(made, tmp_path / "wanted" / made.name) for made in sorted((tmp_path / "made").glob("*.wav"))]
    assert len(pairs) == 3
    for made, wanted in pairs:
        (one, rate), (other, other_rate) = soundfile.read(made), soundfile.read(wanted)
        assert rate == other_rate and one.shape == other.shape and signal_to_noise(one, other) > 60
    lines = [(tmp_path / folder / "manifest.jsonl").read_text() for folder in ("made", "wanted")]
    assert lines[0] == lines[1]


def test_the_bundled_graphs_are_those_of_the_bundled_weights():
    pipe, model = TextToAudioPipeline.from_pretrained("tta"), OnnxTextToAudio.from_pretrained(BUNDLED)
    noise = torch.randn(1, pipe.codec.channels, 20, generator=torch.Generator().manual_seed(0))
    cond = pipe.sound_condition(["a dog barks"], 20).with_guidance(torch.tensor([2.0]))
    with torch.no_grad():
        sigma = torch.tensor([pipe.path.t_max])
        wanted = pipe.transformer(sigma[:, None, None] * noise, sigma, torch.zeros(1), cond)
    made = model.latent(model.encode_prompt("a dog barks"), noise.numpy(), 2.0, 1.0)
    assert signal_to_noise(made, wanted.numpy()) > 80


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, True),
        ({"backend": "torch"}, False),
        ({"backend": "onnx"}, False),
        ({"device": "cuda"}, False),
        ({"model": "tta-teacher"}, False),
        ({"model": "tts"}, False),
        ({"model": "runs/model"}, False),
        ({"model": "."}, False),
    ],
)
def test_the_graphs_are_taken_where_they_serve(changes, found, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    args = argparse.Namespace(**{"model": "tta", "device": "auto", "backend": "auto"} | changes)
    if sys.platform == "linux":
        assert (graphs.find_bundled(args, "text-to-audio", 4.0) is not None) == found
    assert graphs.find_bundled(args, "text-to-audio", 60.0) is None
