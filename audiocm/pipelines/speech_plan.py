"""What becomes of a recording whose words are edited: the text, which of its words are said anew, and their times."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..checks import check_whole
from ..speech.encoder_net import SpeechBatch
from ..speech.pieces import SPEEDS
from ..speech.times import WordPlace
from ..text.pronunciation import Lexicon
from ..text.reading import Sentence, read_sentences


def read_line(text: str, lexicon: Lexicon | None = None) -> Sentence:
    """Returns a text as one sentence, with the pauses of its punctuation only. Raises ValueError as `read_sentences`."""
    parts = list(read_sentences(text, lexicon))
    joined = {name: " ".join(getattr(part, name) for part in parts) for name in ("text", "phonemes", "words")}
    return Sentence(pause=0.0, **joined)


def check_words(text: str, words: Sequence[int]) -> tuple[int, int]:
    """Returns the first and the last of the words of a text, counted from 1, that are to be said anew.

    Raises ValueError unless they are whole numbers in order, inside the text, and leave a word of it."""
    if not isinstance(words, list | tuple) or len(words) != 2:
        raise ValueError(f"words must be the numbers of the first and the last word, such as (3, 4), not {words!r}")
    first, last = (check_whole("words", word) for word in words)
    count = len(text.split())
    if first > last:
        raise ValueError(f"words {first}:{last} are none: the first must not come after the last")
    if first < 1 or last > count:
        raise ValueError(f"words {first}:{last} must lie inside the text, whose words are 1:{count}")
    if last - first + 1 == count:
        raise ValueError(f"words {first}:{last} are the whole text: nothing would be kept; speak it instead")
    return first, last


@dataclass(frozen=True)
class Reading:
    """A text as the model reads it: its batch of one row in a voice, its wav [sample] at the pipeline's rate, and the
    seconds of its symbols; words: their places among the symbols."""

    batch: SpeechBatch
    words: list[WordPlace]
    seconds: np.ndarray
    wav: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """When each symbol begins and the last ends, in seconds [symbol + 1]."""
        return np.r_[0.0, np.cumsum(self.seconds)]


@dataclass(frozen=True)
class EditPlan:
    """What becomes of a recording: its samples between two `cut` seconds give way to the symbols `first` to `end` of a
    line, whose symbols then last `seconds`."""

    line: Reading
    cut: tuple[float, float]
    first: int
    end: int
    seconds: np.ndarray

    @property
    def is_known(self) -> bool:
        """Whether the line has words that the recording says."""
        return self.line.words[0].first < self.first or self.line.words[-1].end > self.end


def words_around(places: Sequence[WordPlace], first: int, last: int) -> tuple[list[WordPlace], list[WordPlace]]:
    """Returns the words before and after those that hold the written words from `first` to `last`, counted from 1.

    Raises ValueError if there are none."""
    before, after, written = [], [], 0
    for place in places:
        begin, written = written + 1, written + len(place.text.split())
        if written < first:
            before.append(place)
        elif begin > last:
            after.append(place)
    if not before and not after:
        raise ValueError(f"words {first}:{last} are read together with the whole text: nothing would be kept")
    return before, after


def plan_edit(
    line: Reading, made: tuple[int, int], starts: np.ndarray, cut: tuple[float, float], kept: Sequence[WordPlace]
) -> EditPlan:
    """Returns the plan of a line whose symbols begin at `starts` in a recording, and which `kept` words are said in it.

    What is made lasts as long as in the line, times the factor by which the kept words last longer in the recording."""
    first, end = made
    lengths = [sum(float(at[word.end] - at[word.first]) for word in kept) for at in (starts, line.starts)]
    tempo = np.clip(lengths[0] / lengths[1], 1 / SPEEDS[1], 1 / SPEEDS[0]) if kept else 1.0
    seconds = line.seconds * tempo
    seconds[:first] = np.diff(np.r_[starts[:first].clip(max=cut[0]), cut[0]])
    seconds[end:] = np.diff(np.r_[cut[1], starts[end + 1 :].clip(min=cut[1])])
    return EditPlan(line, cut, first, end, seconds)
