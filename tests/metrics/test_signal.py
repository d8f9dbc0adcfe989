"""Signal metrics of paired waveforms in closed form."""

import numpy as np
import pytest

from audiocm.metrics import signal

RATE = 24000


def noise(seconds=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def voiced(hertz, seconds=1.0):
    at = np.arange(int(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * k * at) / k for k in range(1, 9)).astype(np.float32) * 0.1


def test_spectral_distances_of_a_scaled_wav_are_known():
    x = noise()
    assert signal.multi_resolution_stft(x, x) == 0 and signal.log_spectral_distance(x, x) == 0
    assert signal.multi_resolution_stft(x, 0.5 * x) == pytest.approx(0.5 + np.log(2), abs=2e-3)
    assert signal.log_spectral_distance(x, x * 10 ** (6 / 20)) == pytest.approx(6, abs=1e-3)
    assert signal.log_mel_l1(x, x * np.e) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="differ in length"):
        signal.log_spectral_distance(x, x[: len(x) // 2])


def test_pesq_and_stoi_know_the_clean_clip():
    pytest.importorskip("pesq", reason="the extra speech is not installed, or pesq had no C compiler")
    pytest.importorskip("pystoi", reason="the extra speech is not installed")
    x = voiced(150, 3) * (np.sin(2 * np.pi * 3 * np.arange(3 * RATE) / RATE) > 0)
    assert signal.pesq_wideband(x, x, RATE) > 4.5 > signal.pesq_wideband(x, x + noise(3) * 0.3, RATE)
    assert signal.stoi(x, x, RATE) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="PESQ"):
        signal.pesq_wideband(x * 0, x * 0, RATE)
