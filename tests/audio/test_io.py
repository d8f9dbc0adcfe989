"""Reading, resampling and writing of sound files."""

import numpy as np

from audiocm.audio import io

RATE = 24000


def voiced(hertz, seconds=1.0):
    at = np.arange(int(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * k * at) / k for k in range(1, 9)).astype(np.float32) * 0.1


def test_resampling_keeps_a_tone_and_its_level():
    tone = voiced(440)
    there = io.resample(tone, RATE, 16000)
    back = io.resample(there, 16000, RATE)
    assert len(there) == 16000 and np.abs(back - tone)[1000:-1000].max() < 5e-3
