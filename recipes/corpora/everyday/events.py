"""Steps, doors, blows, bangs and bounces: sounds of everyday actions with captions that are true of each take."""

from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    NUMBERS,
    Take,
    band,
    body,
    choose,
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
    outdoors,
    pavement,
    place,
    repeat,
    room,
    saturate,
    size,
    span,
    square,
    strike,
    swell,
    take,
    times,
    wobble,
)
from recipes.corpora.everyday.blows import blows

SURFACES = {  # what a step rings and grinds: the lowest mode in Hz, T60 in seconds, the level and the pitch of the grit
    "concrete": {"hz": (420, 900), "t60": (0.025, 0.05), "grit": (0.04, 0.12), "grit_hz": (1300, 2200)},
    "wood": {"hz": (200, 420), "t60": (0.035, 0.07), "grit": (0.03, 0.08), "grit_hz": (900, 1600)},
    "gravel": {"hz": (250, 800), "t60": (0.025, 0.045), "grit": (0.15, 0.45), "grit_hz": (900, 2000)},
}


def steps(rng: np.random.Generator, seconds: float, every: tuple[float, float], toe: tuple[float, float]) -> Take:
    """Steps: the heel, the toes after a share `toe` of a second, and grit that is ground between them."""
    surface = choose(rng, tuple(SURFACES))
    one = draw(
        rng, every=every, toe=toe, toes=(0.03, 0.5), spacing=(0.15, 1.2), damping=(0.1, 1), slope=(0.5, 8),
        contact=(0.002, 0.02), scuff=(0.02, 0.3), low=(150, 2500), scuff_t60=(0.01, 0.06), vary=(0.01, 0.15),
        **SURFACES[surface],
    )  # fmt: skip
    count, length, side = int(rng.integers(14, 45)), 0.45, iter(range(10**6))
    shoes = [
        body(rng, one["hz"] * rng.uniform(0.92, 1.08), count, one["t60"], one["spacing"], one["damping"], one["slope"])
        for _ in range(2)
    ]
    press = np.interp(times(length), [0, 0.01, one["toe"] + 0.05, one["toe"] + 0.12], [0, 1, 0.6, 0])

    def thump(shoe: np.ndarray, contact: float) -> np.ndarray:
        shoe = shoe * [float(np.exp(one["vary"] * rng.standard_normal())), 1, 1]
        shoe[:, 2] *= np.exp(4 * one["vary"] * rng.standard_normal(count))
        wav = strike(shoe, length, contact)
        return wav / np.abs(wav).max()

    def step() -> np.ndarray:
        shoe = shoes[next(side) % 2]
        grit = grains(rng, 900 * press, (one["grit_hz"], 2 * one["grit_hz"]), (0.002, 0.015), 6)
        scuff = band(rng, length, one["low"], 4 * one["low"], 6) * decay(length, 0.002, one["scuff_t60"])
        heel = thump(shoe, one["contact"]) + one["scuff"] * scuff / np.abs(scuff).max()
        toes = one["toes"] * thump(shoe, 1.5 * one["contact"])
        wav = place(length, [(0, heel), (one["toe"] * rng.uniform(0.85, 1.15), toes)])
        return (wav + one["grit"] * grit / max(np.abs(grit).max(), 1e-9)) * rng.uniform(0.6, 1)

    return take(pavement(repeat(rng, seconds, one["every"], step, 0.06), rng, tail=False), seconds, surface=surface)


def slam(rng: np.random.Generator, seconds: float) -> Take:
    """The latch touches, the leaf hits the frame and rings it, the air in the gap is squeezed out, the latch rattles."""
    one = draw(rng, hz=(50, 150), t60=(0.06, 0.4), leaf=(0.1, 1), hiss=(300, 4000), air=(0.3, 1.0), air_t60=(0.06, 0.4),
               latch=(0.03, 0.8), pause=(0.03, 0.3), contact=(0.001, 0.006), drive=(0.5, 5))  # fmt: skip
    length = 0.8
    thud = strike(body(rng, one["hz"], 25, one["t60"], rng.uniform(0.3, 0.8), 0.7, 2), length, one["contact"])
    gust = noise(rng, length, (20, -6), (80, 0), (0.3 * one["hiss"], -3), (one["hiss"], -15), (12000, -40))
    gust *= decay(length, 0.003, one["air_t60"])
    click = strike(body(rng, rng.uniform(600, 3000), 10, 0.04), 0.2, 0.0004)
    click *= one["latch"] / np.abs(click).max()
    blow = one["leaf"] * thud / np.abs(thud).max() + one["air"] * gust / np.abs(gust).max()
    when = one["pause"]
    parts = [(0.3 * when, 0.5 * click), (when, blow), (when + rng.uniform(0.005, 0.06), click)]
    return take(indoors(saturate(place(1.2, parts), one["drive"]), rng), seconds)


def knock(rng: np.random.Generator, seconds: float) -> Take:
    count = int(rng.integers(2, 6))
    every, wood = rng.uniform(0.14, 0.3), body(rng, rng.uniform(120, 320), 14, rng.uniform(0.06, 0.14), 0.5, 0.5, 3)
    hits = [
        (i * every * rng.uniform(0.96, 1.04), strike(wood, 0.4, 0.0015) * rng.uniform(0.7, 1)) for i in range(count)
    ]
    return take(room(place(count * every + 0.4, hits), rng, 0.3, 0.8, 0.25), seconds, count=NUMBERS[count])


def cork(rng: np.random.Generator, seconds: float) -> Take:
    """The neck of a bottle rings as a Helmholtz resonator when the cork leaves it."""
    length, hz = 0.3, rng.uniform(450, 900)
    glide_up = np.sin(2 * np.pi * np.cumsum(hz * (1 + 0.5 * np.minimum(times(length) / 0.03, 1))) / 24000)
    wav = glide_up * decay(length, 0.001, 0.06) + 0.3 * band(rng, length, 500, 4000, 9) * decay(length, 0.0005, 0.02)
    fizz = grains(rng, 2500 * decay(1.2, 0.05, 2.0), (3000, 9000), (0.001, 0.004)) * rng.uniform(0, 0.02)
    wav = place(1.2, [(0, wav), (0.02, fizz)])
    return take(room(wav, rng, 0.3, 0.6, 0.25), seconds)


def _shot(rng: np.random.Generator, length: float, t60: float, dark: float) -> np.ndarray:
    """A muzzle blast: Friedlander's pressure wave, and noise that loses its high frequencies."""
    time = times(length)
    positive = rng.uniform(0.0015, 0.005)
    blast = (1 - time / positive) * np.exp(-time / positive)
    burst = noise(rng, length, (20, -12), (200, 0), (dark, 0), (12000, -25)) * decay(length, 0.0005, t60)
    boom = noise(rng, length, (20, -6), (60, 0), (250, -6), (2000, -40)) * decay(length, 0.002, 3 * t60)
    return blast + 0.5 * burst + 0.35 * boom


def machine_gun(rng: np.random.Generator, seconds: float) -> Take:
    rate, shot = rng.uniform(8, 14), saturate(_shot(rng, 0.3, rng.uniform(0.06, 0.12), span(rng, 800, 3000)), 3)
    gate = wobble(rng, seconds, 0.8) > -0.8
    times_of = [t for t in onsets(rng, seconds, 1 / rate, 0.02) if gate[min(size(t), len(gate) - 1)] or t > seconds - 1]
    wav = place(seconds, [(t, shot * rng.uniform(0.8, 1)) for t in times_of])
    return take(square(wav, rng, tail=False), seconds)


def _boom(rng: np.random.Generator, length: float) -> np.ndarray:
    """An explosion: a crack, then rumbling whose high frequencies die first."""
    wav = 1.5 * _shot(rng, length, rng.uniform(0.1, 0.3), span(rng, 500, 2000))
    for low, high, t60 in ((20, 120, 0.9), (100, 500, 0.6), (400, 2500, 0.35)):
        envelope = decay(length, rng.uniform(0.005, 0.05), t60 * length) * np.exp(0.5 * wobble(rng, length, 12))
        wav += band(rng, length, low, high, 12) * envelope * rng.uniform(0.4, 0.9)
    return saturate(wav, 4)


def explosion(rng: np.random.Generator, seconds: float) -> Take:
    length = rng.uniform(1.5, seconds - 1)
    debris = grains(rng, 60 * line(length, (0, 0), (0.3, 1), (1, 0)), (300, 3000), (0.005, 0.03)) * 0.03
    return take(square(_boom(rng, length) + debris * rng.uniform(0, 1), rng), seconds)


def _rocket(rng: np.random.Generator) -> np.ndarray:
    rise, wait = rng.uniform(0.5, 1.1), rng.uniform(0.05, 0.4)
    hz = glide(rise, (0, span(rng, 900, 2500)), (1, span(rng, 2000, 5000)))
    whistle = np.sin(2 * np.pi * np.cumsum(hz * (1 + 0.01 * wobble(rng, rise, 60))) / 24000) * swell(rise, 0.2, 0.2)
    hiss = band(rng, rise, 1500, 6000, 9) * swell(rise, 0.1, 0.3)
    crackle = grains(rng, rng.uniform(20, 120) * line(1.5, (0, 0), (0.2, 1), (1, 0)), (800, 6000), (0.01, 0.04), 8, 0.5)
    boom = _boom(rng, rng.uniform(0.8, 1.6))
    parts = [(0, (whistle * choose(rng, (0, 0.15)) + hiss * 0.03)), (rise + wait, boom * rng.uniform(0.5, 1))]
    return place(4.0, [*parts, (rise + wait + 0.3, crackle * 0.35 * choose(rng, (0, 1)))])


def fireworks(rng: np.random.Generator, seconds: float) -> Take:
    wav = repeat(rng, seconds + 1.5, rng.uniform(0.5, 1.2), partial(_rocket, rng), 0.4)[: size(seconds)]
    pops = grains(rng, 6 * np.ones(size(seconds)), (150, 900), (0.05, 0.2)) * 0.15
    return take(square(wav + pops, rng, tail=False), seconds)


def firecracker(rng: np.random.Generator, seconds: float) -> Take:
    bangs = [_shot(rng, 0.15, rng.uniform(0.02, 0.06), 4000) for _ in range(6)]
    when = onsets(rng, seconds, 1 / rng.uniform(10, 25), 0.5)
    wav = place(seconds, [(t, choose(rng, bangs) * span(rng, 0.3, 1)) for t in when])
    return take(square(saturate(wav, 1.5), rng, tail=False), seconds)


def whip(rng: np.random.Generator, seconds: float) -> Take:
    length = rng.uniform(0.2, 0.45)
    hiss = band(rng, length, 700, 3000, 9) * glide(length, (0, 0.003), (0.95, 0.2), (1, 0.1))
    crack = _shot(rng, 0.3, 0.03, 6000)
    return take(outdoors(place(length + 0.3, [(0, hiss), (length, crack)]), rng), seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "footsteps": (partial(steps, every=(0.38, 0.62), toe=(0.07, 0.16)), True, (2, 10)),
    "running": (partial(steps, every=(0.25, 0.34), toe=(0.04, 0.08)), True, (2, 10)),
    "door slam": (slam, False, (0.6, 2)),
    "knock": (knock, False, (0.8, 2.5)),
    "wood chopping": (partial(
            blows, every=(0.4, 0.9), hz=(100, 900), t60=(0.02, 0.12), burst=(0.3, 2), slope=(-1, 4), debris=(0.02, 1),
            debris_hz=(1500, 4000), uneven=0.12, scene=outdoors,
        ), True, (2, 10)),
    "hammering": (partial(
            blows, every=(0.3, 0.6), hz=(900, 1700), t60=(0.02, 0.15), contact=(0.0006, 0.0035), burst=(0.4, 1.5),
            low=(300, 3000), debris=(0.005, 0.05), debris_hz=(2500, 4200), uneven=0.1,
        ), True, (2, 10)),
    "balloon pop": (partial(
            blows, every=(0.4, 0.7), hz=(150, 900), t60=(0.015, 0.06), spacing=(0.4, 0.9), burst=(0.8, 3), low=(200, 600),
            high=(2000, 6000), burst_t60=(0.15, 0.5), count=(1, 2),
        ), False, (0.4, 1.2)),
    "cork pop": (cork, False, (0.4, 1.6)),
    "gunshot": (partial(
            blows, every=(0.4, 1.0), hz=(200, 1150), t60=(0.02, 0.08), burst=(0.7, 2.5), low=(350, 1400), high=(2000, 9000),
            burst_t60=(0.18, 0.5), drive=(1, 4), uneven=0.15, count=(1, 5), scene=square,
        ), False, (1, 4.5)),
    "machine gun": (machine_gun, True, (2, 10)),
    "explosion": (explosion, False, (3.5, 6)),
    "fireworks": (fireworks, True, (3, 10)),
    "firecracker": (firecracker, True, (2, 10)),
    "hand clap": (partial(
            blows, every=(0.14, 0.4), hz=(600, 1800), t60=(0.015, 0.035), contact=(0.0003, 0.002), burst=(0.08, 2),
            low=(700, 1400), high=(2000, 6000), burst_t60=(0.012, 0.05), debris=(0.005, 0.06), scene=close,
        ), True, (2, 10)),
    "slap": (partial(
            blows, every=(0.4, 0.7), hz=(170, 450), t60=(0.02, 0.08), burst=(0.3, 3), low=(300, 1500), high=(2500, 8000),
            burst_t60=(0.12, 0.35), count=(1, 2),
        ), False, (0.4, 1)),
    "whip": (whip, False, (0.6, 1.8)),
})
# fmt: on
