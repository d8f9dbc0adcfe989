"""A text as the speech models speak it: sentences with their words, phonemes and pauses."""

import re
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .characters import replace_characters, unread_characters
from .dictionary import Pronouncer, default_pronouncer
from .markup import MarkupReader, Span
from .normalisation import normalise
from .pronunciation import Lexicon, phonemise
from .segmentation import split_clauses, split_lines, split_paragraphs, split_sentences
from .tables import SYMBOLS
from .verbalisers import shown

SENTENCE_PAUSE, PARAGRAPH_PAUSE, CLAUSE_PAUSE = 0.25, 0.6, 0.05  # seconds of silence that are added after each
NO_SPEECH = "the text has no character that can be pronounced"
MAX_FOREIGN = 1 / 3  # share of letters and digits of other scripts in a text that is read without them
MAX_NAMED = 20  # characters that one warning names
BLOCK = 100_000  # characters that are checked at once
_PRIVATE = re.compile("[\ue000-\uf8ff]")
_WORDS = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Sentence:
    """A piece of text that is synthesised at once, its phonemes, and the seconds of silence after it.

    words: the text as it is spoken, with its punctuation; speed: factor of the speaking rate."""

    text: str
    phonemes: str
    pause: float
    words: str = ""
    speed: float = 1.0


def validate_text(text: str) -> None:
    """Raises ValueError if a text is empty, has nothing to pronounce, is in another script, or its markup is wrong."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError("the text is empty")
    _check_script(text)
    reader, is_spoken = MarkupReader(), False
    for span in reader.read(text):
        is_spoken = is_spoken or bool(span.marked) or _has_speech(span.text)
    reader.finish()
    if not is_spoken:
        raise ValueError(NO_SPEECH)


def _has_speech(text: str) -> bool:
    blocks = (replace_characters(text[start : start + BLOCK]) for start in range(0, len(text), BLOCK))
    return any(any(c.isalnum() or SYMBOLS.get(c) for c in set(block)) for block in blocks)


def _check_script(text: str) -> None:
    """Raises ValueError if more than MAX_FOREIGN of the letters and digits are of other scripts.

    One letter among Latin ones is no reason to refuse a text, and single Greek letters are read by name."""
    if text.isascii():
        return
    total, foreign, first = 0, 0, ""
    for start in range(0, len(text), BLOCK):
        block = replace_characters(text[start : start + BLOCK])
        counts = {c: block.count(c) for c in set(block) if c.isalnum() and not c.isascii()}
        greek = {
            c: sum(w.count(c) for w in _WORDS.findall(block) if len(w) > 1) for c in counts if _script(c) == "GREEK"
        }
        others = {c: greek.get(c, n) for c, n in counts.items() if _script(c) != "LATIN"}
        total += sum(map(str.isalnum, block))
        foreign += sum(others.values())
        first = first or next((c for c in block if others.get(c) and c in [*unread_characters(c), *greek]), "")
    if first and foreign > MAX_FOREIGN * total and (foreign > 1 or first.isdigit() or total == 1):
        if unicodedata.category(first) == "Nd":
            raise ValueError(f"the text has digits of another script ({first}): only 0 to 9 are supported")
        script = _script(first).title()
        raise ValueError(f"the text has {script} letters ({first}): only English in Latin letters is supported")


def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split()[0]


class _Warner:
    """Warns of characters that are not read, each once."""

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def __call__(self, text: str) -> None:
        if text.isascii() and text.isprintable():
            return
        unread = [c for c in unread_characters(text) if c not in self.seen]
        if "•" in unread and not re.search(r"\S[^\S\n]*•", text):  # of a list
            unread.remove("•")
        self.seen |= set(unread)
        if unread:
            named = ", ".join(_name(c) for c in unread[:MAX_NAMED])
            others = f" and {len(unread) - MAX_NAMED} others" if len(unread) > MAX_NAMED else ""
            warnings.warn(f"text has symbols that are not read: {named}{others}", stacklevel=4)


def _name(character: str) -> str:
    code = f"U+{ord(character):04X}"
    name = unicodedata.name(character, "").lower()
    return f"{character} ({name})" if name and character.isprintable() else code + (f" ({name})" if name else "")


def read_sentences(
    text: str | Iterable[str], lexicon: Lexicon | None = None, pronouncer: Pronouncer | None = None
) -> Iterator[Sentence]:
    """Yields the sentences of a text, long ones in clauses, with bounded memory if the text comes in blocks.

    text: a text, or an iterable of its blocks, such as an open file; lexicon: words of the user's own. A UserWarning
    names characters that are not read, each once. Raises ValueError as `validate_text` or if all sentences are silent;
    of a text in blocks, the first one with any words has to be English."""
    if isinstance(text, str):
        validate_text(text)
        blocks: Iterable[str] = [text]
    else:
        blocks = _checked(_whole_paragraphs(text))
    warner = _Warner()
    pronouncer = pronouncer or default_pronouncer()
    last: Sentence | None = None
    for span, paragraph, is_end in _paragraphs(blocks, pronouncer, warner):
        pieces = [
            (piece, SENTENCE_PAUSE if i == len(parts) - 1 else CLAUSE_PAUSE)
            for sentence in split_sentences(paragraph)
            for parts in [list(split_clauses(sentence))]
            for i, piece in enumerate(parts)
        ]
        for i, (piece, pause) in enumerate(pieces):
            if sentence := _read(piece, span, lexicon, pronouncer):
                if last:
                    yield last
                last = replace(sentence, pause=PARAGRAPH_PAUSE if i == len(pieces) - 1 else pause)
        if is_end and span.pause is not None:
            if last:
                last = replace(last, pause=span.pause)
            else:
                warnings.warn("a pause before the first word is left out", stacklevel=2)
    if last is None:
        raise ValueError(NO_SPEECH)
    yield last


def _paragraphs(blocks: Iterable[str], pronouncer: Pronouncer, warner: _Warner) -> Iterator[tuple[Span, str, bool]]:
    """Yields the paragraphs of a text, each with its span of markup and whether it ends the span."""
    reader = MarkupReader()
    for block in blocks:
        warner(block)
        for span in reader.read(_PRIVATE.sub(" ", block)):
            paragraphs = split_paragraphs(split_lines([span.text]), pronouncer.knows)
            previous: str | None = None
            for paragraph in paragraphs:
                if previous is not None:
                    yield span, previous, False
                previous = paragraph
            yield span, previous or "", True
    reader.finish()


def _checked(blocks: Iterable[str]) -> Iterator[str]:
    is_checked = False
    for block in blocks:
        if not is_checked and any(map(str.isalnum, block)):
            _check_script(block)
            is_checked = True
        yield block


def _whole_paragraphs(blocks: Iterable[str]) -> Iterator[str]:
    """Yields a text that comes in blocks again in blocks of whole paragraphs, or of bounded length."""
    lines: list[str] = []
    size = 0
    for line in split_lines(blocks):
        lines.append(line)
        size += len(line)
        if (not line.strip() and size) or size > BLOCK:
            yield "\n".join(lines) + "\n"
            lines, size = [], 0
    if lines:
        yield "\n".join(lines)


def _read(piece: str, span: Span, lexicon: Lexicon | None, pronouncer: Pronouncer) -> Sentence | None:
    """Returns a sentence with its words and phonemes, None if it is silent."""
    marked = list(span.marked)
    words = normalise(lexicon.mark(replace_characters(piece), marked) if lexicon else piece)
    line = phonemise(words, marked, pronouncer)
    if not line:
        return None

    def own_words(text: str) -> str:
        return _PRIVATE.sub(lambda m: marked[ord(m[0]) - 0xE000][0], text)

    return Sentence(own_words(piece), line, 0.0, shown(own_words(words)), span.speed)
