"""A made voice whose vowels can be told apart, to warp a reading onto a recording."""

import numpy as np

from audiocm.speech.warping import RATE

RESONANCES = ((300, 900), (800, 1300), (500, 2300), (350, 2900), (650, 1700), (450, 1000), (700, 2600))  # Hz, of vowels


def say(vowels: list[int], seconds: list[float], pitch: float, seed: int = 0) -> np.ndarray:
    """Returns "vowels" that last `seconds`: harmonics of `pitch` Hz through two resonances each."""
    rng, parts = np.random.default_rng(seed), []
    for length, (low, high) in zip(seconds, (RESONANCES[vowel] for vowel in vowels), strict=True):
        at = np.arange(int(length * RATE)) / RATE
        tones = [k * pitch for k in range(1, int(6000 / pitch))]
        gains = [np.exp(-(((f - low) / 150) ** 2)) + 0.7 * np.exp(-(((f - high) / 250) ** 2)) for f in tones]
        wav = sum(a * np.sin(2 * np.pi * f * at) for a, f in zip(gains, tones, strict=True))
        parts.append(0.1 * wav + 1e-3 * rng.standard_normal(len(at)))
    return np.concatenate(parts).astype(np.float32)
