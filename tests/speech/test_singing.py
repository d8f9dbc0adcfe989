"""Scores and `audiocm speak --notes`, the singing corpus, its F0 table, and packed speech latents."""

import json

import numpy as np
import pytest
import soundfile
import torch
from tiny_speech import tiny_speech

from audiocm.audio.pitch import estimate_f0
from audiocm.cli.main import main
from audiocm.data.latents import STEP
from audiocm.metrics import speech
from audiocm.pipelines import loading
from audiocm.speech.singing import check_notes, read_notes, read_score
from recipes.corpora.speech import singing
from recipes.corpora.speech.hibari import shared, source
from recipes.text_to_speech import data, evaluate_pitch

WORDS, NOTES = "Twinkle, twinkle, little star.", "C4 C4 G4 G4 A4 A4 G4:2"


def test_notes_and_scores_are_read():
    assert read_notes("C4 F#4:2 Bb3:0.5 60", 60.0) == [(60, 1), (66, 2), (58, 0.5), (60, 1)]
    assert read_score(f"# a song\n\n{WORDS} | {NOTES}\n")[0] == (WORDS, read_notes(NOTES))
    for score, message in (
        ("", "the score is empty"),
        ("C4 C4", "line 1: write words | notes"),
        ("La. | H4", "line 1: 'H4' is no note"),
        ("\nLa la. | C4", "line 2: 1 notes for 2 syllables: 'La la.' is read"),
        ("La. La. | C4 C4", "line 1: notes are for one sentence"),
        ("?! | C4", "line 1: the text has no character that can be pronounced"),
    ):
        with pytest.raises(ValueError) as told:
            read_score(score)
        assert message in str(told.value) and "\n" not in str(told.value)
    check_notes("A dog.", [(60, 1.0), (62, 1.0)])  # "a" is a syllable


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tiny student and teacher as training leaves them, with their codec and encoder beside them."""
    home = tmp_path_factory.mktemp("models")
    pipe = tiny_speech()
    pipe.vae.save_pretrained(home / "codec" / "vae", variant="int8")
    pipe.vocoder.save_pretrained(home / "codec" / "vocoder", variant="int8")
    pipe.speech_encoder.save_pretrained(home / "speech-encoder", variant="int8")
    loading.save_bundle(home / "student", pipe.transformer, loading.SPEECH, num_inference_steps=1)
    loading.save_bundle(home / "teacher", tiny_speech(False).transformer, loading.SPEECH)
    return home


def test_the_command_sings(models, tmp_path, capsys):
    model, out = str(models / "student"), str(tmp_path / "a.wav")
    assert main(["speak", WORDS, "--notes", NOTES, "--tempo", "240", "-o", out, "--model", model]) == 0
    assert 8 * 0.25 < soundfile.info(out).duration < 8 * 0.25 + 3
    (tmp_path / "song.txt").write_text(f"{WORDS} | {NOTES}\nLa la. | C4 D4\n")
    assert main(["speak", "--score", str(tmp_path / "song.txt"), "-o", out, "--model", model]) == 0
    assert "2 sentences" in capsys.readouterr().out
    for arguments, message in (
        ([WORDS, "--notes", "C4"], "1 notes for 7 syllables"),
        ([WORDS, "--notes", NOTES, "--tempo", "0"], "--tempo must lie between 20 and 400"),
        ([WORDS, "--score", "song.txt"], "not both"),
        (["--score", "none.txt"], "cannot read the text file none.txt"),
        (["Hi", "--notes", "C4:99"], "up to 10 seconds"),
    ):
        assert main(["speak", *arguments, "-o", str(tmp_path / "x.wav"), "--model", model]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and message in lines[0] and not (tmp_path / "x.wav").exists()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A minute of singing from eight sentences, two of them held out, and its clips."""
    home = tmp_path_factory.mktemp("singing")
    texts = ["The moon is high.", "A dog barks loudly.", "Go home now.", "We sell sea shells.", "Six old ships sail."]
    splits = ["valid", "test", "test", "train", "train"] + ["train"] * 5
    lines = [f"{split}\tx\t{text}" for split, text in zip(splits, texts * 2, strict=True)]
    (home / "sentences.txt").write_text("\n".join(lines))
    made = singing.singing(home / "sentences.txt", home / "corpus", hours=0.014)
    assert made == singing.singing(home / "sentences.txt", home / "corpus", hours=0.014)  # nothing is made again
    return home / "corpus", made


def test_the_corpus_is_sung_as_asked(corpus):
    root, made = corpus
    assert {line["split"] for line in made} == {"train", "valid", "test"}
    assert any("tune" in line for line in made) and any("contour" in line for line in made)
    for line in (one for one in made if "notes" in one):
        told = json.loads((root / line["file"]).with_suffix(".json").read_text())
        wav = soundfile.read(root / line["file"], dtype="float32")[0]
        asked, sung = speech.pitch_tracks(wav, 24000, told["hertz"])
        both = (asked > 0) & (sung > 0)
        cents = np.abs(1200 * np.log2(sung[both] / asked[both]))
        assert np.median(cents) < 30 and (cents < 50).mean() > 0.7
        assert sum(told["seconds"]) == pytest.approx(line["seconds"], abs=0.01)
        assert line["seconds"] > sum(length for _, length in line["notes"])
    clip = data.corpus(root)[0]
    assert data._measure(clip)["hertz"] == pytest.approx(
        json.loads(clip.path.with_suffix(".json").read_text())["hertz"], nan_ok=True
    )


def test_durations_are_shared_and_stretched():
    vocabulary, frames = dict.fromkeys("həlˈO.", 1), np.array([4.0, 1, 2, 3, 1, 2, 5, 6])
    seconds = [0.1, 0.025, 0.05, 0.075, 0.075, 0.125, 0.15]
    assert shared("həlˈO.", seconds, frames, vocabulary).tolist() == frames.tolist()
    longer = shared("həlˈO.", [*seconds[:4], 0.5, *seconds[5:]], frames, vocabulary)
    assert longer.tolist() == [4, 1, 2, 3, 1, 19, 5, 6]
    at = source(frames, longer, frames == 2)
    assert len(at) == 2 * longer.sum() and (np.diff(at) >= 0).all() and at[-1] == 2 * frames.sum() - 1


def test_a_contour_is_moved_along_symbols():
    moved = evaluate_pitch.laid([100.0, 200.0], [1.0, 1.0], [0.5, 1.5])
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
    monkeypatch.setattr(data, "split_of", lambda name: "train")
    folders, cache = f"{corpus[0]},{home}", str(tmp_path / "cache")
    arguments = ["--corpora", folders, "--vae", vae, "--cache", cache, "--output", str(tmp_path / "p.safetensors")]
    data.main([*arguments, "--parts", "1"])
    files = str(tmp_path / "p.safetensors")
    voices = data.voices_of(folders)
    assert voices == data.voices_of(files) == ("heart", "mine")
    device = torch.device("cpu")
    for split in ("train", "valid"):
        plain = data.batches(folders, voices, vae, device, 0, split, cache=cache)
        packed = data.batches(files, voices, "no/vae", device, 0, split)
        for _ in range(3):
            (x, one), (y, two) = next(plain), next(packed)
            assert x.shape == y.shape and (x - y).abs().max() < 0.51 * STEP and (x != 0).any()
            assert torch.equal(one.symbols, two.symbols) and torch.equal(one.voice, two.voice)
            assert torch.equal(one.mask, two.mask) and torch.equal(one.null, two.null)
            assert torch.allclose(one.durations, two.durations, atol=0.02, equal_nan=True)
            assert torch.allclose(one.pitch, two.pitch, atol=2e-3)
    assert plain.words.spoken.pitch is not None
    data.main([*arguments, "--parts", "2"])
    both = ",".join(str(tmp_path / f"p-{k}.safetensors") for k in (0, 1))
    halves = data.batches(both, voices, "no/vae", device, 0, "train")
    assert len(halves.lengths) == len(data.batches(files, voices, "no/vae", device, 0, "train").lengths)
    assert estimate_f0(np.zeros(3000, np.float32)).tolist() == [0.0] * 10
