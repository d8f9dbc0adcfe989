"""Alignment of class names with prompts."""

import numpy as np
import pytest

from audiocm.embedders.tag_alignment import TagAlignment


def test_tag_alignment_prefers_the_prompt_of_the_tag():
    directions = dict(zip(("dog", "rain", "piano"), np.eye(3), strict=True))

    def encoder(texts):
        return np.stack([directions[text.split()[-1]] for text in texts])

    encoder.name = "toy"
    judge = TagAlignment(encoder, ["dog", "rain", "piano"])
    heard = np.array([[0.9, 0.1, 0.0], [0.0, 0.0, 0.7]])
    matched, crossed = judge(heard, ["a dog", "a piano"]), judge(heard, ["the rain", "a dog"])
    assert matched == pytest.approx([0.9 / np.hypot(0.9, 0.1), 1]) and crossed == pytest.approx(
        [0.1 / np.hypot(0.9, 0.1), 0]
    )
