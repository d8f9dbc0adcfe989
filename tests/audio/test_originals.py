"""Copies of files: every sample of every integer format comes back as it was."""

import numpy as np
import pytest
import soundfile

from audiocm.audio.io import UnusableClipError
from audiocm.audio.originals import BITS, read_original, write_original


@pytest.mark.parametrize(
    ("name", "subtype"),
    [("a.wav", "PCM_U8"), ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "PCM_32"), ("a.wav", "FLOAT"),
     ("a.wav", "DOUBLE"), ("a.flac", "PCM_16"), ("a.flac", "PCM_24")],
)  # fmt: skip
def test_a_copy_has_the_samples_of_the_original(tmp_path, name, subtype):
    rng = np.random.default_rng(0)
    if subtype in BITS:
        bits = BITS[subtype]
        extremes = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1]
        levels = np.concatenate([extremes, rng.integers(*extremes, 998)]).reshape(500, 2)
        soundfile.write(tmp_path / name, (levels << (32 - bits)).astype(np.int32), 44100, subtype)
    else:
        soundfile.write(tmp_path / name, rng.uniform(-1.5, 1.5, (500, 2)), 44100, subtype)
    wav, rate, found = read_original(tmp_path / name)
    write_original(tmp_path / f"copy-{name}", wav, rate, found)
    copy, copied_rate, copied = read_original(tmp_path / f"copy-{name}")
    assert (copied_rate, copied) == (44100, subtype) == (rate, found)
    np.testing.assert_array_equal(copy, wav)


def test_formats_that_the_target_lacks_become_the_nearest(tmp_path):
    wav = np.linspace(-1, 1, 100)
    for subtype, written in [("FLOAT", "PCM_24"), ("PCM_32", "PCM_24"), ("MPEG_LAYER_III", "PCM_16")]:
        write_original(tmp_path / "a.flac", wav, 8000, subtype)
        assert soundfile.info(tmp_path / "a.flac").subtype == written
    write_original(tmp_path / "a.ogg", wav, 8000, "PCM_16")
    assert soundfile.info(tmp_path / "a.ogg").subtype == "VORBIS"


def test_bad_files_are_told(tmp_path):
    with pytest.raises(ValueError, match="extension must be"):
        write_original(tmp_path / "a.xyz", np.zeros(3), 8000, "PCM_16")
    (tmp_path / "b.wav").write_bytes(b"no sound")
    with pytest.raises(UnusableClipError, match="corrupt"):
        read_original(tmp_path / "b.wav")
