"""Notes to sing, and F0 contours to follow, as durations and pitch of a phoneme line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .phonemes import PAUSES, SILENCE, VOWELS

_VOICELESS = SILENCE + PAUSES + "fhkpstʃʔʧθ"  # where a note leaves the pitch free


def hertz(note: float) -> float:
    """F0 of a MIDI note number (69: A4, 440 Hz); 0 for a rest (note 0)."""
    return 440.0 * 2 ** ((note - 69) / 12) if note > 0 else 0.0


def fitted(contour: np.ndarray, points: int) -> np.ndarray:
    """An F0 contour in Hz stretched to so many points; nearest neighbours, so that 0 (unvoiced) and nan (free) survive."""
    if contour.ndim != 1 or not len(contour):
        raise ValueError("a pitch contour is a list of F0 in Hz, one number a point")
    if np.nanmax(np.abs(contour), initial=0) > 2000 or np.nanmin(contour, initial=0) < 0:
        raise ValueError("a pitch contour is in Hz, from 0 (unvoiced) to 2000")
    at = (np.arange(points) + 0.5) * len(contour) / points
    return contour[np.minimum(at.astype(int), len(contour) - 1)].astype(np.float32)


def sung(
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
    note_of = np.searchsorted(vowels, np.arange(len(seconds)), side="right") - 1
    told = [hertz(notes[k][0]) if k >= 0 and symbols[j] not in _VOICELESS else 0.0 for j, k in enumerate(note_of)]
    ends = np.cumsum(seconds)
    at = (np.arange(max(1, round(float(ends[-1]) / step))) + 0.5) * step
    f0 = np.array(told, np.float32)[np.searchsorted(ends, at).clip(max=len(told) - 1)]
    return seconds, np.where(f0 > 0, f0, np.float32("nan"))
