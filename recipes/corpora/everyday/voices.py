"""Periodic sources, vocal tracts and repeated calls: the voices of animals and people."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.signal import istft, stft

from recipes.corpora.everyday.blocks import (
    Take,
    draw,
    glide,
    noise,
    outdoors,
    phase,
    place,
    repeat,
    swell,
    take,
    wobble,
)
from recipes.corpora.manifests import RATE


def periodic(hz: np.ndarray, amplitudes: Sequence[float]) -> np.ndarray:
    """Returns harmonics of a moving fundamental [sample] with given amplitudes, those above 11 kHz left out."""
    keep = max(1, min(len(amplitudes), int(11000 / max(float(np.max(hz)), 1.0))))
    spectrum = np.zeros(2049, complex)
    spectrum[1 : keep + 1] = -0.5j * np.asarray(amplitudes[:keep])
    table = np.fft.irfft(spectrum * 4096, 4096)
    return np.interp(phase(hz) * 4096 % 4096, np.arange(4097), np.r_[table, table[0]])


def harmonics(hz: np.ndarray, tilt: float = 12.0, odd: float = 1.0) -> np.ndarray:
    """Returns a tone whose harmonics fall by `tilt` dB an octave; the even ones are scaled by `odd`."""
    order = np.arange(1, 400)
    return periodic(hz, order ** (-tilt / 6.02) * np.where(order % 2, 1, odd))


def pulses(rng: np.random.Generator, hz: np.ndarray, jitter: float = 0.0, shimmer: float = 0.0) -> np.ndarray:
    """Returns impulses at a moving rate [sample] in Hz with random deviations of time and size."""
    turns = phase(hz)
    cycles = np.arange(int(turns[-1]) + 1) + jitter * rng.standard_normal(int(turns[-1]) + 1)
    where = np.searchsorted(turns, np.sort(cycles))
    where = where[where < len(hz)]
    out = np.zeros(len(hz))
    np.add.at(out, where, np.exp(shimmer * rng.standard_normal(len(where))))
    return out


def tract(wav: np.ndarray, shapes: Sequence[Sequence[float]], width: float = 0.12, floor: float = 0.03) -> np.ndarray:
    """Filters a source by formants that move through `shapes` [key, formant] in Hz, evenly over the sound.

    Bandwidths are 60 Hz + `width` times the frequency; the formants fall by 4.3 dB an octave."""
    keys = np.log(np.asarray(shapes, float))
    hz, _, frames = stft(wav, RATE, nperseg=512, noverlap=384, boundary="even")
    where = np.linspace(0, len(keys) - 1, frames.shape[1])
    gain = np.full(frames.shape, floor)
    for number in range(keys.shape[1]):
        centre = np.exp(np.interp(where, np.arange(len(keys)), keys[:, number]))
        gain += np.exp(0.72 * (keys[:, 0].mean() - np.log(centre))) / np.sqrt(
            1 + (2 * (hz[:, None] - centre) / (60 + width * centre)) ** 2
        )
    return istft(frames * gain, RATE, nperseg=512, noverlap=384)[1][: len(wav)]


def call(
    rng: np.random.Generator,
    hz: np.ndarray,
    shapes: Sequence[Sequence[float]],
    tilt: float = 10.0,
    rough: float = 0.0,
    breath: float = 0.05,
    width: float = 0.12,
) -> np.ndarray:
    """Returns a voice: folds vibrating at a moving rate [sample] in Hz, breath noise, and a vocal tract (see `tract`).

    `tilt` is the fall of the source's harmonics in dB an octave; `rough` adds cycles of irregular length and size."""
    seconds = len(hz) / RATE
    uneven = 0.004 * wobble(rng, seconds, 30) + 0.12 * rough * wobble(rng, seconds, min(300.0, 0.7 * float(hz.mean())))
    source = harmonics(hz * np.exp(uneven), tilt)
    if rough:
        source += rough * harmonics(hz * np.exp(uneven) / 2, tilt)
        source *= np.clip(1 + rough * wobble(rng, seconds, min(150.0, 0.5 * float(hz.mean()))), 0, 3)
    source = source / source.std() + breath * noise(rng, seconds, (100, -6), (1500, 0), (12000, -6))
    return tract(source, shapes, width)


def calls(
    rng: np.random.Generator,
    seconds: float,
    pitch: tuple[float, float],
    length: tuple[float, float],
    gap: tuple[float, float],
    contour: Sequence[tuple[float, float]],
    shapes: Sequence[Sequence[float]],
    tilt: tuple[float, float] = (4.0, 10.0),
    rough: tuple[float, float] = (0.01, 0.1),
    breath: tuple[float, float] = (0.03, 0.15),
    width: tuple[float, float] = (0.07, 0.13),
    scale: tuple[float, float] = (0.85, 1.15),
    attack: tuple[float, float] = (0.1, 0.3),
    shake: tuple[float, float] = (0.001, 0.002),
    rate: tuple[float, float] = (5.0, 10.0),
    count: tuple[int, int] | None = None,
    scene: Callable[..., np.ndarray] = outdoors,
) -> Take:
    """Repeats a voiced call: `pitch` in Hz times a `contour` of ratios at even times, `length` and `gap` in seconds.

    All ranges are (low, high) of one take. `shapes` are a vocal tract's formants scaled by `scale`, `attack` is a share
    of the length, `shake` the depth of a tremor `rate` times a second, and `tilt`, `rough`, `breath` and `width` are
    those of `call`. The calls fill the asked seconds, or there are `count` of them, up to the second number less one."""
    keys = {f"contour{number}": limits for number, limits in enumerate(contour)}
    voice = draw(rng, tilt=tilt, rough=rough, breath=breath, width=width)
    one = draw(rng, pitch=pitch, length=length, gap=gap, scale=scale, attack=attack, shake=shake, rate=rate, **keys)
    lift = [one[key] for key in keys]

    def sound() -> np.ndarray:
        long = one["length"] * rng.uniform(0.85, 1.15)
        tremor = np.sin(2 * np.pi * phase(one["rate"] * np.exp(0.1 * wobble(rng, long, 6)))) * one["shake"]
        hz = one["pitch"] * rng.uniform(0.94, 1.06) * glide(long, *zip(np.linspace(0, 1, len(lift)), lift, strict=True))
        wav = call(rng, hz * (1 + 0.15 * tremor), one["scale"] * np.asarray(shapes), **voice) * (1 + tremor)
        return wav * swell(long, one["attack"] * long, 0.4 * long) * rng.uniform(0.7, 1)

    every = one["length"] + one["gap"]
    if count is None:
        return take(scene(repeat(rng, seconds, every, sound, 0.12), rng, tail=False), seconds)
    number = min(int(rng.integers(*count)), max(1, int((seconds + one["gap"]) / (1.1 * every))))
    parts = [(0.02 + turn * every * rng.uniform(0.97, 1.03), sound()) for turn in range(number)]
    return take(scene(place(number * every - one["gap"] + 0.15 * every, parts), rng), seconds)
