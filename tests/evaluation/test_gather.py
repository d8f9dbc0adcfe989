"""Preprocessing and caching of a folder."""

import numpy as np
import pytest
import soundfile

from audiocm.audio.io import UnusableClipError, decode
from audiocm.audio.loudness import normalize_active_rms, normalize_peak, trim_silence
from audiocm.embedders.protocol import CallableEmbedder
from audiocm.evaluation.features import gather_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing, list_clips


def sine(hertz, seconds, rate):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def mean_and_level():
    return CallableEmbedder(lambda wav: np.array([wav.mean(), wav.std(), len(wav)]), "toy", 8000, "1")


def test_form_levels_trims_and_names_what_it_leaves_out():
    rate = 8000
    wav = np.concatenate([np.zeros(rate), sine(440, 1, rate), np.zeros(rate)]).astype(np.float32)
    assert np.abs(normalize_peak(wav, rate)).max() == pytest.approx(0.5)
    assert len(trim_silence(wav, rate)) == pytest.approx(1.04 * rate, abs=200)
    tone = Preprocessing(loudness=normalize_active_rms, ends=trim_silence)(np.stack([wav, wav], 1), rate, 16000)
    middle = tone[4000:12000]
    assert 20 * np.log10(np.sqrt((middle**2).mean())) == pytest.approx(-23, abs=0.2)
    for bad, reason in ((wav * 0, "silent"), (wav[:100], "too short"), (wav * np.nan, "corrupt")):
        with pytest.raises(UnusableClipError, match=reason):
            Preprocessing()(bad, rate, 16000)
    with pytest.raises(UnusableClipError, match="corrupt"):
        decode(b"RIFFnot a wav")


def test_band_limit_makes_rates_alike():
    """The same 1 kHz tone at two rates reads alike, and a tone above the limit disappears."""
    low, high = (Preprocessing(band_limit=8000)(sine(1000, 1, rate), rate, 16000) for rate in (16000, 48000))
    assert np.abs(low[2000:14000] - high[2000:14000]).max() < 2e-3
    gone = Preprocessing(band_limit=8000)(sine(6000, 1, 48000), 48000, 16000)
    assert np.abs(gone[2000:-2000]).max() < 1e-3


def test_gather_counts_names_and_caches(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, (8000 * (1 + i % 2), 1 + i % 2)), 8000 * (1 + i % 2))
    soundfile.write(tmp_path / "silent.flac", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "short.flac", np.full(100, 0.1), 8000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    calls = []
    embedder = CallableEmbedder(lambda wav: calls.append(1) or np.array([wav.std(), len(wav)]), "toy", 8000, "1")
    paths, first = list_clips(tmp_path), LoadReport()
    used, features = gather_features(paths, embedder, Preprocessing(), first, cache=tmp_path / "cache", chunk=2)
    assert [p.name for p in used] == [f"{i}.wav" for i in range(5)] and features["embedding"].shape == (5, 2)
    assert first.used == 5 and first.rates == {8000: 3, 16000: 2}
    assert {k: len(v) for k, v in first.left_out.items()} == {"corrupt": 2, "silent": 1, "too short": 1}
    (tmp_path / "0.wav").rename(tmp_path / "moved.wav")  # the content's hash is what counts
    again, before = LoadReport(), len(calls)
    _, cached = gather_features(
        [tmp_path / "moved.wav", *paths[1:5]], embedder, Preprocessing(), again, cache=tmp_path / "cache"
    )
    assert (
        len(calls) == before
        and again.rates == first.rates
        and np.array_equal(cached["embedding"][0], features["embedding"][0])
    )
    gather_features(paths[:2], embedder, Preprocessing(loudness=normalize_peak), LoadReport(), cache=tmp_path / "cache")
    assert len(calls) > before  # another form is another cache entry


def test_nothing_usable_and_no_folder_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        list_clips(tmp_path / "missing")
    with pytest.raises(ValueError, match="holds no sound file"):
        list_clips(tmp_path)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    with pytest.raises(ValueError, match=r"none of 1 clips can be scored.*silent"):
        gather_features(list_clips(tmp_path), mean_and_level(), Preprocessing(), LoadReport())
