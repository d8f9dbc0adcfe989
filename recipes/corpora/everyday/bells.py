"""Bells, gongs, chimes, doorbells and ringing telephones by modal synthesis with the partials of the literature."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    body,
    decay,
    described,
    draw,
    grains,
    indoors,
    onsets,
    outdoors,
    partials,
    place,
    resonate,
    room,
    saturate,
    size,
    span,
    square,
    strike,
    take,
    times,
)

CHURCH = (0.5, 1, 1.183, 1.506, 2, 2.514, 2.662, 3.011, 4.166, 5.433, 6.796, 8.215)  # of the prime; Rossing 2000
BAR = (1, 2.756, 5.404, 8.933)  # a free bar or tube; Fletcher & Rossing, The Physics of Musical Instruments
SHELL = (1, 1.7, 2.75, 3.9, 5.3, 6.9)  # a hemispherical gong of a clock, telephone or bicycle


def doubled(rng: np.random.Generator, modes: np.ndarray, split: float = 0.002) -> np.ndarray:
    """Splits each mode into a pair of slightly different frequency: a real bell is not quite round, so it beats."""
    pair = modes * [1, 0.9, rng.uniform(0.3, 0.9)]
    pair[:, 0] *= 1 + split * rng.uniform(0.3, 1, len(modes))
    return np.concatenate([modes, pair])


def ringing(
    rng: np.random.Generator,
    seconds: float,
    hz: tuple[float, float],
    ratios: Sequence[float],
    every: tuple[float, float],
    t60: tuple[float, float],
    damping: tuple[float, float] = (0.3, 0.8),
    slope: tuple[float, float] = (0.3, 6.0),
    contact: tuple[float, float] = (0.0001, 0.0008),
    split: tuple[float, float] = (0.0005, 0.008),
    rest: tuple[float, float] = (0.02, 0.3),
    clank: tuple[float, float] = (0.02, 0.6),
    scale: Sequence[float] = (1.0,),
    uneven: float = 0.03,
    count: tuple[int, int] | None = None,
    scene: Callable[..., np.ndarray] = outdoors,
) -> Take:
    """Rings one bell, or one for each ratio of `scale`, about every `every` seconds to the end, or `count` times.

    All ranges are (low, high) of one take. The partials are `hz` times `ratios`; T60 falls with frequency to the power
    `damping` and the level by `slope` dB an octave; `rest` is the level of the many higher modes, which no table lists,
    and `clank` that of the clapper's own noise. The bells of a `scale` ring in turn, or at random if `uneven` > 0.3."""
    one = draw(
        rng, hz=hz, every=every, t60=t60, damping=damping, slope=slope, contact=contact, split=split, rest=rest,
        clank=clank, clapper=(800, 5000),
    )  # fmt: skip
    ratio, rings = np.asarray(ratios, float), []
    for step in scale:
        level = (ratio / ratio[0]) ** (-one["slope"] / 6) * rng.uniform(0.5, 1, len(ratio))
        modes = np.stack([one["hz"] * step * ratio, one["t60"] * (ratio / ratio[0]) ** -one["damping"], level], 1)
        more = body(rng, 0.6 * one["hz"] * step * ratio[-1], 25, 0.3 * one["t60"], 0.12, 0.5, 0) * [
            1,
            1,
            0.3 * one["rest"],
        ]
        ring = strike(doubled(rng, np.concatenate([modes, more]), one["split"]), min(seconds, 6), one["contact"])
        knock = band(rng, 0.05, one["clapper"], 2 * one["clapper"], 6) * decay(0.05, 0.0003, 0.02)
        ring = ring / np.abs(ring).max()
        ring[: len(knock)] += one["clank"] * knock / np.abs(knock).max()
        rings.append(ring)
    if count is None:
        when = onsets(rng, seconds, one["every"], uneven)
    else:
        when = list(
            0.02 + one["every"] * np.arange(max(1, min(int(rng.integers(*count)), int(seconds / one["every"]))))
        )
    order = rng.integers(len(rings), size=len(when)) if uneven > 0.3 else np.arange(len(when)) % len(rings)
    wav = place(seconds, [(t, rings[which] * rng.uniform(0.5, 1)) for t, which in zip(when, order, strict=True)])
    return take(scene(wav, rng, tail=False), seconds)


def bicycle_bell(rng: np.random.Generator, seconds: float) -> Take:
    """A lever spins two rattling weights against the shell: a burst of blows for each push."""
    shell = doubled(
        rng, partials(span(rng, 1600, 3000), SHELL, rng.uniform(0.8, 1.6), 0.6, (0, -3, -6, -9, -14, -18)), 0.004
    )
    drive, push, now = np.zeros(size(seconds)), rng.uniform(0.45, 0.7), 0.0
    for _ in range(int(rng.integers(1, 4))):
        for blow in np.arange(now, now + rng.uniform(0.25, 0.4), 1 / rng.uniform(22, 34)):
            drive[min(size(blow), len(drive) - 1)] += rng.uniform(0.4, 1)
        now += push
    return take(room(resonate(drive, shell), rng, 0.2, 0.8, 0.15, tail=False)[: size(now + 1.2)], seconds)


def jingle_bells(rng: np.random.Generator, seconds: float) -> Take:
    shake = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(2.5, 5) * times(seconds))
    wav = grains(rng, rng.uniform(150, 350) * shake**2, (3000, 9500), (0.1, 0.45), 24, 0.6)
    return take(room(wav, rng, 0.2, 0.6, 0.1, tail=False), seconds)


def _cadence(rng: np.random.Generator, seconds: float, on: float, off: float) -> np.ndarray:
    """Returns a gate [sample] of rings and pauses that is on at the end."""
    start = on + off - (seconds % (on + off)) + min(on, rng.uniform(0.5, 1.0) * on)
    return ((times(seconds) + start) % (on + off) < on).astype(float)


def struck_bell(
    rng: np.random.Generator, seconds: float, rate: tuple, hz: tuple, cadence: tuple = (), count: int = 1
) -> Take:
    """An electric bell: a clapper strikes `count` gongs in turn, `rate` times a second, `cadence` seconds on and off."""
    gongs = [
        doubled(rng, partials(span(rng, *hz), SHELL, rng.uniform(0.5, 1.2), 0.5, (0, -2, -5, -6, -10, -14)), 0.004)
        for _ in range(count)
    ]
    gate = (
        _cadence(rng, seconds, *(rng.uniform(0.85, 1.15) * t for t in cadence)) if cadence else np.ones(size(seconds))
    )
    drives, every = np.zeros((count, size(seconds))), 1 / rng.uniform(*rate)
    for number, when in enumerate(np.arange(rng.uniform(0, every), seconds, every)):
        where = min(size(when + 0.001 * rng.standard_normal()), len(gate) - 1)
        drives[number % count, where] = gate[where] * rng.uniform(0.8, 1)
    wav = sum(resonate(drive, gong) for drive, gong in zip(drives, gongs, strict=True))
    return take(room(saturate(wav, 1.2), rng, 0.3, 1.0, 0.2, tail=False), seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "church bell": (partial(ringing, hz=(400, 650), ratios=CHURCH, every=(1.2, 2.3), t60=(4, 14), damping=(0.3, 0.6), scene=square), True, (3, 10)),
    "church bells": (partial(
            ringing, hz=(420, 560), ratios=CHURCH, every=(0.38, 0.5), t60=(3, 9), damping=(0.3, 0.8), slope=(0.1, 1.0),
            contact=(0.0001, 0.0003), scale=(2, 1.78, 1.5, 1.33, 1.2, 1), scene=square,
        ), True, (3, 10)),
    "bicycle bell": (bicycle_bell, False, (1.5, 3.5)),
    "cow bell": (partial(
            ringing, hz=(400, 1200), ratios=(1, 1.48, 2.1, 2.6, 3.4, 4.1, 5.2, 6.3), every=(0.22, 0.5), t60=(0.2, 0.7),
            scale=(1, 1.1, 1.23), uneven=0.5,
        ), True, (2, 10)),
    "ship's bell": (partial(ringing, hz=(650, 1250), ratios=CHURCH[1:], every=(0.45, 0.7), t60=(2.5, 5.5), count=(2, 9)), False, (3, 8)),
    "jingle bells": (jingle_bells, True, (2, 10)),
    "wind chimes": (partial(
            ringing, hz=(1300, 2100), ratios=BAR, every=(0.1, 0.35), t60=(2, 4), scale=(1, 1.13, 1.26, 1.51, 1.69, 2.02),
            uneven=0.8,
        ), True, (3, 10)),
    "doorbell": (partial(
            ringing, hz=(400, 900), ratios=BAR, every=(0.45, 0.8), t60=(1.2, 3), damping=(0.5, 1.2), slope=(4, 12),
            scale=(1.25, 1), count=(2, 3), scene=indoors,
        ), False, (2.5, 5)),
    "old telephone": (partial(struck_bell, rate=(38, 46), hz=(900, 1900), cadence=(1.6, 0.8), count=2), True, (2, 10)),
    "alarm bell": (partial(struck_bell, rate=(14, 24), hz=(1250, 2300)), True, (2, 10)),
    "wind-up alarm clock": (partial(struck_bell, rate=(16, 30), hz=(1800, 3400), count=2), True, (2, 10)),
})
# fmt: on
