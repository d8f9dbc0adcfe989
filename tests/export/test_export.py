"""The command `audiocm export`: what it writes, what it refuses, and that it leaves nothing half-written."""

import json

import pytest
import tiny_speech

from audiocm.cli.main import main
from audiocm.export import exporting
from audiocm.export.exporting import export_model


def error_of(words, capsys):
    """The one line of an error with exit code 2."""
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_the_folder_has_a_card_and_a_manifest(sound_folder, speech_folder, sound_pipe):
    manifest = json.loads((sound_folder / "audiocm.json").read_text())
    assert set(manifest["graphs"]) == {"text_encoder", "transformer", "decoder", "vocoder"}
    assert set(manifest["files"]) == {"tokenizer.json", *(f"{name}.onnx" for name in manifest["graphs"])}
    assert (
        manifest["temperature"] == 0.9 and manifest["guidance_range"] == [0.0, 6.0] and manifest["precision"] == "fp32"
    )
    card = (sound_folder / "README.md").read_text()
    weights = sound_pipe[1] / "transformer" / "diffusion_pytorch_model.safetensors"
    import hashlib

    assert hashlib.sha256(weights.read_bytes()).hexdigest() in card and "Apache-2.0" in card
    assert "| `vocoder` | vocoder.onnx |" in card and "differs by 0.00 dB" in card
    assert "model.onnx | all of these in turn" in (speech_folder / "README.md").read_text()


def test_what_cannot_be_exported_is_refused(speech_pipe, sound_folder, tmp_path, capsys):
    home, out = speech_pipe[1].parent, tmp_path / "out"
    assert "only one-call students" in error_of(["export", str(home / "tts-teacher"), "-o", str(out)], capsys)
    assert "unknown model 'nothing'" in error_of(["export", "nothing", "-o", str(out)], capsys)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    index = {"_class_name": "AudioLDM2Pipeline", "vae": ["diffusers", "AutoencoderKL"], "unet": ["diffusers", "X"]}
    (foreign / "model_index.json").write_text(json.dumps(index))
    assert "students of audiocm's own pipelines" in error_of(["export", str(foreign), "-o", str(out)], capsys)
    words = ["export", str(home / "tts"), "-o", str(out), "--format", "openvino", "--one-graph"]
    assert "onnx only" in error_of(words, capsys)
    assert not out.exists()


def test_folders_in_the_way_are_kept(speech_pipe, sound_folder, tmp_path, capsys):
    model = str(speech_pipe[1])
    (tmp_path / "mine").write_text("precious")
    for words in (["-o", str(tmp_path)], ["-o", str(tmp_path), "--force"]):
        assert "no export has written it" in error_of(["export", model, *words], capsys)
    assert "a file is in its place" in error_of(["export", model, "-o", str(tmp_path / "mine"), "--force"], capsys)
    assert "--force" in error_of(["export", model, "-o", str(sound_folder)], capsys)
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_failed_export_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("torch cannot export the graph")

    monkeypatch.setattr(exporting, "export_graph", fail)
    with pytest.raises(ValueError, match="cannot export"):
        export_model("tiny", tmp_path / "out", pipe=tiny_speech.tiny_speech())
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="fp32, fp16, int8"):
        export_model("tiny", tmp_path / "out", precision="int4")
