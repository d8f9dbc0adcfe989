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


def frame_levels(wav: np.ndarray, rate: int) -> np.ndarray:
    """Returns the RMS of each tenth of a second of a wav, [tenth]; of a shorter one that of all."""
    hop = min(max(rate // 10, 1), len(wav))
    count = len(wav) // hop
    return np.sqrt(np.mean(np.square(wav[: count * hop].reshape(count, -1), dtype=np.float64), axis=1))


def loud_level(wav: np.ndarray, rate: int) -> float:
    """Returns the RMS that a tenth of the tenths of a second of a wav exceed."""
    return float(np.quantile(frame_levels(wav, rate), 0.9))


def active_level(wav: np.ndarray, rate: int) -> float:
    """Returns the RMS of those tenths of a second of a wav that are at most 12 dB below its louder ones."""
    levels = frame_levels(wav, rate)
    return float(np.sqrt(np.mean(np.square(levels[levels >= 0.25 * np.quantile(levels, 0.9)]))))


def without_end(wav: np.ndarray, rate: int) -> np.ndarray:
    """Returns a wav [sample] without what dies away at its end: tenths of a second 12 dB below its louder ones."""
    levels = frame_levels(wav, rate)
    loud = np.flatnonzero(levels >= 0.25 * loud_level(wav, rate))
    return wav[: (int(loud[-1]) + 1) * (rate // 10)] if loud[-1] + 1 < len(levels) else wav
