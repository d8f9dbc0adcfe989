"""Diversity and retrieval."""

import numpy as np
import pytest

from audiocm import metrics


def test_diversity_is_the_mean_of_all_pairs():
    assert metrics.set_diversity(np.array([[1, 0], [0, 1], [-1, 0]])) == pytest.approx((1 + 2 + 1) / 3)
    assert metrics.set_diversity(np.array([[1, 1], [1, 1], [2, 2]])) == pytest.approx(0)
    with pytest.raises(ValueError, match="at least 2 clips"):
        metrics.set_diversity(np.ones((1, 2)))


def test_retrieval_counts_equal_captions_as_one():
    text = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0.0]])
    audio = np.array([[1, 0.1, 0], [0, 0.2, 1], [0, 1, 0]])

    def recall(audio, tops):
        return {name: values.mean() for name, values in metrics.retrieval_ranks(audio, text, tops).items()}

    assert recall(audio, (1,)) == {"text→audio R@1": 1, "audio→text R@1": 1}
    blind = recall(np.ones((3, 3)), (1, 2, 3))
    assert blind["text→audio R@1"] == 0 and blind["text→audio R@3"] == 1  # ties count as misses
