"""The General MIDI instruments: names for captions, labels that a tagger may give them, and their range of keys.

A line of presets.txt is `bank program | name | other names | AudioSet classes | low high | flags`, where {NAME} is one
of GROUPS. The flags are c: plays chords, b: bass (no trills or fast melodies high up), p: untuned percussion, x: sound
effect. A line of drums.txt is `keys | name | other names | AudioSet classes`, of the General MIDI percussion map.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

GROUPS = {  # labels that several presets share
    "PIANO": "Piano; Keyboard (musical); Musical instrument",
    "EPIANO": "Electric piano; Keyboard (musical); Piano; Synthesizer",
    "MALLET": "Mallet percussion; Glockenspiel; Vibraphone; Marimba, xylophone",
    "BELLS": "Glockenspiel; Mallet percussion; Bell; Chime; Vibraphone",
    "ORGAN": "Organ; Electronic organ; Hammond organ; Keyboard (musical)",
    "REED": "Accordion; Harmonica; Musical instrument",
    "GUITAR": "Guitar; Acoustic guitar; Plucked string instrument",
    "EGUITAR": "Electric guitar; Guitar; Plucked string instrument",
    "BASS": "Bass guitar; Guitar; Plucked string instrument; Double bass",
    "SYNTH": "Synthesizer; Electronic music; Keyboard (musical); Musical instrument; Ambient music",
    "BOWED": "Bowed string instrument; Violin, fiddle; Cello; String section",
    "STRINGS": "String section; Bowed string instrument; Orchestra; Violin, fiddle; Cello",
    "VOICE": "Choir; Singing; Vocal music; A capella; Chant",
    "BRASS": "Brass instrument; Trumpet; Trombone; French horn; Wind instrument, woodwind instrument",
    "SAX": "Saxophone; Wind instrument, woodwind instrument; Clarinet; Brass instrument",
    "WIND": "Wind instrument, woodwind instrument; Clarinet; Flute; Musical instrument",
    "FLUTE": "Flute; Wind instrument, woodwind instrument; Whistle; Musical instrument",
    "PLUCK": "Plucked string instrument; Musical instrument; Zither; Banjo; Sitar",
    "DRUM": "Drum; Percussion; Drum kit; Bass drum; Timpani",
}


@dataclass(frozen=True)
class Instrument:
    """A preset or, with bank 128, one drum of a kit, and its names."""

    bank: int
    program: int
    name: str
    others: tuple[str, ...]
    labels: tuple[str, ...]
    low: int
    high: int
    flags: str = ""

    @property
    def key(self) -> str:
        """Name in files: bank, program and, of a drum, its key."""
        return f"b{self.bank}p{self.program}" + (f"k{self.low}" if self.bank == 128 else "")


def _words(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.strip() for word in cell.split(";") if word.strip()))


def _rows(file: str) -> list[list[str]]:
    text = Path(__file__).with_name(file).read_text(encoding="utf-8").format_map(GROUPS)
    return [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]


@cache
def instruments() -> tuple[Instrument, ...]:
    """Returns the presets, the 128 programs of bank 0 first."""
    return tuple(
        Instrument(*map(int, where.split()), name, _words(others), _words(labels), *map(int, span.split()), flags)
        for where, name, others, labels, span, flags in _rows("presets.txt")
    )


@cache
def drums() -> tuple[Instrument, ...]:
    """Returns the drums, one Instrument per name, whose range is the keys of the drum."""
    return tuple(
        Instrument(128, 0, name, _words(others), _words(labels), int(keys.split()[0]), int(keys.split()[-1]), "p")
        for keys, name, others, labels in _rows("drums.txt")
    )


PLURAL = _words(
    "tubular bells; timpani; plucked strings; tremolo strings; guitar harmonics; bongos; bagpipes; temple blocks;"
    "castanets; maracas; claves; sleigh bells; wind chimes; sea waves; applause; bowed glass; slap bass;"
    "popping slap bass; synth bass; deep synth bass; synth brass; mellow synth brass"
)


def article(name: str) -> str:
    """Returns a name with its indefinite article, if it takes one: `a violin`, `an accordion`, `timpani`."""
    if name in PLURAL:
        return name
    return f"an {name}" if name[0] in "aeioAEIO" or name.startswith("FM") else f"a {name}"
