"""When each word and each phoneme of a sentence is spoken, from the durations that the sound was made with."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..text.alphabet import CONSONANTS, PAUSES, SILENCE, VOWELS
from ..text.reading import Sentence

_SPELLED = r"[A-Z](?: [A-Z])*(?: [A-Z](?:'?s)?)(?!\w)"  # "P M", "N G Os": spelled letters are one word
_SPOKEN = re.compile(rf"(?<!\w){_SPELLED}|[^\s{re.escape(PAUSES)}]*[^\W_][^\s{re.escape(PAUSES)}]*")
_CLAUSE_MARKS = ",;:—…"


class PhonemeTime(NamedTuple):
    """A symbol of `text.alphabet.SYMBOLS` and its seconds; "_" is silence."""

    symbol: str
    start: float
    end: float


@dataclass(frozen=True)
class WordTime:
    """A word as it is written, or several that are read together, such as "5:45", and its seconds.

    spoken: its words as they are spoken, "five forty five"."""

    text: str
    spoken: str
    start: float
    end: float


@dataclass(frozen=True)
class SentenceTimes:
    """The times of a sentence, or of a clause of a long one, in seconds from the beginning of the text's sound.

    start, end: bounds of its speech; words: in order, without the silence between them; phonemes: all symbols, each
    from the end of the one before. The first ones of a later sentence begin with the pause before it, "_", so that
    the phonemes of all sentences together fill the sound without a gap."""

    text: str
    start: float
    end: float
    words: tuple[WordTime, ...]
    phonemes: tuple[PhonemeTime, ...]

    @property
    def durations(self) -> list[tuple[str, float]]:
        """Its symbols, each with its seconds."""
        return [(symbol, end - start) for symbol, start, end in self.phonemes]


class WordPlace(NamedTuple):
    """A word as `WordTime` has it, its first symbol in a sentence's phonemes, and the one after its last."""

    text: str
    spoken: str
    first: int
    end: int


class _Group(NamedTuple):
    """Written words, their spoken ones, and the number of spoken runs of phonemes that they are."""

    text: str
    spoken: str
    runs: int


def sentence_times(
    sentence: Sentence, symbols: Sequence[str], seconds: Sequence[float], start: float, pause: float, end: float
) -> SentenceTimes:
    """Returns the times of a sentence that follows a sound of `start` seconds and a `pause`, and ends at `end`.

    symbols, seconds: its phonemes with the silence around them, as they were synthesised."""
    phonemes = [PhonemeTime(SILENCE, start, start + pause)] if pause else []
    begin = at = start + pause
    for i, (symbol, length) in enumerate(zip(symbols, seconds, strict=True)):
        until = end if i == len(symbols) - 1 else at + length
        phonemes.append(PhonemeTime(symbol, at, until))
        at = until
    spoken = phonemes[1:] if pause else phonemes
    places = word_places(sentence, symbols)
    words = tuple(WordTime(w.text, w.spoken, spoken[w.first].start, spoken[w.end - 1].end) for w in places)
    return SentenceTimes(sentence.text, begin, end, words, tuple(phonemes))


def word_places(sentence: Sentence, symbols: Sequence[str]) -> list[WordPlace]:
    """Returns where the words of a sentence lie among its symbols, in order; pauses are between them."""
    runs: list[tuple[int, int]] = []
    is_inside = False
    for i, symbol in enumerate(symbols):
        is_sound = symbol in VOWELS + CONSONANTS
        if is_sound:
            runs = [*runs[:-1], (runs[-1][0], i + 1)] if is_inside else [*runs, (i, i + 1)]
        is_inside = is_sound
    words, first = [], 0
    for group in _groups(sentence.text, sentence.words, sentence.phonemes):
        mine = runs[first : first + group.runs]
        first += group.runs
        if mine:
            words.append(WordPlace(group.text, group.spoken, mine[0][0], mine[-1][1]))
    return words


def shift_times(times: SentenceTimes, seconds: float, pause: float = 0.0) -> SentenceTimes:
    """Returns the times of a sentence moved by so many seconds, of which `pause` are silence just before it."""
    words = tuple(replace(word, start=word.start + seconds, end=word.end + seconds) for word in times.words)
    phonemes = tuple(PhonemeTime(symbol, start + seconds, end + seconds) for symbol, start, end in times.phonemes)
    if pause:
        phonemes = (PhonemeTime(SILENCE, phonemes[0].start - pause, phonemes[0].start), *phonemes)
    return SentenceTimes(times.text, times.start + seconds, times.end + seconds, words, phonemes)


def split_sentence(sentence: Sentence, cut: int, pause: float = 0.0) -> tuple[Sentence, Sentence]:
    """Returns the sentence before and after a place in its phonemes, each with its own words; `pause` is between."""
    lines = sentence.phonemes[:cut].strip(), sentence.phonemes[cut:].strip()
    left, texts, words = len(_runs(lines[0])), ([], []), ([], [])
    for group in _groups(sentence.text, sentence.words, sentence.phonemes):
        side = 0 if left > 0 else 1
        texts[side].append(group.text)
        words[side].append(group.spoken)
        left -= group.runs
    first, second = (
        replace(sentence, text=" ".join(texts[i]), words=" ".join(words[i]), phonemes=lines[i]) for i in (0, 1)
    )
    return replace(first, pause=pause), second


def place_of_clause(line: str, most: int) -> int | None:
    """Returns where to cut a phoneme line of more than `most` characters so that a clause of less comes first.

    It is the last end of a clause before `most`, but not before a quarter of it; None if there is none."""
    if len(line) <= most:
        return None
    ends = [i + 1 for i in range(most // 4, most) if line[i] in _CLAUSE_MARKS and line[i + 1] == " "]
    return ends[-1] if ends else None


def place_of_middle(line: str) -> int:
    """Returns where to cut a phoneme line in two: near its middle, at punctuation, else between words, else anywhere."""
    middle = len(line) // 2
    for marks in (_CLAUSE_MARKS, " "):
        places = [i + 1 for i, c in enumerate(line[:-1]) if c in marks and len(line) // 5 < i + 1 < len(line) * 4 // 5]
        if places:
            return min(places, key=lambda i: abs(i - middle))
    return middle


def _runs(line: str) -> list[str]:
    """Returns the runs of sounding phonemes of a line, which are its words."""
    return re.findall(f"[{VOWELS}{CONSONANTS}ˈˌ]+", line)


def _groups(text: str, words: str, line: str) -> list[_Group]:
    """Returns the written words of a sentence with what they are spoken as.

    Written and spoken words are matched where they are equal; what lies between is one word, such as "5:45" and "five
    forty five", unless there are as many written as spoken ones."""
    spoken = _match_runs(_SPOKEN.findall(words or text), _runs(line))
    written = text.split()
    keys = [_key(word) for word in written], [_key(word) for word, _ in spoken]
    groups: list[_Group] = []
    for _, a, b, c, d in difflib.SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if b - a == d - c:
            groups += [_Group(written[a + k], *spoken[c + k]) for k in range(b - a)]
        else:
            groups.append(_joined(written[a:b], spoken[c:d]))
    whole: list[_Group] = []
    for group in groups:  # what is written but not spoken, or the reverse, belongs to the word before
        if whole and not (group.text and group.spoken and whole[-1].text and whole[-1].spoken):
            whole[-1] = _joined(filter(None, (whole[-1].text, group.text)), (whole[-1][1:], group[1:]))
        else:
            whole.append(group)
    return whole


def _joined(written: Iterable[str], spoken: Iterable[tuple[str, int]]) -> _Group:
    spoken = list(spoken)
    return _Group(" ".join(written), " ".join(word for word, _ in spoken if word), sum(n for _, n in spoken))


def _key(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())


def _expected_sounds(word: str) -> float:
    """Returns about how many sounds a word has: one for 1.2 letters, two for a letter that is spelled, 3 for a digit."""
    key = _key(word)
    if re.fullmatch(rf"{_SPELLED}|[B-HJ-Z]", word):
        return 2.0 * len(key)
    return sum(3.0 if c.isdigit() else 1 / 1.2 for c in key)


def _match_runs(words: list[str], runs: list[str]) -> list[tuple[str, int]]:
    """Returns the spoken words, each with its number of runs, where some are spoken as one, such as "p m", or as two.

    A monotonic alignment of least difference in length, in sounds."""
    if len(words) == len(runs):
        return [(word, 1) for word in words]
    if not words or not runs:
        return [(" ".join(words), len(runs))]
    letters = [_expected_sounds(word) for word in words]
    sounds = [sum(c not in "ˈˌ" for c in run) for run in runs]
    best: dict[tuple[int, int], tuple[float, int, int]] = {(0, 0): (0.0, 0, 0)}
    moves = [(1, 1), *((1, n) for n in range(2, 20)), *((n, 1) for n in range(2, 13))]
    for i in range(len(words)):
        for j in range(len(runs)):
            if (i, j) not in best:
                continue
            for m, n in moves:
                if i + m <= len(words) and j + n <= len(runs):
                    apart = abs(sum(letters[i : i + m]) - sum(sounds[j : j + n])) + 0.5 * (m + n - 2)
                    cost = best[i, j][0] + apart
                    if cost < best.get((i + m, j + n), (float("inf"),))[0]:
                        best[i + m, j + n] = (cost, i, j)
    end = (len(words), len(runs))
    if end not in best:  # far more of one than of the other
        return [(" ".join(words), len(runs))]
    pieces: list[tuple[str, int]] = []
    while end != (0, 0):
        _, i, j = best[end]
        pieces.append((" ".join(words[i : end[0]]), end[1] - j))
        end = (i, j)
    return pieces[::-1]
