"""English text -> sentences -> phonemes with stress.

The text front end of `hibari-tts` (Apache-2.0, offline, about 2 ms a sentence) reads numbers, dates, money,
abbreviations and unknown words with its rules, lexicon, tagger and small network; nothing else of it is used.
"""

import functools
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

SILENCE = "_"  # stands before and after every line
PAUSES = ' ;:,.!?—…"()“”'
VOWELS = "AIOWYaiuæɐɑɔəɛɜɪʊʌᵊᵻ"  # A I O W Y: the diphthongs of day, my, go, now, boy; ɐ: the word "a"
CONSONANTS = "bdfhjklmnpstvwzðŋɡɹɾʃʒʔʤʧθT"  # T: the flap of "forty"
SYMBOLS = SILENCE + PAUSES + VOWELS + CONSONANTS
STRESS = {"ˌ": 1, "ˈ": 2}  # written before the vowel that carries it
SPOKEN_SIGNS = "/=+&@%#~^<>°¢£€$¥₹₩©§¶×÷±→½¼¾²³"
SILENT_SIGNS = " \t\n\r.,;:!?'\"()[]-–—…‘’“”|*_«»"
NO_SPEECH = "the text has no character that can be pronounced"
_PLAIN = str.maketrans(
    {"«": "“", "»": "”", "[": "(", "]": ")", "_": " ", "*": " ", "|": ",", "\t": " ", "\r": "\n", "\u00a0": " "}
)
_MINUS = re.compile(r"\u2212\s?(?=\d)")
_CLAUSE = re.compile(r"(?<=[,;:—)])\s+")
SENTENCE_PAUSE, PARAGRAPH_PAUSE, CLAUSE_PAUSE = 0.25, 0.6, 0.05  # seconds of silence that are added after each
MAX_CHARACTERS = 300  # of a sentence; longer ones are split at clauses


@dataclass(frozen=True)
class Sentence:
    """A piece of text that is synthesised at once, its phonemes, and the seconds of silence after it."""

    text: str
    phonemes: str
    pause: float


def clean_text(text: str) -> str:
    """Returns the text without characters that cannot be pronounced, which a UserWarning names.

    Raises ValueError if the text is empty, has nothing to pronounce, or has letters or digits of another script."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError("the text is empty")
    text = _MINUS.sub("minus ", unicodedata.normalize("NFC", text))
    unknown, replacements = [], {}
    for character in sorted(set(text), key=text.index):
        if character in SPOKEN_SIGNS or character in SILENT_SIGNS or (character.isascii() and character.isalnum()):
            continue
        replacements[character] = _replacement(character)
        if replacements[character] == " " and unicodedata.category(character) not in ("Cf", "Mn", "Zs", "Zl", "Zp"):
            unknown.append(character)
    text = text.translate(str.maketrans(replacements)).translate(_PLAIN)
    if not any(character.isalnum() or character in SPOKEN_SIGNS for character in text):
        raise ValueError(NO_SPEECH)
    if unknown:
        named = ", ".join(f"{c} ({unicodedata.name(c, f'U+{ord(c):04X}').lower()})" for c in unknown[:5])
        others = " and others" if len(unknown) > 5 else ""
        warnings.warn(f"text has symbols that are not read: {named}{others}", stacklevel=3)
    return text


def validate_text(text: str) -> None:
    """Raises the ValueError of `clean_text`, if any, without its warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clean_text(text)


def _replacement(character: str) -> str:
    """Returns what stands for a rare character: itself, plainer ones or a space. Raises ValueError as `clean_text`."""
    name, plain = unicodedata.name(character, ""), unicodedata.normalize("NFKC", character)
    if plain.isascii() and plain.isalnum():  # ligatures, full-width letters, superscripts
        return plain
    if unicodedata.category(character)[0] == "L":
        if name.startswith("LATIN"):
            return character
        raise ValueError(
            f"the text has {name.split()[0].title()} letters ({character}): only English in Latin letters is supported"
        )
    if unicodedata.category(character) == "Nd":
        raise ValueError(f"the text has digits of another script ({character}): only 0 to 9 are supported")
    return " "


@functools.cache
def _g2p() -> Callable[[str], str]:
    from hibari.g2p import G2P

    return G2P()


def phonemize(text: str) -> str:
    """Converts a clean sentence to phonemes, stress marks and punctuation: "həlˈO ðˈɛɹ."; "" if it is silent."""
    line = "".join(c for c in _g2p()(text) if c in SYMBOLS or c in STRESS)
    return " ".join(line.split()) if any(c in VOWELS or c in CONSONANTS for c in line) else ""


def split_sentences(text: str) -> Iterator[Sentence]:
    """Yields the sentences of a text, long ones in clauses. Raises ValueError as `clean_text`, or if all are silent."""
    is_silent = True
    for paragraph in clean_text(text).split("\n"):
        pieces = list(_split_paragraph(paragraph)) if paragraph.strip() else []
        for i, (piece, pause) in enumerate(pieces):
            if line := phonemize(piece):
                is_silent = False
                yield Sentence(piece, line, PARAGRAPH_PAUSE if i == len(pieces) - 1 else pause)
    if is_silent:
        raise ValueError(NO_SPEECH)


def _split_paragraph(paragraph: str) -> Iterator[tuple[str, float]]:
    """Yields sentences, or clauses of long ones, with the pause after each."""
    from hibari import Hibari

    for start in range(0, len(paragraph), 50_000):  # bounds the memory
        for sentence in Hibari.split_sentences(paragraph[start : start + 50_000]):
            pieces = list(_split_clauses(sentence.strip()))
            for i, piece in enumerate(pieces):
                yield piece, SENTENCE_PAUSE if i == len(pieces) - 1 else CLAUSE_PAUSE


def _split_clauses(sentence: str) -> Iterator[str]:
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


def encode_phonemes(line: str, symbols: str = SYMBOLS) -> tuple[list[int], list[int]]:
    """Returns the symbol numbers of a phoneme line and their stress (0, 1, 2), with silence before and after."""
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
    """Splits a phoneme line in two near its middle: at punctuation, else between words, else anywhere."""
    middle = len(line) // 2
    for marks in (",;:—…", " "):
        places = [i + 1 for i, c in enumerate(line[:-1]) if c in marks and len(line) // 5 < i + 1 < len(line) * 4 // 5]
        if places:
            cut = min(places, key=lambda i: abs(i - middle))
            return line[:cut].strip(), line[cut:].strip()
    return line[:middle], line[middle:]
