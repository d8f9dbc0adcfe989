"""Text -> paragraphs -> sentences: hard wraps, lists, headings, quotes, and stops that end no sentence."""

import re
from collections.abc import Callable, Iterable, Iterator

from .tables import (
    ABBREVIATIONS,
    BEFORE_NUMBERS,
    CONTINUES,
    DATE_ABBREVIATIONS,
    DIRECTIONS,
    STARTERS,
    STREETS,
    TITLES,
)

MAX_CHARACTERS = 300  # of a sentence; longer ones are split at clauses
MAX_PARAGRAPH = 20_000  # characters that are held at once; a longer paragraph is cut at a space
WRAP = 40  # a line of this length may go on in the next one
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]*_]*\s+(?=\S)")
_LINE_END = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
_CLAUSE = re.compile(r"(?<=[,;:—)])\s+")
_ITEM = re.compile(r"\s*(?:[-*•‣◦▪–]\s+|(?:\d{1,3}|[ivx]{1,5})[.)]\s+|[a-zA-Z]\)\s+|(?:#{1,6}|>+)\s+)\S")
_NUMBER_ITEM = re.compile(r"\s*(?:\d{1,3}|[ivx]{1,5}|[a-zA-Z])[.)]\s")
_NEVER = {"e.g", "i.e", "cf", "viz", "vs", "approx", "ca", "al", "v", "Mr", "Mrs", "Ms", "Messrs"}
_DOTTED = {key.rstrip(".") for key in ABBREVIATIONS if key.endswith(".")} | set(DATE_ABBREVIATIONS) | {"p.m", "a.m"}
_DOTTED |= {"P.M", "A.M", "Ph.D", "Mex", "Eng", "rel", "INT", "EXT"}


def split_lines(blocks: Iterable[str]) -> Iterator[str]:
    """Yields the lines of a text that comes in blocks of any length; a very long line is cut at a space."""
    waiting: list[str] = []  # the beginning of a line
    size = 0
    for block in blocks:
        for start in range(0, len(block), MAX_PARAGRAPH):
            waiting.append(block[start : start + MAX_PARAGRAPH])
            size += len(waiting[-1])
            if size <= 2 * MAX_PARAGRAPH and not _LINE_END.search(waiting[-1]):
                continue
            text = "".join(waiting)
            is_cut = text.endswith("\r")  # its other half may come
            *lines, rest = _LINE_END.split(text.removesuffix("\r"))
            yield from lines
            while len(rest) > 2 * MAX_PARAGRAPH:
                cut = rest.rfind(" ", 0, MAX_PARAGRAPH) + 1 or MAX_PARAGRAPH
                yield rest[:cut]
                rest = rest[cut:]
            waiting = [rest + "\r" * is_cut]
            size = len(waiting[0])
    yield from _LINE_END.split("".join(waiting))


def split_paragraphs(lines: Iterable[str], knows: Callable[[str], bool] = lambda word: False) -> Iterator[str]:
    """Yields paragraphs: lines that a hard wrap cut are joined; headings, list items and verses stay apart.

    knows: whether a word is in the dictionary; a word cut at a hyphen is joined if so."""
    block: list[str] = []
    size = 0
    for line in lines:
        if not line.strip() or size > MAX_PARAGRAPH:
            yield from _join(block, knows)
            block, size = [], 0
        if line.strip():
            block.append(line.strip())
            size += len(line)
    yield from _join(block, knows)


def _join(block: list[str], knows: Callable[[str], bool]) -> Iterator[str]:
    longest = max(map(len, block), default=0)
    paragraph = ""
    for i, line in enumerate(block):
        if paragraph and _goes_on(block[i - 1], line, longest):
            cut = re.search(r"([^\W\d_]+)[-\u2010\u00ad]$", paragraph[-60:])
            word = re.match(r"[a-z]+", line)
            if cut and word:
                is_word = paragraph[-1] == "\u00ad" or knows((cut[1] + word[0]).lower())
                paragraph = (paragraph[:-1] if is_word else paragraph) + line
            else:
                paragraph = f"{paragraph} {line}"
        else:
            if paragraph:
                yield paragraph
            paragraph = line
    if paragraph:
        yield paragraph


def _goes_on(line: str, following: str, longest: int) -> bool:
    """Whether a line break is a hard wrap, and no end of a heading, list item or verse."""
    if _ITEM.match(following):
        return False
    if line[-1] in ".!?:…" or re.search(r"[.!?…][\"'”’)]+$", line[-10:]):
        return bool(_is_abbreviation(line, following)) or (len(line) >= WRAP and len(line) >= 0.7 * longest)
    if line.startswith("#"):
        return False
    last = re.search(r"([^\W\d_]+)\W*$", line[-60:])
    if following[0].islower() or line[-1] in ",;—-–" or (last and last[1] in CONTINUES):
        return True
    return len(line) >= WRAP and len(line) >= 0.7 * longest and not line.isupper()


def _is_abbreviation(line: str, following: str) -> bool:
    return line[-1] == "." and not _ends_sentence(f"{line} {following}", len(line), len(line) + 1)


def split_sentences(paragraph: str) -> Iterator[str]:
    """Yields the sentences of a paragraph."""
    start = 0
    for m in _END.finditer(paragraph):
        if _ends_sentence(paragraph, m.start(), m.end(), start):
            yield paragraph[start : m.end()].strip()
            start = m.end()
    if paragraph[start:].strip():
        yield paragraph[start:].strip()


def _ends_sentence(text: str, end: int, begin: int, start: int = 0) -> bool:
    """Whether the mark before `end` ends the sentence that began at `start`; the next word begins at `begin`."""
    following = text[begin : begin + 60].lstrip("\"'“‘([*_")
    word = re.match(r"[^\W_]+(?:'[a-z]+)?", following)
    starts = bool(word) and (word[0] in STARTERS or (word[0].capitalize() in STARTERS and word[0].isupper()))
    if not following or following[0].islower() or following[0] in ".=+×÷":
        return False
    mark = text[end - 1]
    if mark != "." or text[end - 2 : end] == ".." or text[end - 3 : end] == ". .":
        return True
    before = text[max(start, end - 40) : end - 1]
    if not before.strip("\"'“‘(") or _NUMBER_ITEM.fullmatch(text[start:end] + " "):
        return False  # a number of a list
    last = re.split(r"[\s(\[\"“‘'—/]+", before)[-1]
    is_number = following[0].isdecimal() or following[0] == "#"
    if re.fullmatch(r"[A-Za-z]", last) and last != "I":
        return _initial_ends(before, last, following, starts)
    if last == "I":
        return not re.match(r"[A-Z]\.", following)
    if last in _NEVER:
        return False
    if last in STREETS and _is_street(before):
        return starts or not (is_number or re.match(r"(?:[NSEW]|Apt|Ste)\b", following))
    if last in TITLES and last not in ("Jr", "Sr", "Esq"):
        return False if last[0].isupper() else starts
    if last in BEFORE_NUMBERS and re.match(r"[IVXLC]{2,}\b|[IVXL][,.;:)]", following):
        return False
    if last in ("No", "no", "Nos", "nos", "p", "pp", "sec", "art", "lines", "l", "c"):
        return not (is_number or re.match(r"[IVX]+\b", following))
    if last in BEFORE_NUMBERS:
        return starts and not is_number
    if last in _DOTTED or re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", last):
        return starts and not is_number
    return True


def _initial_ends(before: str, last: str, following: str, starts: bool) -> bool:
    """Whether a stop after a single letter ends a sentence: "plan B. The" does, "J. Smith" does not."""
    if last.islower():
        return starts or (not following[0].isdecimal() and last not in ("p", "c", "l", "v"))
    if re.match(r"[A-Z]\.", following):
        return False
    if last in DIRECTIONS and re.search(r"\d [NSEW]$", before):
        return False
    return starts and following[:2] not in ("A.", "I.")


def _is_street(before: str) -> bool:
    return bool(re.search(r"(?:[A-Z][\w']+|\d+(?:st|nd|rd|th)) \w+$", before)) and not re.search(
        r"(?:^|[.!?] )\w+ \w+$", before
    )


def split_clauses(sentence: str) -> Iterator[str]:
    """Yields pieces of at most MAX_CHARACTERS: clauses where possible, else words, else letters."""
    piece = ""
    for clause in _CLAUSE.split(sentence) if len(sentence) > MAX_CHARACTERS else [sentence]:
        for word in [clause] if len(clause) <= MAX_CHARACTERS else re.findall(rf"\S{{1,{MAX_CHARACTERS}}}", clause):
            if piece and len(piece) + len(word) >= MAX_CHARACTERS:
                yield piece
                piece = ""
            piece = f"{piece} {word}" if piece else word
    if piece:
        yield piece
