"""Level and silence of a wav."""

import numpy as np
import pytest

from audiocm.audio.loudness import active_rms, keep_level, normalize_active_rms, normalize_peak, trim_silence

RATE = 16000


def burst(amplitude=0.2):
    """A second of a tone between two seconds of faint noise."""
    noise = np.random.default_rng(0).normal(0, amplitude * 1e-4, 3 * RATE)
    noise[RATE : 2 * RATE] += amplitude * np.sin(np.arange(RATE) * 0.3)
    return noise.astype(np.float32)


def test_levels_are_set_by_peak_or_active_part():
    wav = burst()
    assert keep_level(wav, RATE) is wav
    assert np.abs(normalize_peak(wav, RATE)).max() == pytest.approx(0.5)
    assert active_rms(wav, RATE) == pytest.approx(0.2 / np.sqrt(2), rel=0.01)  # the silence does not count
    assert active_rms(normalize_active_rms(wav, RATE), RATE) == pytest.approx(10 ** (-23 / 20), rel=1e-5)
    assert active_rms(wav, RATE, range_db=120) < 0.6 * active_rms(wav, RATE)  # here it does
    assert active_rms(wav[RATE : RATE + 100], RATE) > 0.1  # shorter than a frame


def test_silent_ends_are_cut():
    wav = burst()
    trimmed = trim_silence(wav, RATE)
    assert len(trimmed) == pytest.approx(1.04 * RATE, abs=100) and np.abs(trimmed).max() == np.abs(wav).max()
    assert np.array_equal(trim_silence(trimmed, RATE), trimmed)
