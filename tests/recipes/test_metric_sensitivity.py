"""Distances grow with growing damage."""

import itertools

import numpy as np
import pytest

from audiocm.metrics import frechet_distance, kernel_distance
from recipes.benchmarks.metric_sensitivity import DAMAGE

RATE = 24000


def voiced(hertz, seconds=1.0):
    at = np.arange(int(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * k * at) / k for k in range(1, 9)).astype(np.float32) * 0.1


@pytest.mark.parametrize("name", list(DAMAGE))
def test_growing_damage_grows_the_distance(name):
    """Plucked notes under eight band energies: every kind of damage, at growing strength, is a growing distance."""
    rng = np.random.default_rng(0)
    at = np.arange(RATE // 2) / RATE

    def pluck():
        return (voiced(rng.uniform(100, 900), 0.5) * np.exp(-at * rng.uniform(2, 12))).astype(np.float32)

    def embedded(wavs):
        power = [np.square(np.abs(np.fft.rfft(w * np.hanning(len(w))))) for w in wavs]
        return np.array([[np.log(part.sum() + 1e-4) for part in np.array_split(p, 8)] for p in power])

    reference, clean = ([pluck() for _ in range(120)] for _ in range(2))
    change, strengths, _ = DAMAGE[name]
    sets = [embedded(clean), *(embedded([change(w, s) for w in clean]) for s in strengths[::2])]
    for distance in (frechet_distance, kernel_distance):
        values = [distance(x, embedded(reference)) for x in sets]
        assert all(b > a - 0.02 * values[-1] for a, b in itertools.pairwise(values)), values
        assert values[-1] > 3 * max(values[0], 0.1)
