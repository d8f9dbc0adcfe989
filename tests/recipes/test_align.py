"""Alignment by warping: a recording is timed by a voice that speaks the same line at another pace and pitch."""

import numpy as np

from recipes.corpora.manifests import RATE
from recipes.corpora.speech.align import warp_times

RESONANCES = ((300, 900), (800, 1300), (500, 2300), (350, 2900), (650, 1700))  # Hz, of five vowels


def synthesize(seconds: list[float], pitch: float, seed: int) -> np.ndarray:
    """Returns five "vowels" that last `seconds`: harmonics of `pitch` Hz through two resonances each."""
    rng, parts = np.random.default_rng(seed), []
    for length, (low, high) in zip(seconds, RESONANCES, strict=True):
        at = np.arange(int(length * RATE)) / RATE
        tones = [k * pitch for k in range(1, int(6000 / pitch))]
        gains = [np.exp(-(((f - low) / 150) ** 2)) + 0.7 * np.exp(-(((f - high) / 250) ** 2)) for f in tones]
        wav = sum(a * np.sin(2 * np.pi * f * at) for a, f in zip(gains, tones, strict=True))
        parts.append(0.1 * wav + 1e-3 * rng.standard_normal(len(at)))
    return np.concatenate(parts).astype(np.float32)


def test_ends_of_sounds_are_found_at_another_pace_and_pitch():
    synthetic, recorded = [0.2, 0.15, 0.3, 0.2, 0.25], [0.35, 0.12, 0.25, 0.4, 0.2]
    ends = warp_times(np.cumsum(synthetic), synthesize(synthetic, 110.0, 0), synthesize(recorded, 190.0, 1))
    assert (np.diff(ends) >= 0).all() and abs(ends[-1] - sum(recorded)) < 0.01
    assert np.abs(ends - np.cumsum(recorded)).max() < 0.03
