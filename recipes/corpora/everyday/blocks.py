"""Building blocks of synthesised everyday sounds: resonators, grains, periodic sources, vocal tracts, rooms.

Signals are float64 [sample] at RATE Hz, times in seconds, T60 the seconds in which a resonance decays by 60 dB.
"""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy.fft import next_fast_len
from scipy.signal import lfilter

from recipes.corpora.everyday.sound import Sound
from recipes.corpora.instruments.build import reverberate
from recipes.corpora.manifests import RATE, fade, loudness

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
Take = tuple[np.ndarray, dict[str, str]]


def take(wav: np.ndarray, seconds: float, **words: str) -> Take:
    """Returns a sound, cut to `seconds` and scaled to a peak of 0.7, and the words for its captions."""
    wav = fade(wav[: size(seconds)], 0.015)
    return (0.7 * wav / max(np.abs(wav).max(), 1e-9)).astype(np.float32), words


def described(makers: dict[str, tuple], table: str = "kinds.tsv") -> dict[str, Sound]:
    """Joins makers, {name: (make, continuous, seconds)}, with the counts, labels and captions of a table."""
    with Path(__file__).with_name(table).open(encoding="utf-8", newline="") as file:
        rows = {row["name"]: row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}
    found = {}
    for name, (make, continuous, seconds) in makers.items():
        captions, labels = rows[name]["captions"].split("; "), rows[name]["labels"].split(" | ")
        found[name] = Sound(make, tuple(captions), tuple(labels), continuous, seconds, int(rows[name]["takes"]))
    return found


def size(seconds: float) -> int:
    """Returns the number of samples in `seconds`."""
    return max(1, round(seconds * RATE))


def times(seconds: float) -> np.ndarray:
    """Returns the time in seconds of each sample."""
    return np.arange(size(seconds)) / RATE


def span(rng: np.random.Generator, low: float, high: float, count: int | None = None):
    """Draws from a log-uniform distribution."""
    return np.exp(rng.uniform(np.log(low), np.log(high), count))


def choose(rng: np.random.Generator, options: Sequence):
    """Draws one of the options, which need not be numbers."""
    return options[int(rng.integers(len(options)))]


def line(seconds: float, *points: tuple[float, float]) -> np.ndarray:
    """Interpolates (time as a share of the length, value) linearly."""
    where, values = zip(*points, strict=True)
    return np.interp(np.linspace(0, 1, size(seconds)), where, values)


def glide(seconds: float, *points: tuple[float, float]) -> np.ndarray:
    """Interpolates (time as a share of the length, positive value) linearly in the logarithm, as pitch moves."""
    return np.exp(line(seconds, *((where, float(np.log(value))) for where, value in points)))


def wobble(rng: np.random.Generator, seconds: float, hz: float) -> np.ndarray:
    """Returns a random curve of about unit variance that changes `hz` times a second."""
    knots = rng.standard_normal(int(seconds * hz) + 3)
    return np.interp(times(seconds) * hz, np.arange(len(knots)), knots)


def decay(seconds: float, attack: float, t60: float) -> np.ndarray:
    """Returns an envelope that rises linearly and decays exponentially."""
    time = times(seconds)
    return np.minimum(1, time / max(attack, 1e-5)) * 10 ** (-3 * np.maximum(time - attack, 0) / t60)


def swell(seconds: float, attack: float, release: float) -> np.ndarray:
    """Returns an envelope with raised-cosine flanks of `attack` and `release` seconds."""
    time = times(seconds)
    share = np.minimum(time / max(attack, 1e-5), (seconds - time) / max(release, 1e-5))
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(share, 0, 1))


def noise(rng: np.random.Generator, seconds: float, *points: tuple[float, float]) -> np.ndarray:
    """Returns Gaussian noise of unit variance whose spectrum passes through points (Hz, dB), over log frequency."""
    count = size(seconds)
    spectrum = np.fft.rfft(rng.standard_normal(next_fast_len(count, real=True)))
    hz, decibel = zip(*points, strict=True)
    frequency = np.linspace(1, RATE / 2, len(spectrum))
    spectrum *= 10 ** (np.interp(np.log(frequency), np.log(hz), decibel) / 20)
    wav = np.fft.irfft(spectrum, next_fast_len(count, real=True))[:count]
    return wav / max(wav.std(), 1e-12)


def band(rng: np.random.Generator, seconds: float, low: float, high: float, slope: float = 18.0) -> np.ndarray:
    """Returns noise between two frequencies in Hz that falls by `slope` dB an octave outside."""
    return noise(rng, seconds, (low / 16, -4 * slope), (low, 0), (high, 0), (high * 16, -4 * slope))


def resonate(drive: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """Sums two-pole resonators [mode, (Hz, T60, amplitude)]; an impulse makes a decaying sine of that amplitude."""
    out = np.zeros(len(drive))
    for hz, t60, amplitude in np.atleast_2d(modes):
        if 15 < hz < 0.47 * RATE:
            radius, angle = 10 ** (-3 / (t60 * RATE)), 2 * np.pi * hz / RATE
            poles = [1, -2 * radius * np.cos(angle), radius**2]
            out += lfilter([0, amplitude * radius * np.sin(angle)], poles, drive)
    return out


def body(
    rng: np.random.Generator, hz: float, count: int, t60: float, spacing: float = 0.5, damping: float = 0.5, tilt=3.0
) -> np.ndarray:
    """Draws the modes [mode, (Hz, T60, amplitude)] of a plate or a shell, which lie evenly in frequency.

    They start at `hz` and lie `spacing * hz` apart on average; T60 falls with frequency to the power `damping`, the
    amplitude by `tilt` dB an octave."""
    ratio = 1 + spacing * np.cumsum(np.r_[0, rng.uniform(0.3, 1.7, count - 1)])
    amplitude = ratio ** (-tilt / 6) * rng.uniform(0.3, 1, count) * rng.choice([-1, 1], count)
    return np.stack([hz * ratio, t60 * ratio**-damping * rng.uniform(0.7, 1.3, count), amplitude], 1)


def partials(hz: float, ratios: Sequence[float], t60: float, damping: float, levels: Sequence[float]) -> np.ndarray:
    """Returns the modes [mode, (Hz, T60, amplitude)] with known ratios of frequency and levels in dB."""
    ratio = np.asarray(ratios, float)
    return np.stack([hz * ratio, t60 * (ratio / ratio[0]) ** -damping, 10 ** (np.asarray(levels, float) / 20)], 1)


def blow(seconds: float, contact: float) -> np.ndarray:
    """Returns the force of one blow: a raised cosine of `contact` seconds and unit sum, then silence."""
    out, count = np.zeros(size(seconds)), max(1, min(size(contact), size(seconds)))
    out[:count] = 1 - np.cos(2 * np.pi * (np.arange(count) + 0.5) / count)
    return out / out.sum()


def strike(modes: np.ndarray, seconds: float, contact: float = 0.0005) -> np.ndarray:
    """Strikes a resonating body once."""
    return resonate(blow(seconds, contact), modes)


def place(seconds: float, sounds: Iterable[tuple[float, np.ndarray]]) -> np.ndarray:
    """Overlays (onset in seconds, sound), cut at the end."""
    out = np.zeros(size(seconds))
    for onset, wav in sounds:
        start = max(0, round(onset * RATE))
        piece = wav[: max(0, len(out) - start)]
        out[start : start + len(piece)] += piece
    return out


def onsets(rng: np.random.Generator, seconds: float, every: float, jitter: float = 0.05) -> list[float]:
    """Draws times about `every` seconds apart, the last one shortly before the end."""
    found, now = [], seconds - min(0.7, every) * rng.uniform(0.3, 0.9)
    while now > 0.01:
        found.append(now)
        now -= every * max(0.2, 1 + jitter * rng.standard_normal())
    return found[::-1] or [0.0]


def repeat(
    rng: np.random.Generator, seconds: float, every: float, event: Callable[[], np.ndarray], jitter: float = 0.05
) -> np.ndarray:
    """Overlays a sound drawn anew about every `every` seconds, to the end."""
    return place(seconds, [(onset, event()) for onset in onsets(rng, seconds, every, jitter)])


def grains(
    rng: np.random.Generator, rate: np.ndarray, hz: tuple[float, float], t60: tuple[float, float], kinds=8, spread=0.8
) -> np.ndarray:
    """Returns a Poisson cloud of struck resonators: `rate` [sample] in grains a second, log-normal amplitudes."""
    hit = np.flatnonzero(rng.random(len(rate)) < rate / RATE)
    force = np.exp(spread * rng.standard_normal(len(hit))) * rng.choice([-1, 1], len(hit))
    which, out = rng.integers(kinds, size=len(hit)), np.zeros(len(rate))
    for kind in range(kinds):
        drive = np.zeros(len(rate))
        drive[hit[which == kind]] = force[which == kind]
        out += resonate(drive, np.array([[span(rng, *hz), span(rng, *t60), 1.0]]))
    return out


def phase(hz: np.ndarray) -> np.ndarray:
    """Integrates a frequency [sample] in Hz to cycles."""
    return np.cumsum(hz) / RATE


def room(wav: np.ndarray, rng: np.random.Generator, low: float, high: float, wet: float = 0.3, tail=True) -> np.ndarray:
    """Puts a sound into a room whose T60 is drawn from `low` to `high` seconds; `tail` appends the reverberation."""
    t60 = rng.uniform(low, high)
    padded = np.pad(wav, (0, size(0.7 * t60) if tail else 0))
    return reverberate(padded, t60, wet * rng.uniform(0.3, 1.2), int(rng.integers(2**31)))


def background(wav: np.ndarray, rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Adds the soft noise of air and distant traffic, `low` to `high` dB below the sound's active level."""
    hum = noise(rng, len(wav) / RATE, (20, 0), (100, -3), (500, -14), (2000, -24), (8000, -34))
    return wav + 10 ** ((loudness(wav) + rng.uniform(low, high)) / 20) * hum[: len(wav)]


def outdoors(wav: np.ndarray, rng: np.random.Generator, tail: bool = True) -> np.ndarray:
    """Puts a sound outdoors: few reflections, and a background 31 to 50 dB below it."""
    return background(room(wav, rng, 0.2, 0.7, 0.09, tail), rng, -50, -31)


def indoors(wav: np.ndarray, rng: np.random.Generator, tail: bool = True) -> np.ndarray:
    """Puts a sound close to the ear in a furnished room, with a background 40 to 60 dB below it."""
    return background(room(wav, rng, 0.2, 0.6, 0.12, tail), rng, -60, -40)


def bedroom(wav: np.ndarray, rng: np.random.Generator, tail: bool = True) -> np.ndarray:
    """Puts a soft sound into a furnished room: as it is turned up, so is the background, 28 to 45 dB below it."""
    return background(room(wav, rng, 0.2, 0.6, 0.1, tail), rng, -45, -28)


def square(wav: np.ndarray, rng: np.random.Generator, tail: bool = True) -> np.ndarray:
    """Puts a loud sound outdoors among buildings, with some reverberation and the background of a town."""
    return background(room(wav, rng, 0.8, 2.5, 0.25, tail), rng, -50, -30)


def close(wav: np.ndarray, rng: np.random.Generator, tail: bool = True) -> np.ndarray:
    """Puts a sound so close to the ear that hardly any reflection is heard, with a background 48 to 62 dB below it."""
    return background(room(wav, rng, 0.2, 0.6, 0.05, tail), rng, -62, -48)


def pavement(wav: np.ndarray, rng: np.random.Generator, tail: bool = True) -> np.ndarray:
    """Puts a soft sound where hardly anything reflects it, with the background 28 to 42 dB below it."""
    return background(room(wav, rng, 0.15, 0.5, 0.06, tail), rng, -42, -28)


def hall(wav: np.ndarray, rng: np.random.Generator, tail: bool = True) -> np.ndarray:
    """Puts a sound into a sports hall: long reverberation and the noise of ventilation."""
    return background(room(wav, rng, 0.8, 2.2, 0.3, tail), rng, -45, -30)


def saturate(wav: np.ndarray, drive: float) -> np.ndarray:
    """Scales the peak to `drive` and bends it smoothly to 1, as loud sources and horns do."""
    return np.tanh(wav * (drive / max(np.abs(wav).max(), 1e-9)))


def draw(rng: np.random.Generator, **ranges: tuple[float, float]) -> dict[str, float]:
    """Draws each named quantity log-uniformly from its range (low, high)."""
    return {name: float(span(rng, *limits)) for name, limits in ranges.items()}
