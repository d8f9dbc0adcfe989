"""Clouds of short decaying sines, such as bubbles, drops and crackles, and turbulent noise."""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import fftconvolve, istft, lfilter, stft

from recipes.corpora.everyday.blocks import noise, phase, size, wobble
from recipes.corpora.manifests import RATE

MINNAERT = float(
    np.sqrt(3 * 1.4 * 101325 / 998) / (2 * np.pi)
)  # m/s: Hz times the radius in m of an air bubble in water


def impulses(rng: np.random.Generator, rate: np.ndarray, spread: float = 0.8) -> np.ndarray:
    """Returns Poisson impulses at a rate [sample] in events a second, log-normal amplitudes of either sign."""
    out = np.zeros(len(rate))
    hit = np.flatnonzero(rng.random(len(rate)) < rate / RATE)
    out[hit] = np.exp(spread * rng.standard_normal(len(hit))) * rng.choice([-1, 1], len(hit))
    return out


def ring_all(
    count: int,
    start: Sequence[int] | np.ndarray,
    hz: Sequence[float] | np.ndarray,
    damp: Sequence[float] | np.ndarray,
    force: Sequence[float] | np.ndarray,
    rise: Sequence[float] | np.ndarray | float = 0.0,
) -> np.ndarray:
    """Sums decaying sines of `count` samples: `start` [grain] in samples, `hz` [grain], `damp` [grain] per second.

    The frequency is hz * (1 + rise * damp * time), as of a bubble that nears the surface."""
    start, hz, damp, force = (np.asarray(one) for one in (start, hz, damp, force))
    rise, out = np.broadcast_to(rise, start.shape), np.zeros(count)
    order = np.argsort(damp)
    for part in np.array_split(order, max(1, min(24, len(order) // 8))):
        if not len(part):
            continue
        length = min(count, size(6 / damp[part[0]]))
        time, slow = np.arange(length) / RATE, damp[part, None]
        moved = time * (1 + 0.5 * rise[part, None] * slow * time)
        wave = force[part, None] * np.exp(-slow * time) * np.sin(2 * np.pi * hz[part, None] * moved)
        where = (start[part, None] + np.arange(length)).ravel()
        out += np.bincount(where, wave.ravel(), minlength=count + length)[:count]
    return out


def radiated(wav: np.ndarray, hz: float = 15.0) -> np.ndarray:
    """Takes away what lies below a frequency in Hz, which a small source hardly radiates and no ear hears."""
    return lfilter([1, -1], [1, -np.exp(-2 * np.pi * hz / RATE)], wav - wav.mean())


def bubbles(
    rng: np.random.Generator,
    rate: np.ndarray,
    radius: tuple[float, float],
    gamma: float = 2.0,
    rise: float = 0.1,
    loud: float = 1.5,
) -> np.ndarray:
    """Returns the sound of bubbles in water at a rate [sample] in bubbles a second.

    Radii in m follow the density r^-gamma between the limits; a bubble rings at MINNAERT / r, is damped by
    0.13 / r + 0.0072 r^-1.5 per second, has an amplitude of r^loud and rises in pitch by up to `rise` times the damping
    (van den Doel 2005)."""
    total = np.cumsum(rate) / RATE
    start = np.searchsorted(total, np.sort(rng.uniform(0, total[-1], rng.poisson(total[-1]))))
    r = power_law(rng, *radius, gamma, len(start))
    damp = 0.13 / r + 0.0072 * r**-1.5
    hz = np.minimum(MINNAERT / r, 0.45 * RATE)
    force = (r / radius[1]) ** loud * rng.random(len(r)) * rng.choice([-1, 1], len(r))
    climb = rise * rng.random(len(r)) ** 2 * np.minimum(1, (0.45 * RATE / hz - 1) / 2)
    return ring_all(len(rate), start, hz, damp, force, climb)


def power_law(rng: np.random.Generator, low: float, high: float, gamma: float, count: int) -> np.ndarray:
    """Draws from the density x^-gamma between two limits."""
    share, power = rng.random(count), 1 - gamma
    if abs(power) < 1e-6:
        return low * (high / low) ** share
    return (low**power + share * (high**power - low**power)) ** (1 / power)


def turbulence(
    rng: np.random.Generator,
    seconds: float,
    points: Sequence[tuple[float, float]],
    depth: float,
    hz: float,
    bands: int = 12,
) -> np.ndarray:
    """Returns noise through points (Hz, dB) whose bands fluctuate independently, by `depth` nepers, `hz` times a
    second.

    Independent fluctuations of the bands are what the ear knows water, wind and fire by (McDermott and Simoncelli 2011,
    "Sound texture perception via statistics of the auditory periphery", Neuron 71)."""
    frequency, _, frames = stft(noise(rng, seconds, *points), RATE, nperseg=512, noverlap=384)
    field = gaussian_filter1d(rng.standard_normal((bands, frames.shape[1])), RATE / 128 / (2 * np.pi * hz), axis=1)
    field *= depth / max(field.std(), 1e-9)
    where = np.interp(np.log(np.maximum(frequency, 1)), np.log([60, 12000]), [0, bands - 1])
    low = np.minimum(where.astype(int), bands - 2)
    share = (where - low)[:, None]
    gain = np.exp((1 - share) * field[low] + share * field[low + 1])
    return istft(frames * gain, RATE, nperseg=512, noverlap=384)[1][: size(seconds)]


def whistle(rng: np.random.Generator, hz: np.ndarray, width: float) -> np.ndarray:
    """Returns noise `width` Hz wide around a moving frequency [sample], as of wind at an edge (an aeolian tone)."""
    seconds, points = len(hz) / RATE, ((0.5, 0), (width, 0), (8 * width, -50), (64 * width, -110))
    turns = 2 * np.pi * phase(hz)
    return noise(rng, seconds, *points) * np.cos(turns) + noise(rng, seconds, *points) * np.sin(turns)


def gusts(rng: np.random.Generator, seconds: float, depth: float, hz: float) -> np.ndarray:
    """Returns a strength of wind around 1 that fluctuates `hz` times a second and, less, faster."""
    knots = size(0.5 / hz)
    window = np.hanning(knots + 2)
    slow = wobble(rng, seconds + 0.5 / hz, hz)
    slow = fftconvolve(slow, window / window.sum(), mode="valid")[: size(seconds)]
    slow = np.pad(slow, (0, size(seconds) - len(slow)), mode="edge")
    return np.exp(depth * slow + 0.25 * depth * wobble(rng, seconds, 5 * hz))
