"""The recipes of teachers: the whole chain of a small AudioLDM, and the bundled teacher as someone else's, tiny."""

import json
import shutil
import sys
import time

import diffusers
import numpy as np
import pytest
import tiny_model
import torch
from safetensors.torch import load_file

from audiocm import TextToAudioPipeline, load_teacher
from audiocm.audio.io import read_wave, write_wave
from audiocm.data.latents import unpack
from audiocm.files import read_json_lines, write_json_lines
from audiocm.models.text_encoder import BUNDLED_ENCODER, load_text_encoder, load_tokenizer
from audiocm.teachers import load_lora
from recipes.teachers import audioldm, bundled, results, small_audioldm, sounds, tiny, tiny_forms
from recipes.teachers.tiny import write_sounds


def test_the_text_encoder_of_a_small_audioldm_gives_the_states_of_the_bundled_one():
    words = load_tokenizer(BUNDLED_ENCODER)(["a dog barks", "rain on a tin roof"], padding=True, return_tensors="pt")
    with torch.no_grad():
        own = small_audioldm.clap_text_encoder().text_model(words.input_ids, attention_mask=words.attention_mask)[0]
        bert = load_text_encoder(BUNDLED_ENCODER)(words.input_ids, attention_mask=words.attention_mask)[0]
    real = words.attention_mask.bool()
    torch.testing.assert_close(own[real], bert[real], atol=1e-4, rtol=1e-4)


def test_a_small_audioldm_is_trained_distilled_and_scored(tmp_path):
    """TCD alone; what its results hold is enough to go on elsewhere, and a second call makes nothing anew."""
    options = ["--tiny", "--methods", "tcd"]
    assert audioldm.main(["all", str(tmp_path / "a"), *options]) == 0
    table = json.loads((tmp_path / "a" / "results" / "table.json").read_text())
    assert list(table["systems"]) == ["codec", "teacher", "tcd"]
    assert table["systems"]["tcd"]["queries"] == 1 and table["systems"]["teacher"]["queries"] == 4
    assert all(len(row["scores"]) == 1 for row in table["systems"].values())
    assert len(list((tmp_path / "a").glob("encoded-*"))) == 1  # the students encode nothing anew
    shutil.copytree(tmp_path / "a" / "results", tmp_path / "b" / "results")
    for stage in ("sounds", "codec", "teacher", "students"):
        assert audioldm.main([stage, str(tmp_path / "b"), *options]) == 0
    assert not list((tmp_path / "b").glob("train-*"))
    name = "unet/diffusion_pytorch_model.safetensors"
    for folder in ("teacher", "tcd/model"):
        before, after = (load_file(tmp_path / run / folder / name) for run in "ab")
        assert all((before[key] - after[key]).abs().max() <= 0.02 * before[key].abs().max() for key in before)
    plain = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "b" / "tcd" / "model")
    wav = plain("a tone", audio_length_in_s=0.64, num_inference_steps=1, guidance_scale=1.0).audios[0]
    assert len(wav) == 10240 and 1e-3 < np.abs(wav).max() <= 1


def test_a_stage_says_what_is_missing(tmp_path, capsys):
    for stage, words in (
        ("teacher", "call the stage codec"),
        ("students", "call the stage teacher"),
        ("table", "teacher"),
    ):
        assert audioldm.main([stage, str(tmp_path), "--tiny"]) == 2 and words in capsys.readouterr().err
    (tmp_path / "p.safetensors").write_bytes(b"x")
    assert audioldm.main(["sounds", str(tmp_path / "s"), "--packed", str(tmp_path / "p.safetensors")]) == 2
    assert "is no file of recipes.teachers.sounds" in capsys.readouterr().err and not (tmp_path / "s").exists()


def test_sounds_are_packed_and_unpacked(tmp_path, capsys):
    """Training clips come back as the codec hears them, test clips bit for bit: held-out effects with labels alone."""
    rate, times = sounds.RATE, np.arange(sounds.RATE) / sounds.RATE
    lines = []
    for i, (split, kind) in enumerate(
        [("train", "effect")] * 3 + [("train", "music"), ("test", "effect"), ("test", "music")]
    ):
        write_wave(tmp_path / "corpus" / f"{i}.wav", (0.3 * np.sin(3000 * (i + 1) * times)).astype(np.float32), rate)
        line = {"file": f"{i}.wav", "seconds": 1.0, "split": split, "kind": kind, "captions": [f"tone {i}"]}
        lines.append(line | {"labels": ["Sine wave"], "thing": "tone", "source": f"s{i}"})
    write_json_lines(tmp_path / "corpus" / "manifest.jsonl", lines)
    packed = tmp_path / "p.safetensors"
    more = ["--corpora", str(tmp_path / "corpus"), "--cache", str(tmp_path / "cache"), "--seconds", "0.5"]
    sounds.main([str(packed), *more])
    assert "4 training clips, 1 test clips" in capsys.readouterr().out
    sounds.unpack_sounds(packed, tmp_path / "out")
    (test,) = read_json_lines(tmp_path / "out" / "test" / "manifest.jsonl")
    assert test["prompt"] == "tone 4" and test["labels"] == ["Sine wave"]
    real, there = (
        read_wave(tmp_path / "corpus" / "4.wav", rate),
        read_wave(tmp_path / "out" / "test" / test["file"], rate),
    )
    assert np.array_equal(there, real[: rate // 2])
    sounds.unpack_sounds(packed, tmp_path / "none", most=0)
    assert not read_json_lines(tmp_path / "none" / "test" / "manifest.jsonl")
    train = read_json_lines(tmp_path / "out" / "train" / "manifest.jsonl")
    assert sorted(line["captions"][0] for line in train) == [f"tone {i}" for i in range(4)]
    for line in train:
        wav = read_wave(tmp_path / "out" / "train" / line["file"], rate)[: rate // 2]
        loudest = np.abs(np.fft.rfft(wav)).argmax() * rate / len(wav)
        assert loudest == pytest.approx(3000 * (int(line["captions"][0][-1]) + 1) / (2 * np.pi), rel=0.05)
    sounds.main([str(packed), *more, "--train", "3"])
    assert {c.kind for c in unpack(packed).clips} == {"effect"}
    with pytest.raises(ValueError, match="the test clips alone are larger"):
        sounds.main([str(packed), *more, "--most-mb", "0.001"])


def test_results_are_small_files(tmp_path, monkeypatch):
    """Weights of several files come back to half a step of int8; sounds come back bit for bit."""
    net = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(4)))
    monkeypatch.setattr(results, "SHARD", "140KB")
    results.store_network(net, tmp_path / "net")
    assert len(list((tmp_path / "net").glob("*.safetensors"))) >= 2
    again = results.restore_network(
        torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(4))), tmp_path / "net"
    )
    assert all((a.weight - b.weight).abs().max() < 0.6 / 16 / 127 for a, b in zip(net, again, strict=True))
    with pytest.raises(ValueError, match="of another network"):
        results.restore_network(torch.nn.Linear(2, 2), tmp_path / "net")
    monkeypatch.setattr(results, "MOST_BYTES", 60_000)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (4, 8000)).astype(np.float32)
    for i, wav in enumerate(noise):
        write_wave(tmp_path / "wavs" / f"{i}.wav", wav, 16000)
    results.store_sounds(tmp_path / "wavs", tmp_path / "tars", "noise")
    files = list((tmp_path / "tars").iterdir())
    assert len(files) == 2 and all(file.stat().st_size <= 60_000 for file in files)
    results.restore_sounds(tmp_path / "tars", "noise", tmp_path / "back", 16000)
    for i in range(4):
        assert (tmp_path / "back" / f"{i}.wav").read_bytes() == (tmp_path / "wavs" / f"{i}.wav").read_bytes()
    assert len(list((tmp_path / "back").iterdir())) == 4


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_the_bundled_teacher_is_distilled_through_a_plain_adapter(tmp_path, kind, capsys):
    """The student differs from the teacher after training, and is a pipeline of audiocm; LoRA also gives its file."""
    tiny_model.tiny_pipeline(student=False).save_pretrained(tmp_path / "teacher")
    assert bundled.main([kind, str(tmp_path / "none")]) == 2 and "call the stage sounds" in capsys.readouterr().err
    write_sounds(tmp_path / "run" / "sounds" / "train")
    more = ["--steps", "2", "--batch", "2", "--seconds", "1", "--rank", "4", "--teacher", str(tmp_path / "teacher")]
    more += ["--data", str(tmp_path / "run" / "sounds" / "train")]
    assert bundled.main([kind, str(tmp_path / "run"), *more]) == 0
    student = TextToAudioPipeline.from_pretrained(tmp_path / "run" / kind / "model")
    teacher = TextToAudioPipeline.from_pretrained(tmp_path / "teacher")
    assert not torch.equal(student.transformer.input.weight, teacher.transformer.input.weight)
    assert torch.isfinite(torch.as_tensor(student("rain", 1.0).audios)).all()
    file = tmp_path / "run" / kind / "model" / "pytorch_lora_weights.safetensors"
    assert file.is_file() == (kind == "lora") and (kind == "full" or load_file(file))
    assert type(load_teacher(str(tmp_path / "teacher")).adapter).__name__ == "TextToAudio"
    # another machine makes the same model of the results, but for int8
    shutil.copytree(tmp_path / "run" / "results", tmp_path / "other" / "results")
    bundled.restore(tmp_path / "other", str(tmp_path / "teacher"))
    again = TextToAudioPipeline.from_pretrained(tmp_path / "other" / kind / "model").transformer.state_dict()
    for name, weight in student.transformer.state_dict().items():
        assert (again[name] - weight).abs().max() <= 0.01 * weight.abs().max(), name
    if kind == "lora":  # and the file of the difference makes it of the teacher
        copy = TextToAudioPipeline.from_pretrained(tmp_path / "teacher").transformer
        load_lora(copy, tmp_path / "other" / kind / "model", merge=True)
        made, wanted, plain = (net.state_dict() for net in (copy, student.transformer, teacher.transformer))
        moved = sum((wanted[name] - plain[name]).square().sum() for name in plain).sqrt()
        error = sum((wanted[name] - made[name]).square().sum() for name in plain).sqrt()
        assert 0 < error < 0.05 * moved


def test_the_table_of_the_bundled_teacher_keeps_what_it_has(tmp_path, monkeypatch):
    """A system that cannot be scored says why, and the others are scored; sounds are made once."""
    tiny_model.tiny_pipeline(student=True).save_pretrained(tmp_path / "model")
    for i in range(3):
        write_wave(tmp_path / "run" / "sounds" / "test" / f"{i}.wav", 0.1 * np.sin(np.arange(16000) / (5 + i)), 16000)
    lines = [{"file": f"{i}.wav", "prompt": f"tone {i}"} for i in range(3)]
    write_json_lines(tmp_path / "run" / "sounds" / "test" / "manifest.jsonl", lines)
    systems = {"good": (str(tmp_path / "model"), None), "bad": (str(tmp_path / "nothing"), None)}
    judges = {"tagger": None, "embedders": ["small-clap"], "resamples": 40}
    made = []
    original = TextToAudioPipeline.__call__
    monkeypatch.setattr(
        TextToAudioPipeline, "__call__", lambda self, *a, **k: made.append(1) or original(self, *a, **k)
    )
    for _ in range(2):
        table = bundled.write_table(systems, tmp_path / "run", 1.0, time.monotonic() + 60, **judges)
    stored = json.loads((tmp_path / "run" / "results" / "table.json").read_text())["systems"]
    assert (
        len(made) == 1 and stored["good"]["scores"] and "nothing" in stored["bad"]["failed"] and "model folder" in table
    )
    assert (tmp_path / "run" / "results" / "generated" / "good-0.tar").is_file()


@pytest.mark.parametrize("form", tiny_forms.BUILDERS)
def test_tiny_teachers_of_all_forms_are_read(tmp_path, form, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tiny", str(tmp_path / "t"), "--form", form])
    tiny.main()
    assert "8 sounds" in capsys.readouterr().out and len(list((tmp_path / "t" / "sounds").glob("*.wav"))) == 8
    teacher = load_teacher(tmp_path / "t")
    seconds = min(0.64, teacher.adapter.seconds)
    assert teacher.condition(["a tone"], seconds).batch_size == 1 and len(teacher.latent_shape(seconds)) >= 2
