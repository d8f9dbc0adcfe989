"""Sounds of the human body: heart, breath, throat and mouth."""

from functools import partial

import numpy as np

from recipes.corpora.everyday.blocks import (
    Take,
    band,
    bedroom,
    described,
    indoors,
    noise,
    place,
    repeat,
    swell,
    take,
)
from recipes.corpora.everyday.voices import calls

VOWELS = {  # formants in Hz of an adult; Peterson & Barney 1952, with a fourth
    "a": (750, 1150, 2500, 3500),
    "ae": (700, 1700, 2450, 3600),
    "e": (530, 1850, 2500, 3600),
    "i": (290, 2250, 2950, 3700),
    "o": (560, 880, 2450, 3400),
    "u": (320, 880, 2250, 3300),
    "er": (490, 1300, 1700, 3300),
}


def vowels(names: str, scale: float = 1.0) -> np.ndarray:
    """Returns the shapes of vowels for a vocal tract that is 1 / scale as long as an adult's."""
    return scale * np.array([VOWELS[name] for name in names.split()])


def heartbeat(rng: np.random.Generator, seconds: float) -> Take:
    """Lub and dub: the valves close 0.3 s apart and the chest passes 20 to 150 Hz."""
    period, low = rng.uniform(0.6, 1.1), rng.uniform(38, 60)
    systole = 0.3 * np.sqrt(period)

    def one() -> np.ndarray:
        lub = band(rng, 0.18, low, 2.2 * low, 18) * swell(0.18, 0.03, 0.12)
        dub = band(rng, 0.14, 1.3 * low, 3 * low, 18) * swell(0.14, 0.02, 0.1) * rng.uniform(0.5, 0.8)
        return place(0.7, [(0, lub), (systole, dub)])

    murmur = noise(rng, seconds, (20, 0), (100, -6), (500, -30), (4000, -50)) * rng.uniform(0.01, 0.04)
    return take(repeat(rng, seconds, period, one, 0.03) + murmur, seconds)


# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "heartbeat": (heartbeat, True, (2, 10)),
    "snoring": (partial(
            calls,
            pitch=(62, 140), length=(0.8, 1.5), gap=(0.5, 1.1), contour=((0.65, 1.1), (1, 1), (0.7, 1.2)),
            shapes=((350, 1100, 2300, 3300), (480, 1300, 2500, 3400), (400, 1150, 2300, 3300)), tilt=(5.5, 10),
            rough=(0.05, 0.4), breath=(0.08, 0.35), width=(0.055, 0.11), scale=(0.85, 1.1), attack=(0.2, 0.4),
            scene=bedroom,
        ), True, (3, 10)),
    "breathing": (partial(
            calls,
            pitch=(70, 125), length=(0.6, 1.2), gap=(0.3, 0.7), contour=((0.75, 1.1), (1, 1), (0.65, 1)),
            shapes=vowels("er a e"), tilt=(4, 9.5), rough=(0.05, 0.6), breath=(0.5, 2.5), width=(0.06, 0.1),
            scale=(0.85, 1.3), scene=bedroom,
        ), True, (3, 10)),
    "laugh": (partial(
            calls,
            pitch=(330, 800), length=(0.085, 0.14), gap=(0.05, 0.16),
            contour=((0.85, 1), (1, 1), (0.73, 0.88)), shapes=vowels("a ae"), rough=(0.025, 0.4),
            breath=(0.05, 0.4), tilt=(3, 10), width=(0.05, 0.1), scale=(1.05, 1.3), scene=indoors,
        ), True, (1.5, 6)),
    "crying baby": (partial(
            calls,
            pitch=(340, 650), length=(0.5, 1.1), gap=(0.15, 0.4),
            contour=((0.65, 0.85), (1, 1), (0.92, 1.08), (0.62, 0.8)), shapes=vowels("ae a er"),
            tilt=(2.8, 5.2), rough=(0.03, 0.35), breath=(0.03, 0.2), width=(0.055, 0.1), scale=(1.3, 1.75),
            scene=indoors,
        ), True, (2, 10)),
    "scream": (partial(
            calls,
            pitch=(700, 1400), length=(0.65, 1.1), gap=(0.15, 0.5),
            contour=((0.6, 0.95), (1, 1), (0.85, 1.1), (0.63, 0.82)), shapes=vowels("a ae"), tilt=(2, 10),
            rough=(0.03, 0.35), breath=(0.15, 0.7), width=(0.05, 0.09), scale=(1.0, 1.35), count=(1, 3),
        ), False, (1.5, 3.5)),
    "yawn": (partial(
            calls,
            pitch=(140, 500), length=(0.9, 1.6), gap=(0.3, 0.6), contour=((0.85, 1.25), (1, 1), (0.45, 0.75)),
            shapes=vowels("a o u"), tilt=(5, 12), rough=(0.01, 0.3), breath=(0.05, 0.6), width=(0.05, 0.075),
            scale=(1.1, 1.3), scene=indoors, count=(1, 2),
        ), False, (2, 3.6)),
    "fart": (partial(
            calls,
            pitch=(75, 190), length=(0.3, 1.2), gap=(0.1, 0.4), contour=((0.8, 1.2), (1, 1), (0.6, 1.3)),
            shapes=((350, 900, 1900, 3000), (450, 1000, 2000, 3000)), tilt=(1.5, 4.5), rough=(0.05, 0.6),
            breath=(0.02, 0.15), width=(0.14, 0.25), count=(1, 3), scene=indoors,
        ), False, (0.5, 2.4)),
})
# fmt: on
