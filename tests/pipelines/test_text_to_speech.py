"""Text to phonemes, the text-to-speech pipeline, and `audiocm speak` as a user meets it."""

import json
import os
import warnings

import numpy
import pytest
import soundfile
import torch
from tiny_speech import tiny_speech

from audiocm.cli.main import main
from audiocm.pipelines import loading
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.speech import phonemes

TEXT = "Hello there. The train leaves at 5:45 p.m., doesn't it?\n\nYes."


def read(text):
    return [one.phonemes for one in phonemes.sentences(text)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def pipe():
    return tiny_speech()


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ("5:45 p.m.", "five forty five p m"),
        ("It cost $1,250.50.", "It cost one thousand two hundred fifty dollars and fifty cents."),
        ("Dr. Smith", "Doctor Smith"),
        ("3rd", "third"),
        ("\u22125°C", "minus five degrees celsius"),
        ("ﬁsh", "fish"),
        ("20% & more", "twenty percent and more"),
    ],
)
def test_text_is_normalised(written, spelt):
    plain = ["".join(c for one in read(text) for c in one if c not in " .,ˈˌT") for text in (written, spelt)]
    assert plain[0].replace("ti", "i") == plain[1].replace("ti", "i")


def test_homographs_stress_and_coding():
    assert read("I read the record.") != read("I record the reader.")
    assert read("Hello there.") == ["həlˈO ðˈɛɹ."]
    numbers, stress = phonemes.encode("həlˈO ðˈɛɹ.")
    assert "".join(phonemes.SYMBOLS[k] for k in numbers) == "_həlO ðɛɹ._" and stress == [
        0,
        0,
        0,
        0,
        2,
        0,
        0,
        2,
        0,
        0,
        0,
    ]
    assert phonemes.split_in_halves("həlˈO ðˈɛɹ.") == ("həlˈO", "ðˈɛɹ.")
    assert set("".join(read("Measure the church, judge! Azure things: this boy's cow; huge pyjamas (five)."))) - {
        "ˈ",
        "ˌ",
    } <= set(phonemes.SYMBOLS)


def test_sentences_pauses_and_bounded_pieces():
    found = list(phonemes.sentences("Dr. Who came. He left.\n\nEnd"))
    assert [(one.text, one.pause) for one in found] == [("Dr. Who came.", 0.25), ("He left.", 0.6), ("End", 0.6)]
    for text in ("word " * 400, "a" * 3000, "clause one, " * 100):
        pieces = list(phonemes.sentences(text))
        assert len(pieces) > 1 and all(len(one.text) <= phonemes.LONGEST for one in pieces)
        assert "".join(one.text for one in pieces).replace(" ", "") == text.replace(" ", "")


BAD = {
    "empty": ("", "the text is empty"),
    "blank": (" \n", "the text is empty"),
    "unspoken": ("?!... \U0001f642", "no character that can be pronounced"),
    "cyrillic": ("Hello мир", "Cyrillic letters (м)"),
    "chinese": ("漢字", "Cjk letters (漢)"),
    "digits": ("call ٣", "digits of another script"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_text_is_one_line(pipe, text, message):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for call in (pipe, pipe.stream):
            with pytest.raises(ValueError) as told:
                call(text)
            assert message in str(told.value) and "\n" not in str(told.value)


def test_bad_options_are_one_line(pipe):
    for options, message in (
        ({"voice": "carl"}, "unknown voice 'carl': this model has anna, ben"),
        ({"speed": 0.4}, "speed 0.4 is outside what the model allows: 0.5 to 2"),
        ({"speed": float("nan")}, "speed nan is outside"),
        ({"num_inference_steps": 0}, "steps must be a whole number"),
        ({"guidance_scale": 9.0}, "guidance 9 is outside what the model allows: 0 to 6"),
        ({"output_type": "mp3"}, "output_type must be"),
        ({"notes": [(60, 1.0)]}, "1 notes for 3 syllables"),
        ({"pitch": [[100.0]]}, "a pitch contour is a list"),
    ):
        with pytest.raises(ValueError, match=None) as told:
            pipe("Hello there.", **options)
        assert message in str(told.value)
    with pytest.raises(ValueError, match="for one sentence"):
        pipe("One. Two.", pitch=[100.0])


def test_unread_symbols_are_named():
    with pytest.warns(UserWarning, match=r"🙂 \(slightly smiling face\), • \(bullet\)"):
        assert len(read("Fine 🙂 • really")) == 1


def test_seeds_batches_and_streams_agree(pipe):
    alone = pipe(TEXT, generator=seeded(3))
    many = pipe([TEXT, "Other words."], generator=[seeded(3), seeded(4)], batch_size=2)
    assert alone.audios[0].shape == many.audios[0].shape and torch.allclose(alone.audios[0], many.audios[0], atol=1e-3)
    pieces = list(pipe.stream(TEXT, generator=seeded(3)))
    joined = torch.cat([piece.audio for piece in pieces])[: len(alone.audios[0])]
    assert len(pieces) == 3 and torch.allclose(joined, alone.audios[0], atol=1e-3)
    assert not torch.allclose(pipe(TEXT, generator=seeded(5)).audios[0], alone.audios[0], atol=1e-2)
    assert pipe(TEXT, generator=seeded(3), output_type="np").audios[0].dtype == numpy.float32


def test_durations_tell_the_length(pipe):
    out = pipe("Hello there.", generator=seeded())
    assert "".join(symbol for symbol, _ in out.durations[0]) == "_həlO ðɛɹ._"
    assert sum(seconds for _, seconds in out.durations[0]) * 24_000 == pytest.approx(len(out.audios[0]), abs=1)
    slow = pipe("Hello there.", speed=0.5, generator=seeded())
    assert len(slow.audios[0]) == pytest.approx(2 * len(out.audios[0]), abs=2 * 1024)
    sung = pipe("Hello there.", notes=[(60, 0.5), (64, 0.5), (67, 1.0)])
    lasting = dict(zip("".join(s for s, _ in sung.durations[0]), [v for _, v in sung.durations[0]], strict=True))
    assert lasting["ə"] + lasting["l"] == pytest.approx(0.5, rel=0.1)


def test_knobs_change_the_sound(pipe):
    plain = pipe("Hello there.", generator=seeded()).audios[0]
    for options in ({"voice": "ben"}, {"num_inference_steps": 3}, {"guidance_scale": 3.0}, {"pitch": [80.0, 400.0]}):
        other = pipe("Hello there.", generator=seeded(), **options).audios[0]
        assert len(other) != len(plain) or (other - plain).abs().max() > 1e-3
    zero = tiny_speech(noise_mean=0.0)("Hello there.", generator=seeded()).audios[0]
    assert (zero - plain).abs().max() > 1e-3


def test_sentences_too_long_for_the_net_are_cut(pipe):
    with torch.no_grad():
        pipe.speech_encoder.duration.out.bias += 2.5
    try:
        pieces = list(pipe.stream("One two three, four five six seven, eight nine ten."))
        assert len(pieces) > 1 and all(len(p.audio) <= 240 * 1024 + 24_000 for p in pieces)
        with pytest.raises(ValueError, match="too long to speak at once"):
            pipe("Hello.", notes=[(60, 10.0), (60, 10.0)])
    finally:
        with torch.no_grad():
            pipe.speech_encoder.duration.out.bias -= 2.5


@pytest.fixture
def place(pipe, tmp_path, monkeypatch):
    """A tiny "tts" and "tts-teacher" take the place of the bundled models."""
    home = tmp_path / "pretrained"
    pipe.vae.save_pretrained(home / "codec" / "vae", variant="int8")
    pipe.vocoder.save_pretrained(home / "codec" / "vocoder", variant="int8")
    pipe.speech_encoder.save_pretrained(home / "speech-encoder", variant="int8")
    loading.save_bundle(home / "tts", pipe.transformer, loading.SPEECH, num_inference_steps=1)
    loading.save_bundle(home / "tts-teacher", tiny_speech(False).transformer, loading.SPEECH)
    monkeypatch.setattr(loading, "PRETRAINED", home)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return tmp_path / "out"


def speak(*arguments: str) -> int:
    try:
        return main(["speak", *arguments])
    except SystemExit as stopped:
        return stopped.code


def test_speak_writes_a_file(place, capsys):
    (place / "text.txt").write_text((TEXT + "\n") * 12, encoding="utf-8")
    assert speak("Hello there.", "-o", "a.wav", "--voice", "ben", "--speed", "1.5", "--seed", "3") == 0
    assert speak("--file", "text.txt", "-o", "b.flac") == 0
    shown = capsys.readouterr()
    assert "36 sentences" in shown.out and "first audio after" in shown.out and "letter" in shown.err
    assert speak("Hello there.", "-o", "c.ogg", "--model", "tts-teacher") == 0
    pipe = TextToSpeechPipeline.from_pretrained("tts")
    wav, rate = soundfile.read("a.wav", dtype="float32")
    same = pipe("Hello there.", voice="ben", speed=1.5, generator=seeded(3)).audios[0].numpy()
    assert rate == 24_000 and wav.shape == same.shape and numpy.abs(wav - same).max() < 2 / 32768
    assert sorted(os.listdir()) == ["a.wav", "b.flac", "c.ogg", "text.txt"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["", "-o", "x.wav"], "the text is empty"),
        (["-o", "x.wav"], "the text is empty"),
        (["?!", "-o", "x.wav"], "no character that can be pronounced"),
        (["мир", "-o", "x.wav"], "Cyrillic letters"),
        (["Hi", "-o", "x.wav", "--voice", "carl"], "unknown voice 'carl': this model has anna, ben"),
        (["Hi", "-o", "x.wav", "--speed", "3"], "speed 3 is outside what the model allows: 0.5 to 2"),
        (["Hi", "-o", "x.wav", "--steps", "0"], "steps must be"),
        (["Hi", "-o", "x.mp3"], "the extension must be"),
        (["Hi", "-o", "folder"], "the extension must be"),
        (["Hi", "-o", "x.wav", "--file", "y"], "not both"),
        (["--file", "none.txt", "-o", "x.wav"], "cannot read the text file none.txt: No such file"),
        (["Hi", "-o", "x.wav", "--model", "tta"], "unknown model 'tta': bundled are tts, tts-teacher"),
        (["Hi", "-o", "x.wav", "--seed", "-1"], "--seed must lie between"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_no_file(place, capsys, arguments, message):
    assert speak(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("audiocm") and message in lines[0] and not os.listdir()


def test_a_warning_is_one_line(place, capsys):
    assert speak("Hello 🙂 there.", "-o", "x.wav") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert lines == ["audiocm: warning: text has symbols that are not read: 🙂 (slightly smiling face)"]


def test_a_model_of_another_kind_is_told(place, capsys):
    assert main(["generate", "rain", "-o", "x.wav", "--model", "tts"]) == 2
    assert "'tts' is no model for TextToAudioPipeline: it has speech_encoder" in capsys.readouterr().err


def test_folders_round_trip(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "whole")
    again = TextToSpeechPipeline.from_pretrained(tmp_path / "whole")
    a, b = (one("Hello there.", generator=seeded()).audios[0] for one in (pipe, again))
    assert torch.allclose(a, b, atol=1e-4) and again.voices == ("anna", "ben")
    assert json.loads((tmp_path / "whole" / "model_index.json").read_text())["speech_encoder"] == [
        "audiocm.speech.encoder",
        "SpeechEncoder",
    ]
