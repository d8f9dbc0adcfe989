"""The singing corpus, its F0 table, and packed speech latents."""

import json

import numpy as np
import pytest
import soundfile
import torch
from tiny_speech import save_tiny_speech

from audiocm.audio.pitch import estimate_f0
from audiocm.data.latents import INT8_STEP
from audiocm.data.speech_corpora import read_speech_corpus
from audiocm.metrics import speech
from recipes.corpora.speech import singing
from recipes.corpora.speech.hibari import distribute_durations, stretch_positions
from recipes.text_to_speech import data, evaluate_pitch


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny student and teacher as training leaves them, with their codec and encoder beside them."""
    return save_tiny_speech(tmp_path_factory.mktemp("models"), "student", "teacher")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A minute of singing from eight sentences, two of them held out, and its clips."""
    home = tmp_path_factory.mktemp("singing")
    texts = ["The moon is high.", "A dog barks loudly.", "Go home now.", "We sell sea shells.", "Six old ships sail."]
    splits = ["valid", "test", "test", "train", "train"] + ["train"] * 5
    lines = [f"{split}\tx\t{text}" for split, text in zip(splits, texts * 2, strict=True)]
    (home / "sentences.txt").write_text("\n".join(lines))
    lines = singing.synthesize_singing(home / "sentences.txt", home / "corpus", hours=0.014)
    assert lines == singing.synthesize_singing(home / "sentences.txt", home / "corpus", hours=0.014)  # resumed
    return home / "corpus", lines


def test_sung_f0_follows_the_notes(corpus):
    root, lines = corpus
    assert {line["split"] for line in lines} == {"train", "valid", "test"}
    assert any("tune" in line for line in lines) and any("contour" in line for line in lines)
    for line in (one for one in lines if "notes" in one):
        annotation = json.loads((root / line["file"]).with_suffix(".json").read_text())
        wav = soundfile.read(root / line["file"], dtype="float32")[0]
        requested, produced = speech.pitch_tracks(wav, 24000, annotation["hertz"])
        both = (requested > 0) & (produced > 0)
        cents = np.abs(1200 * np.log2(produced[both] / requested[both]))
        assert np.median(cents) < 30 and (cents < 50).mean() > 0.7
        assert sum(annotation["seconds"]) == pytest.approx(line["seconds"], abs=0.01)
        assert line["seconds"] > sum(length for _, length in line["notes"])
    clip = read_speech_corpus(root)[0]
    annotation = json.loads(clip.path.with_suffix(".json").read_text())
    assert data._annotate(clip)["hertz"] == pytest.approx(annotation["hertz"], nan_ok=True)


def test_durations_are_distributed_and_stretched():
    vocabulary, frames = dict.fromkeys("həlˈO.", 1), np.array([4.0, 1, 2, 3, 1, 2, 5, 6])
    seconds = [0.1, 0.025, 0.05, 0.075, 0.075, 0.125, 0.15]
    assert distribute_durations("həlˈO.", seconds, frames, vocabulary).tolist() == frames.tolist()
    longer = distribute_durations("həlˈO.", [*seconds[:4], 0.5, *seconds[5:]], frames, vocabulary)
    assert longer.tolist() == [4, 1, 2, 3, 1, 19, 5, 6]
    at = stretch_positions(frames, longer, frames == 2)
    assert len(at) == 2 * longer.sum() and (np.diff(at) >= 0).all() and at[-1] == 2 * frames.sum() - 1


def test_a_contour_is_moved_along_symbols():
    moved = evaluate_pitch.retime_contour([100.0, 200.0], [1.0, 1.0], [0.5, 1.5])
    assert len(moved) == 160 and (moved == 100).sum() == 40


def test_the_table_of_a_tiny_model(corpus, models, tmp_path):
    parts = ["--singing", str(corpus[0]), "--out", str(tmp_path / "out"), "--results", str(tmp_path / "f0.json")]
    parts += ["--student", str(models / "student"), "--teacher", str(models / "teacher"), "--teacher-steps", "2"]
    for action in ("speak", "speak", "score"):
        evaluate_pitch.main([action, *parts, "--device", "cpu"])
    rows = json.loads((tmp_path / "f0.json").read_text())["systems"]
    assert list(rows) == ["voice", "codec", "teacher-2", "student-1"] and (tmp_path / "f0.png").stat().st_size > 10_000
    assert rows["voice"]["scores"]["F0 error, cents sung"]["value"] < 15
    assert rows["voice"]["scores"]["within 50 cents % sung"]["value"] > 85


def test_packed_speech_gives_the_same_batches(corpus, models, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "BUCKETS", [(16, 128), (8, 256)])
    home, vae = tmp_path / "mine", str(models / "codec" / "vae")
    home.mkdir()
    for line in corpus[1][:4]:  # recordings: no durations, F0 as measured
        name = line["file"].replace("/", "-")
        soundfile.write(home / name, soundfile.read(corpus[0] / line["file"])[0], 24000)
        (home / name).with_suffix(".txt").write_text(line["text"])
    folders, cache = [corpus[0], home], tmp_path / "cache"
    arguments = [
        "--corpora",
        ",".join(map(str, folders)),
        "--vae",
        vae,
        "--cache",
        str(cache),
        "--output",
        str(tmp_path / "p.safetensors"),
    ]
    data.main([*arguments, "--parts", "1"])
    files = [tmp_path / "p.safetensors"]
    voices = data.corpus_voices(folders)
    assert voices == data.corpus_voices(files) == ("heart", "mine")
    device = torch.device("cpu")
    for split in ("train", "valid"):
        plain = data.load_batches(folders, voices, vae, device, 0, split, cache=cache)
        packed = data.load_batches(files, voices, "no/vae", device, 0, split)
        for _ in range(3):
            (x, first), (y, second) = next(plain), next(packed)
            assert x.shape == y.shape and (x - y).abs().max() < 0.51 * INT8_STEP and (x != 0).any()
            assert torch.equal(first.symbols, second.symbols) and torch.equal(first.voice, second.voice)
            assert torch.equal(first.mask, second.mask) and torch.equal(first.null, second.null)
            assert torch.allclose(first.durations, second.durations, atol=0.02, equal_nan=True)
            assert torch.allclose(first.pitch, second.pitch, atol=2e-3)
    assert plain.conditions.lines.pitch is not None
    data.main([*arguments, "--parts", "2"])
    both = [tmp_path / f"p-{k}.safetensors" for k in (0, 1)]
    halves = data.load_batches(both, voices, "no/vae", device, 0, "train")
    assert len(halves.lengths) == len(data.load_batches(files, voices, "no/vae", device, 0, "train").lengths)
    assert estimate_f0(np.zeros(3000, np.float32)).tolist() == [0.0] * 10
