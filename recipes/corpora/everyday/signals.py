"""Sirens, horns and whistles with the frequencies and mechanisms of the devices that they stand for."""

from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    choose,
    described,
    glide,
    line,
    noise,
    phase,
    place,
    room,
    saturate,
    size,
    span,
    square,
    swell,
    take,
    times,
    wobble,
)
from recipes.corpora.everyday.voices import harmonics, periodic


def siren(rng: np.random.Generator, seconds: float, mode: str) -> Take:
    """An electronic siren: `wail` 600 to 1500 Hz in seconds, `yelp` the same three times a second, or two tones."""
    low, high, time = rng.uniform(500, 700), rng.uniform(1200, 1600), times(seconds)
    if mode == "two-tone":
        low = rng.uniform(400, 560)
        high, half = low * rng.uniform(1.25, 1.37), rng.uniform(0.4, 0.75)
        hz = np.where((time + rng.uniform(0, 1)) % (2 * half) < half, low, high)
    else:
        rate = rng.uniform(0.2, 0.4) if mode == "wail" else rng.uniform(2.5, 4)
        turn = (time * rate + rng.random()) % 1
        up = 0.5 if mode == "wail" else 0.7
        share = np.where(turn < up, 1 - np.exp(-3 * turn / up), np.exp(-3 * (turn - up) / (1 - up)))
        hz = low * (high / low) ** (share / 0.95)
    wav = saturate(harmonics(hz, 6), 2.5) + 0.02 * band(rng, seconds, 200, 4000)
    wav *= np.exp(0.15 * wobble(rng, seconds, 1.5))
    return take(square(wav, rng, tail=False), seconds)


def air_raid(rng: np.random.Generator, seconds: float) -> Take:
    """A motor spins up and down a chopper of two rings of ports, whose tones lie a minor third apart."""
    period, top = rng.uniform(4, 9), rng.uniform(420, 560)
    turn = (times(seconds) / period + rng.random()) % 1
    share = np.where(turn < 0.5, 1 - np.exp(-5 * turn), np.exp(-3 * (turn - 0.5)) * 0.92)
    hz = top * (0.5 + 0.5 * share)
    wav = harmonics(hz, 5) + harmonics(hz * 6 / 5, 5) + 0.05 * band(rng, seconds, 200, 3000)
    return take(room(wav * (0.3 + 0.7 * share), rng, 2, 4, 0.6, tail=False), seconds)


def car_alarm(rng: np.random.Generator, seconds: float) -> Take:
    patterns, low, high = [], rng.uniform(700, 1000), rng.uniform(1500, 2400)
    for shape in rng.permutation(5):
        length = rng.uniform(0.8, 1.6)
        turn = times(length) * rng.uniform(4, 9) % 1
        share = (turn, 1 - turn, np.abs(2 * turn - 1), (turn < 0.5) * 1.0, times(length) * 1.5 % 1)[shape]
        patterns.append(low * (high / low) ** share)
    hz = np.resize(np.concatenate(patterns), size(seconds))
    wav = saturate(harmonics(hz, 6), 3)
    return take(square(wav, rng, tail=False), seconds)


def horn(
    rng: np.random.Generator, seconds: float, hz: tuple, chord: tuple, length: tuple, count: tuple, tilt: float
) -> Take:
    """Diaphragm or reed horns sounding the intervals `chord` together, in `count` blasts of `length` seconds."""
    base, parts, now = span(rng, *hz), [], 0.0
    for _ in range(int(rng.integers(*count))):
        blast = min(rng.uniform(*length), seconds - 0.2 - now)
        if blast < 0.15:
            break
        bend = glide(blast, (0, 0.97), (min(0.9, 0.05 / blast), 1), (0.95, 1), (1, 0.98)) * (
            1 + 0.002 * wobble(rng, blast, 20)
        )
        wav = sum(harmonics(base * interval * bend, tilt) * rng.uniform(0.6, 1) for interval in chord)
        breath = band(rng, blast, 500, 5000, 9) * 0.05
        parts.append((now, (saturate(wav, 2) + breath) * swell(blast, 0.03, 0.05)))
        now += blast + rng.uniform(0.12, 0.5)
    wav = place(now, parts)
    return take(room(wav, rng, 0.6, 2.5, 0.35), seconds)


def steam_whistle(rng: np.random.Generator, seconds: float, chord: tuple) -> Take:
    """Edge tones of several chambers in a jet of steam; the pitch rises with the pressure."""
    length, base = rng.uniform(1.2, min(4, seconds - 0.8)), span(rng, 350, 900)
    bend = glide(length, (0, 0.9), (0.15, 1), (0.85, 1), (1, 0.88)) * (1 + 0.004 * wobble(rng, length, 15))
    wav = sum(harmonics(base * interval * bend, 14) * rng.uniform(0.6, 1) for interval in chord) / len(chord)
    steam = noise(rng, length, (100, -20), (800, -3), (3000, 0), (10000, -6)) * rng.uniform(0.1, 0.35)
    return take(room((wav + steam) * swell(length, 0.15, 0.25), rng, 0.8, 2.5, 0.4), seconds)


def referee(rng: np.random.Generator, seconds: float) -> Take:
    """A pea whistle: two close edge tones; the pea passes the slot 30 to 60 times a second."""
    parts, now, base = [], 0.0, rng.uniform(2600, 3600)
    for _ in range(int(rng.integers(1, 4))):
        length = rng.uniform(0.25, 1.2)
        press = glide(length, (0, 0.93), (0.1, 1), (0.9, 1), (1, 0.93))
        pea = np.sin(2 * np.pi * phase(rng.uniform(35, 60) * press * np.exp(0.1 * wobble(rng, length, 20))))
        wav = sum(np.sin(2 * np.pi * phase(base * ratio * press * (1 + 0.03 * pea))) for ratio in (1, 1.065))
        wav = wav * (0.6 + 0.4 * pea) + 0.15 * band(rng, length, 2000, 7000)
        parts.append((now, wav * swell(length, 0.01, 0.03)))
        now += length + rng.uniform(0.1, 0.4)
    return take(room(place(now, parts), rng, 0.5, 1.5, 0.3), seconds)


def whistling(rng: np.random.Generator, seconds: float) -> Take:
    """A person whistles a tune: nearly sines with vibrato, glides between notes, and breath."""
    base, scale, parts, now = span(rng, 800, 1300), (0, 2, 4, 5, 7, 9, 11, 12), [], 0.0
    degree = int(rng.integers(8))
    while now < seconds:
        length = choose(rng, (0.2, 0.2, 0.4, 0.4, 0.6)) * rng.uniform(0.9, 1.3)
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, 7))
        hz = base * 2 ** (scale[degree] / 12) * glide(length, (0, rng.uniform(0.93, 1.0)), (0.2, 1), (1, 1))
        hz *= 1 + 0.006 * np.sin(2 * np.pi * rng.uniform(5, 6.5) * times(length)) * line(
            length, (0, 0), (0.5, 1), (1, 1)
        )
        hz *= 1 + 0.003 * wobble(rng, length, 40)
        breath = band(rng, length, hz[0] * 0.8, hz[0] * 3, 12) * 0.04
        parts.append(
            (
                now,
                (periodic(hz, (1, 0.03, 0.01)) * np.exp(0.1 * wobble(rng, length, 30)) + breath)
                * swell(length, 0.03, 0.05),
            )
        )
        now += length + choose(rng, (0.0, 0.02, 0.08))
    return take(room(place(seconds, parts), rng, 0.4, 1.2, 0.25, tail=False), seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "police siren": (partial(siren, mode="wail"), True, (3, 10)),
    "yelping siren": (partial(siren, mode="yelp"), True, (2, 10)),
    "two-tone siren": (partial(siren, mode="two-tone"), True, (2, 10)),
    "air raid siren": (air_raid, True, (4, 10)),
    "car alarm": (car_alarm, True, (3, 10)),
    "car horn": (partial(horn, hz=(330, 480), chord=(1, 1.22), length=(0.2, 1.2), count=(1, 4), tilt=5), False, (0.8, 4)),
    "truck horn": (partial(horn, hz=(150, 260), chord=(1, 1.26), length=(0.5, 1.8), count=(1, 3), tilt=4), False, (1.5, 5)),
    "train horn": (partial(horn, hz=(240, 340), chord=(1, 1.19, 1.335, 1.59, 2), length=(0.5, 2.2), count=(1, 5), tilt=6), False, (2, 8)),
    "train whistle": (partial(steam_whistle, chord=(1, 1.19, 1.5, 1.78)), False, (2.5, 6)),
    "steam whistle": (partial(steam_whistle, chord=(1, 2.01)), False, (2.5, 6)),
    "referee's whistle": (referee, False, (1, 4.5)),
    "whistling": (whistling, True, (2, 10)),
})
# fmt: on
