"""Waves, streams, taps, splashes and bubbles.

Bubbles follow van den Doel 2005, "Physically based models for liquid sounds", ACM Trans. Appl. Percept. 2(4).
"""

from functools import partial

import numpy as np
from scipy.signal import lfilter

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    body,
    choose,
    decay,
    described,
    indoors,
    line,
    noise,
    onsets,
    place,
    resonate,
    room,
    size,
    span,
    swell,
    take,
    times,
    wobble,
)
from recipes.corpora.everyday.clouds import bubbles, ring_all, turbulence
from recipes.corpora.manifests import RATE


def waves(rng: np.random.Generator, seconds: float) -> Take:
    """Breakers: a wave rises, breaks with low and high frequencies, and its foam hisses back down the beach."""
    size_of, strength = choose(rng, (("small", 0.4), ("big", 1.6), ("", 0.9)))
    low, mid, high = np.zeros(size(seconds)), np.zeros(size(seconds)), np.zeros(size(seconds))
    now = -rng.uniform(0.5, 3.5)
    while now < seconds:
        length, force = rng.uniform(4, 8), rng.uniform(0.5, 1)
        peak = rng.uniform(0.25, 0.45)
        clock = (times(seconds) - now) / length
        rise = np.interp(clock, (0, peak, peak + 0.12, 1), (0, 1, 0.7, 0))
        low += force * rise**2.5
        mid += force * np.interp(clock, (0.05, peak + 0.03, peak + 0.25, 1.05), (0, 1, 0.6, 0)) ** 1.5
        high += force * np.interp(clock, (0.15, peak + 0.12, peak + 0.3, 1.15), (0, 1, 0.7, 0)) ** 1.2
        now += length * rng.uniform(0.6, 0.95)
    bass = noise(rng, seconds, (30, -6), (90, 0), (250, -3), (900, -18), (4000, -45))
    surf = noise(rng, seconds, (60, -14), (300, 0), (1000, -2), (3000, -10), (10000, -24))
    foam = noise(rng, seconds, (300, -25), (1500, -4), (4000, 0), (11000, -4))
    foam *= np.exp(0.15 * wobble(rng, seconds, 40))
    wav = strength * bass * (low + 0.05) + surf * (mid + 0.05) + span(rng, 0.2, 0.7) * foam * (high + 0.06)
    return take(room(wav, rng, 0.3, 0.8, 0.1, tail=False), seconds, size=size_of)


def flow(
    rng: np.random.Generator,
    seconds: float,
    rate: tuple[float, float],
    radius: tuple[float, float],
    gamma: float,
    rush: tuple[float, float],
    points: tuple,
    pace: tuple[float, float] = (3, 10),
    uneven: tuple[float, float] = (0.05, 0.3),
    wet: float = 0.12,
) -> Take:
    """Water in motion: a cloud of bubbles, whose rate fluctuates, and the noise of splashing between `points`.

    Two eddies of different radius take turns; `rush` is the level of the noise to that of the bubbles."""
    wav = np.zeros(size(seconds))
    for _ in range(2):
        scale = span(rng, 0.7, 1.4)
        speed = np.exp(rng.uniform(0.3, 0.9) * wobble(rng, seconds, span(rng, 2, 8)))
        part = bubbles(rng, speed * span(rng, *rate) / 2, (radius[0] * scale, radius[1] * scale), gamma)
        wav += part / max(part.std(), 1e-9) * rng.uniform(0.4, 1)
    depth = rng.uniform(*uneven)
    points = [(hz, level + rng.uniform(-3, 3)) for hz, level in points]
    splash = turbulence(rng, seconds, points, depth, rng.uniform(*pace))
    wav = wav / wav.std() + span(rng, *rush) * splash / splash.std()
    return take(room(wav, rng, 0.2, 0.8, wet, tail=False), seconds)


def dripping(rng: np.random.Generator, seconds: float) -> Take:
    """A drop falls into water: a soft click, then after 10 to 30 ms the bubble that it traps rings and rises."""
    where, t60, wet = choose(rng, (("in a cave", (1.5, 3), 0.5), ("into a sink", (0.2, 0.5), 0.15)))
    every, pitch, parts = span(rng, 0.18, 0.9), span(rng, 0.003, 0.006), []
    for onset in onsets(rng, seconds, every, choose(rng, (0.03, 0.3))):
        parts.append((onset, 0.1 * band(rng, 0.006, 2000, 8000, 6) * decay(0.006, 0.0005, 0.004)))
        for _ in range(int(rng.integers(1, 4))):
            radius, late = pitch * span(rng, 0.6, 1.3), rng.uniform(0.008, 0.03)
            hz, damp = 3.286 / radius, 0.13 / radius + 0.0072 * radius**-1.5
            ring = ring_all(size(0.2), [0], [hz], [damp], [1.0], [span(rng, 0.02, 0.25)])
            parts.append((onset + late, ring * rng.uniform(0.2, 1)))
        spatter = bubbles(rng, 250 * decay(0.12, 0.01, 0.15), (0.0006, 0.003), 1.6, 0.1)
        parts.append((onset, spatter * rng.uniform(0.05, 0.6) / max(np.abs(spatter).max(), 1e-9)))
    hush = 0.003 * noise(rng, seconds, (60, 0), (400, -4), (2000, -15), (8000, -30))
    return take(room(place(seconds, parts) + hush, rng, *t60, wet, tail=False), seconds, where=where)


def splash(rng: np.random.Generator, seconds: float) -> Take:
    """A body strikes water: a broad burst, a cavity that closes with a deep bubble, and falling drops."""
    size_of, scale = choose(rng, (("small", 0.5), ("big", 1.6), ("", 1.0)))
    slap = noise(rng, seconds, (60, -12), (300 / scale, 0), (1500, -3), (5000, -8), (11000, -16))
    slap *= decay(seconds, 0.01, 0.6 * scale)
    spray = noise(rng, seconds, (300, -20), (1500, -2), (4000, 0), (11000, -6))
    spray *= swell(seconds, 0.12 * scale, 0.1) * decay(seconds, 0.06 * scale, 0.9 * scale)
    rate = 700 * decay(seconds, 0.15 * scale, 1.4 * scale) * line(seconds, (0, 0), (0.08, 1), (1, 1))
    drops_of = bubbles(rng, rate, (0.0006, 0.006 * scale), 1.6, 0.3)
    gulp = bubbles(rng, 30 * decay(seconds, 0.1, 1.0 * scale), (0.004, 0.014 * scale), 1.0, 0.2)
    parts = ((1.4, slap), (span(rng, 0.4, 1.0), spray), (0.6, drops_of), (0.5, gulp))
    wav = sum(level * part / max(np.abs(part).max(), 1e-9) for level, part in parts)
    return take(room(place(seconds, [(0.02, wav)]), rng, 0.2, 1.2, 0.15, tail=False), seconds, size=size_of)


def boiling(rng: np.random.Generator, seconds: float) -> Take:
    """Steam bubbles of several mm burst at the surface of a pot, whose wall rings; smaller ones collapse below."""
    rate = span(rng, 40, 160) * np.exp(0.4 * wobble(rng, seconds, 6))
    big = bubbles(rng, rate, (0.003, 0.012), 1.2, 0.25)
    small = bubbles(rng, 8 * rate, (0.0008, 0.003), 2.0, 0.1)
    pot = resonate(big, body(rng, span(rng, 250, 600), 6, 0.05, 0.6, 0.3, 3))
    rumble = noise(rng, seconds, (60, -8), (250, 0), (700, -5), (3000, -20), (10000, -35))
    rumble *= np.exp(0.2 * wobble(rng, seconds, 12))
    parts = ((1, big), (span(rng, 0.2, 0.6), small), (span(rng, 0.1, 0.5), pot), (span(rng, 0.3, 1.0), rumble))
    wav = sum(level * part / max(part.std(), 1e-9) for level, part in parts)
    return take(indoors(wav, rng, tail=False), seconds)


def gurgle(rng: np.random.Generator, seconds: float) -> Take:
    """Air streams through water in glugs: trains of large bubbles whose pitch rises, dulled by the water."""
    parts = []
    for onset in onsets(rng, seconds + 0.3, span(rng, 0.08, 0.3), 0.5):
        length = rng.uniform(0.15, 0.5)
        rate = span(rng, 40, 160) * swell(length, 0.03, 0.1)
        parts.append((onset - 0.3, bubbles(rng, rate, (0.003, 0.013), 1.0, 0.35) * span(rng, 0.3, 1)))
    glugs = place(seconds, parts)
    drift = bubbles(rng, np.full(size(seconds), span(rng, 30, 150)), (0.001, 0.005), 1.5, 0.2)
    deep = noise(rng, seconds, (40, -3), (120, 0), (400, -12), (2000, -40))
    wav = glugs / glugs.std() + 0.4 * drift / drift.std() + span(rng, 0.05, 0.3) * deep
    dull = np.exp(-2 * np.pi * span(rng, 1500, 5000) / RATE)
    return take(room(lfilter([1 - dull], [1, -dull], wav), rng, 0.2, 0.6, 0.15, tail=False), seconds)


def bath(rng: np.random.Generator, seconds: float) -> Take:
    """A jet falls into a bathtub in a tiled room; the water's deep bubbles and the tub's hollow roar."""
    jet, _ = flow(
        rng, seconds, (400, 1200), (0.0008, 0.008), 1.5, (0.8, 2.5),
        ((80, -14), (250, -4), (900, 0), (3000, -4), (11000, -12)),
        (20, 40), (0.2, 0.45),
    )  # fmt: skip
    tub = resonate(jet.astype(float), body(rng, span(rng, 110, 220), 8, 0.15, 0.7, 0.3, 2))
    wav = jet / jet.std() + rng.uniform(0.05, 0.25) * tub / tub.std()
    return take(room(wav, rng, 0.5, 1.2, 0.3, tail=False), seconds)


def flush(rng: np.random.Generator, seconds: float) -> Take:
    """The cistern empties with a rush that swells and dies away; the drain gurgles; the cistern refills with a hiss."""
    points = ((60, -10), (200, 0), (500, -2), (900, -5), (3000, -8), (10000, -14))
    gush = turbulence(rng, seconds, points, rng.uniform(0.1, 0.25), rng.uniform(15, 35))
    rate = 900 * line(seconds, (0, 0.2), (0.1, 1), (0.5, 0.8), (0.75, 0.1), (1, 0.05))
    bowl = resonate(gush, body(rng, span(rng, 150, 350), 8, 0.08, 0.6, 0.3, 2))
    gush = gush / gush.std() + rng.uniform(0.5, 1.2) * bowl / bowl.std()
    wave = line(seconds, (0, 0.05), (0.04, 0.3), (0.12, 1), (0.3, 0.7), (0.5, 0.25), (0.75, 0.08), (1, 0.04))
    drain = bubbles(rng, rate, (0.0015, 0.012), 1.3, 0.3)
    late = line(seconds, (0, 0), (0.25, 0), (0.4, 1), (0.6, 0.3), (0.8, 0))
    glug = bubbles(rng, 60 * late, (0.005, 0.016), 1.0, 0.3)
    fill = noise(rng, seconds, (300, -20), (1500, -4), (4000, 0), (10000, -8)) * line(
        seconds, (0, 0), (0.3, 0.5), (1, 1)
    )
    wav = (
        gush * wave
        + 0.5 * wave * drain / drain.std()
        + 0.3 * glug / max(glug.std(), 1e-9)
        + rng.uniform(0.03, 0.15) * fill
    )
    return take(room(wav, rng, 0.4, 1.0, 0.25, tail=False), seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "waves": (waves, True, (4, 10)),
    "stream": (partial(
        flow, rate=(900, 2500), radius=(0.0006, 0.005), gamma=1.8, rush=(0.3, 0.9),
        points=((100, -12), (400, 0), (1200, -3), (4000, -8), (11000, -18)), pace=(3, 10),
    ), True, (2, 10)),
    "river": (partial(
        flow, rate=(800, 2000), radius=(0.0006, 0.008), gamma=1.6, rush=(0.8, 2.5),
        points=((60, -8), (250, 0), (800, -2), (3000, -8), (11000, -18)), pace=(1.5, 6),
    ), True, (2, 10)),
    "waterfall": (partial(
        flow, rate=(1000, 2500), radius=(0.0006, 0.006), gamma=1.8, rush=(4, 10),
        points=((40, -4), (120, 0), (600, -1), (2500, -4), (11000, -14)), pace=(4, 12), uneven=(0.02, 0.08), wet=0.2,
    ), True, (2, 10)),
    "dripping water": (dripping, True, (2, 10)),
    "running tap": (partial(
        flow, rate=(800, 2500), radius=(0.0005, 0.005), gamma=1.8, rush=(0.8, 2.0),
        points=((80, -14), (250, -4), (600, 0), (1500, -4), (4000, -4), (11000, -8)), pace=(20, 40),
        uneven=(0.2, 0.45), wet=0.25,
    ), True, (2, 10)),
    "shower": (partial(
        flow, rate=(1500, 3000), radius=(0.0003, 0.0015), gamma=2.0, rush=(2, 6),
        points=((60, -30), (500, -18), (2000, -12), (4000, -5), (8000, 0), (11900, 0)), pace=(15, 40),
        uneven=(0.1, 0.3), wet=0.2,
    ), True, (2, 10)),
    "bath filling": (bath, True, (2, 10)),
    "boiling water": (boiling, True, (2, 10)),
    "gurgling": (gurgle, True, (2, 8)),
    "splash": (splash, False, (1.2, 3)),
    "toilet flush": (flush, False, (4, 9)),
}, "textures.tsv")
# fmt: on
