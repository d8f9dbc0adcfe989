"""Diversity and retrieval."""

import numpy as np

from audiocm import metrics


def test_retrieval_counts_equal_captions_as_one():
    text = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0.0]])
    audio = np.array([[1, 0.1, 0], [0, 0.2, 1], [0, 1, 0]])

    def recall(audio, tops):
        return {name: values.mean() for name, values in metrics.retrieval_ranks(audio, text, tops).items()}

    assert recall(audio, (1,)) == {"text→audio R@1": 1, "audio→text R@1": 1}
    blind = recall(np.ones((3, 3)), (1, 2, 3))
    assert blind["text→audio R@1"] == 0 and blind["text→audio R@3"] == 1  # ties count as misses
