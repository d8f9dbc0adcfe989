"""Fréchet distances against closed forms, against torchmetrics, and the coverage of their intervals."""

import numpy as np
import pytest
import torch
from scipy import linalg

from audiocm import metrics
from audiocm.metrics import frechet, score


def gaussian(count, mean, covariance, seed):
    return np.random.default_rng(seed).multivariate_normal(mean, covariance, count)


def test_frechet_of_gaussians_has_the_closed_form():
    mean, first, second = np.array([1.0, -2.0]), np.diag([4.0, 1.0]), np.diag([1.0, 9.0])
    truth = 5.0 + (2 - 1) ** 2 + (1 - 3) ** 2
    x, y = gaussian(40_000, mean, first, 0), gaussian(40_000, np.zeros(2), second, 1)
    assert metrics.frechet_distance(x, y) == pytest.approx(truth, rel=0.02)
    exact = frechet.frechet_from_moments(frechet.Moments(mean, first), frechet.Moments(np.zeros(2), second))
    assert exact == pytest.approx(truth, abs=1e-12)


@pytest.mark.parametrize(("count", "dim"), [(400, 12), (30, 200)])
def test_frechet_equals_torchmetrics_arithmetic(count, dim):
    from torchmetrics.image.fid import _compute_fid

    mix = np.random.default_rng(5).normal(size=(dim, dim)) / np.sqrt(dim)
    x, y = gaussian(count, np.zeros(dim), np.eye(dim), 0) @ mix, gaussian(count + 7, np.ones(dim) / 9, np.eye(dim), 1)
    parts = [torch.from_numpy(p) for s in (x, y) for p in (s.mean(0), np.cov(s, rowvar=False))]
    expected = float(_compute_fid(*parts))
    # torchmetrics takes square roots of rounding noise where the product is rank-deficient: 1e-8 ** .5 each
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-6 if count > dim else 1e-4)


def test_rank_deficient_frechet_equals_the_matrix_root_on_the_span():
    rng = np.random.default_rng(0)
    basis = linalg.orth(rng.normal(size=(300, 8)))
    x, y = rng.normal(size=(40, 8)), rng.normal(size=(50, 8)) + 1
    inside = metrics.frechet_distance(x, y)
    assert metrics.frechet_distance(x @ basis.T, y @ basis.T) == pytest.approx(inside, rel=1e-9)


def test_both_formulas_and_the_stream_agree():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(90, 20)) * 2, rng.normal(size=(70, 20))
    ones = np.ones(90, dtype=int), np.ones(70, dtype=int)
    by_gram = frechet.distance_by_gram(x, y)(*ones)
    stream = metrics.RunningMoments()
    for part in np.array_split(x, 7):
        stream.update(part)
    assert frechet.frechet_from_moments(stream.moments(), frechet.moments(y)) == pytest.approx(by_gram, rel=1e-10)


def test_the_same_set_twice_is_zero_and_a_shift_is_its_square():
    x = np.random.default_rng(0).normal(size=(60, 100))
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert metrics.frechet_distance(x + 0.5, x) == pytest.approx(25, rel=1e-9)


def test_contributions_sum_to_the_distance_and_name_the_outlier():
    x, y = np.random.default_rng(0).normal(size=(2, 50, 30))
    x[17] += 20
    parts = metrics.frechet_contributions(x, y)
    assert parts.sum() == pytest.approx(metrics.frechet_distance(x, y), rel=1e-9)
    assert parts.argmax() == 17
    wide = np.zeros((50, 30)), np.zeros((50, 30))  # the same in more dimensions than clips: by inner products
    by_gram = metrics.frechet_contributions(*(np.hstack([s, z]) for s, z in zip((x, y), wide, strict=True)))
    assert by_gram == pytest.approx(parts, rel=1e-9, abs=1e-9)
    clips = np.split(x, [1, 18, 20])  # frames of four clips
    of_clips = metrics.frechet_contributions(clips, y)
    assert of_clips == pytest.approx([part.sum() for part in np.split(parts, [1, 18, 20])], rel=1e-9)


def test_a_distance_under_weights_is_that_of_the_clips_drawn():
    x, y = np.random.default_rng(0).normal(size=(2, 40, 12))
    drawn, drawn_y = (score.resample(40, np.random.default_rng(k)) for k in (1, 2))
    for dim in (6, 12):
        a, b = x[:, :dim], y[:, :dim] * 2
        framed = np.split(a, np.arange(2, 40, 2)), np.split(b, np.arange(2, 40, 2))
        for sets, weights in (((a, b), (drawn, drawn_y)), (framed, (drawn[:20], drawn_y[:20]))):
            repeated = [score.select(s, np.repeat(np.arange(len(s)), w)) for s, w in zip(sets, weights, strict=True)]
            of = frechet.weighted_distance(*sets)
            assert of(*weights) == pytest.approx(metrics.frechet_distance(*repeated), rel=1e-9)
            assert of(weights[0]) == pytest.approx(metrics.frechet_distance(repeated[0], sets[1]), rel=1e-9)


def test_infinity_removes_most_of_the_sample_size_bias():
    y = gaussian(20_000, np.zeros(24), np.eye(24), 1)
    small = [gaussian(150, np.zeros(24), np.eye(24), seed) for seed in range(2, 8)]
    plain = np.mean([metrics.frechet_distance(x, y) for x in small])
    extrapolated = np.mean([metrics.frechet_infinity(x, y) for x in small])
    assert plain > 1 and abs(extrapolated) < 0.15 * plain


def test_a_frechet_interval_covers_the_expected_value_of_its_sample_size():
    y = gaussian(400, np.zeros(6), np.eye(6), 0)

    def draw(seed):
        return gaussian(120, np.full(6, 0.4), np.eye(6), seed)

    expected = np.mean([metrics.frechet_distance(draw(s), y) for s in range(1000, 1300)])
    scores = [metrics.frechet_score("f", draw(s), y, draws=60, seed=s) for s in range(40)]
    assert np.mean([s.low <= expected <= s.high for s in scores]) >= 0.85
    assert np.mean([s.high - s.low for s in scores]) < expected * 1.2


def test_pairs_are_drawn_as_pairs():
    """A round trip that adds a little noise to each clip: its distance is small and so is its interval."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(100, 50)) * 3
    x = y + rng.normal(size=y.shape)
    wide, narrow = (
        metrics.frechet_score("f", x, y, draw) for draw in (score.independent_resample, score.paired_resample)
    )
    assert narrow.value == wide.value and narrow.high - narrow.low < 0.2 * (wide.high - wide.low)
    with pytest.raises(ValueError, match="a paired resample needs sets of equal size"):
        metrics.kernel_score("k", x[:50], y, score.paired_resample)


def test_projection_is_fitted_on_the_reference_and_named():
    y = np.random.default_rng(0).normal(size=(80, 40)) * np.linspace(5, 0.1, 40)
    projection = metrics.Projection.fit(y, 8)
    assert projection.name == "pca8-of-reference" and projection(y).shape == (80, 8)
    assert np.allclose(np.cov(projection(y), rowvar=False), np.diag(np.var(projection(y), axis=0, ddof=1)))
    with pytest.raises(ValueError, match="kept components must be a whole number of at least 1 and at most 29, not 80"):
        metrics.Projection.fit(y[:30], 80)


def test_bad_sets_are_named():
    x = np.zeros((5, 3))
    with pytest.raises(ValueError, match="generated: need embeddings"):
        metrics.frechet_distance(np.zeros((1, 3)), x)
    with pytest.raises(ValueError, match="differ in size"):
        metrics.frechet_distance(np.zeros((5, 4)), x)
    with pytest.raises(ValueError, match="reference: 1 of 5 embeddings"):
        metrics.frechet_distance(x, np.where(np.arange(5)[:, None] == 2, np.nan, x))
    with pytest.raises(ValueError, match="the kernel width is 0"):
        metrics.kernel_distance(x, x)


def test_the_jackknife_of_many_clips_is_their_sampling_spread():
    """Its standard error is the spread of the distance over independent draws of both sets."""
    rng, scales = np.random.default_rng(0), np.exp(-np.arange(8) / 4)
    scores = [
        frechet.frechet_score("d", rng.normal(0.5, 1, (400, 8)) * scales, rng.normal(0, 1.3, (300, 8)) * scales)
        for _ in range(200)
    ]
    errors = [(one.high - one.value) / 1.96 for one in scores]
    assert np.mean(errors) == pytest.approx(np.std([one.value for one in scores]), rel=0.15)


def test_the_influence_is_the_derivative_by_the_weights_of_clips():
    """Duplicating one clip k times changes the distance by k / n times its derivative, to first order; paired clips
    move both sets."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(0.3, 1, (4000, 3)), rng.normal(0, 1.5, (4000, 3))
    first, second = frechet.moments(x), frechet.moments(y)
    slopes = frechet._influence(x, first, second, np.arange(len(x)))
    assert slopes.sum() == pytest.approx(0, abs=5)
    for i in range(3):
        weight = np.ones(len(x), dtype=int)
        weight[i] += 40
        change = frechet.frechet_from_moments(frechet.moments(x, weight), second)
        change -= frechet.frechet_from_moments(first, second)
        assert change == pytest.approx(40 / 4040 * slopes[i], abs=0.003)
    same = frechet.frechet_score("d", x, x + 0.1, frechet.paired_resample)
    assert same.high - same.low < 1e-6  # pairs with one shift: the distance is the same for every choice of them


def test_moments_stand_for_a_reference():
    rng = np.random.default_rng(2)
    for count in (50, 400):
        x, y = rng.normal(0.3, 1, (count, 6)), rng.normal(0, 1.5, (90, 6))
        known = frechet.moments(y)
        assert frechet.frechet_distance(x, known) == pytest.approx(frechet.frechet_distance(x, y), rel=1e-9)
        assert np.allclose(frechet.frechet_contributions(x, known), frechet.frechet_contributions(x, y))
        score = frechet.frechet_score("d", x, known)
        assert score.low < score.value < score.high
        directions = metrics.Projection.of_moments(known, 2).components
        assert np.allclose(np.abs(directions), np.abs(metrics.Projection.fit(y, 2).components))
