"""Notes to sing, and F0 contours to follow, as durations and pitch of a phoneme line."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from .phonemes import PAUSES, SILENCE, VOWELS, sentences

_VOICELESS = SILENCE + PAUSES + "fhkpstʃʔʧθ"  # where a note leaves the pitch free
_NOTE = re.compile(r"(?:([A-Ga-g])([#b]?)(-?\d)|(\d{1,3}))(?::(\d*\.?\d+))?")
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def hertz(note: float) -> float:
    """F0 of a MIDI note number (69: A4, 440 Hz); 0 for a rest (note 0)."""
    return 440.0 * 2 ** ((note - 69) / 12) if note > 0 else 0.0


def resample_contour(contour: np.ndarray, points: int) -> np.ndarray:
    """An F0 contour in Hz stretched to so many points; nearest neighbours, so that 0 (unvoiced) and nan (free) survive."""
    if contour.ndim != 1 or not len(contour):
        raise ValueError("a pitch contour is a list of F0 in Hz, one number a point")
    if np.nanmax(np.abs(contour), initial=0) > 2000 or np.nanmin(contour, initial=0) < 0:
        raise ValueError("a pitch contour is in Hz, from 0 (unvoiced) to 2000")
    at = (np.arange(points) + 0.5) * len(contour) / points
    return contour[np.minimum(at.astype(int), len(contour) - 1)].astype(np.float32)


def align_notes(
    symbols: Sequence[str], spoken: Sequence[float], notes: Sequence[tuple[float, float]], step: float
) -> tuple[list[float], np.ndarray]:
    """Seconds of each symbol and F0 in Hz every `step` seconds, so that each vowel begins with its note.

    symbols: of a line, with `spoken` seconds each. notes: (MIDI number, seconds), one for each vowel in order; number 0 is
    left free. Consonants before a vowel take their time from the note before, as singers do, at most half of it.
    ValueError when the notes are not as many as the vowels.
    """
    vowels = [i for i, symbol in enumerate(symbols) if symbol in VOWELS]
    if len(notes) != len(vowels):
        raise ValueError(f"{len(notes)} notes for {len(vowels)} syllables: give one (note, seconds) for each vowel")
    if not all(0 <= note <= 127 and 0 < length <= 10 for note, length in notes):
        raise ValueError("a note is a MIDI number from 0 to 127 with a length of up to 10 seconds")
    seconds = [float(value) for value in spoken]
    for k, (i, (_, length)) in enumerate(zip(vowels, notes, strict=True)):
        after = range(i + 1, vowels[k + 1] if k + 1 < len(vowels) else i + 1)
        wanted = sum(seconds[j] for j in after)
        share = min(1.0, length / 2 / wanted) if wanted else 1.0
        for j in after:
            seconds[j] *= share
        seconds[i] = length - sum(seconds[j] for j in after)
    return seconds, note_pitch(symbols, seconds, notes, step)


def note_pitch(
    symbols: Sequence[str], seconds: Sequence[float], notes: Sequence[tuple[float, float]], step: float
) -> np.ndarray:
    """The notes' F0 in Hz every `step` seconds of symbols that last `seconds`; nan (free) where no voice sounds."""
    vowels = [i for i, symbol in enumerate(symbols) if symbol in VOWELS]
    note_of = np.searchsorted(vowels, np.arange(len(symbols)), side="right") - 1
    told = [hertz(notes[k][0]) if k >= 0 and symbols[j] not in _VOICELESS else 0.0 for j, k in enumerate(note_of)]
    ends = np.cumsum(seconds)
    at = (np.arange(max(1, round(float(ends[-1]) / step))) + 0.5) * step
    f0 = np.array(told, np.float32)[np.searchsorted(ends, at).clip(max=len(told) - 1)]
    return np.where(f0 > 0, f0, np.float32("nan"))


def read_notes(text: str, tempo: float = 120.0) -> list[tuple[float, float]]:
    """ "C4 F#4:2 Bb3:1.5" or MIDI numbers, each with its beats (default 1) -> (MIDI number, seconds) each."""
    found = []
    for word in text.split():
        read = _NOTE.fullmatch(word)
        if not read:
            raise ValueError(f"{word!r} is no note: write C4, F#4:2 or Bb3:1.5, a name with its octave and beats")
        letter, sign, octave, number, beats = read.groups()
        if number is None:
            number = 12 * (int(octave) + 1) + _STEPS[letter.upper()] + {"#": 1, "b": -1, "": 0}[sign]
        found.append((float(number), float(beats or 1) * 60.0 / tempo))
    return found


def read_score(text: str, tempo: float = 120.0) -> list[tuple[str, list[tuple[float, float]]]]:
    """Lines of `words | notes` -> (words, notes) each; empty lines and # comments are passed over. ValueError names the line."""
    score = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words, bar, notes = line.partition("|")
        try:
            if not bar:
                raise ValueError("write words | notes")
            score.append((words.strip(), read_notes(notes, tempo)))
            check_notes(*score[-1])
        except ValueError as error:
            raise ValueError(f"score, line {number}: {error}") from error
    if not score:
        raise ValueError("the score is empty: write lines of words | notes")
    return score


def check_notes(words: str, notes: Sequence[tuple[float, float]]) -> None:
    """ValueError where the words are no one sentence with as many syllables as notes."""
    told = list(sentences(words))
    if len(told) > 1:
        raise ValueError("notes are for one sentence: write each on a line of a score")
    count = sum(symbol in VOWELS for symbol in told[0].phonemes)
    if count != len(notes):
        raise ValueError(f"{len(notes)} notes for {count} syllables: {words!r} is read {told[0].phonemes}")
