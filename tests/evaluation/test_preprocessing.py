"""Preprocessing of clips, the list of a folder, and the report of what was used."""

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ask, noise_folder

from audiocm.audio.io import UnusableClipError, decode
from audiocm.audio.loudness import normalize_peak, trim_silence
from audiocm.evaluation.preprocessing import Preprocessing, list_clips
from audiocm.evaluation.scoring import evaluate


def sine(hertz, seconds, rate):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def test_clips_are_levelled_and_trimmed_and_unusable_ones_have_a_reason():
    rate = 8000
    wav = np.concatenate([np.zeros(rate), sine(440, 1, rate), np.zeros(rate)]).astype(np.float32)
    assert np.abs(normalize_peak(wav, rate)).max() == pytest.approx(0.5)
    assert len(trim_silence(wav, rate)) == pytest.approx(1.04 * rate, abs=200)
    assert np.abs(Preprocessing(loudness="peak")(wav, rate, rate)).max() == pytest.approx(0.5)
    tone = Preprocessing(loudness="active_rms", trim=True)(np.stack([wav, wav], 1), rate, 16000)
    assert len(tone) == pytest.approx(1.04 * 16000, abs=400)
    assert 20 * np.log10(np.sqrt((tone[4000:12000] ** 2).mean())) == pytest.approx(-23, abs=0.2)
    for bad, reason in ((wav * 0, "silent"), (wav[:100], "too short"), (wav * np.nan, "corrupt")):
        with pytest.raises(UnusableClipError, match=reason):
            Preprocessing()(bad, rate, 16000)
    with pytest.raises(UnusableClipError, match="corrupt"):
        decode(b"RIFFnot a wav")


def test_a_band_limit_makes_rates_alike():
    """A 1 kHz tone at two rates becomes the same clip, and a tone above the limit disappears."""
    low, high = (Preprocessing(band_limit=8000)(sine(1000, 1, rate), rate, 16000) for rate in (16000, 48000))
    assert np.abs(low[2000:14000] - high[2000:14000]).max() < 2e-3
    gone = Preprocessing(band_limit=8000)(sine(6000, 1, 48000), 48000, 16000)
    assert np.abs(gone[2000:-2000]).max() < 1e-3


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"max_seconds": 0.01}, "--max-seconds must be a number of at least 0.05, not 0.01"),
        ({"max_seconds": float("nan")}, "--max-seconds must be a number .* not nan"),
        ({"max_seconds": float("inf")}, "--max-seconds must be a number .* not inf"),
        ({"band_limit": 0}, "--band-limit must be a whole number of at least 1,000"),
        ({"loudness": "loud"}, "--loudness must be one of as_is, peak, peak_1db, active_rms, not 'loud'"),
    ],
)
def test_settings_that_are_not_allowed_are_refused(option, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**option)


def test_a_card_has_the_words_of_stored_results():
    """Results of earlier versions stay comparable."""
    assert Preprocessing("active_rms", True, max_seconds=10.0, band_limit=24000).as_dict() == {
        "channels": "mean of all",
        "resampler": "soxr HQ",
        "loudness": "active_rms",
        "ends": "trimmed",
        "shortest_seconds": 0.05,
        "longest_seconds": 10.0,
        "band_limit_rate": 24000,
        "padding": "zeros up to one block of the embedder",
    }


def test_a_folder_without_audio_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        list_clips(tmp_path / "missing")
    with pytest.raises(ValueError, match="holds no audio file"):
        list_clips(tmp_path)


@pytest.mark.parametrize("metric", ["fad", "lsd"])
def test_truncated_clips_are_counted(folders, tmp_path, metric):
    made, real = noise_folder(tmp_path / "made", 40, 1), noise_folder(tmp_path / "same", 40, 3)
    for i in range(3):
        soundfile.write(made / f"{i:03d}.wav", np.random.default_rng(i).normal(0, 0.05, 6000), RATE)
    more = {"metrics": metric, "preprocessing": Preprocessing(max_seconds=0.5), "cache": tmp_path / "cache"}
    for _ in range(2):  # the second time from the cache
        result = evaluate(ask(made, real, **more))
        assert result.card["cut"] == {"generated": 3, "reference": 0} and result.reports["generated"]["cut"] == 3
        assert "generated: 3 clips are longer than 0.5 s and were truncated" in result.warnings


def test_samples_that_are_no_sound_are_corrupt():
    """1e30 is as unusable as infinity; the scale of 32-bit integers is not."""
    wav = sine(440, 1, 8000)
    for sample in (np.inf, np.nan, 1e30):
        with pytest.raises(UnusableClipError, match="corrupt: samples that are not finite, or beyond the range"):
            Preprocessing()(np.append(wav, np.float32(sample)), 8000, 8000)
    assert len(Preprocessing()(wav * 2.0**31, 8000, 8000)) == 8000


def test_a_folder_is_listed_as_it_is(tmp_path):
    """Linked folders are followed once, hidden files passed over, and every extension that is read is found."""
    folder = tmp_path / "d"
    other = noise_folder(tmp_path / "other", 2, 1)
    noise_folder(folder / "sub", 1, 2)
    noise_folder(folder / ".hidden", 1, 3)
    (folder / "more").symlink_to(other)
    (folder / "again").symlink_to(folder)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "sub" / "._000.wav").write_bytes(b"\0\5\x16\7")
    for suffix in ("wave", "oga", "au", "caf", "w64", "aifc", "mp2", "RF64"):
        (folder / f"x.{suffix}").touch()
    found = [str(path.relative_to(folder)) for path in list_clips(folder)]
    assert found == sorted([*(f"x.{s}" for s in ("wave", "oga", "au", "caf", "w64", "aifc", "mp2", "RF64")),
                            "more/000.wav", "more/001.wav", "sub/000.wav"])  # fmt: skip
