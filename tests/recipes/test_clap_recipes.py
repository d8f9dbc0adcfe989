"""Retrieval and zero-shot classification of the CLAP evaluation."""

import numpy as np
import pytest

from recipes.clap.evaluate import chance, retrieval, zero_shot


def test_retrieval_zero_shot_and_chance_agree_with_a_draw():
    truth = np.array([0, 0, 1, 2])
    perfect = {s.name: s.value for s in retrieval(np.eye(3)[:, truth], truth)}
    assert set(perfect.values()) == {1.0}
    rng = np.random.default_rng(0)
    clips, captions = 40, 12
    truth = np.concatenate([np.arange(captions), rng.integers(0, captions, clips - captions)])
    labels = [[str(t)] for t in truth]
    known = {s.name: s.value for s in chance(clips, captions, truth, [str(i) for i in range(captions)], labels)}
    drawn = [{s.name: s.value for s in retrieval(rng.random((captions, clips)), truth)} for _ in range(50)]
    for name in drawn[0]:
        assert np.mean([d[name] for d in drawn]) == pytest.approx(known[name], abs=0.05)
    assert zero_shot(np.eye(3)[:, [0, 1]], ["a", "b", "c"], [["a"], ["c", "x"]]).value == 0.5
    assert known["zero-shot accuracy"] == pytest.approx(1 / captions)
