"""Level, silence and fades of a wav, float [sample] at `rate` Hz."""

import numpy as np

SILENT_PEAK = 1e-4  # -80 dBFS


def keep_level(wav: np.ndarray, rate: int) -> np.ndarray:
    """Returns the wav as it is."""
    return wav


def normalize_peak(wav: np.ndarray, rate: int) -> np.ndarray:
    """Scales the peak to -6 dBFS, as ConsistencyTTA's evaluator does."""
    return wav * (0.5 / np.abs(wav).max())


def normalize_peak_1db(wav: np.ndarray, rate: int) -> np.ndarray:
    """Scales the peak to -1 dBFS, as stable-audio-metrics does."""
    return wav * (10 ** (-1 / 20) / np.abs(wav).max())


def normalize_active_rms(wav: np.ndarray, rate: int) -> np.ndarray:
    """Scales the active RMS to -23 dBFS, see `active_rms`."""
    return wav * (10 ** (-23 / 20) / active_rms(wav, rate))


def active_rms(wav: np.ndarray, rate: int, range_db: float = 40.0) -> np.floating:
    """Returns the RMS of the active part: of the 20 ms frames that are at most `range_db` below the loudest one."""
    size = max(rate // 50, 1)
    power = np.square(wav[: len(wav) // size * size].reshape(-1, size)).mean(1) if len(wav) >= size else wav**2
    return np.sqrt(power[power >= power.max() * 10 ** (-range_db / 10)].mean())


def trim_silence(wav: np.ndarray, rate: int) -> np.ndarray:
    """Cuts both ends where they are more than 50 dB below the peak, except for the 20 ms next to the sound."""
    loud = np.flatnonzero(np.abs(wav) > np.abs(wav).max() * 10 ** (-50 / 20))
    keep = rate // 50
    return wav[max(loud[0] - keep, 0) : loud[-1] + keep]
