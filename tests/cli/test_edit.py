"""`audiocm edit` as a user meets it: files in, files out, and one line for each bad input."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from tiny_model import tiny_pipeline
from tiny_speech import tiny_speech

from audiocm.cli import edit
from audiocm.cli.main import main
from audiocm.pipelines import speech_editor

TEXT = "A dog barks loudly at the old postman."


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A sound of two channels in 24 bits, and a tiny model in the place of the bundled one."""
    monkeypatch.chdir(tmp_path)
    levels = np.random.default_rng(0).integers(-(2**22), 2**22, (44100, 2)).astype(np.int32) << 8
    soundfile.write("in.wav", levels, 44100, "PCM_24")
    soundfile.write("mono.wav", levels[:, 0], 44100, "PCM_16")
    soundfile.write("silent.wav", 0 * levels, 44100, "PCM_16")
    soundfile.write("broken.wav", np.where(np.arange(44100) == 999, np.nan, levels[:, 0] / 2.0**31), 44100, "FLOAT")
    pipes = {"TextToAudioSampler": tiny_pipeline(), "TextToSpeechSampler": tiny_speech()}
    monkeypatch.setattr(edit, "load_pipeline", lambda _, __, kind="TextToAudioSampler": pipes[kind])
    monkeypatch.setattr(speech_editor, "warp_around", lambda starts, *_: starts / starts[-1])  # said evenly in a second
    return tmp_path


@pytest.mark.parametrize(
    ("options", "seconds", "channels"),
    [
        (["--inpaint", "0.4:0.6", "--prompt", "rain"], 1.0, 2),
        (["--inpaint", "0:0.2", "--inpaint", "0.8:1"], 1.0, 2),
        (["--continue", "0.5"], 1.5, 2),
        (["--continue", "0.5", "--before", "0.25"], 1.75, 2),
        (["--vary", "0.4"], 1.0, 2),
        (["--vary", "0"], 1.0, 2),
        (["--strength", "0.6", "--prompt", "rain"], 1.0, 2),
        (["--extend-bandwidth", "4000"], 1.0, 2),
    ],
)
def test_every_edit_keeps_rate_channels_and_format(options, seconds, channels, capsys):
    assert main(["edit", "in.wav", "-o", "out.wav", *options]) == 0
    info = soundfile.info("out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (44100, channels, "PCM_24")
    assert info.frames == pytest.approx(seconds * 44100, abs=1)
    assert capsys.readouterr().out.startswith(f"out.wav: {seconds:.2f} s of sound")


def test_kept_samples_are_those_of_the_file():
    assert main(["edit", "in.wav", "-o", "out.flac", "--inpaint", "0.4:0.6"]) == 0
    before, after = (soundfile.read(name, dtype="int32")[0] for name in ("in.wav", "out.flac"))
    first, end = round(0.38 * 44100), round(0.62 * 44100)
    np.testing.assert_array_equal(after[:first], before[:first])
    np.testing.assert_array_equal(after[end:], before[end:])
    assert (after[first:end] != before[first:end]).any()
    assert main(["edit", "in.wav", "-o", "same.wav", "--vary", "0"]) == 0
    np.testing.assert_array_equal(soundfile.read("same.wav", dtype="int32")[0], before)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--text", TEXT, "--words", "3:4"], (0.1, 0.1)),
        (["--text", TEXT, "--words", "3"], (0.1, 0.2)),
        (["--text", TEXT, "--continue"], (0.97, 0)),
        (["--text", TEXT, "--said", "Listen to this now.", "--voice", "ben", "--continue"], (0.97, 0)),
    ],
)
def test_speech_is_edited_between_the_samples_of_the_file(options, kept, capsys):
    assert main(["edit", "in.wav", "-o", "out.wav", *options]) == 0
    info = soundfile.info("out.wav")
    assert (info.samplerate, info.channels, info.subtype) == (44100, 2, "PCM_24")
    before, after = (soundfile.read(name, dtype="int32")[0] for name in ("in.wav", "out.wav"))
    first, end = (round(seconds * 44100) for seconds in kept)
    np.testing.assert_array_equal(after[:first], before[:first])
    np.testing.assert_array_equal(after[len(after) - end :], before[len(before) - end :])
    assert (after[: len(before)] != before[: len(after)]).any()
    assert "model tts" in capsys.readouterr().out


def test_mono_becomes_stereo():
    assert main(["edit", "mono.wav", "-o", "out.wav", "--stereo"]) == 0
    assert soundfile.info("out.wav").channels == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["in.wav", "-o", "out.wav"], "give one of --inpaint"),
        (["in.wav", "-o", "out.wav", "--vary", "1", "--stereo"], "not --vary with --stereo"),
        (["in.wav", "-o", "out.wav", "--continue"], "--continue takes the seconds of a sound"),
        (["in.wav", "-o", "out.wav", "--words", "3:4"], "--words is for speech: give --text"),
        (["in.wav", "-o", "out.wav", "--vary", "1", "--said", "Hello."], "--said is for speech: give --text"),
        (["in.wav", "-o", "out.wav", "--text", TEXT], "with --text give either --words FIRST:LAST, or --continue"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "3", "--continue"], "give either --words"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--continue", "2"], "takes no seconds"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "3", "--said", "Yes."], "--said is for --continue"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "3", "--vary", "1"], "--text edits speech: leave --vary"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "3", "--prompt", "x"], "leave --prompt out"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "a:b"], "whole numbers FIRST:LAST, as 3:4, or one, not 'a:b'"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "7:9"], "words 7:9 must lie inside the text, whose words are 1:8"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "1:8"], "are the whole text"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "4:3"], "words 4:3 are none"),
        (["in.wav", "-o", "out.wav", "--text", "", "--words", "1"], "the text is empty"),
        (["in.wav", "-o", "out.wav", "--text", "Привет, мир", "--words", "1"], "the text has Cyrillic letters"),
        (["in.wav", "-o", "out.wav", "--text", "Yes.", "--said", "你好吗", "--continue"], "the text has Cjk letters"),
        (["in.wav", "-o", "out.wav", "--text", TEXT, "--words", "3", "--voice", "carl"], "unknown voice 'carl'"),
        (["silent.wav", "-o", "out.wav", "--text", TEXT, "--words", "3"], "the sound is silent"),
        (["silent.wav", "-o", "out.wav", "--text", TEXT, "--continue"], "the sound is silent"),
        (["broken.wav", "-o", "out.wav", "--text", TEXT, "--words", "3"], "samples that are not finite"),
        (["in.wav", "-o", "out.wav", "--inpaint", "1"], "START:END, as 1.2:2.0, not '1'"),
        (["in.wav", "-o", "out.wav", "--inpaint", "a:b"], "START:END"),
        (["in.wav", "-o", "out.wav", "--inpaint", "0.5:7"], "must lie inside the sound"),
        (["in.wav", "-o", "out.wav", "--inpaint", "0.5:0.5"], "0.5:0.5 is empty"),
        (["in.wav", "-o", "out.wav", "--inpaint", "0.5:0.500001"], "it holds no sample"),
        (["in.wav", "-o", "out.wav", "--inpaint", "0.6:0.5"], "ends before it begins"),
        (["in.wav", "-o", "out.wav", "--inpaint", "nan:0.5"], "must lie inside the sound"),
        (["in.wav", "-o", "out.wav", "--inpaint", "0:0.6", "--inpaint", "0.5:1"], "is the whole sound"),
        (["in.wav", "-o", "out.wav", "--inpaint", "0:0.5", "--inpaint", "0.5:1.5"], "must lie inside the sound"),
        (["silent.wav", "-o", "out.wav", "--inpaint", "0.2:0.5"], "the sound is silent"),
        (["silent.wav", "-o", "out.wav", "--before", "1"], "the sound is silent"),
        (["broken.wav", "-o", "out.wav", "--inpaint", "0.2:0.5"], "samples that are not finite"),
        (["broken.wav", "-o", "out.wav", "--vary", "0.5"], "samples that are not finite"),
        (["in.wav", "-o", "out.wav", "--continue", "0"], "one of them over 0"),
        (["in.wav", "-o", "out.wav", "--continue", "nan"], "seconds after the sound must be"),
        (["in.wav", "-o", "out.wav", "--continue", "1e9"], "at most 86,400"),
        (["in.wav", "-o", "out.wav", "--before", "-1"], "seconds before the sound must be"),
        (["in.wav", "-o", "out.wav", "--vary", "1.1"], "must lie between 0, the sound itself, and 1"),
        (["in.wav", "-o", "out.wav", "--inpaint", "0:1"], "is the whole sound"),
        (["silent.wav", "-o", "out.wav", "--continue", "1"], "the sound is silent"),
        (["broken.wav", "-o", "out.wav", "--continue", "1"], "samples that are not finite"),
        (["in.wav", "-o", "out.wav", "--strength", "0.5"], "give one, or --vary"),
        (["in.wav", "-o", "out.wav", "--stereo"], "2 channels already"),
        (["in.wav", "-o", "out.txt", "--vary", "0.5"], "extension must be"),
        (["in.wav", "-o", "in.wav", "--vary", "0.5"], "is the input itself"),
        (["no.wav", "-o", "out.wav", "--vary", "0.5"], "no.wav cannot be read"),
        (["in.wav", "-o", "out.wav", "--vary", "0.5", "--steps", "0"], "steps must be a whole number"),
        (["in.wav", "-o", "out.wav", "--vary", "0.5", "--retries", "-1"], "max_retries must be a whole number"),
        (["in.wav", "-o", "out.wav", "--vary", "0.5", "--seed", "-1"], "seed must be a whole number"),
        (["in.wav", "-o", "out.wav", "--vary", "0.5", "--temperature", "9"], "temperature must be"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(args, message, capsys, place):
    assert main(["edit", *args]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(path.name for path in place.iterdir()) == ["broken.wav", "in.wav", "mono.wav", "silent.wav"]
