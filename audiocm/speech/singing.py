"""Notes and F0 contours as durations and pitch of a phoneme line, and the text format of notes and scores."""

import re
import warnings
from collections.abc import Sequence

import numpy as np

from ..text.alphabet import PAUSES, SILENCE, VOWELS
from ..text.pronunciation import Lexicon
from ..text.reading import read_sentences

_VOICELESS = SILENCE + PAUSES + "fhkpstʃʔʧθ"  # symbols whose pitch is left free
_NOTE = re.compile(r"(?:([A-Ga-g])([#b]?)(-?\d)|(\d{1,3}))(?::(\d*\.?\d+))?")
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"#": 1, "b": -1, "": 0}
Notes = Sequence[tuple[float, float]]  # (MIDI number, seconds) for each vowel in order; 0 leaves the pitch free


def midi_to_hertz(note: float) -> float:
    """Returns the frequency of a MIDI note number (69: A4, 440 Hz); 0 for number 0."""
    return 440.0 * 2 ** ((note - 69) / 12) if note > 0 else 0.0


def resample_contour(contour: np.ndarray, points: int) -> np.ndarray:
    """Stretches an F0 contour in Hz to so many points by nearest neighbours, which keeps 0 (unvoiced) and nan (free).

    Raises ValueError if the contour is not a list of numbers from 0 to 2000."""
    if contour.ndim != 1 or not len(contour):
        raise ValueError("a pitch contour is a list of F0 in Hz, one number for each point")
    if np.nanmax(np.abs(contour), initial=0) > 2000 or np.nanmin(contour, initial=0) < 0:
        raise ValueError("a pitch contour is in Hz, from 0 (unvoiced) to 2000")
    position = (np.arange(points) + 0.5) * len(contour) / points
    return contour[np.minimum(position.astype(int), len(contour) - 1)].astype(np.float32)


def align_notes(
    symbols: Sequence[str], spoken: Sequence[float], notes: Notes, step: float
) -> tuple[list[float], np.ndarray]:
    """Returns the seconds of each symbol and F0 in Hz every `step` seconds, so that each vowel begins with its note.

    `spoken`: the seconds of each symbol in speech. As in singing, the consonants before a vowel take their time from
    the note before it, at most half of that note. Raises ValueError if there is not one note for each vowel."""
    vowels = [i for i, symbol in enumerate(symbols) if symbol in VOWELS]
    if len(notes) != len(vowels):
        raise ValueError(f"{len(notes)} notes for {len(vowels)} syllables: give one (note, seconds) for each vowel")
    if not all(0 <= note <= 127 and 0 < length <= 10 for note, length in notes):
        raise ValueError("a note is a MIDI number from 0 to 127 with a length of up to 10 seconds")
    seconds = [float(value) for value in spoken]
    next_vowels = [*vowels[1:], vowels[-1] + 1] if vowels else []  # what follows the last vowel keeps its seconds
    for vowel, next_vowel, (_, length) in zip(vowels, next_vowels, notes, strict=True):
        consonants = range(vowel + 1, next_vowel)
        total = sum(seconds[i] for i in consonants)
        scale = min(1.0, length / 2 / total) if total else 1.0
        for i in consonants:
            seconds[i] *= scale
        seconds[vowel] = length - sum(seconds[i] for i in consonants)
    return seconds, note_pitch(symbols, seconds, notes, step)


def note_pitch(symbols: Sequence[str], seconds: Sequence[float], notes: Notes, step: float) -> np.ndarray:
    """Returns the notes' F0 in Hz every `step` seconds of symbols of given `seconds`; nan (free) at voiceless ones."""
    vowels = [i for i, symbol in enumerate(symbols) if symbol in VOWELS]
    note_of = np.searchsorted(vowels, np.arange(len(symbols)), side="right") - 1
    pitch = [
        midi_to_hertz(notes[k][0]) if k >= 0 and symbol not in _VOICELESS else 0.0
        for symbol, k in zip(symbols, note_of, strict=True)
    ]
    ends = np.cumsum(seconds)
    times = (np.arange(max(1, round(float(ends[-1]) / step))) + 0.5) * step
    f0 = np.array(pitch, np.float32)[np.searchsorted(ends, times).clip(max=len(pitch) - 1)]
    return np.where(f0 > 0, f0, np.float32("nan"))


def read_notes(text: str, tempo: float = 120.0) -> list[tuple[float, float]]:
    """Parses notes such as "C4 F#4:2 Bb3:1.5 60", names or MIDI numbers with their beats (default 1), to `Notes`.

    Raises ValueError for anything else."""
    notes = []
    for word in text.split():
        match = _NOTE.fullmatch(word)
        if not match:
            raise ValueError(f"{word!r} is no note: write C4, F#4:2 or Bb3:1.5, a name with its octave and beats")
        letter, accidental, octave, number, beats = match.groups()
        if number is None:
            number = 12 * (int(octave) + 1) + _SEMITONES[letter.upper()] + _ACCIDENTALS[accidental]
        notes.append((float(number), float(beats or 1) * 60.0 / tempo))
    return notes


def read_score(
    text: str, tempo: float = 120.0, lexicon: Lexicon | None = None
) -> list[tuple[str, list[tuple[float, float]]]]:
    """Parses lines of `words | notes`; skips empty lines and # comments. Raises ValueError naming a wrong line."""
    score = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words, bar, notes = line.partition("|")
        try:
            if not bar:
                raise ValueError("write words | notes")
            score.append((words.strip(), read_notes(notes, tempo)))
            check_notes(*score[-1], lexicon)
        except ValueError as error:
            raise ValueError(f"score, line {number}: {error}") from error
    if not score:
        raise ValueError("the score is empty: write lines of words | notes")
    return score


def check_notes(words: str, notes: Notes, lexicon: Lexicon | None = None) -> None:
    """Raises ValueError unless the words are one sentence with as many syllables as there are notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are told when the words are sung
        parts = list(read_sentences(words, lexicon))
    if len(parts) > 1:
        raise ValueError("notes are for one sentence: write each on a line of a score")
    count = sum(symbol in VOWELS for symbol in parts[0].phonemes)
    if count != len(notes):
        raise ValueError(f"{len(notes)} notes for {count} syllables: {words!r} is read {parts[0].phonemes}")
