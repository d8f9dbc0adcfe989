"""Sound written piece by piece: every format, to files and through pipes, and what is left of it when that fails."""

import os
import threading

import numpy
import pytest
import soundfile

from audiocm.audio.streams import FORMATS, PipeClosedError, is_pipe, open_sound_stream, stream_format

RATE = 24_000
WAV = (0.4 * numpy.sin(numpy.arange(3 * RATE) * 0.05)).astype(numpy.float32)


def write_pieces(output: str, form: str | None = None) -> None:
    with open_sound_stream(output, RATE, form) as append:
        for start in range(0, len(WAV), 7000):
            append(WAV[start : start + 7000])


def through_a_pipe(path, form: str) -> bytes:
    """What comes out of a named pipe."""
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    write_pieces(str(path), form)
    reader.join()
    return read[0]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_read_again(tmp_path, form):
    write_pieces(str(tmp_path / f"a.{form}"))
    assert os.listdir(tmp_path) == [f"a.{form}"]
    (tmp_path / f"b.{form}").write_bytes(through_a_pipe(tmp_path / "fifo", form))
    raw = {"samplerate": RATE, "channels": 1, "subtype": "PCM_16", "format": "RAW"} if form == "pcm" else {}
    for name in "a" if form == "flac" else "ab":  # libsndfile does not read a FLAC whose length is not known
        with soundfile.SoundFile(tmp_path / f"{name}.{form}", **raw) as file:
            read = file.read(dtype="float32")
            assert file.samplerate == RATE
        if form in ("wav", "flac", "pcm"):
            assert numpy.abs(read - WAV).max() < 1 / 32768 and len(read) == len(WAV)
        else:
            assert abs(len(read) - len(WAV)) < 0.1 * RATE and 0.2 < numpy.abs(read).mean() < 0.3
    if form in ("wav", "pcm", "flac"):
        assert (tmp_path / f"a.{form}").read_bytes()[-20_000:] == (tmp_path / f"b.{form}").read_bytes()[-20_000:]


def test_a_wav_comes_through_a_pipe_while_it_is_made(tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)
    source = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(PipeClosedError), open_sound_stream(str(path), RATE) as append:
        append(WAV[:1000])
        assert len(os.read(source, 10_000)) == 44 + 2000
        append(WAV[:100])
        assert len(os.read(source, 10_000)) == 200
        os.close(source)
        append(WAV[:100])


def test_a_file_that_is_not_whole_does_not_stay(tmp_path):
    with pytest.raises(RuntimeError), open_sound_stream(str(tmp_path / "a.wav"), RATE) as append:
        append(WAV)
        assert [name.endswith(".partial") for name in os.listdir(tmp_path)] == [True]
        raise RuntimeError
    assert not os.listdir(tmp_path)


def test_the_format_is_that_of_the_extension_or_named(tmp_path):
    assert [stream_format(name) for name in ("a.WAV", "b.opus", "-", "/dev/null")] == ["wav", "opus", "wav", "wav"]
    assert stream_format("a.wav", "pcm") == "pcm" and is_pipe("/dev/null") and not is_pipe(tmp_path)
    for name, form in (("a.m4a", None), ("a", None), ("a.wav", "aac")):
        with pytest.raises(ValueError, match="must be one of wav, flac, ogg, opus, mp3, pcm"):
            stream_format(name, form)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="cannot write"):
        write_pieces(str(tmp_path / "file" / "a.wav"))
