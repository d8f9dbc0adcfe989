"""Loudness and trimming of a wav."""

from __future__ import annotations

import numpy as np

SILENT_PEAK = 1e-4  # -80 dBFS


def keep_level(wav: np.ndarray, rate: int) -> np.ndarray:
    """Levels as in the file."""
    return wav


def normalize_peak(wav: np.ndarray, rate: int) -> np.ndarray:
    """Peak at -6 dBFS, as ConsistencyTTA's evaluator does."""
    return wav * (0.5 / np.abs(wav).max())


def normalize_active_rms(wav: np.ndarray, rate: int) -> np.ndarray:
    """-23 dBFS over the 20 ms frames within 40 dB of the loudest one."""
    size = max(rate // 50, 1)
    power = np.square(wav[: len(wav) // size * size].reshape(-1, size)).mean(1) if len(wav) >= size else wav**2
    active = power[power >= power.max() * 1e-4]
    return wav * (10 ** (-23 / 20) / np.sqrt(active.mean()))


def keep_ends(wav: np.ndarray, rate: int) -> np.ndarray:
    """Silence at both ends stays."""
    return wav


def trim_silence(wav: np.ndarray, rate: int) -> np.ndarray:
    """Ends more than 50 dB under the clip's peak are cut, 20 ms of them kept."""
    loud = np.flatnonzero(np.abs(wav) > np.abs(wav).max() * 10 ** (-50 / 20))
    keep = rate // 50
    return wav[max(loud[0] - keep, 0) : loud[-1] + keep]


LOUDNESS = {f.__name__: f for f in (keep_level, normalize_peak, normalize_active_rms)}
