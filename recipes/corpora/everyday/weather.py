"""Rain, thunder, wind and storms.

Thunder follows Few 1969, "Power spectrum of thunder", J. Geophys. Res. 74; wind follows Farnell 2010, "Designing
Sound".
"""

from functools import partial

import numpy as np
from scipy.signal import fftconvolve, lfilter

from recipes.corpora.everyday.blocks import (
    Take,
    background,
    body,
    choose,
    decay,
    described,
    indoors,
    line,
    noise,
    outdoors,
    place,
    resonate,
    room,
    size,
    span,
    take,
    times,
    wobble,
)
from recipes.corpora.everyday.clouds import bubbles, gusts, impulses, ring_all, turbulence, whistle
from recipes.corpora.manifests import RATE

DROPS = ((80, -20), (400, -8), (1500, 0), (5000, -1), (11000, -8))  # Hz, dB: far rain
STRENGTHS = {"light": 0.15, "steady": 1.0, "heavy": 6.0}
SURFACES = {  # lowest mode in Hz, T60 in s, spacing, damping, slope in dB an octave
    "a tin roof": ((180, 500), (0.03, 0.12), (0.3, 0.7), 0.15, 0.0),
    "a wooden roof": ((120, 300), (0.015, 0.05), (0.4, 0.9), 0.5, 3.0),
    "a tent": ((90, 250), (0.008, 0.03), (0.5, 1.0), 0.5, 3.0),
    "a car roof": ((120, 300), (0.03, 0.08), (0.3, 0.6), 0.3, 2.0),
    "an umbrella": ((250, 600), (0.006, 0.02), (0.5, 1.0), 0.4, 2.0),
}
BREEZES = {  # median strength, depth of the gusts in nepers, gusts a second
    "a light breeze": (0.35, (0.2, 0.5), (0.3, 1.0)),
    "a strong wind": (1.0, (0.3, 0.6), (0.4, 1.2)),
    "gusts of wind": (0.8, (0.7, 1.1), (0.4, 1.0)),
}


def drops(rng: np.random.Generator, seconds: float, rate: float, spread: float = 0.8) -> np.ndarray:
    """Near raindrops: a click on a hard surface, and for some the ring of a bubble in a puddle."""
    low = span(rng, 900, 2500)
    hits = impulses(rng, np.full(size(seconds), rate), spread)
    start = np.flatnonzero(hits)
    hz = span(rng, low, 5 * low, len(start))
    clicks = ring_all(len(hits), start, hz, hz * span(rng, 0.2, 2, len(start)), hits[start])
    puddle = bubbles(rng, np.full(len(hits), rate * rng.uniform(0.05, 0.5)), (0.0004, 0.002), 1.5)
    return clicks / max(clicks.std(), 1e-9) + rng.uniform(0.2, 0.8) * puddle / max(puddle.std(), 1e-9)


def rain(rng: np.random.Generator, seconds: float, strengths: tuple[str, ...] = tuple(STRENGTHS)) -> Take:
    strength = choose(rng, strengths)
    amount = STRENGTHS[strength] * span(rng, 0.7, 1.5)
    far = noise(rng, seconds, *((hz, level + rng.uniform(-3, 3)) for hz, level in DROPS))
    far *= np.exp(0.06 * wobble(rng, seconds, 8))
    near = drops(rng, seconds, min(1500.0, 250 * amount), rng.uniform(0.6, 1.1))
    share = span(rng, 0.5, 1.4) / (1 + 0.15 * amount)
    wav = far + share * near / near.std()
    if strength == "heavy":
        wav += rng.uniform(0.2, 0.6) * noise(rng, seconds, (60, -6), (200, 0), (600, -6), (4000, -30))
    return take(room(wav, rng, 0.2, 0.6, 0.15, tail=False), seconds, strength=strength)


def rain_on(rng: np.random.Generator, seconds: float, surfaces: tuple[str, ...] = tuple(SURFACES)) -> Take:
    """Drops strike a plate, whose modes ring; more rain is heard around it."""
    surface, strength = choose(rng, surfaces), choose(rng, tuple(STRENGTHS))
    hz, t60, spacing, damping, slope = SURFACES[surface]
    rate = np.full(size(seconds), 150 * STRENGTHS[strength] ** 0.7 * span(rng, 0.7, 1.5))
    wav = np.zeros(len(rate))
    for _ in range(3):  # parts of the surface
        plate = body(rng, span(rng, *hz), 14, span(rng, *t60), rng.uniform(*spacing), damping, slope)
        hits = lfilter([1], [1, -np.exp(-1 / (RATE * span(rng, 0.00005, 0.0003)))], impulses(rng, rate, 0.9))
        wav += resonate(hits, plate)
    near = drops(rng, seconds, float(rate[0]), 0.8)
    far = noise(rng, seconds, *DROPS)
    wav = wav / wav.std() + rng.uniform(0.4, 1.0) * near / near.std() + rng.uniform(0.5, 1.2) * far
    return take(room(wav, rng, 0.2, 0.8, 0.2, tail=False), seconds, strength=strength, surface=surface)


def rain_on_leaves(rng: np.random.Generator, seconds: float) -> Take:
    """Drops strike leaves, which flap: dull taps of 200 to 1500 Hz above the rain of the trees around."""
    rate = span(rng, 60, 600)
    start = np.flatnonzero(impulses(rng, np.full(size(seconds), rate), 1))
    force = np.exp(rng.normal(0, 0.9, len(start))) * rng.choice([-1, 1], len(start))
    hz = span(rng, 400, 3500, len(start))
    taps = ring_all(size(seconds), start, hz, hz * span(rng, 1, 4, len(start)), force)
    far = noise(rng, seconds, (100, -18), (600, -6), (2500, 0), (6000, -3), (11000, -10))
    wav = taps / taps.std() + span(rng, 0.5, 1.5) * far * np.exp(0.15 * wobble(rng, seconds, 1.5))
    return take(outdoors(wav, rng, tail=False), seconds)


def rain_on_window(rng: np.random.Generator, seconds: float) -> Take:
    """Drops strike a pane, heard from inside: the rain around is dull, the taps are close."""
    rate, pane = span(rng, 60, 400), body(rng, span(rng, 200, 500), 20, span(rng, 0.004, 0.015), 0.4, 0.2, -1)
    wav = resonate(impulses(rng, np.full(size(seconds), rate), 0.9), pane)
    near = drops(rng, seconds, rate, 0.9)
    far = noise(rng, seconds, (60, -8), (300, 0), (1200, -4), (4000, -10), (11000, -22))
    wav = wav / wav.std() + rng.uniform(0.3, 1) * near / near.std() + span(rng, 0.6, 1.5) * far
    return take(indoors(wav, rng, tail=False), seconds)


def drizzle(rng: np.random.Generator, seconds: float) -> Take:
    far = noise(rng, seconds, (100, -24), (800, -10), (3000, 0), (11000, -3))
    near = drops(rng, seconds, span(rng, 15, 70), 0.7)
    return take(outdoors(far + span(rng, 0.4, 1.2) * near / near.std(), rng, tail=False), seconds)


def bolt(rng: np.random.Generator, seconds: float, distance: float) -> np.ndarray:
    """Thunder of a tortuous channel at a distance in m: its segments send N-waves, which arrive one after another.

    Air absorbs high frequencies with the distance, and hills and clouds echo for several seconds."""
    slope = np.array([*rng.uniform(-0.5, 0.5, 2), 0.4])
    bends = np.repeat(rng.normal(0, 0.6, (180, 3)), 50, 0)
    path = np.cumsum(rng.normal(slope, 0.8, (9000, 3)) + bends, 0) + np.array([distance, 0, 0])
    away = np.linalg.norm(path, axis=1)
    late = ((away - away.min()) / 340 * RATE).astype(int)
    peals = np.repeat(np.exp(rng.normal(0, 1.7, 30)), 300)  # parts of the channel across the line of sight are loud
    force = peals * np.exp(rng.normal(0, 1, len(path)))
    count = size(seconds)
    wave, middle = np.zeros(count), span(rng, 0.0015, 0.005) * (distance / 1000) ** 0.25
    for part in np.array_split(rng.permutation(len(path)), 24):  # the energy of a segment sets the length of its wave
        part = part[late[part] < count]
        drive = np.bincount(late[part], (force / away)[part], minlength=count)
        wave += fftconvolve(drive, np.linspace(1, -1, size(middle * span(rng, 0.3, 3))))[:count]
    far = np.clip((distance + 340 * times(seconds)) / 4000, 0, 1)  # what arrives later has come from farther away
    near, dull = (np.exp(-2 * np.pi * hz / RATE) for hz in (min(6000, 2.5e6 / distance), 250))
    wave = (1 - far) * lfilter([1 - near], [1, -near], wave) + far * lfilter([1 - dull], [1, -dull], wave)
    wave *= np.exp(-times(seconds) / rng.uniform(1.2, 4.0))
    t60 = rng.uniform(3, 7)
    points = ((20, -12), (60, -2), (150, 0), (500, -4), (1500, -14), (5000, -30), (11000, -44))
    tail = turbulence(rng, t60, points, 0.6, rng.uniform(1, 4)) * decay(t60, 0.05, t60)
    echo = fftconvolve(wave, tail)[:count]
    return wave / np.abs(wave).max() + span(rng, 0.3, 1.2) * echo / np.abs(echo).max()


def thunder(rng: np.random.Generator, seconds: float) -> Take:
    where, distance = choose(rng, (("nearby", (500, 1200)), ("distant", (2500, 6000)), ("loud", (700, 1800))))
    wav = bolt(rng, seconds, span(rng, *distance)) * line(seconds, (0, 1), (0.8, 1), (1, 0.1))
    return take(background(room(wav, rng, 0.5, 2, 0.2, tail=False), rng, -36, -20), seconds, where=where)


def thunderstorm(rng: np.random.Generator, seconds: float) -> Take:
    first = min(2.0, 0.3 * seconds) * rng.random()
    claps = [(first, bolt(rng, seconds, span(rng, 400, 3000)))]
    if seconds > 5:
        claps.append((first + rng.uniform(2.5, seconds - 2), rng.uniform(0.3, 1) * bolt(rng, 3, span(rng, 800, 4000))))
    wav, _ = rain(rng, seconds, ("steady", "heavy"))
    return take(place(seconds, claps) + span(rng, 0.04, 0.3) * wav / np.abs(wav).std() * 0.5, seconds)


def wind(rng: np.random.Generator, seconds: float, breezes: tuple[str, ...] = tuple(BREEZES), howling=False) -> Take:
    """Turbulence: the stronger, the higher its spectrum reaches (Farnell 2010, "Designing Sound", ch. 41)."""
    breeze = choose(rng, breezes)
    median, depth, pace = BREEZES[breeze]
    force = median * gusts(rng, seconds, rng.uniform(*depth), span(rng, *pace))
    low = noise(rng, seconds, (20, -3), (90, 0), (300, -6), (900, -20), (4000, -50)) * force
    mid = noise(rng, seconds, (60, -20), (300, -3), (600, 0), (1200, -9), (5000, -36)) * force**1.6
    high = noise(rng, seconds, (300, -20), (1500, 0), (4000, -6), (11000, -20)) * force**2.2
    wav = low + span(rng, 0.3, 1.0) * mid + span(rng, 0.03, 0.15) * high
    if howling:
        base = span(rng, 300, 650)
        for _ in range(int(rng.integers(2, 5))):
            rate = force ** rng.uniform(0.15, 0.35) * np.exp(0.04 * wobble(rng, seconds, 6))
            tone = whistle(rng, np.minimum(base * rate, 4000), span(rng, 20, 90))
            wav += span(rng, 0.1, 0.6) * tone * force**1.8
            base *= rng.uniform(1.2, 1.7)
    return take(room(wav, rng, 0.3, 1.2, 0.15, tail=False), seconds, breeze=breeze)


def storm(rng: np.random.Generator, seconds: float) -> Take:
    air, _ = wind(rng, seconds, ("a strong wind", "gusts of wind"), bool(rng.integers(2)))
    fall, words = rain(rng, seconds, ("heavy", "steady"))
    beat = np.exp(0.4 * wobble(rng, seconds, 0.8))
    return take(air / air.std() + span(rng, 0.2, 0.5) * beat * fall / fall.std(), seconds, **words)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "rain": (rain, True, (2, 10)),
    "rain on a roof": (rain_on, True, (2, 10)),
    "rain on leaves": (rain_on_leaves, True, (2, 10)),
    "rain on a window": (rain_on_window, True, (2, 10)),
    "drizzle": (drizzle, True, (2, 10)),
    "thunder": (thunder, False, (3.5, 9)),
    "thunderstorm": (thunderstorm, True, (4, 10)),
    "wind": (wind, True, (3, 10)),
    "breeze": (partial(wind, breezes=("a light breeze",)), True, (3, 10)),
    "howling wind": (partial(wind, breezes=("a strong wind", "gusts of wind"), howling=True), True, (3, 10)),
    "storm": (storm, True, (3, 10)),
}, "textures.tsv")
# fmt: on
