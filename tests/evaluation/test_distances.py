"""Metrics of sets: order of systems, intervals, pairs, principal components, and what they say of few clips."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ask, bands, noise_folder, toy_tagger

from audiocm import metrics
from audiocm.embedders.protocol import CallableEmbedder
from audiocm.evaluation.features import collect_features
from audiocm.evaluation.preprocessing import list_clips
from audiocm.evaluation.scoring import compare, evaluate
from audiocm.metrics import frechet_distance
from audiocm.metrics.score import paired_resample


def embeddings(folder):
    return np.stack([bands(soundfile.read(path, dtype="float32")[0]) for path in list_clips(folder)])


def test_scores_order_systems_and_the_same_folder_is_zero(folders):
    a, b, real = folders
    near, far = (evaluate(ask(g, real)).scores for g in (a, b))
    assert near["FD bands"].value < near["FD bands"].high < far["FD bands"].low
    assert near["KAD bands"].high < far["KAD bands"].low
    same = evaluate(ask(real, real, metrics=("fad", "lsd", "stft", "mel", "fd-pca"), components=3)).scores
    assert len(same) == 5 and all(score.value == pytest.approx(0, abs=1e-6) for score in same.values())
    assert far["FD bands"].count == 40


def test_few_clips_warn_and_say_what_stays_valid(folders, tmp_path):
    few = noise_folder(tmp_path / "few", 6, 4)
    for metric, consequence in (("fad", "sets of equal size"), ("fad-inf", "the line of FD-infinity")):
        texts = evaluate(ask(few, folders[2], metrics=metric)).warnings
        assert any("6 clips are too few for the 8 dimensions" in t and "KAD stays valid" in t for t in texts)
        assert any(consequence in text for text in texts)


def test_principal_components_of_the_reference(folders):
    """`fd-pca` is the distance of both sets projected to components fitted to the reference, drawn in pairs."""
    a, _, real = folders
    same_names = noise_folder(real.parent / "pairs", 40, 5)
    score = evaluate(ask(a, same_names, metrics="fd-pca", components=3)).scores["FD bands pca3-of-reference"]
    x, y = embeddings(a), embeddings(same_names)
    projection = metrics.Projection.fit(y, 3)
    expected = metrics.frechet_score(score.name, projection(x), projection(y), paired_resample)
    assert [score.value, score.low, score.high] == pytest.approx(
        [expected.value, expected.low, expected.high], rel=1e-5
    )
    few = noise_folder(real.parent / "six", 6, 5)  # half of six clips, less one
    assert list(evaluate(ask(a, few, metrics="fd-pca")).scores) == ["FD bands pca2-of-reference"]
    other = evaluate(ask(a, real, metrics="fd-pca", components=64)).scores  # no more than there are dimensions
    assert list(other) == ["FD bands pca8-of-reference"]


def test_halves_of_a_folder_are_what_a_distance_reads_for_one_distribution(folders):
    real = folders[2]
    score = evaluate(ask(real, metrics="fd-halves", components=3)).scores["FD-halves bands pca3-of-reference"]
    x = metrics.Projection.fit(embeddings(real), 3)(embeddings(real))
    orders = [generator.permutation(60) for generator in [np.random.default_rng(0)] for _ in range(10)]
    values = [frechet_distance(x[order[:30]], x[order[30:]]) for order in orders]
    assert score.value == pytest.approx(np.mean(values), rel=1e-5) and score.count == 30
    assert score.low == pytest.approx(np.quantile(values, 0.025), rel=1e-5)


def test_pairs_stay_pairs_where_one_of_them_is_unusable(folders):
    """Files of the same names are resampled together; a clip that is unusable in one folder counts in neither."""
    a, b, _ = folders
    expected = {}
    for silent in (False, True):
        if silent:
            soundfile.write(a / "007.wav", np.zeros(4000), RATE)
        else:
            few = [noise_folder(a.parent / name, 40, k, colour) for name, k, colour in (("c", 1, 0), ("d", 2, 0.7))]
            for folder in few:
                (folder / "007.wav").unlink()
            expected = evaluate(ask(*few, metrics=("fad", "kad", "fad-inf"))).scores
    found = evaluate(ask(a, b, metrics=("fad", "kad", "fad-inf")))
    assert found.scores == expected and found.scores["FD bands"].count == 39
    assert sum(one["share"] for one in found.outliers) == pytest.approx(found.scores["FD bands"].value)


def test_every_set_statistic_has_a_paired_test(folders):
    a, b, real = folders
    more = {"metrics": ("fad", "fad-inf", "fd-pca", "kad", "coverage", "is", "diversity"), "resamples": 40}
    result = compare(ask(a, real, tagger=toy_tagger(), **more), ask(b, real, tagger=toy_tagger(), **more))
    assert result.differences.keys() == result.first.scores.keys()
    for name, difference in result.differences.items():
        one, two = result.first.scores[name].value, result.second.scores[name].value
        assert difference.value == pytest.approx(one - two, rel=0.3, abs=1e-6) and difference.count == 40
        assert difference.low <= difference.value <= difference.high
    assert result.differences["KAD bands"].high < 0 and result.differences["KAD bands"].p < 0.05
    for name in ("coverage bands", "precision bands", "recall bands"):
        assert 0 <= result.second.scores[name].low <= result.second.scores[name].high <= 1


def test_sets_whose_features_are_not_all_held_have_no_shares(folders, monkeypatch):
    collect = functools.partial(collect_features, cap=30)
    whole = evaluate(ask(folders[0], folders[2], metrics="fad"))
    monkeypatch.setattr("audiocm.evaluation.session.collect_features", collect)
    part = evaluate(ask(folders[0], folders[2], metrics="fad"))
    assert part.scores["FD bands"].value == pytest.approx(whole.scores["FD bands"].value) and not part.outliers
    assert any("shares of FD bands are not given" in text for text in part.warnings)


def test_round_trips_are_told_from_independent_sets(folders):
    """Clips that are their own reference: KAD under 0, and a warning says why."""
    result = evaluate(ask(folders[0], folders[0], metrics=("kad",)))
    assert result.scores["KAD bands"].high < 0 and any("lies below 0" in text for text in result.warnings)


def test_sets_too_small_for_a_metric_are_refused_in_clips(tmp_path):
    one, few, real = (noise_folder(tmp_path / n, k, k) for n, k in (("one", 1), ("few", 8), ("real", 30)))
    for metric in ("fad", "kad", "diversity", "is"):
        with pytest.raises(ValueError, match="needs at least 2 clips, and generated has 1"):
            evaluate(ask(one, real, metrics=metric, tagger=toy_tagger()))
    with pytest.raises(ValueError, match=r"coverage .* needs at least 12 clips, and generated has 8"):
        evaluate(ask(few, real, metrics="coverage"))
    with pytest.raises(ValueError, match=r"principal components needs at least 4 clips, and reference has 1"):
        evaluate(ask(few, one, metrics="fd-pca"))
    texts = evaluate(ask(one, noise_folder(tmp_path / "again", 1, 5), metrics="lsd")).warnings
    assert texts == ["log-spectral distance dB is of one clip: its interval is meaningless"]


class Framed(CallableEmbedder):
    """Four frames of a clip of half a second, eight of a longer one."""

    def features(self, wavs):
        frames = np.empty(len(wavs), dtype=object)
        frames[:] = [np.stack([bands(part) for part in np.array_split(w, 4 if len(w) <= 4000 else 8)]) for w in wavs]
        return {"embedding": np.stack([f.mean(0) for f in frames]), "frames": frames}


def test_frames_are_what_fad_takes(folders):
    """Fréchet distance, in components too, FAD-infinity and each file's share are over all frames of all clips, which are
    resampled by clip."""
    made, real = folders[1:]
    soundfile.write(made / "007.wav", np.random.default_rng(0).normal(0, 0.5, 8000), RATE)
    framed = Framed(bands, "vggish", RATE, "1")
    request = ask(made, real, embedders=(framed,), metrics=("fad", "fad-inf", "fd-pca", "kad"), components=3)
    result = evaluate(request)
    found = result.scores
    frames = [list(framed.features([soundfile.read(p)[0] for p in list_clips(f)])["frames"]) for f in (made, real)]
    expected = frechet_distance(*map(np.concatenate, frames))
    assert found["FAD"].value == pytest.approx(expected, rel=1e-5)
    assert 0 < found["FAD"].low < found["FAD"].high and found["FAD"].count == 40
    assert found["FAD-infinity"].value == pytest.approx(metrics.frechet_infinity(*frames), rel=1e-4)
    projection = metrics.Projection.fit(np.concatenate(frames[1]), 3)
    projected = frechet_distance(*(projection(np.concatenate(one)) for one in frames))
    assert found["FAD pca3-of-reference"].value == pytest.approx(projected, rel=1e-4)
    assert sum(one["share"] for one in result.outliers) == pytest.approx(expected, rel=1e-4)
    assert result.outliers[0]["file"].endswith("007.wav")
    difference = compare(request, replace(request, generated=folders[0])).differences
    assert difference["FAD"].low > 0 and difference["FAD-infinity"].low > 0
