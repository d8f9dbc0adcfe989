"""Formats of the server: whole files and files in pieces that other readers open."""

import io
import wave

import numpy
import pytest
import soundfile

from audiocm.serving.formats import MEDIA_TYPES, Encoder, encode

RATE = 24_000
WAV = (0.5 * numpy.sin(numpy.arange(2 * RATE) * 0.1)).astype(numpy.float32)
PIECES = numpy.split(WAV, [9_000, 9_001, 30_000])


def in_pieces(form: str) -> list[bytes]:
    encoder = Encoder(form, RATE)
    return [*(encoder.append(piece) for piece in PIECES), encoder.finish()]


def spectrum_peak(wav: numpy.ndarray) -> float:
    """The angle per sample of the loudest sinusoid."""
    return 2 * numpy.pi * numpy.abs(numpy.fft.rfft(wav)).argmax() / len(wav)


@pytest.mark.parametrize("form", ["wav", "flac", "opus", "mp3"])
def test_pieces_and_wholes_are_files_of_the_sound(form):
    for content in (b"".join(in_pieces(form)), encode(WAV, RATE, form)):
        wav, rate = soundfile.read(io.BytesIO(content), dtype="float32")
        longer = 2_400 if form == "mp3" else 0  # encoder delay and the frame of its tag
        assert rate == RATE and len(WAV) <= len(wav) <= len(WAV) + longer
        if form in ("wav", "flac"):
            assert numpy.abs(wav - WAV).max() < 1 / 32768
        assert abs(spectrum_peak(wav[4_000:44_000]) - 0.1) < 1e-3


def test_what_can_be_sent_early_is_sent_early():
    sent = {form: [len(part) for part in in_pieces(form)] for form in MEDIA_TYPES}
    assert sent["pcm"] == [2 * len(piece) for piece in PIECES] + [0]
    assert sent["wav"] == [44 + 2 * 9_000, *sent["pcm"][1:]]
    assert sent["mp3"][0] and sent["mp3"][2] and sent["opus"][2] and sent["flac"][:-1] == [0] * 4


def test_pcm_is_little_endian_and_limited_and_a_whole_wav_announces_its_length():
    levels = numpy.frombuffer(encode(numpy.array([0, 2, -2, 0.5], numpy.float32), RATE, "pcm"), "<i2")
    assert levels.tolist() == [0, 32767, -32768, 16384]
    with wave.open(io.BytesIO(encode(WAV, RATE, "wav"))) as file:
        assert file.getparams()[:4] == (1, 2, RATE, len(WAV))
