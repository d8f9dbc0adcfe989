"""Repeated blows on a resonating body: steps, taps, clicks and claps by ranges of a few physical quantities."""

from collections.abc import Callable, Sequence

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    body,
    decay,
    draw,
    grains,
    indoors,
    place,
    repeat,
    saturate,
    strike,
    take,
)
from recipes.corpora.manifests import RATE


def blows(
    rng: np.random.Generator,
    seconds: float,
    every: tuple[float, float],
    hz: tuple[float, float],
    t60: tuple[float, float],
    modes: tuple[int, int] = (5, 20),
    spacing: tuple[float, float] = (0.3, 0.9),
    damping: tuple[float, float] = (0.2, 0.8),
    slope: tuple[float, float] = (-1.0, 6.0),
    contact: tuple[float, float] = (0.0005, 0.004),
    burst: tuple[float, float] = (0.02, 0.1),
    low: tuple[float, float] = (300.0, 1000.0),
    high: tuple[float, float] = (2000.0, 6000.0),
    burst_t60: tuple[float, float] = (0.02, 0.06),
    debris: tuple[float, float] = (0.001, 0.01),
    debris_hz: tuple[float, float] = (1500.0, 4000.0),
    debris_t60: tuple[float, float] = (0.1, 0.4),
    drive: tuple[float, float] = (0.3, 0.5),
    uneven: float = 0.05,
    bodies: int = 1,
    beats: Sequence[float] = (0.0,),
    forces: Sequence[float] = (1.0,),
    count: tuple[int, int] | None = None,
    scene: Callable[..., np.ndarray] = indoors,
) -> Take:
    """Repeats a blow: a struck body, a `burst` of noise from `low` to `high` Hz, and `debris`, a cloud of grains.

    All ranges are (low, high) of one take: the body's lowest mode `hz` in Hz, its `t60` in seconds and its amplitudes'
    `slope` in dB an octave (see `body`), the `contact` in seconds, the levels of burst and debris to that of the body,
    and the `drive` of the saturation. A cycle lasts `every` seconds and has a blow of each force at the shares `beats`;
    `bodies` of slightly different size are struck in turn. The cycles fill the asked seconds, or there are `count`."""
    one = draw(
        rng, every=every, hz=hz, t60=t60, spacing=spacing, contact=contact, burst=burst, low=low, high=high,
        burst_t60=burst_t60, debris=debris, debris_hz=debris_hz, debris_t60=debris_t60, drive=drive,
    )  # fmt: skip
    number, bend, fall = int(rng.integers(*modes)), rng.uniform(*damping), rng.uniform(*slope)
    struck = [
        body(rng, one["hz"] * rng.uniform(0.9, 1.1) ** (bodies > 1), number, one["t60"], one["spacing"], bend, fall)
        for _ in range(bodies)
    ]
    length = min(2.5, 0.1 + 1.2 * max(one["t60"], one["burst_t60"], one["debris_t60"]))
    turn = iter(range(10**6))

    def hit(number: int) -> np.ndarray:
        ring = strike(struck[number % bodies] * [rng.uniform(0.985, 1.015), 1, 1], length, one["contact"])
        rush = band(rng, length, one["low"], max(one["high"], 1.2 * one["low"]), 9)
        rush *= decay(length, 0.001, one["burst_t60"])
        cloud = 1500 * decay(length, 0.004, one["debris_t60"])
        cloud = grains(rng, cloud, (one["debris_hz"], 2 * one["debris_hz"]), (0.002, 0.02), 6)
        levels = ((1, ring), (one["burst"], rush), (one["debris"], cloud))
        return sum(level * part / max(np.abs(part).max(), 1e-9) for level, part in levels)

    hits = [hit(number) for number in range(bodies * -(-6 // bodies))]

    def blow_of(force: float) -> np.ndarray:
        return force * rng.uniform(0.7, 1) * hits[next(turn) % len(hits)]

    def cycle() -> np.ndarray:
        parts = [
            (max(0.0, beat * one["every"] * rng.uniform(0.95, 1.05)), blow_of(force))
            for beat, force in zip(beats, forces, strict=True)
        ]
        return place(one["every"] * max(beats) * 1.05 + length, parts)

    if count is None:
        return take(
            scene(saturate(repeat(rng, seconds, one["every"], cycle, uneven), one["drive"]), rng, tail=False), seconds
        )
    parts, now = [], 0.02
    for _ in range(int(rng.integers(*count))):
        parts.append((now, cycle()))
        now += one["every"] * max(0.3, 1 + uneven * rng.standard_normal())
    return take(scene(saturate(place(parts[-1][0] + len(parts[-1][1]) / RATE, parts), one["drive"]), rng), seconds)
