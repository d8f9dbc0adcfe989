"""F0 of buzzes and noise by both trackers."""

import numpy as np
import pytest

from audiocm.audio.pitch import estimate_f0, track_pitch

RATE = 24000


def buzz(hertz):
    """A sum of harmonics with F0 `hertz` [sample]."""
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    return (0.1 * sum(np.sin(k * phase) / k for k in range(1, 9))).astype(np.float32)


def test_f0_follows_a_glide_and_noise_is_unvoiced():
    wav = buzz(np.linspace(120, 240, RATE))
    noise = np.random.default_rng(0).normal(0, 0.1, RATE // 2).astype(np.float32)
    f0 = estimate_f0(np.concatenate([wav, noise]), RATE)
    assert len(f0) == 120
    expected = 120 + 120 * (np.arange(80) + 0.5) / 80
    assert np.abs(f0[2:77] / expected[2:77] - 1).max() < 0.01 and (f0[83:] > 0).mean() < 0.1


def test_silence_has_no_f0_and_short_sounds_have_a_frame():
    assert not estimate_f0(np.zeros(3000, np.float32), RATE).any()
    assert estimate_f0(np.zeros(20, np.float32), RATE).shape == (1,)


def test_pyin_finds_a_tone():
    f0, voiced = track_pitch(buzz(np.full(RATE // 2, 150.0)), RATE)
    assert voiced.mean() > 0.8 and np.nanmedian(f0) == pytest.approx(150, rel=0.01)
