"""Speech metrics: opinion scores, word errors and pitch."""

import numpy as np
import pytest

from audiocm.metrics import speech

RATE = 24000


def noise(seconds=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def voiced(hertz, seconds=1.0):
    at = np.arange(int(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * k * at) / k for k in range(1, 9)).astype(np.float32) * 0.1


def test_dnsmos_is_a_mean_opinion_score():
    pytest.importorskip("speechmos")
    found = speech.dnsmos(noise(2), RATE)
    assert set(found) == {"overall", "signal", "background", "p808"} and all(0.5 < v < 5 for v in found.values())


def test_word_errors_ignore_case_and_punctuation():
    pytest.importorskip("jiwer")
    assert speech.word_errors("The cat, sat.", "the cat sat") == {"WER": (0, 3), "CER": (0, len("the cat sat"))}
    assert speech.word_errors("a b c d", "a b x d")["WER"] == (1, 4)
    with pytest.raises(ValueError, match="empty"):
        speech.word_errors("...", "a")


def test_pitch_errors_are_cents():
    found = speech.pitch_errors(voiced(200), voiced(200 * 2 ** (1 / 12)), RATE)
    assert found["f0_rmse_cents"] == pytest.approx(100, abs=15)
    with pytest.raises(ValueError, match="no frame is voiced"):
        speech.pitch_errors(noise(), noise(seed=1), RATE)
