"""A recording is timed by a voice that says the same at another pace and pitch."""

import numpy as np

from recipes.corpora.speech.align import warped

RATE = 24000


def spoken(seconds: list[float], pitch: float, seed: int) -> np.ndarray:
    """Five "vowels", each pulses at `pitch` Hz through resonances of its own, as long as `seconds` says."""
    rng, parts = np.random.default_rng(seed), []
    for length, (low, high) in zip(
        seconds, ((300, 900), (800, 1300), (500, 2300), (350, 2900), (650, 1700)), strict=True
    ):
        at = np.arange(int(length * RATE)) / RATE
        tones = [k * pitch for k in range(1, int(6000 / pitch))]
        loud = [np.exp(-(((f - low) / 150) ** 2)) + 0.7 * np.exp(-(((f - high) / 250) ** 2)) for f in tones]
        wav = sum(a * np.sin(2 * np.pi * f * at) for a, f in zip(loud, tones, strict=True))
        parts.append(0.1 * wav + 1e-3 * rng.standard_normal(len(at)))
    return np.concatenate(parts).astype(np.float32)


def test_the_ends_of_sounds_are_found_at_another_pace_and_pitch():
    said, heard = [0.2, 0.15, 0.3, 0.2, 0.25], [0.35, 0.12, 0.25, 0.4, 0.2]
    ends = warped(np.cumsum(said), spoken(said, 110.0, 0), spoken(heard, 190.0, 1))
    assert (np.diff(ends) >= 0).all() and abs(ends[-1] - sum(heard)) < 0.01
    assert np.abs(ends - np.cumsum(heard)).max() < 0.03
