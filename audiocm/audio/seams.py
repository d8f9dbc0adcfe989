"""Joining a sound that was made to one that was there: cross-fades, levels and bands. A wav is [sample] or [sample,
channel].

Every function leaves the samples outside the stated place equal to those that it was given, bit for bit.
"""

import numpy as np


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
