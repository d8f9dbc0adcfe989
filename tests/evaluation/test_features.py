"""Embedding a folder: what is used, cached, and held of large folders."""

import numpy as np
import pytest
import soundfile
from toy_scoring import ask, toy

from audiocm.embedders.protocol import CallableEmbedder
from audiocm.evaluation.features import cache_folder, collect_features, stream_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing, list_clips
from audiocm.evaluation.scoring import evaluate
from audiocm.metrics import frechet


def test_clips_are_counted_named_and_cached(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, (8000 * (1 + i % 2), 1 + i % 2)), 8000 * (1 + i % 2))
    soundfile.write(tmp_path / "silent.flac", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "short.flac", np.full(100, 0.1), 8000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    calls, cache = [], tmp_path / "cache"
    embedder = CallableEmbedder(lambda wav: calls.append(1) or np.array([wav.std(), len(wav)]), "toy", 8000, "1")
    paths, first = list_clips(tmp_path), LoadReport()
    used = collect_features(paths, embedder, Preprocessing(), first, cache)
    assert [p.name for p in used.paths] == [f"{i}.wav" for i in range(5)] and used.features["embedding"].shape == (5, 2)
    assert first.used == 5 and first.rates == {8000: 3, 16000: 2}
    assert {reason: len(names) for reason, names in first.unusable.items()} == {
        "corrupt": 2,
        "silent": 1,
        "too short": 1,
    }
    (tmp_path / "0.wav").rename(tmp_path / "moved.wav")  # the content's hash is what counts
    again, before = LoadReport(), len(calls)
    cached = collect_features([tmp_path / "moved.wav", *paths[1:5]], embedder, Preprocessing(), again, cache)
    assert len(calls) == before and again.rates == first.rates
    assert np.array_equal(cached.features["embedding"][0], used.features["embedding"][0])
    collect_features(paths[:2], embedder, Preprocessing(loudness="peak"), LoadReport(), cache)
    assert len(calls) > before  # other preprocessing is another cache entry


def test_a_folder_of_unusable_clips_is_an_error(tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    with pytest.raises(ValueError, match=r"none of 1 clips can be scored.*silent"):
        collect_features(list_clips(tmp_path), toy(), Preprocessing(), LoadReport())


def test_a_broken_cache_entry_is_computed_again(folders, tmp_path):
    first = evaluate(ask(folders[0], folders[2], cache=tmp_path / "kept")).scores
    for file in (tmp_path / "kept").rglob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert evaluate(ask(folders[0], folders[2], cache=tmp_path / "kept")).scores == first


def test_a_capped_set_keeps_exact_moments(folders):
    real = list_clips(folders[2])
    whole = collect_features(real, toy(), Preprocessing(), LoadReport())
    capped = collect_features(real, toy(), Preprocessing(), LoadReport(), cap=20)
    assert len(capped.paths) == 20 and capped.count == 60
    exact = frechet.moments(whole.features["embedding"])
    assert np.allclose(capped.moments.moments().covariance, exact.covariance)
    a = collect_features(list_clips(folders[0]), toy(), Preprocessing(), LoadReport())
    full, partly = a.frechet("x", whole, 50, 0), a.frechet("x", capped, 50, 0)
    assert partly.value == pytest.approx(full.value, rel=1e-9) and partly.low <= partly.value <= partly.high


def test_features_do_not_depend_on_chunks_or_workers(folders):
    paths = list_clips(folders[0])

    def embedded(**options):
        found = stream_features(paths, toy(), Preprocessing(), LoadReport(), **options)
        return np.stack([features["embedding"] for _, features in found])

    assert np.array_equal(embedded(chunk=7, workers=3), embedded(chunk=64, workers=1))


def test_a_cache_that_cannot_be_written_is_a_warning(folders, tmp_path):
    (tmp_path / "file").touch()
    cached, plain = (evaluate(ask(folders[0], folders[2], cache=cache)) for cache in (tmp_path / "file" / "x", None))
    assert cached.scores == plain.scores
    assert sum("cannot be written (Not a directory): embeddings are not kept" in text for text in cached.warnings) == 1


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    monkeypatch.delenv("AUDIOCM_CACHE", raising=False)
    monkeypatch.setattr("pathlib.Path.expanduser", lambda self: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache_folder() is None


def test_clips_that_an_embedder_cannot_hear_are_counted(folders):
    clips = iter(range(1000))
    embedder = CallableEmbedder(lambda wav: np.full(2, np.nan) if next(clips) == 3 else wav[:2], "odd", 8000, "1")
    report = LoadReport()
    used = collect_features(list_clips(folders[0]), embedder, Preprocessing(), report)
    assert len(used.paths) == report.used == 39 and report.unusable == {"corrupt": [str(folders[0] / "003.wav")]}
