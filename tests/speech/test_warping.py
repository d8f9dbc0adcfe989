"""Warping of a reading onto a recording of another pace and pitch, also around sounds that are others in it."""

from __future__ import annotations

import numpy as np
import pytest
from vowels import say

from audiocm.speech.warping import RATE, speech_bounds, warp_around, warp_times

READ, LINE = [0.2, 0.15, 0.3, 0.2, 0.25], [0, 1, 2, 3, 4]
STARTS, READING = np.r_[0.0, np.cumsum(READ)], say(LINE, READ, 110.0)


def test_ends_of_sounds_are_found_at_another_pace_and_pitch():
    recorded = [0.35, 0.12, 0.25, 0.4, 0.2]
    ends = warp_times(STARTS[1:], READING, say(LINE, recorded, 190.0, 1))
    assert (np.diff(ends) >= 0).all() and abs(ends[-1] - sum(recorded)) < 0.01
    assert np.abs(ends - np.cumsum(recorded)).max() < 0.03


@pytest.mark.parametrize(
    ("vowels", "seconds"),
    [
        ([0, 1, 5, 3, 4], [0.3, 0.12, 0.3, 0.25, 0.3]),  # another sound in the place of the third
        ([0, 1, 5, 6, 5, 6, 3, 4], [0.2, 0.15, 0.4, 0.4, 0.3, 0.4, 0.2, 0.25]),  # five times as long
        ([0, 1, 3, 4], [0.2, 0.15, 0.2, 0.25]),  # nothing
    ],
)
def test_other_sounds_are_passed_over_however_long_they_are(vowels, seconds):
    recording = say(vowels, seconds, 190.0, 1)
    found = warp_around(STARTS, (2, 3), True, True, READING, recording)
    assert found.shape == STARTS.shape and (np.diff(found) >= 0).all()
    assert found[0] == 0 and found[-1] == pytest.approx(len(recording) / RATE)
    begin, end = sum(seconds[:2]), sum(seconds[:-2])
    assert abs(found[1] - seconds[0]) < 0.03 and abs(found[4] - (end + seconds[-2])) < 0.03
    assert abs(found[2] - begin) < 0.06 and abs(found[3] - end) < 0.06


def test_other_sounds_may_be_the_first_or_the_last():
    recording = np.pad(say([5, 2, 3, 4], [0.5, 0.3, 0.2, 0.25], 190.0), (RATE // 2, RATE // 4))
    found = warp_around(STARTS, (0, 2), False, True, READING, recording)
    assert found[0] == 0 and abs(found[2] - 1.0) < 0.06 and abs(found[4] - 1.5) < 0.03
    recording = np.pad(say([0, 1, 2, 3, 0], [0.2, 0.15, 0.3, 0.2, 0.6], 190.0), (RATE // 2, RATE // 4))
    found = warp_around(STARTS, (4, 5), True, False, READING, recording)
    assert abs(found[4] - 1.35) < 0.06 and abs(found[1] - 0.7) < 0.03 and found[5] == pytest.approx(2.2)


def test_a_recording_of_something_else_is_refused():
    for vowels in ([4, 6, 5, 0, 2], [6, 5, 6, 5, 6]):
        with pytest.raises(ValueError, match="the recording does not say the words"):
            warp_around(STARTS, (2, 3), True, True, READING, say(vowels, READ, 190.0))
    with pytest.raises(ValueError, match="too short or too long for the words"):
        warp_around(STARTS, (2, 3), True, True, READING, say([0], [0.15], 190.0))


def test_bounds_of_speech_are_those_of_what_is_loud():
    wav = np.pad(say([0], [0.5], 110.0), (RATE, RATE // 2))
    begin, end = speech_bounds(wav)
    assert 0.95 <= begin <= 1.0 and 1.5 <= end <= 1.55
    assert speech_bounds(np.zeros(100, np.float32)) == (0.0, 100 / RATE)
