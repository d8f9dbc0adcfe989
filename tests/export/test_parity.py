"""Graphs compute what torch computes, at every precision, batch and length, and from a seed comes the same sound."""

import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch

from audiocm.export import storage
from audiocm.export.graphs import LENGTHS, graphs_of
from audiocm.export.onnx_files import set_precision, signal_to_noise
from audiocm.runtime import OnnxTextToAudio, OnnxTextToSpeech
from audiocm.runtime.folder import GraphFolder


def parity(file, graph, inputs):
    """The signal-to-noise ratio in dB of each output of an ONNX file."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    made = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    wanted = graph(**inputs).values()
    return [signal_to_noise(one, other.numpy()) for one, other in zip(made, wanted, strict=True)]


def resized(graph, rows, times):
    """Example inputs of a graph with other numbers of rows, and `times` as many tokens and frames."""
    inputs = {}
    for name, value in graph.inputs.items():
        if name in LENGTHS:
            value = torch.cat([value] * times, LENGTHS[name][0])
        inputs[name] = torch.cat([value] * 2)[:rows]
    return inputs


@pytest.mark.parametrize("kind", ("sound", "speech"))
def test_graphs_in_float32_equal_torch_at_any_batch_and_length(kind, request):
    pipe, folder = request.getfixturevalue(f"{kind}_pipe")[0], request.getfixturevalue(f"{kind}_folder")
    for graph in graphs_of(pipe):
        for rows, times in ((2, 1), (1, 1), (3, 2)):
            ratios = parity(folder / f"{graph.name}.onnx", graph, resized(graph, rows, times))
            assert min(ratios) >= 80, (graph.name, rows, times, ratios)


LEAST = {"fp16": 50.0, "int8": 10.0}  # dB; random networks of 16 to 32 channels average little error out (measured: 13)


@pytest.mark.parametrize("precision", LEAST)
@pytest.mark.parametrize("kind", ("sound", "speech"))
def test_narrow_precisions(kind, precision, request, tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "SMALL", 64)
    pipe, folder = request.getfixturevalue(f"{kind}_pipe")[0], request.getfixturevalue(f"{kind}_folder")
    for graph in graphs_of(pipe):
        file = tmp_path / f"{graph.name}.onnx"
        shutil.copyfile(folder / file.name, file)
        set_precision(file, graph.name, precision)
        ratios = parity(file, graph, graph.inputs)
        assert min(ratios) >= LEAST[precision], (graph.name, ratios)
        assert file.stat().st_size < (folder / file.name).stat().st_size * 1.3
        if graph.name == "text_encoder":  # nearly all of it is the table of words
            assert file.stat().st_size < (folder / file.name).stat().st_size * {"fp16": 0.6, "int8": 0.4}[precision]
        operators = {node.op_type for node in onnx.load(file).graph.node}
        assert ("MatMulInteger" in operators) == (
            precision == "int8" and graph.name in ("transformer", "decoder", "vocoder", "prior")
        )


def test_weights_of_int8_files_are_stored_without_loss():
    generator = np.random.default_rng(0)
    integers = generator.integers(-127, 128, (40, 30))
    integers[:, 0] = 127
    scale = generator.uniform(0.01, 0.1, 40).astype(np.float16).astype(np.float32)
    stored, found = storage.quantize_rows(integers * scale[:, None], 0)
    assert (stored == integers).all() and np.allclose(found, scale, rtol=1e-6)


@pytest.mark.parametrize("w", (None, 5.0))
def test_a_seed_is_the_same_sound_with_and_without_torch(w, sound_pipe, sound_folder):
    pipe, model = sound_pipe[0], OnnxTextToAudio.from_pretrained(sound_folder)
    prompts = ["a dog barks", "Rain falls, on a tin-roof!"]
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4, 3, 4)]
    options = {"max_retries": 0, "on_failure": "return"}
    wanted = pipe(prompts, 1.3, guidance_scale=w, num_waveforms_per_prompt=2, generator=generators, **options).audios
    made = model(prompts, 1.3, w, 2, seed=3, **options)
    assert made.audios.shape == (4, 31200) and made.audios.dtype == np.float32 and made.sample_rate == 24000
    assert signal_to_noise(made.audios, wanted.numpy()) > 60
    assert np.abs(made.audios[0] - made.audios[1]).max() > 0.01


@pytest.mark.parametrize("notes", (None, [(60, 0.3), (64, 0.4), (60, 0.5)]))
def test_a_seed_is_the_same_speech_with_and_without_torch(notes, speech_pipe, speech_folder):
    pipe, model = speech_pipe[0], OnnxTextToSpeech.from_pretrained(speech_folder)
    text = "Hello, world." if notes else "Hello, world. It costs $5."
    options = {"speed": 1.1, "voice": "ben", "max_retries": 0, "on_failure": "return"}
    wanted = pipe(text, generator=torch.Generator().manual_seed(5), notes=notes, **options)
    made = model(text, seed=5, notes=notes, **options)
    assert signal_to_noise(made.audios[0], wanted.audios[0].numpy()) > 60
    spoken = [pair for piece in model.stream(text, seed=5, notes=notes, **options) for pair in piece.durations]
    assert [symbol for symbol, _ in spoken] == [symbol for symbol, _ in wanted.durations[0]]
    assert np.allclose([s for _, s in spoken], [s for _, s in wanted.durations[0]], atol=1e-4)


def test_long_sentences_are_split_as_with_torch(speech_pipe, speech_folder):
    pipe, model = speech_pipe[0], OnnxTextToSpeech.from_pretrained(speech_folder)
    text, options = "one two three four five six seven eight nine ten " * 4, {"max_retries": 0, "on_failure": "return"}
    wanted = pipe(text, speed=0.5, generator=torch.Generator().manual_seed(1), **options).audios[0]
    assert len(model(text, speed=0.5, seed=1, **options).audios[0]) == len(wanted)


def test_the_one_graph_is_the_graphs_in_turn(speech_folder):
    reader = GraphFolder(speech_folder, "text-to-speech")
    generator = np.random.default_rng(0)
    symbols = generator.integers(1, 40, (1, 9))
    one = {"token_mask": np.ones_like(symbols), "voice": np.array([1]), "speed": np.ones(1, np.float32)}
    states, durations = reader.graph("durations")(symbols=symbols, stress=symbols % 3, **one)
    frames = round(float(durations.sum()))
    drawn = generator.standard_normal((1, 4, frames + 30)).astype(np.float32)
    rows = {"temperature": np.ones(1, np.float32), "guidance": np.ones(1, np.float32)}
    (whole,) = reader.graph("model")(symbols=symbols, stress=symbols % 3, drawn=drawn, **one, **rows)
    pitch = np.zeros((1, 12, frames), np.float32)
    tokens, pooled, prior = reader.graph("prior")(states=states, durations=durations, voice=one["voice"], pitch=pitch)
    text = {"tokens": tokens, "token_mask": one["token_mask"], "pooled": pooled, "prior": prior}
    (latent,) = reader.graph("transformer")(noise=drawn[:, :, :frames], **text, **rows)
    real, imag = reader.graph("vocoder")(log_mel=reader.graph("decoder")(latent=latent)[0])
    wav = OnnxTextToSpeech(reader).inversion(real[0], imag[0])
    assert signal_to_noise(whole[0], wav) > 80


def test_the_example_makes_the_sound_of_the_runtime(sound_folder, tmp_path):
    command = [sys.executable, str(sound_folder / "example.py"), "a dog barks", str(tmp_path / "dog.wav")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    made, rate = soundfile.read(tmp_path / "dog.wav", dtype="float32")
    wanted = OnnxTextToAudio.from_pretrained(sound_folder)("a dog barks", max_retries=0, on_failure="return").audios[0]
    assert rate == 24000 and len(made) == 96000 and signal_to_noise(made, wanted) > 40


def test_the_example_of_speech_writes_speech(speech_folder, tmp_path):
    command = [sys.executable, str(speech_folder / "example.py"), "həlˈO", str(tmp_path / "hello.wav")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    made, rate = soundfile.read(tmp_path / "hello.wav")
    assert rate == 24000 and len(made) % 1024 == 0 and np.abs(made).max() > 0.01
