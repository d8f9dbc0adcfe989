"""Metrics of class probabilities."""

import numpy as np
import pytest

from audiocm import metrics


def test_hits_kl_and_inception():
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    assert metrics.top_k_hits(p, [[0], [1]], top=1).tolist() == [1, 0]
    assert metrics.top_k_hits(p, [[2], [1]], top=2).tolist() == [0, 1]
    with pytest.raises(ValueError, match="no accepted label"):
        metrics.top_k_hits(p, [[0], []])
    assert metrics.kl_divergences(p, p) == pytest.approx([0, 0], abs=1e-4)
    assert metrics.kl_divergences(p[:1], p[1:])[0] == pytest.approx(
        0.1 * np.log(0.2) + 0.2 * np.log(2 / 3) + 0.7 * np.log(3.5), abs=1e-4
    )
    assert metrics.inception_score(np.eye(7)).value == pytest.approx(7)
    assert metrics.inception_score(np.full((5, 4), 0.25)).value == pytest.approx(1)


def test_the_interval_of_an_inception_score_stays_in_its_range():
    """Between 1 and the number of classes, also where all clips have one class."""
    generator = np.random.default_rng(0)
    p = generator.dirichlet([0.01, 0.01, 0.01], 12)
    for one in (p, p[:1].repeat(5, axis=0), np.eye(3).repeat(4, axis=0)):
        score = metrics.inception_score(one)
        assert 1 <= score.low <= score.value <= score.high <= 3 or score.value == pytest.approx(1)
