"""Confidence intervals and paired tests."""

import numpy as np
import pytest

from audiocm import metrics
from audiocm.metrics.score import Score, spread_score, statistic_score


def test_intervals_of_means_and_statistics():
    items = np.random.default_rng(0).normal(3, 1, 400)
    score = metrics.mean_score("m", items)
    assert score.count == 400 and (score.high - score.low) / 2 == pytest.approx(1.96 / 20, rel=0.15)
    by_weight = statistic_score("m", lambda w: float(w @ items / w.sum()), 400, draws=1000)
    assert (by_weight.high - by_weight.low) == pytest.approx(score.high - score.low, rel=0.15)
    with pytest.raises(ValueError, match="not finite"):
        metrics.mean_score("m", [1.0, np.nan])
    with pytest.raises(ValueError, match="no items"):
        metrics.mean_score("m", [])
    rare = spread_score("m", 0.0, [0.0] * 99 + [-1.0], 30)  # nearly all draws are equal
    assert rare.low == 0 <= rare.high


def test_a_score_prints_its_interval_and_count():
    assert str(Score("a", 1.23456, 1, 2, 3)) == "1.235 [1, 2] (n=3)"


def test_paired_tests_see_a_difference_smaller_than_the_spread_and_no_other():
    rng = np.random.default_rng(1)
    hard = rng.normal(0, 5, 200)
    better, same = hard + 0.3 + rng.normal(0, 1, 200), hard + rng.normal(0, 1, 200)
    other = hard + rng.normal(0, 1, 200)
    assert metrics.paired_difference("d", better, hard).p < 0.01
    assert metrics.paired_difference("d", same, other).p > 0.05
    reference = rng.normal(size=(150, 5))
    first, noise = rng.normal(size=(100, 5)), rng.normal(size=(100, 5)) * 0.05
    for distance, halves in ((metrics.frechet_distance, False), (metrics.kernel_distance, True)):
        moved, other, plain = (
            lambda rows, x=x, d=distance: d(x[rows], reference) for x in (first + 0.5, first + noise, first)
        )
        far = metrics.set_difference("d", moved, other, 100, halves, draws=100)
        near = metrics.set_difference("d", plain, other, 100, halves, draws=100)
        assert far.p < 0.05 < near.p and far.low > 0
