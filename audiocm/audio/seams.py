"""Joining a sound that was made to one that was there: cross-fades, levels and bands. A wav is [sample] or [sample,
channel].

Every function leaves the samples outside the stated place equal to those that it was given, bit for bit.
"""

import numpy as np

from .loudness import frame_levels


def fade_in(samples: int) -> np.ndarray:
    """Returns a raised-cosine rise from near 0 to near 1, [sample]; with its reverse it adds up to 1."""
    return np.sin(0.5 * np.pi * (np.arange(samples) + 0.5) / max(samples, 1)) ** 2


def splice(sound: np.ndarray, made: np.ndarray, first: int, end: int, seam: int) -> np.ndarray:
    """Returns `sound` with its samples from `first` to `end` replaced by those of `made`, of equal shape and timeline.

    The cross-fades of `seam` samples lie before `first` and after `end`, as far as there is sound: everything else is
    `sound` itself."""
    share = np.zeros(len(sound))
    share[first:end] = 1.0
    rise, fall = min(seam, first), min(seam, len(sound) - end)
    share[first - rise : first] = fade_in(rise)
    share[end : end + fall] = fade_in(fall)[::-1]
    share = share.reshape(-1, *(1,) * (sound.ndim - 1))
    mixed = (sound + share * (made - sound)).astype(sound.dtype)
    return np.where(share == 0, sound, np.where(share == 1, made.astype(sound.dtype), mixed))


def match_seams(
    made: np.ndarray, sound: np.ndarray, first: int, end: int, rate: float, limit: float = 8.0
) -> np.ndarray:
    """Returns `made` with its samples from `first` to `end` at the level of `sound` where the two meet.

    At each seam the RMS of the first tenth of a second of what was made becomes that of the last tenth beside it, channel
    by channel, by a gain of at most `limit` decibels, which falls to none within a quarter of a second. The result is no
    louder than full scale, or than `sound`."""
    window, reach = round(0.1 * rate), round(0.25 * rate)
    result = np.array(made, np.float64)
    inside = np.arange(end - first)

    def level(wav: np.ndarray) -> np.ndarray:
        return np.sqrt(np.mean(np.square(wav, dtype=np.float64), axis=0) + 1e-10)

    for beside, near, distance in (
        (sound[max(0, first - window) : first], made[first : min(end, first + window)], inside),
        (sound[end : end + window], made[max(first, end - window) : end], inside[::-1]),
    ):
        if len(beside) and len(near):
            decibels = np.clip(20 * np.log10(level(beside) / level(near)), -limit, limit)
            share = 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / reach, 1.0))
            result[first:end] *= 10 ** (share.reshape(-1, *(1,) * (made.ndim - 1)) * decibels / 20)
    peak, highest = np.abs(result[first:end]).max(initial=0.0), max(0.99, float(np.abs(sound).max()))
    result[first:end] *= min(1.0, highest / max(peak, 1e-9))
    return result.astype(made.dtype)


def raise_event(wav: np.ndarray, first: int, end: int, rate: int, seam: int, limit: float = 10.0) -> np.ndarray:
    """Returns a wav whose samples from `first` to `end` are raised until their loudest tenth of a second is as loud as that
    of all others, `limit` times at most, and to full scale at most; the gain rises over `seam` samples at both ends."""
    loudest = [float(frame_levels(part, rate).max()) for part in (np.delete(wav, slice(first, end), 0), wav[first:end])]
    peak = max(float(np.abs(wav[first:end]).max()), 1e-9)
    gain = max(1.0, min(loudest[0] / max(loudest[1], 1e-9), limit, 0.99 / peak))
    distance = np.minimum(np.arange(end - first), np.arange(end - first)[::-1]) / max(seam, 1)
    result = wav.copy()
    result[first:end] *= (1 + (gain - 1) * np.minimum(distance, 1.0)).reshape(-1, *(1,) * (wav.ndim - 1))
    return result


def high_pass(wav: np.ndarray, rate: float, cutoff: float, width: float = 0.1) -> np.ndarray:
    """Returns the part of a wav above `cutoff` Hz by a linear-phase filter without delay.

    `width`: of its slope, as a share of the cutoff."""
    from scipy.signal import firwin, oaconvolve

    taps = 2 * round(2 * rate / (cutoff * width)) + 1
    kernel = firwin(taps, cutoff, fs=rate, pass_zero=False).reshape(-1, *(1,) * (wav.ndim - 1))
    return oaconvolve(wav, kernel, mode="same", axes=0).astype(wav.dtype)


def match_level(made: np.ndarray, reference: np.ndarray, limit: float = 20.0) -> np.ndarray:
    """Returns `made` at the RMS of `reference`, by a gain of at most `limit` decibels up or down."""
    wanted, given = (float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) for one in (reference, made))
    gain = np.clip(wanted / max(given, 1e-12), 10 ** (-limit / 20), 10 ** (limit / 20))
    return (made * gain).astype(made.dtype)
