"""Reading, resampling and writing of audio files."""

import numpy as np
import pytest
import soundfile

from audiocm.audio import io

RATE = 24000


def harmonics(hertz, seconds=1.0):
    time = np.arange(int(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 9)).astype(np.float32) * 0.1


def test_resampling_keeps_a_tone_and_its_level():
    tone = harmonics(440)
    there = io.resample(tone, RATE, 16000)
    back = io.resample(there, 16000, RATE)
    assert len(there) == 16000 and np.abs(back - tone)[1000:-1000].max() < 5e-3


def test_sound_files_hold_what_was_written(tmp_path):
    wav = np.sin(np.arange(200_000) * 0.05).astype("float32") * 0.5
    for extension, tolerance in (("wav", 1e-4), ("flac", 1e-4), ("ogg", 0.05)):
        io.write_wave(tmp_path / f"x.{extension}", wav, 24_000)
        read, rate = soundfile.read(tmp_path / f"x.{extension}")
        assert rate == 24_000 and len(read) == len(wav) and np.abs(read - wav).max() < tolerance
    stereo = np.stack([wav, -wav], 1)
    io.write_wave(tmp_path / "stereo.wav", stereo, 24_000)
    assert soundfile.read(tmp_path / "stereo.wav")[0].shape == stereo.shape


def test_other_extensions_and_full_disks_leave_no_file(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"cannot write .*x\.mp3: the extension must be \.wav, \.flac, \.ogg"):
        io.write_wave(tmp_path / "x.mp3", harmonics(440), RATE)

    def full(self, _data):
        raise soundfile.LibsndfileError(2, "no space left: ")

    monkeypatch.setattr(soundfile.SoundFile, "write", full)
    with pytest.raises(ValueError, match=r"cannot write .*x\.wav: no space left"):
        io.write_wave(tmp_path / "x.wav", harmonics(440), RATE)
    assert not list(tmp_path.iterdir())


def test_files_are_read_as_mono_at_a_rate(tmp_path):
    tone = harmonics(440)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, 3 * tone], 1), RATE, subtype="FLOAT")
    assert np.allclose(io.read_wave(tmp_path / "a.wav", RATE), np.clip(2 * tone, -1, 1), atol=1e-6)
    assert len(io.read_wave(tmp_path / "a.wav", 16000)) == 16000
    by_content, rate = io.decode((tmp_path / "a.wav").read_bytes())
    assert rate == RATE and np.array_equal(by_content, io.decode(tmp_path / "a.wav")[0]) and by_content.shape[1] == 2
    assert np.array_equal(io.to_mono(tone), tone)


def test_what_is_no_sound_has_a_reason(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "nan.wav", np.array([0.1, np.nan]), RATE, subtype="FLOAT")
    for name, reason in (
        ("text", "cannot be read: "),
        ("none", "cannot be read: "),
        ("empty", "is empty"),
        ("nan", "not finite"),
    ):
        with pytest.raises(ValueError, match=reason):
            io.read_wave(tmp_path / f"{name}.wav", RATE)
    with pytest.raises(io.UnusableClipError) as caught:
        io.decode(b"RIFF")
    assert caught.value.reason == "corrupt" and "\n" not in caught.value.detail


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "W64", "RF64", "FLAC", "CAF"])
def test_a_file_without_its_end_is_corrupt(tmp_path, form):
    file, wav = tmp_path / "x", np.random.default_rng(0).normal(0, 0.1, 16000)
    soundfile.write(file, wav, 16000, format=form)
    assert len(io.decode(file)[0]) == 16000
    file.write_bytes(file.read_bytes()[:9001])
    with pytest.raises(io.UnusableClipError, match="corrupt"):
        io.decode(file)


def test_a_piped_wav_is_whole(tmp_path):
    """Its header was written before its length was known."""
    file = tmp_path / "x.wav"
    soundfile.write(file, np.full(16000, 0.1), 16000)
    data = bytearray(file.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    assert len(io.decode(bytes(data))[0]) == 16000


def test_only_the_beginning_of_a_long_file_is_decoded(tmp_path):
    wav = np.linspace(-1, 1, 80000)
    for name in ("x.wav", "x.flac", "x.mp3"):
        soundfile.write(tmp_path / name, wav, 8000)
        part, rate, samples = io.decode_beginning(tmp_path / name, 2.0)
        assert (len(part), rate, samples) == (16000, 8000, 80000)
        assert np.array_equal(part, io.decode(tmp_path / name)[0][:16000])
