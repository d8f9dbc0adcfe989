"""`audiocm speak` as a user meets it: speech and song, what it prints, and errors of one line."""

import io
import json
import os
import subprocess
import sys
import threading
from itertools import pairwise

import numpy
import pytest
import soundfile
import torch
from spoilt import SILENT, seed_of, spoil
from tiny_speech import save_tiny_speech

from audiocm.cli import graphs, speak as speaking
from audiocm.cli.main import main
from audiocm.pipelines import loading
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.pipelines.text_to_speech_sampler import TextToSpeechSampler

TEXT = "Hello there. The train leaves at 5:45 p.m., doesn't it?\n\nYes."
WORDS, NOTES = "Twinkle, twinkle, little star.", "C4 C4 G4 G4 A4 A4 G4:2"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a tiny student, "tts", and teacher, "tts-teacher"."""
    return save_tiny_speech(tmp_path_factory.mktemp("pretrained"))


@pytest.fixture
def place(models, tmp_path, monkeypatch):
    """An empty working directory, with tiny models in the place of the bundled ones."""
    monkeypatch.setattr(loading, "PRETRAINED", models)
    monkeypatch.setattr(graphs, "PRETRAINED", models)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def speak(*arguments: str) -> int:
    """The exit code of a command."""
    try:
        return main(["speak", *arguments])
    except SystemExit as stopped:
        return stopped.code


def set_input(monkeypatch, data: bytes) -> None:
    """Makes bytes the standard input of a command."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


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
        (["?!", "-o", "-"], "no character that can be pronounced"),
        (["Hi", "-o", "x.wav", "--format", "aac"], "invalid choice: 'aac'"),
        (["Hi", "-o", "x.wav", "--times", "x.txt"], "the extension must be .json, .srt, .vtt"),
        (["Hi", "-o", "x.json", "--format", "wav", "--times", "./x.json"], "--output and --times name the same file"),
        (["Hi", "-o", "x.wav", "--lexicon", "none.txt"], "cannot read the lexicon none.txt: No such file"),
        (["<speak>One.\n<break time='99s'/></speak>", "-o", "x.wav"], "line 2: '99s' is no pause of 0 to 20 seconds"),
        (["One.\n\n<emphasis>Two.</emphasis>", "-o", "x.wav", "--ssml"], "line 3: SSML <emphasis> is not supported"),
        (["One [pause soon] two.", "-o", "x.wav"], "line 1: 'soon' is no pause"),
        (["--file", "-", "-o", "x.wav"], "cannot read standard input: it is not UTF-8 text"),
        (["Hi", "-o", "x.wav", "--voice", "carl"], "unknown voice 'carl': this model has anna, ben"),
        (["Hi", "-o", "x.wav", "--speed", "3"], "speed 3 is outside what the model allows: 0.5 to 2"),
        (["Hi", "-o", "x.wav", "--steps", "0"], "steps must be"),
        (["Hi", "-o", "x.m4a"], "the extension must be"),
        (["Hi", "-o", "folder"], "the extension must be"),
        (["Hi", "-o", "x.wav", "--file", "y"], "not both"),
        (["--file", "none.txt", "-o", "x.wav"], "cannot read the text file none.txt: No such file"),
        (["Hi", "-o", "x.wav", "--model", "tta"], "unknown model 'tta': bundled are tts, tts-teacher"),
        (["Hi", "-o", "x.wav", "--seed", "-1"], "--seed must be a whole number of at least 0 and below"),
        (["Hi", "-o", "x.wav", "--retries", "-1"], "--retries must be a whole number of at least 0"),
    ],
)
def test_bad_input_is_one_line_exit_2_and_no_file(place, capsys, monkeypatch, arguments, message):
    set_input(monkeypatch, b"caf\xe9")
    assert speak(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("audiocm") and message in lines[0] and not os.listdir()


def test_sentences_that_fail_are_made_again_or_told_and_take_no_others_with_them(place, capsys, monkeypatch):
    assert speak(TEXT, "-o", "a.wav") == 0
    second = seed_of(0) + 1
    spoil(monkeypatch, {second: SILENT, seed_of(7): SILENT})
    assert speak(TEXT, "-o", "b.wav") == 0
    capsys.readouterr()
    assert speak(TEXT, "-o", "c.wav", "--retries", "0") == 3
    shown = capsys.readouterr()
    sentence = "The train leaves at 5:45 p.m., doesn't it?"
    assert shown.err == f"audiocm: no speech for {sentence!r} (seed 0, seeds tried: 1): it is silent\n"
    assert "3 sentences" in shown.out
    plain, mended, left = (soundfile.read(f"{name}.wav")[0] for name in "abc")
    assert plain.shape == mended.shape == left.shape
    apart = numpy.flatnonzero(plain != left)
    same = numpy.r_[0 : apart[0], apart[-1] + 1 : len(plain)]
    assert (left[apart[0] : apart[-1] + 1] == 0).all() and (mended[same] == plain[same]).all() and len(same) > 20_000
    assert speak("Hello there.", "-o", "d.wav", "--seed", "7", "--retries", "0") == 3
    assert "no speech for 'Hello there.' (seed 7" in capsys.readouterr().err and sorted(os.listdir()) == [
        "a.wav",
        "b.wav",
        "c.wav",
    ]


def test_a_warning_is_one_line(place, capsys):
    assert speak("Hello 🙂 there.", "-o", "x.wav") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line]
    assert lines == ["audiocm: warning: text has symbols that are not read: 🙂 (slightly smiling face)"]


def test_a_model_of_another_kind_is_refused(place, capsys):
    assert main(["generate", "rain", "-o", "x.wav", "--model", "tts"]) == 2
    assert "'tts' is no model for TextToAudioPipeline: it has speech_encoder" in capsys.readouterr().err


def test_speak_sings_notes_and_scores(place, capsys):
    assert speak(WORDS, "--notes", NOTES, "--tempo", "240", "-o", "a.wav") == 0
    assert 8 * 0.25 < soundfile.info("a.wav").duration < 8 * 0.25 + 3
    (place / "song.txt").write_text(f"{WORDS} | {NOTES}\nLa la. | C4 D4\n")
    assert speak("--score", "song.txt", "-o", "b.wav") == 0
    assert "2 sentences" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([WORDS, "--notes", "C4"], "1 notes for 7 syllables"),
        ([WORDS, "--notes", NOTES, "--tempo", "0"], "--tempo must lie between 20 and 400"),
        ([WORDS, "--score", "song.txt"], "not both"),
        (["--score", "none.txt"], "cannot read the text file none.txt"),
        (["Hi", "--notes", "C4:99"], "up to 10 seconds"),
    ],
)
def test_bad_notes_are_one_line_exit_2_and_no_file(place, capsys, arguments, message):
    assert speak(*arguments, "-o", "x.wav") == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0] and not os.listdir()


def test_speech_goes_from_pipe_to_pipe(place, capfdbinary, monkeypatch):
    assert speak(TEXT, "-o", "a.wav") == 0
    capfdbinary.readouterr()
    (place / "b.txt").write_text(TEXT)
    monkeypatch.setattr(speaking, "CHECKED", 10)  # the file is long: it is read in blocks
    for source in ("-", "b.txt"):
        set_input(monkeypatch, b"\xef\xbb\xbf" + TEXT.encode())
        assert speak("--file", source, "-o", "-", "--format", "pcm") == 0
        shown = capfdbinary.readouterr()
        assert shown.out == (place / "a.wav").read_bytes()[44:]
        assert b"-: 3 sentences" in shown.err and b"first audio after" in shown.err
    set_input(monkeypatch, TEXT.encode())
    assert speak("--file", "-", "-o", "-") == 0
    (place / "c.wav").write_bytes(capfdbinary.readouterr().out)
    assert (soundfile.read("c.wav")[0] == soundfile.read("a.wav")[0]).all()


@pytest.mark.parametrize("text", ["", " \n", "... ?!\n", "One.\n\n<break time='99s'/>"])
def test_nothing_but_sound_goes_to_standard_output(place, capfdbinary, monkeypatch, text):
    set_input(monkeypatch, text.encode())
    assert speak("--file", "-", "-o", "-") == 2
    shown = capfdbinary.readouterr()
    assert not shown.out and len(shown.err.splitlines()) == 1


def test_a_pipe_that_is_read_no_more_ends_quietly(place, capsys):
    os.mkfifo("pipe")
    threading.Thread(target=lambda: os.close(os.open("pipe", os.O_RDONLY))).start()
    assert speak(TEXT, "-o", "pipe", "--times", "x.json") == speaking.BROKEN_PIPE
    shown = capsys.readouterr()
    assert not shown.err and not shown.out and os.listdir() == ["pipe"]


def test_nothing_stays_of_speech_that_is_interrupted(place, capsys, monkeypatch):
    stream = TextToSpeechSampler.stream

    def interrupted(*arguments):
        yield next(stream(*arguments))
        assert all(name.endswith(".partial") for name in os.listdir()) and len(os.listdir()) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(TextToSpeechSampler, "stream", interrupted)
    assert speak(TEXT, "-o", "a.wav", "--times", "a.srt") == 130 and not os.listdir()


def test_sound_is_not_written_to_a_terminal(place, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert speak("Hi", "-o", "-") == 2 and "standard output is a terminal" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["mp3", "opus", "ogg", "flac"])
def test_formats_are_chosen_by_extension(place, suffix):
    assert speak("Hello there.", "-o", f"a.{suffix}") == 0 and speak("Hello there.", "-o", "a.wav") == 0
    assert abs(soundfile.info(f"a.{suffix}").duration - soundfile.info("a.wav").duration) < 0.1


def test_times_of_words_are_those_of_the_file(place):
    assert speak("Hello there. It is 5:45.", "-o", "a.wav", "--times", "a.json") == 0
    times, length = json.loads((place / "a.json").read_text()), soundfile.info("a.wav").frames / 24_000
    phonemes = [one for sentence in times["sentences"] for one in sentence["phonemes"]]
    assert phonemes[0]["start"] == 0 and phonemes[-1]["end"] == times["seconds"] == pytest.approx(length, abs=1e-6)
    assert [word["text"] for word in times["sentences"][1]["words"]] == ["It", "is", "5:45."]
    assert times["sentences"][1]["words"][2]["spoken"].replace("-", " ") == "five forty five"
    (place / "song.txt").write_text("La la. | C4 D4\nLa la la. | C4 D4 E4\n")
    assert speak("--score", "song.txt", "-o", "b.wav", "--times", "b.json") == 0
    times, length = json.loads((place / "b.json").read_text()), soundfile.info("b.wav").frames / 24_000
    phonemes = [one for sentence in times["sentences"] for one in sentence["phonemes"]]
    assert all(a["end"] == b["start"] for a, b in pairwise(phonemes))
    assert phonemes[-1]["end"] == pytest.approx(length, abs=1e-6)


def test_a_lexicon_and_markup_are_read(place):
    (place / "words.txt").write_text("# names\nXochitl = SOH-cheel\n")
    arguments = ("Xochitl came at noon today. <break time='1s'/> [pause 500ms] Yes.", "--ssml", "--times", "a.json")
    assert speak(*arguments, "--lexicon", "words.txt", "-o", "a.wav") == 0
    first, second = json.loads((place / "a.json").read_text())["sentences"]
    assert "".join(one["symbol"] for one in first["phonemes"]).startswith("_sOʧil ")
    assert second["start"] - first["end"] == pytest.approx(0.5, abs=1e-4)
    (place / "words.txt").write_text("Xochitl = SOH-cheel\nbad line\n")
    assert speak("Hi", "--lexicon", "words.txt", "-o", "b.wav") == 2


def test_the_bundled_voice_speaks_from_pipe_to_pipe(tmp_path):
    command = [sys.executable, "-m", "audiocm", "speak", "--file", "-", "-o", "-"]
    done = subprocess.run(command, input=b"It's 5:45 p.m.", capture_output=True, timeout=300, check=False)
    assert done.returncode == 0 and b"s of speech in" in done.stderr
    (tmp_path / "x.wav").write_bytes(done.stdout)
    wav, rate = soundfile.read(tmp_path / "x.wav")
    assert rate == 24_000 and 1 < len(wav) / rate < 4 and 0.01 < numpy.sqrt((wav**2).mean()) < 0.3


def test_sigterm_ends_speech_that_nobody_takes(tmp_path):
    text = tmp_path / "long.txt"
    text.write_text("This is a sentence of some length that is spoken again and again. " * 100)
    command = [
        sys.executable,
        "-m",
        "audiocm",
        "speak",
        "--file",
        str(text),
        "-o",
        "-",
        "--times",
        str(tmp_path / "a.srt"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(20_000)[:4] == b"RIFF"  # and no more, so that the pipe fills
    process.terminate()
    _, shown = process.communicate(timeout=60)
    assert process.returncode == 143 and shown.splitlines()[-1] == b"audiocm: terminated"
    assert b"Traceback" not in shown and os.listdir(tmp_path) == ["long.txt"]
