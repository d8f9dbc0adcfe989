"""English text -> sentences -> phonemes with stress. Numbers, dates, money, abbreviations and unknown words are read by the
rules, lexicon, tagger and small net of `hibari-tts` (Apache-2.0, offline, about 2 ms a sentence), of which nothing else is used.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

SILENCE = "_"  # before and after every line
PAUSES = ' ;:,.!?—…"()“”'
VOWELS = "AIOWYaiuæɐɑɔəɛɜɪʊʌᵊᵻ"  # one character each; A I O W Y are the diphthongs of day, my, go, now, boy; ɐ is the word "a"
CONSONANTS = "bdfhjklmnpstvwzðŋɡɹɾʃʒʔʤʧθT"  # T: the flap of "forty"
SYMBOLS = SILENCE + PAUSES + VOWELS + CONSONANTS
STRESS = {"ˌ": 1, "ˈ": 2}  # written before the vowel that carries it
SPOKEN_SYMBOLS = "/=+&@%#~^<>°¢£€$¥₹₩©§¶×÷±→½¼¾²³"
SILENT_SYMBOLS = " \t\n\r.,;:!?'\"()[]-–—…‘’“”|*_«»"
UNSPOKEN = "the text has no character that can be pronounced"
_REPLACED = str.maketrans(
    {"«": "“", "»": "”", "[": "(", "]": ")", "_": " ", "*": " ", "|": ",", "\t": " ", "\r": "\n", "\u00a0": " "}
)
_MINUS = re.compile(r"\u2212\s?(?=\d)")
_CLAUSE = re.compile(r"(?<=[,;:—)])\s+")
SENTENCE_PAUSE, PARAGRAPH_PAUSE, CLAUSE_PAUSE = (
    0.25,
    0.6,
    0.05,
)  # seconds of silence after, besides what the voice leaves
LONGEST = 300  # characters read as one sentence; longer ones are read clause by clause


@dataclass(frozen=True)
class Sentence:
    """What is spoken at once: its words, their phonemes, and the seconds of silence after it."""

    text: str
    phonemes: str
    pause: float


def clean_text(text: str) -> str:
    """The text without what cannot be read, which a UserWarning names.

    ValueError for a text that is empty, has nothing to pronounce, or has letters of another script than Latin.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError("the text is empty: say what should be spoken")
    text = _MINUS.sub("minus ", unicodedata.normalize("NFC", text))
    unknown, swaps = [], {}
    for character in sorted(set(text), key=text.index):
        if character in SPOKEN_SYMBOLS or character in SILENT_SYMBOLS or (character.isascii() and character.isalnum()):
            continue
        swaps[character] = _swap(character)
        if swaps[character] == " " and unicodedata.category(character) not in ("Cf", "Mn", "Zs", "Zl", "Zp"):
            unknown.append(character)
    text = text.translate(str.maketrans(swaps)).translate(_REPLACED)
    if not any(character.isalnum() or character in SPOKEN_SYMBOLS for character in text):
        raise ValueError(UNSPOKEN)
    if unknown:
        named = ", ".join(f"{c} ({unicodedata.name(c, f'U+{ord(c):04X}').lower()})" for c in unknown[:5])
        warnings.warn(
            f"text has symbols that are not read: {named}{' and others' if len(unknown) > 5 else ''}", stacklevel=3
        )
    return text


def validate_text(text: str) -> None:
    """Raises what `cleaned` raises, and warns of nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean_text(text)


def _swap(character: str) -> str:
    """What a rare character is read as: itself, plainer ones, or nothing. ValueError for another script."""
    name, plain = unicodedata.name(character, ""), unicodedata.normalize("NFKC", character)
    if plain.isascii() and plain.isalnum():  # ligatures, full-width letters, superscripts
        return plain
    if unicodedata.category(character)[0] == "L":
        if name.startswith("LATIN"):
            return character
        raise ValueError(
            f"the text has {name.split()[0].title()} letters ({character}): this model reads English, in Latin letters"
        )
    if unicodedata.category(character) == "Nd":
        raise ValueError(f"the text has digits of another script ({character}): this model reads 0 to 9")
    return " "


@functools.cache
def _reader():
    from hibari.g2p import G2P

    return G2P()


def phonemes(text: str) -> str:
    """One sentence of `cleaned` text as phonemes, stress marks and punctuation, e.g. "həlˈO ðˈɛɹ."; "" where nothing is spoken."""
    read = "".join(c for c in _reader()(text) if c in SYMBOLS or c in STRESS)
    return " ".join(read.split()) if any(c in VOWELS or c in CONSONANTS for c in read) else ""


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of a text one after the other; long ones in clauses. ValueError as `cleaned`, or when nothing is spoken."""
    spoken = False
    for paragraph in clean_text(text).split("\n"):
        parts = list(_parts(paragraph)) if paragraph.strip() else []
        for i, (part, pause) in enumerate(parts):
            if read := phonemes(part):
                spoken = True
                yield Sentence(part, read, PARAGRAPH_PAUSE if i == len(parts) - 1 else pause)
    if not spoken:
        raise ValueError(UNSPOKEN)


def _parts(paragraph: str) -> Iterator[tuple[str, float]]:
    from hibari import Hibari

    for start in range(0, len(paragraph), 50_000):  # nobody writes such paragraphs, but memory stays bounded
        for sentence in Hibari.split_sentences(paragraph[start : start + 50_000]):
            pieces = list(_clauses(sentence.strip()))
            for i, piece in enumerate(pieces):
                yield piece, SENTENCE_PAUSE if i == len(pieces) - 1 else CLAUSE_PAUSE


def _clauses(sentence: str) -> Iterator[str]:
    """Pieces of at most LONGEST characters: of clauses, else of words, else of letters."""
    piece = ""
    for clause in _CLAUSE.split(sentence) if len(sentence) > LONGEST else [sentence]:
        for word in [clause] if len(clause) <= LONGEST else re.findall(rf"\S{{1,{LONGEST}}}", clause):
            if piece and len(piece) + len(word) >= LONGEST:
                yield piece
                piece = ""
            piece = f"{piece} {word}" if piece else word
    if piece:
        yield piece


def encode(line: str, symbols: str = SYMBOLS) -> tuple[list[int], list[int]]:
    """A phoneme line as symbol numbers with their stress (0, 1, 2), silence before and after."""
    numbers, stresses, stress = [symbols.index(SILENCE)], [0], 0
    for character in line:
        if character in STRESS:
            stress = STRESS[character]
        elif character in symbols:
            numbers.append(symbols.index(character))
            stresses.append(stress)
            stress = 0
    return [*numbers, symbols.index(SILENCE)], [*stresses, 0]


def split_in_halves(line: str) -> tuple[str, str]:
    """A phoneme line cut in two near its middle: at punctuation, else between words, else anywhere."""
    middle = len(line) // 2
    for marks in (",;:—…", " "):
        places = [i + 1 for i, c in enumerate(line[:-1]) if c in marks and len(line) // 5 < i + 1 < len(line) * 4 // 5]
        if places:
            cut = min(places, key=lambda i: abs(i - middle))
            return line[:cut].strip(), line[cut:].strip()
    return line[:middle], line[middle:]
