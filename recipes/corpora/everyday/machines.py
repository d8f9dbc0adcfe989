"""Tools and household machines: drills, saws, cleaners, fans, kitchen and office machines."""

from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    background,
    band,
    body,
    choose,
    decay,
    described,
    draw,
    glide,
    indoors,
    line,
    noise,
    phase,
    place,
    resonate,
    room,
    size,
    span,
    strike,
    take,
    times,
    wobble,
)
from recipes.corpora.everyday.clouds import impulses, turbulence
from recipes.corpora.everyday.voices import harmonics
from recipes.corpora.manifests import RATE


def motor(
    rng: np.random.Generator,
    hz: np.ndarray,
    slots: float = 12.0,
    tilt: float = 6.0,
    tone: float = 0.5,
    whine: float = 0.5,
    brush: float = 0.3,
    edge: float = 7.0,
) -> np.ndarray:
    """Returns an electric motor that turns `hz` [sample] times a second: an unbalanced rotor's harmonics with the level
    `tone`, the `whine` of its slots, which pass `slots` times a turn and fall by `edge` dB an octave, and the noise
    of brushes at the commutator."""
    seconds, shaken = len(hz) / RATE, hz * np.exp(0.003 * wobble(rng, len(hz) / RATE, 30))
    turn, teeth = harmonics(shaken, tilt), harmonics(shaken * slots, edge)
    teeth *= 1 + 0.3 * np.sin(2 * np.pi * phase(shaken))
    sparks = band(rng, seconds, 1500, 8000, 9) * (1 + 0.6 * np.sin(2 * np.pi * phase(shaken * 2)))
    parts = ((tone, turn), (whine, teeth), (brush, sparks))
    return sum(level * part / max(part.std(), 1e-9) for level, part in parts)


def speed(
    rng: np.random.Generator, seconds: float, hz: tuple[float, float], starts: bool, load: float = 0.01
) -> np.ndarray:
    """Returns turns a second [sample]: steady under a load that varies, after a start in some takes."""
    curve = span(rng, *hz) * np.exp(load * wobble(rng, seconds, span(rng, 1, 5)))
    if starts and rng.random() < 0.35:
        rise = rng.uniform(0.3, 0.9) / seconds
        curve = curve * glide(seconds, (0, 0.25), (0.5 * rise, 0.8), (rise, 1), (1, 1))
    return curve


def blown(
    rng: np.random.Generator,
    seconds: float,
    hz: tuple[float, float],
    slots: tuple[float, float],
    air: tuple[float, float],
    points: tuple,
    tone: tuple[float, float] = (0.1, 0.5),
    whine: tuple[float, float] = (0.2, 0.8),
    brush: tuple[float, float] = (0.1, 0.5),
    tilt: tuple[float, float] = (4, 9),
    box: tuple[float, float] = (150, 500),
    edge: float = 7.0,
    starts: bool = True,
    flutter: float = 0.03,
    pulse: tuple[float, float] = (0.01, 0.1),
) -> Take:
    """A fan that a motor turns: noise of `air` with a spectrum of points, the motor, and the modes of the housing."""
    turns = speed(rng, seconds, hz, starts)
    one = draw(rng, slots=slots, tone=tone, whine=whine, brush=brush)
    one["slots"] = round(one["slots"])
    wav = motor(rng, turns, tilt=rng.uniform(*tilt), edge=edge, **one)
    rush = noise(rng, seconds, *((f, level + rng.uniform(-3, 3)) for f, level in points))
    rush *= (turns / turns.max()) ** 2 * np.exp(flutter * wobble(rng, seconds, 10))
    rush *= 1 + span(rng, *pulse) * np.sin(2 * np.pi * phase(turns * one["slots"]))
    both = wav + span(rng, *air) * rush
    housing = resonate(both, body(rng, span(rng, *box), 8, 0.03, 0.6, 0.3, 2))
    return take(indoors(both / both.std() + rng.uniform(0.1, 0.6) * housing / housing.std(), rng, tail=False), seconds)


def drill(rng: np.random.Generator, seconds: float) -> Take:
    """A gear whines over a fast motor; it slows down as the bit bites."""
    turns, what = span(rng, 200, 420), choose(rng, ("wood", "metal", "a wall"))
    bite = np.clip(0.6 + 0.6 * wobble(rng, seconds, 1.0), 0, 1.2)
    rise = rng.uniform(0.1, 0.3) / seconds
    hz = turns * np.exp(-0.25 * bite) * glide(seconds, (0, 0.3), (rise, 1), (0.93, 1), (1, 0.6))
    wav = motor(rng, hz, rng.uniform(3, 9), rng.uniform(3, 6), 0.6, rng.uniform(0.4, 1.0), rng.uniform(0.2, 0.5))
    scale = {"wood": 0.7, "metal": 1.7, "a wall": 1.0}[what]
    points = ((200, -15), (900, -3), (2500, 0), (6000, -4), (11000, -14))
    grind = noise(rng, seconds, *((f * scale, level) for f, level in points))
    wav = wav + span(rng, 0.4, 1.6) * bite * grind * (1 + 0.5 * np.sin(2 * np.pi * phase(hz / 8)))
    if what == "a wall":
        hammer = np.diff(np.floor(phase(np.full(size(seconds), span(rng, 25, 50)))), prepend=0) * (bite > 0.3)
        knocks = resonate(hammer, body(rng, span(rng, 300, 800), 16, 0.02, 0.4, 0.3, 0))
        wav += 2 * knocks / max(knocks.std(), 1e-9)
    return take(indoors(wav, rng, tail=False), seconds, material=what)


def circular_saw(rng: np.random.Generator, seconds: float) -> Take:
    """Teeth pass 1 to 3 thousand times a second and ring the blade; in the wood the blade slows and tears fibres."""
    cut = np.clip(
        line(seconds, (0, 0), (0.12, 0), (0.2, 1), (0.8, 1), (0.88, 0.1), (1, 0)) + 0.15 * wobble(rng, seconds, 6),
        0,
        1.2,
    )
    hz = span(rng, 50, 90) * np.exp(-0.12 * cut) * glide(seconds, (0, 0.6), (0.08, 1), (1, 1))
    teeth = harmonics(hz * int(rng.integers(18, 40)), 5) * (1 + 0.4 * np.sin(2 * np.pi * phase(hz)))
    blade = resonate(teeth * (1 + wobble(rng, seconds, 60)), body(rng, span(rng, 900, 2200), 12, 0.08, 0.5, 0.2, 0))
    tear = noise(rng, seconds, (150, -15), (700, -3), (2500, 0), (6000, -2), (11000, -8)) * (
        1 + 0.5 * np.sin(2 * np.pi * phase(hz))
    )
    wav = 0.3 * teeth + span(rng, 0.4, 1.0) * blade / blade.std() * (0.3 + cut) + span(rng, 0.5, 1.5) * tear * cut
    wav += 0.5 * motor(rng, hz * 4, 8, 5, 0.6, 0.4, 0.5)
    return take(room(wav, rng, 0.3, 0.9, 0.2, tail=False), seconds)


def sawing(rng: np.random.Generator, seconds: float) -> Take:
    """Strokes back and forth: teeth tear fibres, more of them the faster the blade, and the board resonates."""
    stroke, back = rng.uniform(0.22, 0.5), rng.uniform(0.2, 0.9)
    clock = times(seconds) / stroke + 0.06 * np.cumsum(wobble(rng, seconds, 3)) / RATE
    fast = np.abs(np.sin(np.pi * clock)) * np.where(np.floor(clock) % 2 == 0, 1.0, back)
    teeth = impulses(rng, span(rng, 1500, 5000) * fast, 0.4)
    board = body(rng, span(rng, 250, 700), 22, span(rng, 0.006, 0.02), 0.4, 0.2, -1)
    points = ((150, -16), (700, -4), (1800, 0), (4500, -4), (11000, -16))
    rasp = turbulence(rng, seconds, points, 0.15, 30) * fast**1.3
    ring = resonate(teeth, board)
    wav = ring / ring.std() + span(rng, 0.6, 2.0) * rasp / rasp.std()
    return take(room(wav, rng, 0.2, 0.6, 0.15, tail=False), seconds)


def mains(rng: np.random.Generator, seconds: float, box: bool) -> Take:
    """Hum at twice the mains frequency, 50 or 60 Hz; a refrigerator adds a compressor and rattles a little."""
    hz = choose(rng, (50.0, 60.0))
    order = np.arange(1, 14)
    level = (
        10 ** (-rng.uniform(0.5, 2.0) * order / 20)
        * np.exp(0.6 * rng.standard_normal(13))
        * np.where(order % 2, 0.4, 1)
    )
    wav = sum(
        a * np.sin(2 * np.pi * (hz * n * times(seconds) + rng.random())) for n, a in zip(order, level, strict=True)
    )
    buzz = harmonics(np.full(size(seconds), 2 * hz), span(rng, 2, 6))
    wav = wav / wav.std() + span(rng, 0.1, 1.0) * buzz / buzz.std()
    wav *= 1 + 0.05 * wobble(rng, seconds, 2)
    air = noise(rng, seconds, (40, 0), (200, -6), (1000, -16), (6000, -36))
    wav = wav / wav.std() + span(rng, 0.05, 0.2) * air
    if box:
        slip = hz / 2 * rng.uniform(0.95, 0.99)
        wav = wav * (1 + 0.25 * np.sin(2 * np.pi * 2 * (hz / 2 - slip) * times(seconds))) + 0.5 * harmonics(
            np.full(size(seconds), slip), 5
        )
        wav = wav + span(rng, 0.1, 0.5) * noise(rng, seconds, (60, -3), (200, 0), (600, -8), (2500, -22), (8000, -40))
    return take(indoors(wav, rng, tail=False), seconds, hz=f"{hz:.0f}")


def typing(rng: np.random.Generator, seconds: float, mechanical: bool) -> Take:
    """Words typed on plates with many modes: a key is pressed, bottoms and is released after 40 to 90 ms.

    A typewriter's type bars strike harder and its carriage rings; the bell warns before the end of a line."""
    rate, low = span(rng, 3, 5), span(rng, 500, 750) if mechanical else span(rng, 500, 950)
    t60, parts, now = span(rng, 0.05, 0.11), [], rng.uniform(0, 0.15)
    keys = [body(rng, span(rng, low, 2 * low), 40, t60, 0.08, 0.3, 0) for _ in range(6)]
    plate, clack = span(rng, 1.5, 2.5), span(rng, 0.5, 1.2)

    def hit(force: float) -> np.ndarray:
        key = strike(keys[int(rng.integers(6))] * [rng.uniform(0.95, 1.05), 1, 1], 0.25, 0.0004)
        thock = band(rng, 0.25, low, 6 * low, 12) * decay(0.25, 0.001, t60)
        click = band(rng, 0.25, 2 * low, 9000, 6) * decay(0.25, 0.0003, 0.01)
        return force * sum(
            level * part / np.abs(part).max() for level, part in ((plate, key), (1, thock), (clack, click))
        )

    while now < seconds:
        for _ in range(int(rng.integers(3, 10))):
            force = rng.uniform(0.5, 1)
            parts += [(now, hit(force)), (now + rng.uniform(0.04, 0.09), hit(rng.uniform(0.25, 0.5) * force))]
            now += rng.gamma(4, 1 / 4) / rate
        now += rng.choice([0.0, 0.1, 0.25])
        if mechanical and rng.random() < 0.1:
            bell = strike(np.array([[span(rng, 2200, 3800), 0.9, 1.0], [6100, 0.5, 0.3]]), 0.7, 0.0002)
            parts.append((now, bell / np.abs(bell).max()))
            now += 0.4
    return take(background(room(place(seconds, parts), rng, 0.3, 0.6, 0.2, tail=False), rng, -36, -24), seconds)


def shaver(rng: np.random.Generator, seconds: float) -> Take:
    """An armature swings 100 to 130 times a second and buzzes; the cheek damps it and bristles crackle."""
    hz = choose(rng, (100.0, 120.0, span(rng, 90, 160))) * np.exp(0.01 * wobble(rng, seconds, 3))
    buzz = harmonics(hz, span(rng, 2, 5), rng.uniform(0.3, 1))
    buzz = resonate(buzz, body(rng, span(rng, 700, 1500), 8, 0.006, 0.6, 0.2, 0)) + 0.02 * buzz
    skin = np.exp(0.3 * wobble(rng, seconds, 2.5))
    hairs = resonate(impulses(rng, 250 * skin), np.array([[span(rng, 2500, 6000), 0.003, 1.0]]))
    wav = buzz / buzz.std() * skin + span(rng, 0.03, 0.2) * hairs / hairs.std()
    wav += span(rng, 0.1, 0.5) * band(rng, seconds, 2000, 8000, 9) * (1 + 0.7 * np.sin(2 * np.pi * phase(hz)))
    return take(indoors(wav, rng, tail=False), seconds)


def blender(rng: np.random.Generator, seconds: float) -> Take:
    """A fast motor under a changing load; blades chop, liquid swirls in the jar and ice rattles."""
    load = 0.1 * wobble(rng, seconds, 4) * line(seconds, (0, 2), (0.5, 1), (1, 0.5))
    hz = span(rng, 150, 320) * np.exp(load) * glide(seconds, (0, 0.5), (0.06, 1), (1, 1.05))
    wav = motor(rng, hz, rng.uniform(3, 6), rng.uniform(3, 6), 0.8, 0.6, 0.5)
    swirl = noise(rng, seconds, (100, -8), (500, 0), (2000, -3), (6000, -8), (11000, -20)) * np.exp(
        0.3 * wobble(rng, seconds, 15)
    )
    chunks = resonate(
        impulses(rng, span(rng, 20, 150) * line(seconds, (0, 2), (1, 0.3))), body(rng, 700, 12, 0.02, 0.4, 0.2, 0)
    )
    wav += span(rng, 0.6, 1.5) * swirl + span(rng, 0.1, 0.7) * chunks / max(chunks.std(), 1e-9)
    jar = resonate(wav, body(rng, span(rng, 500, 900), 6, 0.02, 0.6, 0.3, 2))
    return take(indoors(wav / wav.std() + 0.4 * jar / jar.std(), rng, tail=False), seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "drill": (drill, True, (2, 8)),
    "circular saw": (circular_saw, True, (2, 8)),
    "sawing": (sawing, True, (2, 10)),
    "vacuum cleaner": (partial(
        blown, hz=(220, 420), slots=(5, 8), air=(1.0, 3), tone=(0.3, 1.0), whine=(0.3, 1.2), brush=(0.01, 0.05),
        tilt=(3, 6.5),
        points=((100, -20), (400, -4), (800, 0), (1600, 0), (3500, -9), (11000, -22)),
    ), True, (2, 10)),
    "hair dryer": (partial(
        blown, hz=(220, 400), slots=(5, 8), air=(1.5, 4), tone=(0.3, 1.0), tilt=(3, 6), whine=(0.2, 0.8),
        brush=(0.01, 0.05),
        points=((100, -22), (400, -6), (900, 0), (2000, 0), (4500, -8), (11000, -20)),
    ), True, (2, 10)),
    "fan": (partial(
        blown, hz=(20, 32), slots=(3, 5), air=(1.5, 3.5), tone=(0.1, 0.3), pulse=(0.02, 0.2), edge=5, whine=(0.7, 1.2),
        brush=(0.01, 0.05),
        points=((100, -18), (400, -4), (800, 0), (1600, -1), (3500, -9), (11000, -22)), flutter=0.02,
    ), True, (2, 10)),
    "air conditioner": (partial(
        blown, hz=(14, 24), slots=(4, 8), air=(2, 4.5), tone=(0.1, 0.3), whine=(0.7, 1.2), edge=6, brush=(0.01, 0.05),
        points=((80, -16), (300, -4), (600, 0), (1300, -1), (3000, -9), (11000, -26)), starts=False, flutter=0.02,
    ), True, (2, 10)),
    "mains hum": (partial(mains, box=False), True, (2, 10)),
    "refrigerator": (partial(mains, box=True), True, (3, 10)),
    "keyboard": (partial(typing, mechanical=False), True, (2, 10)),
    "typewriter": (partial(typing, mechanical=True), True, (2, 10)),
    "electric shaver": (shaver, True, (2, 10)),
    "blender": (blender, True, (2, 8)),
}, "machines.tsv")
# fmt: on
