"""Small things: glass, coins, keys, paper, scissors, switches, clocks, dice, chains and poured water."""

from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    body,
    close,
    decay,
    described,
    draw,
    glide,
    grains,
    indoors,
    line,
    noise,
    onsets,
    partials,
    pavement,
    phase,
    place,
    repeat,
    size,
    span,
    strike,
    swell,
    take,
    wobble,
)

WINE_GLASS = (1, 2.32, 4.25, 6.63, 9.38)  # bending modes of a glass; French 1983, Am. J. Phys. 51


def glass_break(rng: np.random.Generator, seconds: float) -> Take:
    """The pane bursts; shards ring at 2 to 10 kHz and fall on the floor for about a second."""
    length = rng.uniform(1.0, min(2.5, seconds - 0.3))
    crash = band(rng, length, 1500, 9000, 6) * decay(length, 0.001, rng.uniform(0.1, 0.25))
    rate = 900 * decay(length, 0.002, 0.6 * length) + 120 * line(length, (0, 0), (0.15, 0), (0.3, 1), (1, 0))
    shards = grains(rng, rate, (2200, 10000), (0.03, 0.25), 30, 0.9)
    wav = crash * 0.5 + shards / np.abs(shards).max() * 2 + strike(body(rng, 300, 8, 0.05), length, 0.001)
    return take(indoors(wav, rng), seconds)


def clink(rng: np.random.Generator, seconds: float) -> Take:
    count, every = int(rng.integers(1, 4)), rng.uniform(0.35, 0.7)

    def glasses() -> np.ndarray:
        return sum(
            strike(
                partials(span(rng, 1100, 2800), WINE_GLASS, rng.uniform(0.5, 1.2), 0.8, (0, -3, -6, -12, -18)),
                1.3,
                0.0002,
            )
            * rng.uniform(0.4, 1)
            for _ in range(2)
        )

    wav = place((count - 1) * every + 1.3, [(i * every, glasses()) for i in range(count)])
    return take(indoors(wav, rng), seconds)


def keys(rng: np.random.Generator, seconds: float) -> Take:
    shake = np.clip(0.4 + 0.8 * wobble(rng, seconds, 7), 0.02, 3)
    wav = grains(rng, rng.uniform(40, 110) * shake, (3500, 10500), (0.02, 0.16), 24, 0.8)
    return take(indoors(wav + grains(rng, 12 * shake, (1800, 4500), (0.02, 0.08)), rng, tail=False), seconds)


def paper(rng: np.random.Generator, seconds: float) -> Take:
    """Crumpling: thousands of buckling events with a power law of energies (Houle & Sethna 1996)."""
    low = span(rng, 1500, 3600)
    gesture = np.clip(0.6 + wobble(rng, seconds, span(rng, 1, 9)), 0.02, 4)
    wav = grains(rng, span(rng, 100, 2000) * gesture, (low, 4 * low), (0.001, 0.006), 16, rng.uniform(1, 1.8))
    rustle = band(rng, seconds, 2000, 9000, 6) * gesture * span(rng, 0.01, 0.5)
    return take(close(wav / wav.std() + rustle, rng, tail=False), seconds)


def camera(rng: np.random.Generator, seconds: float) -> Take:
    """A single-lens reflex: the mirror flies up, the curtains run, the mirror falls and the next exposure is wound."""
    parts, now = [], 0.02
    case = body(rng, rng.uniform(900, 1800), 16, 0.02, 0.3, 0.2, 0)
    for _ in range(int(rng.integers(1, 4))):
        run = rng.uniform(0.06, 0.16)
        for start, force in ((0, 0.8), (0.012, 0.4), (run, 1.0), (run + 0.015, 0.5)):
            hit = strike(case * [rng.uniform(0.9, 1.1), 1, 1], 0.1, 0.0003)
            parts.append((now + start, force * hit / np.abs(hit).max()))
        whir = 0.12 * band(rng, run, 1500, 7000, 6) * swell(run, 0.01, 0.02)
        parts.append((now, whir))
        now += run + rng.uniform(0.25, 0.8)
    return take(indoors(place(now, parts), rng), seconds)


def clock(rng: np.random.Generator, seconds: float, every: tuple[float, float]) -> Take:
    """An escapement: tick and tock differ a little; each is two contacts, which ring the wheels and the case."""
    one = draw(
        rng, every=every, hz=(600, 3500), t60=(0.006, 0.08), spacing=(0.15, 0.8), gap=(0.002, 0.03), first=(0.05, 1),
        case=(300, 900), case_t60=(0.06, 0.15), knock=(0.02, 1), burst=(0.02, 1), low=(1000, 6000),
        burst_t60=(0.003, 0.03), contact=(0.0001, 0.0008),
    )  # fmt: skip
    sides = [body(rng, one["hz"] * rng.uniform(0.9, 1.1), 12, one["t60"], one["spacing"], 0.3, 1) for _ in range(2)]
    case = body(rng, one["case"], 10, one["case_t60"], 0.5)

    def tick(side: int) -> np.ndarray:
        rush = band(rng, 0.1, one["low"], 9000, 6) * decay(0.1, 0.0003, one["burst_t60"])
        parts = strike(sides[side], 0.15, one["contact"]), strike(case, 0.25, 0.001), rush
        wheel, box, rush = (part / np.abs(part).max() for part in parts)
        hits = ((0, one["first"] * wheel), (one["gap"], wheel), (one["gap"], one["knock"] * box))
        return place(0.3, [*hits, (one["gap"], one["burst"] * rush)]) * rng.uniform(0.85, 1)

    when = onsets(rng, seconds, one["every"], 0.01)
    wav = place(seconds, [(t, tick(number % 2)) for number, t in enumerate(when)])
    return take(pavement(wav, rng, tail=False), seconds)


def metronome(rng: np.random.Generator, seconds: float) -> Take:
    case, rate = body(rng, rng.uniform(900, 1900), 8, 0.03, 0.5, 0.4, 3), rng.uniform(1, 3.4)
    wav = repeat(rng, seconds, 1 / rate, lambda: strike(case, 0.2, 0.0004), 0.0)
    return take(indoors(wav, rng, tail=False), seconds)


def pour(rng: np.random.Generator, seconds: float) -> Take:
    """Bubbles ring at Minnaert's frequencies, and the air column in the glass shortens as it fills."""
    fill = span(rng, 280, 600) * glide(seconds, (0, 1), (1, rng.uniform(2, 4)))
    bubbles = sum(
        grains(rng, np.full(size(seconds), span(rng, 60, 250)), band_of, (0.008, 0.04), 24, 0.7)
        for band_of in ((500, 1500), (1200, 4000))
    )
    rush = noise(rng, seconds, (100, -10), (600, 0), (3000, -6), (10000, -20))
    cavity = sum(
        np.sin(2 * np.pi * phase(fill * ratio)) * wobble(rng, seconds, 90) * level
        for ratio, level in ((1, 0.8), (3.05, 0.3))
    )
    wav = bubbles / bubbles.std() + 0.35 * rush + 0.6 * cavity
    return take(wav * np.exp(0.2 * wobble(rng, seconds, 6)) * line(seconds, (0, 0.4), (0.05, 1), (1, 1)), seconds)


def chain(rng: np.random.Generator, seconds: float) -> Take:
    pull = np.clip(0.5 + 0.9 * wobble(rng, seconds, 4), 0.03, 3)
    wav = grains(rng, rng.uniform(50, 120) * pull, (900, 6000), (0.02, 0.12), 24, 0.7)
    return take(indoors(wav, rng, tail=False), seconds)


def marbles(rng: np.random.Generator, seconds: float) -> Take:
    ball = partials(1.0, (1, 1.5, 1.9), 0.03, 0.3, (0, -6, -10))
    rate = 30 * decay(seconds, 0.1, 2.5 * seconds) + 3
    hits = [
        t
        for t in np.cumsum(rng.exponential(1 / rate[0], 400))
        if t < seconds and rng.random() < rate[size(t) - 1] / rate[0]
    ]
    wav = place(
        seconds,
        [
            (t, strike(ball * [span(rng, 3000, 6000), 1, 1], 0.1, 0.0001) * span(rng, 0.1, 1))
            for t in [*hits, seconds - 0.4]
        ],
    )
    roll = (
        noise(rng, seconds, (60, -6), (300, 0), (2000, -10), (8000, -25)) * np.exp(0.4 * wobble(rng, seconds, 8)) * 0.01
    )
    return take(indoors(wav + roll, rng, tail=False), seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "glass breaking": (glass_break, False, (1.5, 3.5)),
    "clinking glasses": (clink, False, (1, 3.2)),
    "keys": (keys, True, (1.5, 8)),
    "paper": (paper, True, (1.5, 8)),
    "camera": (camera, False, (0.4, 2.5)),
    "clock": (partial(clock, every=(0.4, 0.85)), True, (2, 10)),
    "metronome": (metronome, True, (2, 10)),
    "pouring": (pour, True, (2, 8)),
    "chain": (chain, True, (2, 8)),
    "marbles": (marbles, True, (1.5, 4)),
})
# fmt: on
