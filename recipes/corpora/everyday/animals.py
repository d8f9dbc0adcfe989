"""Mammals: voices by a source and a moving vocal tract, and hooves."""

from functools import partial

from recipes.corpora.everyday.blocks import described
from recipes.corpora.everyday.voices import calls

SHEEP = ((550, 1500, 2500, 3600), (750, 1700, 2700, 3700), (700, 1600, 2600, 3600))
GOAT = ((600, 1800, 2900, 4000), (900, 2000, 3100, 4200), (800, 1800, 3000, 4100))


DOG = ((450, 1100, 2500, 3800), (900, 1500, 2700, 4000), (450, 1000, 2400, 3700))  # formants in Hz
CAT = ((500, 2300, 3400, 4800), (1100, 2000, 3500, 5000), (900, 1500, 3300, 4800), (600, 1000, 3000, 4600))

# fmt: off
SOUNDS = described({  # name: (maker, whether it fills the asked length, seconds)
    "dog bark": (partial(
            calls,
            pitch=(750, 1450), length=(0.09, 0.17), gap=(0.24, 0.55),
            contour=((0.5, 0.75), (1, 1), (0.5, 0.9)), shapes=DOG, tilt=(3, 10), rough=(0.01, 0.4),
            breath=(0.02, 0.3), width=(0.06, 0.18), scale=(0.8, 1.4), attack=(0.15, 0.4), count=(1, 9),
        ), False, (1, 6)),
    "dog growl": (partial(
            calls,
            pitch=(60, 500), length=(0.8, 1.8), gap=(0.02, 0.2), contour=((0.85, 1), (1, 1), (0.85, 1)),
            shapes=((450, 1100, 2400, 3600), (500, 1200, 2500, 3600)), tilt=(4, 11), rough=(0.45, 0.9),
            breath=(0.05, 0.6), width=(0.05, 0.09), scale=(0.9, 1.35),
        ), True, (2, 8)),
    "cat meow": (partial(
            calls,
            pitch=(950, 1280), length=(0.35, 1.0), gap=(0.25, 0.7),
            contour=((0.6, 1), (1, 1), (0.85, 1.1), (0.6, 0.9)), shapes=CAT, tilt=(2, 8), rough=(0.003, 0.08),
            breath=(0.02, 0.12), width=(0.05, 0.16), scale=(0.8, 1.3), count=(1, 5),
        ), False, (1, 5)),
    "cat purr": (partial(
            calls,
            pitch=(22, 55), length=(0.6, 1.2), gap=(0.02, 0.12), contour=((0.85, 1.1), (1, 1), (0.85, 1.1)),
            shapes=((300, 800, 2000, 3000), (350, 900, 2000, 3000)), tilt=(5, 13), rough=(0.2, 1.0),
            breath=(0.02, 0.15), width=(0.05, 0.2), shake=(0.15, 0.8), rate=(18, 30),
        ), True, (2, 10)),
    "sheep": (partial(
            calls,
            pitch=(180, 600), length=(0.5, 1.3), gap=(0.2, 0.7), contour=((0.85, 1), (1, 1), (0.75, 1)),
            shapes=SHEEP, tilt=(2, 6.5), rough=(0.01, 0.15), breath=(0.02, 0.5), width=(0.05, 0.1),
            scale=(0.9, 1.3), shake=(0.3, 0.8), rate=(8.5, 14), count=(1, 5),
        ), False, (1.5, 6)),
    "goat": (partial(
            calls,
            pitch=(350, 850), length=(0.4, 1.1), gap=(0.2, 0.7), contour=((0.85, 1), (1, 1), (0.75, 1)),
            shapes=GOAT, tilt=(2, 6.5), rough=(0.01, 0.15), breath=(0.02, 0.5), width=(0.05, 0.1),
            scale=(0.9, 1.25), shake=(0.3, 0.8), rate=(9, 15), count=(1, 5),
        ), False, (1.5, 6)),
    "horse neigh": (partial(
            calls,
            pitch=(950, 1450), length=(1.3, 2.1), gap=(0.1, 0.4),
            contour=((0.85, 1.1), (1, 1), (1.0, 1.35), (0.8, 1.25)),
            shapes=((400, 1400, 3000, 4000), (700, 1700, 2700, 4000)), tilt=(2, 10), rough=(0.005, 0.02),
            breath=(0.2, 1.0), width=(0.06, 0.18), shake=(0.3, 0.5), rate=(7, 12), count=(1, 3),
        ), False, (2, 4.5)),
})
# fmt: on
