"""Notes, scores and F0 contours, and the durations and pitch that they give to phoneme lines."""

import numpy as np
import pytest

from audiocm.speech.singing import align_notes, check_notes, midi_to_hertz, read_notes, read_score, resample_contour

WORDS, NOTES = "Twinkle, twinkle, little star.", "C4 C4 G4 G4 A4 A4 G4:2"


def test_notes_and_scores_are_read():
    assert read_notes("C4 F#4:2 Bb3:0.5 60", 60.0) == [(60, 1), (66, 2), (58, 0.5), (60, 1)]
    assert read_score(f"# a song\n\n{WORDS} | {NOTES}\n")[0] == (WORDS, read_notes(NOTES))
    check_notes("A dog.", [(60, 1.0), (62, 1.0)])  # "a" is a syllable


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("", "the score is empty"),
        ("C4 C4", "line 1: write words | notes"),
        ("La. | H4", "line 1: 'H4' is no note"),
        ("\nLa la. | C4", "line 2: 1 notes for 2 syllables: 'La la.' is read"),
        ("One. Two. | C4 C4", "line 1: notes are for one sentence"),
        ("?! | C4", "line 1: the text has no character that can be pronounced"),
    ],
)
def test_a_wrong_line_of_a_score_is_named(score, message):
    with pytest.raises(ValueError) as error:
        read_score(score)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_vowels_begin_with_their_notes():
    symbols, spoken = ["_", "l", "A", "k", "t", "i", "_"], [0.1, 0.05, 0.1, 0.06, 0.04, 0.1, 0.2]
    seconds, f0 = align_notes(symbols, spoken, [(69, 0.5), (57, 0.1)], 0.01)
    assert seconds[2] + seconds[3] + seconds[4] == pytest.approx(0.5) and seconds[3] == pytest.approx(0.06)
    assert seconds[5] == pytest.approx(0.1) and midi_to_hertz(69) == 440 and midi_to_hertz(57) == pytest.approx(220)
    assert set(f0[~np.isnan(f0)].round()) == {220.0, 440.0} and np.isnan(f0[:14]).all()
    short, _ = align_notes(symbols, spoken, [(69, 0.1), (57, 0.1)], 0.01)
    assert short[2] == pytest.approx(0.05)  # consonants take half of the note at most
    with pytest.raises(ValueError, match="3 notes for 2 syllables"):
        align_notes(symbols, spoken, [(60, 1.0)] * 3, 0.01)
    with pytest.raises(ValueError, match="up to 10 seconds"):
        align_notes(symbols, spoken, [(60, 1.0), (60, 99.0)], 0.01)


def test_a_contour_is_stretched_by_nearest_neighbours():
    assert resample_contour(np.array([100.0, 0.0], np.float32), 4).tolist() == [100, 100, 0, 0]
    with pytest.raises(ValueError, match="in Hz"):
        resample_contour(np.array([60000.0]), 4)
    with pytest.raises(ValueError, match="a pitch contour is a list"):
        resample_contour(np.array([[100.0]]), 4)
