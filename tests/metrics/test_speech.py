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
    pytest.importorskip("speechmos", reason="the extra speech is not installed")
    found = speech.dnsmos(noise(2), RATE)
    assert set(found) == {"overall", "signal", "background", "p808"} and all(0.5 < v < 5 for v in found.values())


def test_word_errors_ignore_case_and_punctuation():
    pytest.importorskip("jiwer", reason="the extra speech is not installed")
    assert speech.word_errors("The cat, sat.", "the cat sat") == {"WER": (0, 3), "CER": (0, len("the cat sat"))}
    assert speech.word_errors("a b c d", "a b x d")["WER"] == (1, 4)
    with pytest.raises(ValueError, match="empty"):
        speech.word_errors("...", "a")


def test_pitch_errors_are_cents():
    found = speech.pitch_errors(voiced(200), voiced(200 * 2 ** (1 / 12)), RATE)
    assert found["f0_rmse_cents"] == pytest.approx(100, abs=15)
    with pytest.raises(ValueError, match="no frame is voiced"):
        speech.pitch_errors(noise(), noise(seed=1), RATE)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dr. Smith's cat, SAT!", "doctor smith's cat sat"),
        ("It leaves at 5:45 p.m.", "it leaves at five forty-five PM"),
        ("Twenty-one cats; three point five percent", "21 cats 3.5%"),
        ("I'm sure it won't cost $20, i.e. much.", "I am sure it will not cost twenty dollars ie much"),
        ("The 3rd of May, 1999 ...", "the third of may nineteen ninety nine"),
    ],
)
def test_both_sides_of_a_word_error_rate_are_written_alike(one, other):
    assert speech.normalize_words(one) == speech.normalize_words(other) != ""


def test_word_errors_count_words_and_letters():
    pytest.importorskip("jiwer", reason="the extra speech is not installed")
    assert speech.word_errors("Mr. Brown has 2 dogs.", "mister brown has two dogs")["WER"] == (0, 5)
    found = speech.word_errors("one red cat sat", "one bed cat")
    assert found == {"WER": (2, 4), "CER": (5, len("one red cat sat"))}
    assert speech.word_errors("a cat", "")["WER"] == (2, 2)
    assert speech.word_errors("cat", "the cat sat here")["WER"] == (3, 1)  # insertions: a rate above 1
