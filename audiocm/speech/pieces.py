"""A text in the pieces that are synthesised at once, and their sounds in a row: what every speech pipeline does alike.

Arrays are numpy's, so that a pipeline without torch does the same."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ..text.alphabet import CONSONANTS, PAUSES, SILENCE, VOWELS
from ..text.pronunciation import Lexicon
from ..text.reading import Sentence, read_sentences
from .times import SentenceTimes, place_of_clause, sentence_times, split_sentence

SPEEDS = (0.5, 2.0)  # bounds of the speaking rate; that of markup and that of a call are multiplied and limited
SHORT = 15  # sounds; a line of fewer is spoken three times, of which the last is kept, see `in_context`
FADE, LEAD = 0.01, 0.15  # seconds of its fade and of the silence before it
FIRST_CLAUSE = 110  # phonemes, about six seconds; a longer first sentence is cut at a clause, for an early start


@dataclass(frozen=True)
class SpokenPiece:
    """A sentence as it is synthesised: its sound, float32 [sample], without a pause, its symbols and their seconds."""

    audio: np.ndarray
    sentence: Sentence
    symbols: Sequence[str]
    seconds: Sequence[float]


def read_pieces(text: str | Iterable[str], lexicon: Lexicon | None = None, is_sung: bool = False) -> Iterator[Sentence]:
    """Yields the sentences of a text; the first clause of a long first one, unless it is sung, is one of its own.

    Raises ValueError as `text.read_sentences`."""
    sentences = read_sentences(text if isinstance(text, str) else iter(text), lexicon)
    for first in islice(sentences, 1):
        cut = None if is_sung else place_of_clause(first.phonemes, FIRST_CLAUSE)
        yield from [first] if cut is None else split_sentence(first, cut)
    yield from sentences


def speaking_rate(sentence: Sentence, speed: float) -> float:
    """Returns the rate of a sentence at the `speed` of a call, within SPEEDS."""
    return min(max(speed * sentence.speed, SPEEDS[0]), SPEEDS[1])


def in_context(line: str) -> str:
    """Returns a phoneme line of fewer than SHORT sounds three times, with a full stop if it has none, others as is.

    The voices learned from whole sentences: of a single word they swallow the onset, or put other sounds before it.
    After itself it is in a context that they know (results: recipes/text_to_speech/short_texts.py)."""
    if sum(symbol in VOWELS + CONSONANTS for symbol in line) >= SHORT:
        return line
    return " ".join([line if line[-1] in PAUSES else f"{line}."] * 3)


def without_context(piece: SpokenPiece, sample_rate: int) -> SpokenPiece:
    """Returns the last of the three repetitions of `in_context`, from the quietest place between the sounds around its
    beginning, with silence before."""
    first = len(piece.symbols) - 1 - (len(piece.symbols) - 4) // 3  # "_" L " " L " " L "_"
    start, end = sum(piece.seconds[: first - 3]) + piece.seconds[first - 3] / 2, sum(piece.seconds[:first])
    begin, fade = round(start * sample_rate), round(FADE * sample_rate)
    cut = quietest_place(piece.audio, begin, round(end * sample_rate) + fade, fade)
    audio = piece.audio[cut:].copy()
    audio[:fade] *= np.linspace(0, 1, fade, dtype=np.float32)
    silence = end - cut / sample_rate
    more = max(0, round((LEAD - silence) * sample_rate))
    seconds = (silence + more / sample_rate, *piece.seconds[first:])
    return SpokenPiece(np.pad(audio, (more, 0)), piece.sentence, (SILENCE, *piece.symbols[first:]), seconds)


def quietest_place(wav: np.ndarray, first: int, end: int, width: int) -> int:
    """Returns the sample at which the quietest `width` samples of a wav [sample] between `first` and `end` begin.

    `first` itself if there are fewer."""
    energy = np.square(wav[first:end].astype(np.float64))
    if len(energy) < width:
        return first
    return first + int(np.lib.stride_tricks.sliding_window_view(energy, width).sum(1).argmin())


class Timeline:
    """Places the pieces of one text one after another, with the pauses between them."""

    def __init__(self, sample_rate: int) -> None:
        self.rate, self.samples, self.pause = sample_rate, 0, 0

    def place(self, piece: SpokenPiece) -> tuple[np.ndarray, SentenceTimes]:
        """Returns the sound of the next piece, with the pause before it, and its times."""
        start, pause = self.samples / self.rate, self.pause / self.rate
        audio = np.pad(piece.audio, (self.pause, 0))
        self.samples += len(audio)
        self.pause = round(piece.sentence.pause * self.rate)
        end = self.samples / self.rate
        return audio, sentence_times(piece.sentence, piece.symbols, piece.seconds, start, pause, end)
