"""Birds, frogs, insects and snakes: whistles, rough calls, pulse trains and wing beats."""

from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    choose,
    described,
    glide,
    outdoors,
    pavement,
    phase,
    place,
    resonate,
    size,
    span,
    swell,
    take,
    times,
    wobble,
)
from recipes.corpora.everyday.voices import calls, harmonics, periodic, pulses


def _syllable(rng: np.random.Generator, low: float, high: float) -> np.ndarray:
    """A syringeal whistle: a nearly pure tone with a fast sweep or a trill."""
    length = rng.uniform(0.05, 0.25)
    hz = glide(length, *((share, span(rng, low, high)) for share in np.linspace(0, 1, int(rng.integers(2, 5)))))
    trill = rng.choice([0, 0, 0.08]) * np.sin(2 * np.pi * rng.uniform(25, 60) * times(length))
    return periodic(hz * (1 + trill), (1, 0.08, 0.03)) * swell(length, 0.012, 0.03)


def songbird(rng: np.random.Generator, seconds: float, voices: tuple = (1, 2)) -> Take:
    parts = []
    for _ in range(int(rng.integers(*voices))):
        low = span(rng, 2000, 3500)
        high, gap, loud = low * rng.uniform(1.4, 2.2), rng.uniform(0.03, 0.12), rng.uniform(0.3, 1)
        notes, now = [_syllable(rng, low, high) for _ in range(int(rng.integers(2, 6)))], rng.uniform(0, 0.5)
        while now < seconds - 0.1:
            note = choose(rng, notes)
            for _ in range(int(rng.integers(1, 5))):
                parts.append((now, note * loud * rng.uniform(0.7, 1)))
                now += len(note) / 24000 + gap
            now += choose(rng, (0.0, 0.1, 0.3, 0.6))
    return take(outdoors(place(seconds, parts), rng, tail=False), seconds)


def cricket(rng: np.random.Generator, seconds: float) -> Take:
    """A file and a scraper: three to five pulses of a tone near 4.5 kHz, two to four times a second."""
    wav = np.zeros(size(seconds))
    for _ in range(int(rng.integers(1, 4))):
        hz, rate, count, pulse = (
            rng.uniform(3800, 5200),
            rng.uniform(1.6, 4),
            int(rng.integers(2, 6)),
            rng.uniform(26, 36),
        )
        turn = (times(seconds) + rng.random()) % (1 / rate)
        inside = turn * pulse % 1
        gate = (turn < count / pulse) * np.clip(np.sin(np.pi * np.minimum(inside / 0.7, 1)), 0, 1)
        tone = np.sin(2 * np.pi * phase(hz * (1 - 0.02 * inside)))
        wav += tone * gate * (0.6 + 0.4 * turn * rate) * span(rng, 0.3, 1)
    return take(outdoors(wav, rng, tail=False), seconds)


def cicada(rng: np.random.Generator, seconds: float) -> Take:
    """Tymbals that buckle 150 to 300 times a second and ring at 4 to 8 kHz."""
    wav = np.zeros(size(seconds))
    for _ in range(int(rng.integers(1, 4))):
        train = pulses(rng, rng.uniform(140, 320) * np.exp(0.03 * wobble(rng, seconds, 10)), 0.1, 0.4)
        ring = np.stack([rng.uniform(4000, 8500, 4), rng.uniform(0.003, 0.008, 4), rng.uniform(0.3, 1, 4)], 1)
        beat = 1 - rng.uniform(0, 0.7) * (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(2, 9) * times(seconds)))
        wav += resonate(train, ring) * beat * span(rng, 0.3, 1)
    return take(wav, seconds)


def wings(rng: np.random.Generator, seconds: float, hz: tuple, tilt: float, flight: float) -> Take:
    """Wing beats: harmonics whose pitch and level change as the insect turns and passes."""
    rate = span(rng, *hz) * np.exp(0.05 * wobble(rng, seconds, 3) + 0.012 * wobble(rng, seconds, 20))
    near = np.exp(flight * wobble(rng, seconds, 1.5))
    wav = (
        harmonics(rate, tilt) * near * np.exp(0.2 * wobble(rng, seconds, 25))
        + 0.05 * band(rng, seconds, 200, 3000) * near
    )
    return take(wav + 0.02 * band(rng, seconds, 100, 2000), seconds)


def hiss(rng: np.random.Generator, seconds: float) -> Take:
    parts, now = [], 0.0
    while now < seconds - 0.4:
        length = rng.uniform(0.5, 1.6)
        parts.append((now, band(rng, length, rng.uniform(2500, 4000), 9000, 12) * swell(length, 0.15, 0.35)))
        now += length + rng.uniform(0.2, 0.6)
    return take(place(min(now, seconds), parts), seconds)


BIRD = ("Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet")
CHICKEN = ("Chicken, rooster", "Fowl", "Livestock, farm animals, working animals")


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "bird song": (songbird, True, (2, 10)),
    "birds": (partial(songbird, voices=(3, 6)), True, (2, 10)),
    "crow": (partial(
            calls,
            pitch=(380, 950), length=(0.14, 0.36), gap=(0.2, 0.55), contour=((0.75, 1), (1, 1), (0.7, 0.92)),
            shapes=((900, 1500, 2600, 4200), (1300, 1900, 2900, 4500), (1100, 1600, 2700, 4300)),
            tilt=(1.5, 3.5), rough=(0.1, 0.25), breath=(0.3, 1.0), width=(0.06, 0.14), scale=(0.95, 1.2),
        ), True, (2, 8)),
    "owl": (partial(
            calls,
            pitch=(300, 800), length=(0.13, 0.3), gap=(0.22, 0.5),
            contour=((0.82, 0.91), (1, 1), (0.87, 0.93)),
            shapes=((400, 900, 2500, 3600), (450, 950, 2500, 3600)), tilt=(14, 20), rough=(0.03, 0.5),
            breath=(0.02, 0.3), width=(0.05, 0.2), count=(3, 12), scene=pavement,
        ), False, (3, 9)),
    "cuckoo": (partial(
            calls,
            pitch=(590, 760), length=(0.32, 0.42), gap=(0.38, 0.7),
            contour=((1, 1.01), (1, 1.01), (0.77, 0.83), (0.77, 0.83)),
            shapes=((700, 1500, 2500, 3600), (600, 1200, 2500, 3600)), tilt=(14, 24), rough=(0.04, 0.5),
            breath=(0.02, 0.2), width=(0.05, 0.2),
        ), True, (2, 10)),
    "rooster": (partial(
            calls,
            pitch=(1300, 1650), length=(0.9, 1.9), gap=(0.3, 0.7),
            contour=((0.6, 0.9), (0.85, 1.1), (1, 1), (0.9, 1.05), (0.6, 0.95)),
            shapes=((800, 1700, 2900, 4200), (1150, 2000, 3100, 4400), (950, 1700, 2900, 4200)), tilt=(5, 13),
            rough=(0.1, 0.5), breath=(0.02, 0.06), width=(0.05, 0.2), count=(1, 3),
        ), False, (1.5, 4)),
    "hen": (partial(
            calls,
            pitch=(400, 1400), length=(0.05, 0.12), gap=(0.1, 0.3), contour=((0.7, 1), (1, 1), (0.75, 1.05)),
            shapes=((700, 1600, 2900, 4100), (1100, 1900, 3100, 4300)), tilt=(2, 9), rough=(0.08, 0.6),
            breath=(0.05, 0.6), width=(0.05, 0.18), scale=(0.9, 1.35),
        ), True, (2, 10)),
    "duck": (partial(
            calls,
            pitch=(130, 330), length=(0.1, 0.2), gap=(0.12, 0.4), contour=((0.82, 0.92), (1, 1), (0.8, 0.95)),
            shapes=((800, 1400, 2600, 3900), (1150, 1800, 2900, 4200), (900, 1500, 2700, 4000)), tilt=(1.5, 8),
            rough=(0.02, 0.4), breath=(0.05, 0.6), width=(0.05, 0.18), scale=(1.1, 1.4),
        ), True, (2, 8)),
    "seagull": (partial(
            calls,
            pitch=(1000, 2200), length=(0.17, 0.42), gap=(0.14, 0.45),
            contour=((0.7, 0.95), (1, 1), (0.65, 0.95)),
            shapes=((1500, 2800, 4200, 6000), (2200, 3400, 4600, 6400), (1700, 3000, 4300, 6000)), tilt=(2, 8),
            rough=(0.01, 0.4), breath=(0.02, 0.5), width=(0.05, 0.2),
        ), True, (2, 10)),
    "frog": (partial(
    calls,
    pitch=(320, 420),
    length=(0.12, 0.2),
    gap=(0.15, 0.5),
    contour=((0.65, 1.2), (1, 1), (0.66, 0.82)),
    shapes=((500, 1100, 2100, 3300), (700, 1500, 2400, 3400), (500, 1100, 2100, 3300)),
    tilt=(3, 10),
    rough=(0.05, 0.9),
    breath=(0.03, 0.19),
    width=(0.05, 0.18),
    scale=(0.7, 1.3),
    scene=pavement,
), True, (2, 10)),
    "cricket": (cricket, True, (2, 10)),
    "cicada": (cicada, True, (2, 10)),
    "bee": (partial(wings, hz=(180, 260), tilt=5.5, flight=1.0), True, (2, 10)),
    "fly": (partial(wings, hz=(150, 230), tilt=6, flight=1.0), True, (2, 10)),
    "mosquito": (partial(wings, hz=(450, 750), tilt=9, flight=0.9), True, (2, 10)),
    "snake": (hiss, False, (1, 5)),
})
# fmt: on
