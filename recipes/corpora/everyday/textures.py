"""Fire, leaves, applause, steam and noise."""

from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    body,
    choose,
    decay,
    described,
    indoors,
    noise,
    phase,
    place,
    resonate,
    room,
    size,
    span,
    swell,
    take,
    wobble,
)
from recipes.corpora.everyday.clouds import gusts, impulses, power_law, ring_all, turbulence, whistle
from recipes.corpora.manifests import RATE


def leaves(rng: np.random.Generator, seconds: float, dry: bool = False) -> Take:
    """Leaves strike each other: very many short clicks of 2 to 9 kHz in gusts; dry leaves crackle one by one."""
    force = gusts(rng, seconds, rng.uniform(0.6, 1.2), span(rng, 0.7, 5 if dry else 3))
    hits = np.flatnonzero(impulses(rng, np.minimum(span(rng, 300, 1500) * force**1.5, 3000)))
    hz, low = span(rng, 1500, 9000, len(hits)), span(rng, 800, 2000)
    loud = power_law(rng, 0.1, 1, 1.6 if dry else 3.0, len(hits)) * rng.choice([-1, 1], len(hits))
    clicks = ring_all(len(force), hits, hz, hz * span(rng, 0.3, 2, len(hits)), loud)
    points = ((low / 8, -30), (low, -9), (3500, 0), (11900, -2))
    rush = turbulence(rng, seconds, points, rng.uniform(0.1, 0.35), span(rng, 8, 30)) * force**1.5
    air = noise(rng, seconds, (30, -3), (120, 0), (500, -12), (3000, -40)) * force
    wav = (
        clicks / clicks.std()
        + span(rng, *((0.1, 0.4) if dry else (1.2, 4))) * rush
        + span(rng, *((0.02, 0.2) if dry else (0.3, 1.5))) * air
    )
    return take(room(wav, rng, 0.2, 0.5, 0.08, tail=False), seconds)


def fire(rng: np.random.Generator, seconds: float) -> Take:
    """Crackles of bursting cells with a power law of energies, the lapping of flames, and hiss (Farnell 2010)."""
    place_of, low = choose(rng, (("campfire", 1.0), ("fireplace", 0.7), ("bonfire", 1.6)))
    rate = span(rng, 15, 60) * np.exp(rng.uniform(0.5, 1.2) * wobble(rng, seconds, span(rng, 2, 8)))
    hits = np.flatnonzero(impulses(rng, np.minimum(rate, 800)))
    hz = span(rng, 900, 9000, len(hits))
    loud = power_law(rng, 0.03, 1, 1.6, len(hits)) * rng.choice([-1, 1], len(hits))
    crackle = ring_all(size(seconds), hits, hz, hz * span(rng, 0.4, 3, len(hits)), loud)
    tiny = impulses(rng, np.full(size(seconds), span(rng, 100, 600)), 1.0)
    tiny = resonate(tiny, np.array([[span(rng, 2000, 6000), 0.001, 1.0]]))
    pops = [
        (
            t,
            span(rng, 0.2, 1)
            * band(rng, 0.03, span(rng, 400, 1200), 6000, 6)
            * decay(0.03, 0.0003, span(rng, 0.006, 0.03)),
        )
        for t in rng.uniform(0, seconds, rng.poisson(seconds * span(rng, 0.8, 4)))
    ]
    flames = noise(rng, seconds, (20, -3), (70, 0), (250, -5), (900, -14), (4000, -34))
    flames *= np.exp(0.5 * wobble(rng, seconds, 9))
    hiss = noise(rng, seconds, (300, -24), (2000, -3), (6000, 0), (11000, -4)) * np.exp(0.3 * wobble(rng, seconds, 3))
    wav = crackle / np.abs(crackle).max() + 0.15 * tiny / max(np.abs(tiny).max(), 1e-9) + 0.25 * place(seconds, pops)
    wav += low * span(rng, 0.002, 0.015) * flames + span(rng, 0.001, 0.006) * hiss
    return take(room(wav, rng, 0.2, 0.6, 0.1, tail=False), seconds, place=place_of)


def clap(rng: np.random.Generator) -> np.ndarray:
    """Returns one clap of two hands, whose cup resonates at 600 to 2500 Hz (Repp 1987, J. Acoust. Soc. Am. 81)."""
    wav = band(rng, 0.03, 400, 8000, 6) * decay(0.03, 0.0005, span(rng, 0.008, 0.025))
    cup, t60 = span(rng, 700, 2500), span(rng, 0.003, 0.01)
    ring = resonate(wav, np.array([[cup, t60, 1.0], [2.3 * cup, 0.5 * t60, 0.5]]))
    return ring / np.abs(ring).max() + span(rng, 0.3, 1.0) * wav / np.abs(wav).max()


def applause(rng: np.random.Generator, seconds: float, people: tuple[float, float], t60: tuple, wet: float) -> Take:
    """Every person claps at an own rate of 2.5 to 5 a second, at an own distance, with hands of an own size."""
    wav = np.zeros(size(seconds) + RATE // 10)
    for _ in range(round(span(rng, *people))):
        hands, force = clap(rng), 1 / np.sqrt(rng.uniform(1, 100 if people[1] > 20 else 4))
        every, now = 1 / rng.uniform(2.7, 5.2), rng.uniform(-0.3, 0)
        gaps = every * np.maximum(
            0.4, 1 + rng.uniform(0.03, 0.12) * rng.standard_normal(int(seconds / every / 0.6) + 4)
        )
        when = ((now + np.cumsum(gaps)) * RATE).astype(int)
        when = when[(when >= 0) & (when < size(seconds))]
        where = when[:, None] + np.arange(len(hands))
        loud = force * rng.uniform(0.6, 1, len(when))[:, None] * hands
        wav += np.bincount(where.ravel(), loud.ravel(), minlength=len(wav))[: len(wav)]
    return take(room(wav[: size(seconds)], rng, *t60, wet, tail=False), seconds)


def jet(
    rng: np.random.Generator,
    seconds: float,
    hz: tuple[float, float],
    slope: float,
    flutter: tuple[float, float],
    low: float,
) -> Take:
    """Gas through an opening: noise that peaks near a Strouhal frequency and falls by `slope` dB an octave above it."""
    peak = span(rng, *hz)
    wav = noise(rng, seconds, (peak / 16, -low), (peak, 0), (min(11000, peak * 2), -slope), (11999, -2 * slope))
    wav *= np.exp(span(rng, *flutter) * wobble(rng, seconds, span(rng, 4, 30)))
    lip = whistle(
        rng, np.full(size(seconds), peak * rng.uniform(0.7, 1.5)) * np.exp(0.02 * wobble(rng, seconds, 8)), 150
    )
    return take(indoors(wav + rng.uniform(0, 0.4) * lip, rng, tail=False), seconds)


def spray(rng: np.random.Generator, seconds: float) -> Take:
    """A can or a bottle sprays in bursts, each with a sharp start; drops hiss between 2 and 11 kHz."""
    parts, now = [], rng.uniform(0, 0.15)
    peak, length = span(rng, 3000, 7000), choose(rng, ((0.12, 0.3), (0.4, 1.5)))
    while now < seconds - 0.1:
        puff = rng.uniform(*length)
        wav = noise(rng, puff, (300, -35), (peak / 2, -6), (peak, 0), (11900, -3)) * swell(puff, 0.015, 0.05)
        parts.append((now, wav * (1 + 0.6 * decay(puff, 0.005, 0.1)) * np.exp(0.08 * wobble(rng, puff, 40))))
        now += puff + rng.uniform(0.15, 0.4)
    return take(room(place(seconds, parts), rng, 0.2, 0.5, 0.1, tail=False), seconds)


def coloured(rng: np.random.Generator, seconds: float, slope: float) -> Take:
    """Noise whose power density falls by `slope` dB an octave from 20 Hz on."""
    octaves = np.log2(11999 / 20)
    return take(noise(rng, seconds, (20, 0), (11999, -slope * octaves)) * span(rng, 0.5, 1), seconds)


def static(rng: np.random.Generator, seconds: float) -> Take:
    """A radio between stations: noise through the receiver's band, crackles of lightning, drifting heterodynes."""
    top, low = choose(rng, (span(rng, 2500, 4500), 11000, 11000)), span(rng, 20, 300)
    wav = band(rng, seconds, low, top, 24) * np.exp(span(rng, 0.02, 0.3) * wobble(rng, seconds, span(rng, 1, 12)))
    crackle = impulses(rng, span(rng, 3, 120) * np.exp(wobble(rng, seconds, 4)), 1.0)
    crackle = resonate(crackle, np.array([[span(rng, 1200, 3500), 0.002, 1.0], [span(rng, 300, 900), 0.004, 0.6]]))
    wav += span(rng, 0.3, 1.5) * crackle / max(np.abs(crackle).max(), 1e-9) * 5
    if rng.random() < 0.3:
        drift = span(rng, 400, 2000) * np.exp(0.05 * wobble(rng, seconds, 0.7))
        wav += rng.uniform(0.05, 0.25) * np.sin(2 * np.pi * phase(drift))
    return take(wav, seconds)


def frying(rng: np.random.Generator, seconds: float) -> Take:
    """Water bursts out of hot fat: thousands of clicks a second that blend into a sizzle, and a few spatters."""
    rate = np.minimum(span(rng, 700, 2500) * np.exp(0.2 * wobble(rng, seconds, 6)), 4000)
    hits = np.flatnonzero(impulses(rng, rate))
    hz = span(rng, 2000, 10000, len(hits))
    loud = power_law(rng, 0.02, 1, span(rng, 1.6, 2.4), len(hits)) * rng.choice([-1, 1], len(hits))
    clicks = ring_all(len(rate), hits, hz, hz * span(rng, 0.3, 2, len(hits)), loud)
    hiss = noise(rng, seconds, (200, -30), (1500, -8), (4000, 0), (11000, -2)) * np.exp(0.15 * wobble(rng, seconds, 5))
    pan = resonate(clicks, body(rng, span(rng, 400, 900), 8, 0.03, 0.6, 0.3, 2))
    wav = clicks / clicks.std() + span(rng, 0.2, 1.0) * hiss + span(rng, 0.05, 0.3) * pan / pan.std()
    return take(indoors(wav, rng, tail=False), seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "rustling leaves": (leaves, True, (2, 10)),
    "dry leaves": (partial(leaves, dry=True), True, (2, 10)),
    "fire": (fire, True, (2, 10)),
    "frying": (frying, True, (2, 10)),
    "applause": (partial(applause, people=(60, 250), t60=(0.6, 2), wet=0.3), True, (2, 10)),
    "clapping": (partial(applause, people=(4, 14), t60=(0.3, 1), wet=0.2), True, (2, 10)),
    "steam": (partial(jet, hz=(3000, 7000), slope=3, flutter=(0.03, 0.2), low=30), True, (2, 10)),
    "air leak": (partial(jet, hz=(2000, 5000), slope=5, flutter=(0.01, 0.06), low=40), True, (2, 10)),
    "spray": (spray, True, (2, 6)),
    "white noise": (partial(coloured, slope=0), True, (2, 10)),
    "pink noise": (partial(coloured, slope=3.01), True, (2, 10)),
    "brown noise": (partial(coloured, slope=6.02), True, (2, 10)),
    "static": (static, True, (2, 10)),
}, "textures.tsv")
# fmt: on
