"""Written text -> words, by semiotic classes (Taylor, "Text-to-Speech Synthesis", 2009, chapter 5).

`semiotic_classes.priority.CLASSES` are patterns with their verbalisers in order of priority. A stretch of text belongs
to the first class that reads it, and no later class sees it again; a class whose verbaliser returns None leaves the text
to those after it."""

import re
from collections.abc import Iterator

from .characters import drop_unread
from .segmentation import split_clauses
from .semiotic_classes.abbreviations import read_capitals
from .semiotic_classes.priority import CLASSES, JOINED
from .tables import AMBIGUOUS, REGNAL, REGNAL_TITLES, ROMAN_CUES, SPELLED, TITLES
from .verbalisers import LETTER_END, cardinal, letters, roman, shown

MAX_PIECE = 1000  # characters that are read at once, so that time is linear in the length of a text
_MARKUP = [
    (re.compile(r"!?\[([^\]\n]*)\]\((?:[^()\s]|\([^()\s]*\))*\)"), r"\1"),
    (re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|`+|~~)(?=\S)([^*`~\n]*?\S)\1(?!\w)"), r"\2"),
    (re.compile(r"(?<=\w)(\*{1,2})(?=\w)([^*\n]{1,200})\1"), r"\2"),
    (re.compile(r"^\s*(?:#{1,6}|>+|[-*•‣◦▪–])\s+"), ""),
    (re.compile(r"^\s*(\d{1,3})[.)]\s+(?=\S)"), r"\1, "),
    (re.compile(r"^\s*([ivx]{1,5})[.)]\s+(?=\S)"), lambda m: f"{cardinal(roman(m[1]))}, " if roman(m[1]) else m[0]),
    (re.compile(r"^\s*([a-zA-Z])\)\s+"), lambda m: f"{letters(m[1])}, "),
    (re.compile(r"^\s*INT\.(?= [A-Z])"), "Interior"),
    (re.compile(r"^\s*EXT\.(?= [A-Z])"), "Exterior"),
]
_CAPITALS = re.compile(r"(?<![\w.])[A-Z]+(?:'[A-Z]+)*(?![\w.]?[a-z0-9])(?!\.[A-Z])")
_SPACES = re.compile(r"[ \t\n\r]+")
_BEFORE_STOP = re.compile(r" +([.,;:!?])(?=\s|$|[\"'”)])")


def normalise(sentence: str) -> str:
    """Returns a sentence in words, with its punctuation: "It's 5:45." is "It's five forty-five."

    Spelled letters are capitals followed by a thin space (see `verbalisers`). Characters that are not read are left
    out; `characters.unread_characters` names them."""
    text = drop_unread(sentence)
    if len(text) > MAX_PIECE:
        return " ".join(filter(None, map(normalise, split_clauses(text))))
    for pattern, form in _MARKUP:
        text = pattern.sub(form, text)
    if is_capitals(text):
        text = _in_small_letters(text)
    return _BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", _read_classes(text))).strip(" ")


def _read_classes(text: str) -> str:
    """Returns a text with the words of its classes in the place of what they read."""
    taken, found = bytearray(len(text)), []
    for name, rules in CLASSES.items():
        for pattern, verbalise in rules:
            position = 0
            while m := pattern.search(text, position):
                claimed = taken.find(1, *m.span())
                if claimed >= 0:  # go on behind what another class has read
                    position = taken.find(0, claimed)
                    if position < 0:
                        break
                    continue
                words = verbalise(m) if callable(verbalise) else verbalise
                position = m.end()
                if words is not None:
                    found.append((*m.span(), words, name))
                    taken[m.start() : m.end()] = b"\1" * (m.end() - m.start())
    return _assemble(text, sorted(found))


def _assemble(text: str, found: list[tuple[int, int, str, str]]) -> str:
    """Returns the words of classes and the text between them; a dash between two quantities is "to"."""
    line, position, last = "", 0, ""
    for start, end, words, name in found:
        between = text[position:start]
        if last in JOINED and name in JOINED and re.fullmatch(r"\s?[-–—]\s?", between):
            between = " to "
        line, position, last = _glue(_glue(line, between), words), end, name
    return _glue(line, text[position:])


def _glue(left: str, right: str) -> str:
    apart = left[-1:].isalnum() or left[-1:] in (LETTER_END, ")", "]")
    return f"{left} {right}" if apart and right[:1].isalnum() else left + right


def is_capitals(text: str) -> bool:
    """Whether a sentence is written in capitals, so that words in capitals are no acronyms."""
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text)
    long = [word for word in words if len(word) > 1]
    if len(words) < 2 or not long or any(word != word.upper() for word in words):
        return False
    return any(
        len(word) > 3 or read_capitals(word) != letters(word) for word in long if word not in SPELLED - AMBIGUOUS
    )


def _in_small_letters(text: str) -> str:
    """Returns a sentence in capitals in lower case, all but its acronyms, numerals and single letters."""

    def word(m: re.Match[str]) -> str:
        one, before, after = m[0], re.search(r"(\w+) $", text[: m.start()]), text[m.end() : m.end() + 2]
        is_cued = before and before[1].capitalize() in ROMAN_CUES | REGNAL
        if roman(one) and before and (is_cued or one in ("II", "III", "VI", "VII", "VIII")):
            return one
        if len(one) == 1:
            return one.lower() if one == "A" and after[:1] != "." else one
        if one in SPELLED - AMBIGUOUS or re.match(r"\.\w", after):
            return one
        is_name = one.capitalize() in ROMAN_CUES | REGNAL | REGNAL_TITLES | set(TITLES)
        return one.capitalize() if is_name or not m.start() else one.lower()

    return _CAPITALS.sub(word, text)


def words(sentence: str) -> Iterator[str]:
    """Yields the words of a sentence as they are spoken, in lower case, without punctuation."""
    yield from re.findall(r"[^\W_]+(?:'[^\W_]+)*", shown(normalise(sentence)).lower())
