"""The patterns that instruments play: notes (start, seconds, key, velocity), and the phrase that describes them.

The words are exact: "a rising scale, fast and loud" is a rising scale with short notes and high velocity.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from recipes.corpora.instruments.presets import Instrument

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
NOTE_SECONDS = {"slow": (0.45, 0.7), "": (0.24, 0.36), "fast": (0.1, 0.16)}
VELOCITY = {"soft": (38, 55), "": (75, 95), "loud": (112, 127)}
ADVERBS = {"slow": "slowly", "fast": "quickly", "soft": "softly", "loud": "loudly"}
MAX_SECONDS = 7.0


@dataclass
class Part:
    """The notes (start s, length s, key, velocity) of one instrument and the words for them."""

    notes: list[tuple[float, float, int, int]]
    phrase: str
    short: str = ""

    @property
    def end(self) -> float:
        return max(start + length for start, length, _, _ in self.notes)


@dataclass
class Manner:
    """A tempo ("slow", "", "fast") and a volume ("soft", "", "loud"), with the numbers that are drawn for them."""

    tempo: str
    volume: str
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.beat = float(self.rng.uniform(*NOTE_SECONDS[self.tempo]))
        self.velocity = int(self.rng.integers(*VELOCITY[self.volume]))

    @property
    def adjectives(self) -> str:
        words = [word for word in (self.tempo, self.volume) if word]
        return f", {' and '.join(words)}" if words else ""

    @property
    def adverbs(self) -> str:
        words = [ADVERBS[word] for word in (self.tempo, self.volume) if word]
        return f" {' and '.join(words)}" if words else ""


def _line(keys: list[int], manner: Manner, overlap: float = 0.98, last: float = 2.0) -> list:
    notes = [(i * manner.beat, manner.beat * overlap, int(key), manner.velocity) for i, key in enumerate(keys)]
    start, _, key, velocity = notes[-1]
    return [*notes[:-1], (start, manner.beat * last, key, velocity)]


def _tonic(tool: Instrument, rng: np.random.Generator, span: int = 12) -> int:
    return int(rng.integers(tool.low, max(tool.low + 1, tool.high - span + 1)))


def note(tool: Instrument, manner: Manner, where: str) -> Part:
    """One note at the bottom, in the middle or at the top of the range; a slow one is held, a fast one short."""
    third = max(1, (tool.high - tool.low) // 3)
    base = tool.low + {"low": 0, "": third, "high": 2 * third}[where]
    key = int(manner.rng.integers(base, base + third))
    kind = {"slow": "long ", "fast": "short ", "": ""}[manner.tempo]
    seconds = {"slow": (2.0, 4.0), "": (0.8, 1.4), "fast": (0.12, 0.25)}[manner.tempo]
    pitch = f"{where} " if where else ""
    notes = [(0.0, float(manner.rng.uniform(*seconds)), key, manner.velocity)]
    return Part(notes, f"a {kind}{pitch}note", f"a {kind}note")


def scale(tool: Instrument, manner: Manner, falling: bool, mode: str = "") -> Part:
    """Eight notes of a major or minor scale, or sixteen when fast and the range allows it."""
    steps = MINOR if mode == "minor" else MAJOR
    octaves = 2 if manner.tempo == "fast" and tool.high - tool.low >= 26 else 1
    tonic = _tonic(tool, manner.rng, 12 * octaves)
    keys = [tonic + 12 * o + step for o in range(octaves) for step in steps] + [tonic + 12 * octaves]
    word = "falling" if falling else "rising"
    phrase = f"a {word} {mode} scale" if mode else f"a {word} scale"
    notes = _line(keys[::-1] if falling else keys, manner)
    return Part(notes, phrase, "a scale going down" if falling else "a scale going up")


def arpeggio(tool: Instrument, manner: Manner, falling: bool) -> Part:
    """A broken triad over one octave and a fifth, up or down."""
    minor = bool(manner.rng.integers(2))
    third = 3 if minor else 4
    tonic = _tonic(tool, manner.rng, 19)
    keys = [tonic + step for step in (0, third, 7, 12, 12 + third, 19)]
    word = "falling" if falling else "rising"
    phrase = f"a {word} {'minor' if minor else 'major'} arpeggio"
    return Part(_line(keys[::-1] if falling else keys, manner), phrase, f"a {word} arpeggio")


def chord(tool: Instrument, manner: Manner, mode: str) -> Part:
    """One major or minor triad with its octave."""
    tonic = _tonic(tool, manner.rng, 24)
    seconds = float(manner.rng.uniform(1.0, 3.0))
    keys = [tonic + step for step in (0, 3 if mode == "minor" else 4, 7, 12)]
    return Part([(0.0, seconds, key, manner.velocity) for key in keys], f"a {mode} chord", "a chord")


def chords(tool: Instrument, manner: Manner) -> Part:
    """Four chords I-vi-IV-V or i-VI-III-VII, each struck once."""
    tonic = _tonic(tool, manner.rng, 22)
    progression = [((0, 4, 7), (-3, 0, 4), (-7, -3, 0), (-5, -1, 2)), ((0, 3, 7), (-4, 0, 3), (-9, -5, -2), (-2, 2, 5))]
    seconds = manner.beat * 2.4
    notes = [
        (i * seconds, seconds * 0.96, tonic + step + (12 if tonic + step < tool.low else 0), manner.velocity)
        for i, triad in enumerate(progression[int(manner.rng.integers(2))])
        for step in triad
    ]
    return Part(notes, "a series of chords", "chords")


def repeated(tool: Instrument, manner: Manner) -> Part:
    """One note, repeated."""
    count = int(min(manner.rng.integers(4, 14), 6.0 / manner.beat))
    key = _tonic(tool, manner.rng, 4)
    return Part(_line([key] * max(count, 3), manner, 0.8, 1.0), "the same note again and again", "a repeated note")


def trill(tool: Instrument, manner: Manner) -> Part:
    """Two neighbouring notes in quick alternation."""
    key = _tonic(tool, manner.rng, 6)
    manner.beat = float(manner.rng.uniform(0.07, 0.1))
    count = int(manner.rng.integers(14, 30))
    return Part(_line([key + 2 * (i % 2) for i in range(count)], manner, last=5.0), "a trill", "a trill")


def melody(tool: Instrument, manner: Manner, mode: str = "major") -> Part:
    """A short tune: a random walk on the scale with varied note lengths that ends on the tonic."""
    rng = manner.rng
    steps = MINOR if mode == "minor" else MAJOR
    tonic, degree, time, notes = _tonic(tool, rng, 17), int(rng.choice([0, 2, 4])), 0.0, []
    while time < min(MAX_SECONDS - 1.5, manner.beat * 13):
        length = manner.beat * float(rng.choice([1, 1, 1, 2, 0.5 if manner.tempo != "fast" else 1]))
        notes.append((time, length * 0.97, tonic + 12 * (degree // 7) + steps[degree % 7], manner.velocity))
        time += length
        degree = int(np.clip(degree + rng.choice([-2, -1, -1, 1, 1, 2]), 0, 9))
    notes.append((time, manner.beat * 2.5, tonic, manner.velocity))
    mood = "sad " if mode == "minor" else ""
    return Part(notes, f"a short {mood}melody", f"a {mood}tune")


def strokes(tool: Instrument, manner: Manner) -> Part:
    """Hits of an untuned instrument in an even beat."""
    count = int(np.clip(round(manner.rng.uniform(1.2, 4.0) / manner.beat), 3, 24))
    key = int(manner.rng.integers(tool.low, tool.high + 1))
    return Part(_line([key] * count, manner, 0.9, 1.0), "a steady beat", "a beat")


def hit(tool: Instrument, manner: Manner) -> Part:
    """One stroke of an untuned instrument."""
    key = int(manner.rng.integers(tool.low, tool.high + 1))
    return Part([(0.0, 0.6, key, manner.velocity)], "a single stroke", "one hit")


def roll(tool: Instrument, manner: Manner) -> Part:
    """Very quick strokes that grow louder."""
    manner.beat = float(manner.rng.uniform(0.045, 0.075))
    count = int(manner.rng.uniform(1.2, 3.5) / manner.beat)
    key = int(manner.rng.integers(tool.low, tool.high + 1))
    notes = [(i * manner.beat, 0.2, key, int(40 + 80 * i / count)) for i in range(count)]
    return Part(notes, "a roll that grows louder", "a roll")


def effect(tool: Instrument, manner: Manner) -> Part:
    """A sound effect held for one to five seconds."""
    key = int(manner.rng.integers(tool.low, tool.high + 1))
    return Part([(0.0, float(manner.rng.uniform(1.0, 5.0)), key, manner.velocity)], "", "")


TEMPI = [  # (tempo, volume) to draw from
    *[("", ""), ("fast", ""), ("slow", ""), ("", "loud"), ("", "soft")],
    *[("fast", "loud"), ("slow", "soft"), ("fast", "soft"), ("slow", "loud")],
]


def patterns_of(tool: Instrument) -> dict[str, Callable[[Manner], Part]]:
    """Returns the patterns that suit an instrument, by name, as functions of the manner."""
    if "x" in tool.flags:
        return {"effect": partial(effect, tool)}
    if "p" in tool.flags:
        return {pattern.__name__: partial(pattern, tool) for pattern in (hit, strokes, roll)}
    table: dict[str, Callable[[Manner], Part]] = {
        "note-low": partial(note, tool, where="low"),
        "note-middle": partial(note, tool, where=""),
        "note-high": partial(note, tool, where="high"),
        "scale-up": partial(scale, tool, falling=False),
        "scale-down": partial(scale, tool, falling=True),
        "scale-minor": partial(scale, tool, falling=False, mode="minor"),
        "arpeggio-up": partial(arpeggio, tool, falling=False),
        "arpeggio-down": partial(arpeggio, tool, falling=True),
        "repeated": partial(repeated, tool),
        "melody": partial(melody, tool),
        "melody-minor": partial(melody, tool, mode="minor"),
    }
    if "b" not in tool.flags:
        table["trill"] = partial(trill, tool)
    if "c" in tool.flags:
        table |= {f"chord-{mode}": partial(chord, tool, mode=mode) for mode in ("major", "minor")}
        table["chords"] = partial(chords, tool)
    return table
