"""Combustion engines, electric motors and rotors, and the vehicles that they drive."""

from collections.abc import Sequence
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
    draw,
    glide,
    line,
    noise,
    outdoors,
    partials,
    phase,
    place,
    resonate,
    room,
    saturate,
    size,
    span,
    strike,
    take,
    wobble,
)
from recipes.corpora.everyday.clouds import radiated
from recipes.corpora.everyday.voices import harmonics
from recipes.corpora.manifests import RATE

SOUND_SPEED = 343.0  # m/s


def firings(rng: np.random.Generator, hz: np.ndarray, cylinders: int, uneven: float, jitter: float) -> np.ndarray:
    """Returns an impulse for each firing at a moving rate [sample] in Hz: rpm / 60 * cylinders / 2 for four strokes.

    Each cylinder has its own strength, and each cycle differs a little."""
    turns = phase(hz)
    count = int(turns[-1]) + 1
    where = np.searchsorted(turns, np.sort(np.arange(count) + rng.uniform(0, 1) + jitter * rng.standard_normal(count)))
    own = np.exp(uneven * rng.standard_normal(cylinders))[np.arange(count) % cylinders]
    force = own * np.exp(0.5 * uneven * rng.standard_normal(count))
    return np.bincount(where[where < len(hz)], force[where < len(hz)], minlength=len(hz))


def engine(
    rng: np.random.Generator,
    hz: np.ndarray,
    cylinders: int,
    pipe: float,
    uneven: float = 0.15,
    jitter: float = 0.02,
    hardness: float = 400.0,
    knock: float = 0.2,
    breath: float = 0.3,
    whine: float = 0.1,
) -> np.ndarray:
    """Returns the sound of an engine that fires `hz` [sample] times a second.

    A firing is a pulse of exhaust gas with a cutoff of `hardness` Hz, which rings the odd modes of a `pipe` in Hz and
    carries turbulent `breath`; it `knock`s on the block, whose modes lie above 400 Hz; gears and fan `whine`."""
    seconds, drive = len(hz) / RATE, firings(rng, hz, cylinders, uneven, jitter)
    slow = np.exp(-2 * np.pi * hardness / RATE)
    puff = lfilter([1], [1, -2 * slow, slow**2], drive)
    puff = radiated(puff)
    exhaust = resonate(puff, partials(pipe, (1, 3, 5, 7, 9), 0.05, 0.7, (0, -3, -7, -12, -16)))
    exhaust = exhaust / exhaust.std() + 0.7 * puff / puff.std()
    gas = lfilter([1], [1, -np.exp(-1 / (0.004 * RATE))], drive)
    rush = noise(rng, seconds, (100, -8), (400, 0), (1500, -4), (5000, -14), (11000, -28)) * (gas / gas.mean() + 0.3)
    block = resonate(drive, body(rng, span(rng, 400, 900), 18, 0.02, 0.35, 0.3, 2))
    gear = harmonics(hz * rng.uniform(5, 11), 6) + 0.5 * harmonics(hz * rng.uniform(11, 17), 9)
    parts = ((1, saturate(exhaust, 2)), (breath, rush), (knock, block), (whine, gear))
    return radiated(sum(level * part / max(part.std(), 1e-9) for level, part in parts))


def pace(
    rng: np.random.Generator, seconds: float, rpm: tuple[float, float], cylinders: int, mode: str, drift: float = 0.02
) -> np.ndarray:
    """Returns the firings a second [sample] of a four-stroke engine, cylinders / 2 times its revolutions a second.

    Of its range in `rpm`, an engine that `idles` takes the least to 1.4 times it; one that `runs` is faster, one
    that `revs` is pushed up again and again from there, one that `accelerates` runs through the range in two gears."""
    low = rpm[0] * rng.uniform(1.0, 1.4)
    if mode == "revs":
        keys, now = [(0.0, low)], rng.uniform(0.05, 0.3)
        while now < 1:
            rise, fall = rng.uniform(0.25, 0.6) / seconds, rng.uniform(0.5, 1.1) / seconds
            keys += [(now, low), (now + rise, rng.uniform(0.6, 1) * rpm[1]), (now + rise + fall, low)]
            now += rise + fall + rng.uniform(0.1, 0.6) / seconds
        curve = glide(seconds, *keys)
    elif mode == "accelerates":
        shift = rng.uniform(0.4, 0.6)
        curve = glide(seconds, (0, rpm[0]), (shift, rpm[1]), (shift + 0.03, 0.65 * rpm[1]), (1, rpm[1]))
    else:
        curve = np.full(size(seconds), low if mode == "idles" else rng.uniform(1.3 * rpm[0], rpm[1]))
    return curve / 120 * cylinders * np.exp(drift * wobble(rng, seconds, 3) + 0.3 * drift * wobble(rng, seconds, 15))


def tyres(rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Returns the noise of tyres and air, strongest near 800 to 1000 Hz on asphalt (Sandberg 2003)."""
    return noise(rng, seconds, (40, -24), (200, -12), (span(rng, 700, 1200), 0), (2500, -8), (6000, -20), (11000, -34))


def passage(wav: np.ndarray, rng: np.random.Generator, speed: float, distance: float, at: float) -> np.ndarray:
    """Moves a source past the ear at `speed` m/s and a closest `distance` in m at the time `at` in s: Doppler's shift,
    spherical spreading, the reflection of the ground and a duller sound from afar."""
    clock = np.arange(len(wav)) / RATE - at
    away = np.hypot(distance, speed * clock)
    index = np.arange(len(wav)) - (away - distance) / SOUND_SPEED * RATE
    index -= min(0.0, index.min())
    index *= (len(wav) - 1) / max(index.max(), len(wav) - 1)  # the source has no more samples: all are stretched alike
    moved = np.interp(index, np.arange(len(wav)), wav)
    dull = lfilter([0.12], [1, -0.88], moved)
    near = np.clip(2 * distance / away, 0, 1)
    return (near * moved + (1 - near) * dull) * distance / away


def grounded(wav: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds the ground's reflection of a source in the air, whose delay changes: a comb sweeps through the sound."""
    late = line(len(wav) / RATE, *((x, span(rng, 0.0008, 0.006)) for x in (0, 0.5, 1))) * RATE
    return wav + rng.uniform(0.3, 0.7) * np.interp(np.arange(len(wav)) - late, np.arange(len(wav)), wav)


def running(
    rng: np.random.Generator,
    seconds: float,
    rpm: tuple[float, float],
    cylinders: Sequence[int],
    modes: dict[str, str],
    pipe: tuple[float, float],
    uneven: tuple[float, float] = (0.08, 0.25),
    jitter: tuple[float, float] = (0.01, 0.03),
    hardness: tuple[float, float] = (200, 600),
    knock: tuple[float, float] = (0.1, 0.4),
    breath: tuple[float, float] = (0.15, 0.6),
    whine: tuple[float, float] = (0.02, 0.15),
    road: tuple[float, float] | None = None,
    passes: tuple[float, float] | None = None,
    chop: tuple[float, float] | None = None,
    drift: tuple[float, float] = (0.01, 0.03),
    least: float = 15.0,
) -> Take:
    """A vehicle or a machine with a combustion engine; `modes` are ways of running and the words for them.

    `road` is the level of the noise of tyres, water or cut material; `passes` the speed in m/s at which it passes,
    `drift` how far the
    load moves the speed of the engine, in nepers;
    below `least` Hz the source is too small to radiate well."""
    mode = choose(rng, tuple(modes))
    number = choose(rng, cylinders)
    hz = pace(rng, seconds, rpm, number, mode, span(rng, *drift))
    one = draw(rng, pipe=pipe, uneven=uneven, jitter=jitter, hardness=hardness, knock=knock, breath=breath, whine=whine)
    wav = engine(rng, hz, number, **one)
    wav = radiated(wav * (hz / hz.mean()) ** 0.7, least)
    if road:
        wav = wav / wav.std() + span(rng, *road) * tyres(rng, seconds) * np.exp(0.15 * wobble(rng, seconds, 4))
    if chop:
        blade = phase(hz * rng.uniform(0.9, 1.1))
        cut = band(rng, seconds, 400, 5000, 6) * (0.6 + 0.4 * np.sin(2 * np.pi * blade))
        wav = wav / wav.std() + span(rng, *chop) * cut
    if passes:
        wav = passage(wav, rng, span(rng, *passes), span(rng, 2, 7), seconds * rng.uniform(0.35, 0.65))
    return take(outdoors(wav, rng, tail=False), seconds, mode=modes[mode])


def helicopter(rng: np.random.Generator, seconds: float) -> Take:
    """Blades slap the vortices of the blades before them 10 to 28 times a second; tail rotor and turbine whine."""
    slap, words = span(rng, 10, 26), {"where": choose(rng, ("overhead", "nearby", "in the distance"))}
    hz = slap * np.exp(0.01 * wobble(rng, seconds, 2))
    hits = firings(rng, hz, int(rng.integers(2, 6)), 0.12, 0.01)
    thump = resonate(hits, np.array([[span(rng, 60, 140), 0.06, 1.0], [span(rng, 180, 320), 0.03, 0.7]]))
    gate = lfilter([1], [1, -np.exp(-1 / (span(rng, 0.008, 0.02) * RATE))], hits)
    gate = gate / gate.mean()
    wash = noise(rng, seconds, (60, -4), (250, 0), (800, -5), (3000, -14), (10000, -30))
    tail = harmonics(hz * rng.uniform(4.5, 6.5), 6)
    turbine = harmonics(np.full(size(seconds), span(rng, 1200, 4000)), 12)
    parts = ((1, thump), (span(rng, 0.4, 1.2), wash * (gate + rng.uniform(0.2, 0.8))))
    parts += ((span(rng, 0.1, 0.5), tail), (span(rng, 0.01, 0.08), turbine))
    wav = radiated(sum(level * part / part.std() for level, part in parts))
    far = words["where"] == "in the distance"
    wav = lfilter([0.15], [1, -0.85], wav) if far else wav
    wav *= line(seconds, *((x, np.exp(rng.uniform(-0.6, 0.6))) for x in (0, 0.5, 1)))
    return take(room(wav, rng, 0.4, 1.5, 0.25, tail=False), seconds, **words)


def propeller(rng: np.random.Generator, seconds: float) -> Take:
    """A piston aeroplane: blades pass 70 to 130 times a second, the engine fires at a rational ratio of that."""
    hz = span(rng, 65, 120) * np.exp(0.006 * wobble(rng, seconds, 1.5))
    wav = harmonics(hz, span(rng, 4, 8))
    fire = engine(rng, hz * choose(rng, (1, 1.5, 2)), 4, span(rng, 90, 250), uneven=0.05, breath=0.6)
    wav = wav / wav.std() + span(rng, 0.2, 0.7) * fire / fire.std()
    wav += span(rng, 0.5, 1.2) * noise(
        rng, seconds, (30, -8), (120, 0), (500, -3), (1500, -9), (5000, -22), (11000, -40)
    )
    beat = hz * rng.uniform(1.003, 1.02)
    if rng.random() < 0.5:
        wav += rng.uniform(0.5, 1) * wav.std() * harmonics(beat, 5)
    wav = lfilter([0.35], [1, -0.65], wav)
    if rng.random() < 0.6:
        wav = passage(wav, rng, span(rng, 40, 80), span(rng, 60, 250), seconds * rng.uniform(0.3, 0.7))
    return take(room(grounded(wav, rng), rng, 0.6, 2.0, 0.3, tail=False), seconds)


def jet_plane(rng: np.random.Generator, seconds: float) -> Take:
    """Jet noise, broad around 100 to 500 Hz with the fan's whine; the ground's reflection sweeps a comb through it."""
    roar = noise(rng, seconds, (30, -8), (150, 0), (500, -2), (1500, -8), (5000, -20), (11000, -34))
    roar *= np.exp(0.2 * wobble(rng, seconds, 12))
    hz = span(rng, 900, 3000) * glide(seconds, (0, rng.uniform(1, 1.2)), (1, rng.uniform(0.75, 1)))
    fan = harmonics(hz, 9) + 0.5 * harmonics(hz * 1.37, 9)
    hiss = noise(rng, seconds, (300, -20), (2000, -2), (4000, 0), (11000, -10))
    wav = roar + span(rng, 0.03, 0.25) * fan / fan.std() + span(rng, 0.05, 0.35) * hiss
    if rng.random() < 0.6:
        wav = passage(wav, rng, span(rng, 60, 120), span(rng, 100, 300), seconds * rng.uniform(0.3, 0.6))
    return take(room(grounded(wav, rng), rng, 0.8, 2.5, 0.3, tail=False), seconds)


def train(rng: np.random.Generator, seconds: float) -> Take:
    """Bogies of two axles cross rail joints: pairs of clacks, two pairs a wagon, over the rumble of the wheels."""
    speed = choose(rng, (("slowly", (4, 9)), ("", (9, 16)), ("fast", (16, 26))))
    metres, wagon, axle = span(rng, *speed[1]), rng.uniform(14, 24), rng.uniform(1.8, 2.6)
    rail = body(rng, span(rng, 200, 450), 30, span(rng, 0.08, 0.2), 0.4, 0.3, 1)
    parts = []
    where = -rng.uniform(0, wagon)
    while where < metres * seconds + wagon:
        for at in (0, axle, 0.25 * wagon + 2, 0.25 * wagon + 2 + axle):
            when = (where + at) / metres
            if 0 <= when < seconds:
                hit = strike(rail * [rng.uniform(0.98, 1.02), 1, 1], 0.3, span(rng, 0.001, 0.005))
                thud = band(rng, 0.3, 120, 2500, 6) * decay(0.3, 0.012, 0.2)
                parts.append((when, (hit / np.abs(hit).max() + 0.5 * thud / np.abs(thud).max()) * rng.uniform(0.5, 1)))
        where += wagon
    clacks = place(seconds, parts)
    roll = noise(rng, seconds, (40, -20), (120, -6), (400, 0), (1500, -3), (4000, -10), (11000, -26))
    roll *= np.exp(0.3 * wobble(rng, seconds, 12)) * (
        1 + 0.4 * np.sin(2 * np.pi * phase(np.full(len(roll), metres / 2.9)))
    )
    wheels = resonate(roll, body(rng, span(rng, 300, 800), 16, 0.15, 0.5, 0.2, 1))
    roll = roll / roll.std() + span(rng, 0.4, 1.2) * wheels / wheels.std()
    roll += span(rng, 0.3, 1.0) * noise(rng, seconds, (30, -6), (80, 0), (200, -8), (1000, -40))
    squeal = harmonics(span(rng, 1500, 4000) * np.exp(0.01 * wobble(rng, seconds, 5)), 12)
    squeal *= np.clip(wobble(rng, seconds, 1.2), 0, 2)
    wav = clacks / np.abs(clacks).max() + span(rng, 0.08, 0.25) * roll + span(rng, 0.002, 0.03) * squeal
    return take(room(wav, rng, 0.4, 1.5, 0.25, tail=False), seconds, speed=speed[0])


IDLES, RUNS = {"idles": "idling"}, {"runs": "running"}
# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "car engine": (partial(
        running, rpm=(650, 1000), cylinders=(4, 6, 8), modes=IDLES, pipe=(60, 130),
    ), True, (2, 10)),
    "car revving": (partial(
        running, rpm=(900, 5500), cylinders=(4, 6, 8), modes={"revs": "revving"}, pipe=(70, 160),
        hardness=(300, 900), breath=(0.2, 0.6),
    ), True, (2, 10)),
    "car accelerating": (partial(
        running, rpm=(1500, 5500), cylinders=(4, 6, 8), modes={"accelerates": "accelerating"}, pipe=(70, 160),
        hardness=(300, 900), road=(0.3, 0.9),
    ), True, (2, 10)),
    "car driving by": (partial(
        running, rpm=(1500, 3000), cylinders=(4, 6), modes={"runs": "driving by"}, pipe=(60, 140), road=(0.7, 2.0),
        passes=(10, 28),
    ), False, (3, 8)),
    "truck": (partial(
        running, rpm=(500, 1600), cylinders=(6, 8), modes={"idles": "idling", "runs": "driving"}, pipe=(40, 90),
        knock=(0.4, 1.2), breath=(0.4, 1.2), hardness=(150, 400), road=(0.1, 0.5),
    ), True, (2, 10)),
    "motorcycle": (partial(
        running, rpm=(900, 6500), cylinders=(1, 2, 2, 4),
        modes={"idles": "idling", "revs": "revving", "accelerates": "accelerating"},
        pipe=(80, 220), hardness=(500, 1800), uneven=(0.15, 0.4), breath=(0.3, 0.8),
    ), True, (2, 10)),
    "tractor": (partial(
        running, rpm=(700, 1800), cylinders=(3, 4), modes=RUNS, pipe=(50, 120), knock=(0.5, 1.5),
        hardness=(100, 300), uneven=(0.08, 0.2), breath=(0.8, 2.0), road=(0.1, 0.4),
    ), True, (2, 10)),
    "lawn mower": (partial(
        running, rpm=(2000, 3400), cylinders=(1,), modes=RUNS, pipe=(150, 350), hardness=(600, 2000),
        uneven=(0.1, 0.3), knock=(0.2, 0.6), breath=(0.6, 1.5), chop=(0.5, 1.2),
    ), True, (2, 10)),
    "chainsaw": (partial(
        running, rpm=(6500, 12500), cylinders=(2,), modes={"runs": "running", "revs": "revving"}, pipe=(250, 600),
        hardness=(1500, 5000), uneven=(0.1, 0.3), jitter=(0.005, 0.02), knock=(0.2, 0.6), breath=(0.4, 1.0),
        chop=(0.3, 0.9),
        drift=(0.03, 0.12), least=600.0,
    ), True, (2, 10)),
    "motorboat": (partial(
        running, rpm=(2000, 5000), cylinders=(4,), modes=RUNS, pipe=(90, 250), hardness=(150, 500),
        uneven=(0.03, 0.1), road=(0.03, 0.15), breath=(0.5, 1.2), whine=(0.1, 0.5),
    ), True, (2, 10)),
    "helicopter": (helicopter, True, (2, 10)),
    "propeller plane": (propeller, True, (3, 10)),
    "jet plane": (jet_plane, True, (3, 10)),
    "train": (train, True, (3, 10)),
}, "machines.tsv")
# fmt: on
