"""The runtime without torch: its noise and its inverse transform are torch's, and it loads nothing but what was written."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from waves import tones

from audiocm.audio.spectral import LogMel, griffin_lim
from audiocm.cli.main import main
from audiocm.export.one_graph import Fourier, GriffinLim
from audiocm.export.onnx_files import signal_to_noise
from audiocm.runtime import GraphFolder, OnnxTextToAudio, OnnxTextToSpeech, SoundsFailedError
from audiocm.runtime.checks import checked_sound, make_valid, sound_fault
from audiocm.runtime.inversion import Inversion
from audiocm.runtime.noise import drawn_seed, normal_noise


@pytest.mark.parametrize("seed", (0, 7, 2**31, 2**40 + 5, 2**61))
def test_the_noise_of_a_seed_is_that_of_torch(seed):
    drawn = torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(seed))
    assert drawn_seed(seed) == int(drawn)
    for shape in ((240, 160), (7, 9), (16,)):
        wanted = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).numpy()
        np.testing.assert_allclose(normal_noise(seed, shape), wanted, atol=2e-6)


def test_too_little_noise_is_refused():
    with pytest.raises(ValueError, match="at least 16"):
        normal_noise(0, (3, 5))


@pytest.mark.parametrize("iterations", (0, 1, 8))
def test_griffin_lim_in_numpy_and_in_a_graph_is_that_of_torch(iterations):
    mel, wav = LogMel(), tones()
    spectrum = mel.stft(wav) * torch.exp(2j * torch.rand(1, 513, 1, generator=torch.Generator().manual_seed(0)))
    log_mel = mel(wav)
    matched = mel.match_mel(spectrum, log_mel)
    wanted = griffin_lim(mel, log_mel, spectrum, iterations)
    assert signal_to_noise(GriffinLim(1024, 256, iterations)(matched.real, matched.imag).numpy(), wanted.numpy()) > 90
    made = Inversion(1024, 256)(matched.real[0].numpy(), matched.imag[0].numpy(), iterations)
    assert made.dtype == np.float32 and signal_to_noise(made, wanted[0].numpy()) > 90


@pytest.mark.parametrize(("n_fft", "hop", "iterations"), ((1024, 256, 2), (1024, 256, 0), (64, 32, 5)))
def test_threads_make_the_same_sound(n_fft, hop, iterations):
    real, imag = np.random.default_rng(0).standard_normal((2, n_fft // 2 + 1, 500)).astype(np.float32)
    wanted = Inversion(n_fft, hop)(real, imag, iterations)
    for threads in (2, 3, 64):
        made = Inversion(n_fft, hop, threads)(real, imag, iterations)
        assert made.shape == (500 * hop,) and signal_to_noise(made, wanted) > 120


@pytest.mark.parametrize("n", (6, 64, 240, 1024))
def test_two_products_are_a_fourier_transform(n):
    x = torch.randn(2, n, 2, generator=torch.Generator().manual_seed(0)).double()
    transform = Fourier(n).double()
    for wanted, made in (
        (torch.fft.fft(torch.complex(x[..., 0], x[..., 1])), transform(x[..., 0], x[..., 1])),
        (torch.fft.fft(x[..., 0]), transform(x[..., 0], None)),
    ):
        torch.testing.assert_close(torch.complex(*made), wanted, atol=1e-4, rtol=1e-5)


LIMITS = {"silence_rms": 1e-4, "clipped_share": 0.01}


def test_faults_of_sounds_are_told():
    wave = np.sin(np.arange(2400) / 7).astype(np.float32)
    assert sound_fault(0.5 * wave, LIMITS) is None
    assert sound_fault(1e-6 * wave, LIMITS) == "is silent"
    assert sound_fault(np.clip(2 * wave, -0.5, 0.5), LIMITS) == sound_fault(2 * wave, LIMITS) == "is clipped"
    assert sound_fault(np.full(9, np.nan, np.float32), LIMITS) == "has numbers that are not finite"
    loud, fault = checked_sound(wave * np.where(np.arange(2400) < 10, 1.5, 0.3).astype(np.float32), LIMITS)
    assert fault is None and np.abs(loud).max() <= 0.991
    assert not checked_sound(2 * wave, LIMITS)[0].any()


def test_seeds_are_tried_until_a_sound_is_valid():
    made, fault, seeds = make_valid(lambda seed: (seed, "is silent" if seed < 20 else None), 5, 3, 10)
    assert (made, fault, seeds) == (25, None, (5, 15, 25))
    assert make_valid(lambda seed: (seed, "is silent"), 5, 1, 10) == (15, "is silent", (5, 15))


def test_sounds_that_fail_are_returned_or_raised(sound_folder, monkeypatch):
    model = OnnxTextToAudio.from_pretrained(sound_folder)
    monkeypatch.setitem(model.settings, "silence_rms", 1e6)
    output = model("a dog", 0.5, seed=4, max_retries=1, on_failure="return")
    assert output.failures[0].seeds == (4, 4 + model.settings["retry_stride"]) and not output.audios.any()
    with pytest.raises(SoundsFailedError, match="'a dog' is silent"):
        model("a dog", 0.5, max_retries=0)


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "diffusers", "transformers", "scipy", "librosa", "accelerate", "safetensors"):
            raise ImportError(f"{name} is not installed")
sys.meta_path.insert(0, Block())
from audiocm.cli.main import main
"""


def test_the_command_line_without_torch(sound_folder, speech_folder, tmp_path):
    generate = ["generate", "a dog barks", "-o", "dog.wav", "--backend", "onnx", "--model", str(sound_folder)]
    speak = ["speak", "Hello. It works.", "-o", "hello.wav", "--backend", "onnx", "--model", str(speech_folder)]
    calls = "".join(f"assert main({words}) in (0, 3)\n" for words in (generate, speak))
    python = f"{BLOCK}{calls}assert not {{'torch', 'diffusers', 'transformers'}} & set(sys.modules)\n"
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", python],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join([str(root), *sys.path])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "dog.wav").stat().st_size == 44 + 2 * 96000
    assert (tmp_path / "hello.wav").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("options", "told"),
    (
        (["--steps", "4"], "one call"),
        (["--guidance", "7"], "guidance 7 is outside"),
        (["--seconds", "11"], "11 seconds is outside"),
        (["--temperature", "0"], "temperature must be a number above 0"),
        (["--backend", "openvino"], "exported for --backend onnx"),
        (["--device", "cuda"], "on the CPU"),
        (["--lora", "folder"], "takes no --lora"),
        (["--loop"], "takes no --loop"),
    ),
)
def test_options_that_exported_models_have_not(options, told, sound_folder, tmp_path, capsys):
    """Whose backend is that of the folder, if none is named."""
    words = ["generate", "a dog", "-o", str(tmp_path / "x.wav"), "--model", str(sound_folder)]
    assert main([*words, *options]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not list(tmp_path.iterdir())


def test_arguments_that_are_wrong_are_named(sound_folder, speech_folder):
    sound, speech = OnnxTextToAudio.from_pretrained(sound_folder), OnnxTextToSpeech.from_pretrained(speech_folder)
    for wrong, told in (
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": "a", "num_waveforms_per_prompt": 0}, "num_waveforms_per_prompt"),
        ({"prompt": "a", "seed": [1, 2]}, "2 seeds for 1 sounds"),
        ({"prompt": "a", "on_failure": "ignore"}, "on_failure"),
        ({"prompt": "a", "max_retries": -1}, "max_retries"),
    ):
        with pytest.raises(ValueError, match=told):
            sound(**wrong)
    for wrong, told in (
        ({"text": " "}, "text is empty"),
        ({"text": "a", "speed": 3}, "speed 3"),
        ({"text": "a", "voice": "eve"}, "anna, ben"),
        ({"text": "a b", "notes": [(60, 1)]}, "1 notes for 2 syllables"),
    ):
        with pytest.raises(ValueError, match=told):
            speech.stream(**wrong)
    with pytest.warns(UserWarning, match="tokens, the text encoder takes 32"):
        assert sound.encode_prompt("dog " * 40)["tokens"].shape[1] == 32


def damaged(folder, target, **changes):
    """A copy of a folder with entries of its manifest replaced, or deleted where the new value is None."""
    shutil.copytree(folder, target)
    manifest = json.loads((target / "audiocm.json").read_text())
    manifest = {key: value for key, value in (manifest | changes).items() if value is not None}
    (target / "audiocm.json").write_text(json.dumps(manifest))
    return target


@pytest.mark.parametrize(
    "changes",
    (
        {"format": "other"},
        {"kind": "text-to-image"},
        {"backend": "pickle"},
        {"files": {"../../secret": {"bytes": 3, "sha256": "0" * 64}}},
        {"files": {"decoder.onnx": {"bytes": -3, "sha256": "0" * 64}}},
        {"files": []},
        {"graphs": {"decoder": ["other.onnx"]}},
        {"graphs": {"decoder": "decoder.onnx"}},
        {"hop": 0},
        {"hop": 300},
        {"max_frames": 1e9},
        {"channels": True},
        {"iterations": -1},
        {"guidance_range": [3, 1]},
        {"guidance_scale": "3"},
        {"seconds_range": None},
        {"max_tokens": None},
        {"silence_rms": float("nan")},
    ),
)
def test_manifests_are_checked(changes, sound_folder, tmp_path):
    with pytest.raises(ValueError, match=r"audiocm\.json is damaged"):
        OnnxTextToAudio.from_pretrained(damaged(sound_folder, tmp_path / "x", **changes))


def test_files_are_checked_before_they_are_loaded(sound_folder, tmp_path):
    folder = damaged(sound_folder, tmp_path / "x")
    model = OnnxTextToAudio.from_pretrained(folder)
    graph = bytearray((folder / "transformer.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / "transformer.onnx").write_bytes(graph)
    with pytest.raises(ValueError, match=r"transformer\.onnx is damaged"):
        model("a dog", 0.5)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match=r"tokenizer\.json is damaged"):
        OnnxTextToAudio.from_pretrained(folder)
    (folder / "decoder.onnx").unlink()
    with pytest.raises(ValueError, match=r"decoder\.onnx cannot be read"):
        model.graphs.graph("decoder")
    (folder / "audiocm.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="is damaged"):
        OnnxTextToAudio.from_pretrained(folder)
    with pytest.raises(ValueError, match="no exported model"):
        OnnxTextToAudio.from_pretrained(tmp_path)


def test_a_line_is_encoded_once(speech_folder, monkeypatch):
    """To see whether it fits and to speak it, also a second time with another seed."""
    model = OnnxTextToSpeech.from_pretrained(speech_folder)
    durations, calls = model.graphs.graph("durations"), []
    monkeypatch.setattr(model.graphs, "graph", lambda name, load=model.graphs.graph: calls.append(name) or load(name))
    assert durations is model.graphs.graph("durations")
    calls.clear()
    for seed in (1, 2):
        model("The rain falls on the old roof of the house.", seed=seed, on_failure="return", max_retries=0)
    assert calls.count("durations") == 1 and calls.count("transformer") == 2


def test_kinds_and_graphs_that_are_not_there(sound_folder, speech_folder):
    with pytest.raises(ValueError, match="exported text-to-audio model, not text-to-speech"):
        OnnxTextToSpeech.from_pretrained(sound_folder)
    with pytest.raises(ValueError, match="no graph 'model'"):
        GraphFolder(sound_folder, "text-to-audio").graph("model")
