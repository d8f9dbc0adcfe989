"""Abbreviations, acronyms, and tokens of letters and digits: "Dr.", "U.S.", "NASA", "MP3"."""

import re

from ..characters import WORD_MARK
from ..tables import ABBREVIATIONS, ACRONYM_WORDS, LETTER_CUES, NAMES, SPELLED, TITLES
from ..verbalisers import letters, number, pairs
from .patterns import START, Match, Rule, any_of, final_stop, is_in_dictionary, rule

_BEGINNING = {key[0].upper() + key[1:] for key in ABBREVIATIONS if key[0].islower() and len(key) > 3} - {"Max."}


def read_capitals(word: str) -> str:
    """Returns a word in capitals as a word or by its letters."""
    low = word.lower()
    if word in ACRONYM_WORDS:
        return word if is_in_dictionary(word) else word.capitalize()
    if len(word) == 1:
        return word
    if word in SPELLED:
        return letters(word)
    if is_in_dictionary(low) and (len(word) > 2 or low in ("no", "so", "go", "my", "is", "do", "he", "we", "me", "up")):
        return low
    vowels = re.findall("[AEIOUY]+", word)
    if len(word) >= 5 and len(vowels) >= 2 and not re.search("[^AEIOUY]{4}|^[^AEIOUY]{3}", word):
        return word.capitalize()
    return letters(word)


def _capitals(m: Match) -> str:
    word = m["word"]
    return word.lower() if "'" in word or not word.isascii() else read_capitals(word) + (m["ending"] or "")


def _dotted(m: Match) -> str:
    """Reads "U.S." and "J.K." by their letters; a stop at the end of the text stays."""
    return letters(m["letters"]) + (m["ending"] or "") + final_stop(m)


def _abbreviation(m: Match) -> str:
    words = ABBREVIATIONS.get(m[0]) or ABBREVIATIONS[m[0][0].lower() + m[0][1:]].capitalize()
    return (letters(words) if re.fullmatch(r"[A-Z](?: [A-Z])+", words) else words) + final_stop(m)


def camel_case_words(text: str) -> str:
    """Returns the words of "camelCase"; capitals in it are read as such, single letters by their names."""
    pieces = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", text)
    return " ".join(
        number(one)
        if one.isdecimal()
        else letters(one)
        if len(one) == 1
        else read_capitals(one)
        if one.isupper()
        else one
        for one in pieces
    )


def _mixed(m: Match) -> str:
    """Reads a token of letters and digits, such as "MP3", "B52" or "SW1A"."""
    words = []
    for piece in re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", m[0]):
        if piece[0].isdecimal():
            words.append(pairs(piece) if piece.isdecimal() and len(piece) in (3, 4) else number(piece))
        elif piece.isupper():
            is_word = piece in ACRONYM_WORDS or (len(piece) > 3 and piece not in SPELLED)
            words.append(read_capitals(piece) if is_word else letters(piece))
        else:
            words.append(letters(piece) if len(piece) == 1 or not re.search("[aeiouyAEIOUY]", piece) else piece)
    return " ".join(words)


ABBREVIATION_RULES: list[Rule] = [
    rule(r"\b(?P<word>[bdr])\. (?=c\. |1\d{3}|20\d\d)", lambda m: {"b": "born ", "d": "died ", "r": "reigned "}[m["word"]]),
    rule(r"\bN/A\b", lambda m: letters("NA")),
    rule(rf"{START}(?P<title>{any_of(TITLES)})\. ?(?=[A-Z]|and\b|of\b|{WORD_MARK})", lambda m: TITLES[m["title"]] + " "),
    rule(r"\b(?P<title>Dr|Mr|Mrs|Ms|Prof|St|Mt|Sgt|Capt|Lt) (?=[A-Z][a-z])", lambda m: TITLES[m["title"]] + " "),
    rule(r"\b(?P<title>Mrs|Mr|Ms|Dr|Lt|Sgt|Capt|Prof|Sen|Gov|Rev)\.(?=\s|$)", lambda m: TITLES[m["title"]]),
    rule(rf"{START}(?:(?:{any_of(k for k in {*ABBREVIATIONS, *_BEGINNING} if k[-1] == '.')})(?!\w)|(?:{any_of(k for k in ABBREVIATIONS if k[-1] != '.')})(?![\w.]))",
         _abbreviation),
    rule(r"\b(?P<letters>Ph\.?\s?D)\b\.?(?P<ending>)", _dotted),
    rule(r"(?<![\w.])(?P<letters>(?:[A-Z]\. ?)+[A-Z])(?:\.(?P<ending>'?s\b)?(?=\W|$)|(?<=\.[A-Z])(?P<e2>)(?!\w))", _dotted),
    rule(r"(?<![\w.])(?P<letters>(?:[A-Za-z]\.)+[A-Za-z])\.?(?P<ending>)(?!\w)", _dotted),
    rule(r"(?<![\w.'])(?P<letter>[A-HJ-Z])\. (?=[A-Z])", lambda m: letters(m["letter"]) + " "),
    rule(r"\b(?P<a>[A-Z]{1,3})&(?P<b>[A-Z]{1,3})\b", lambda m: f"{letters(m['a'])} and {letters(m['b'])}"),
    rule(rf"\b(?P<cue>{any_of(LETTER_CUES)}) (?P<letter>[A-Z])(?!\w|\.\w|')", lambda m: f"{m['cue']} {letters(m['letter'])}"),
]  # fmt: skip


LETTERS_AND_DIGITS_RULES: list[Rule] = [
    rule(r"(?<!\w)(?<!\d\.)(?=[^\W_]*\d)(?=[^\W_]*[^\W\d_])[^\W_]+(?:\.\d+)?|\b[A-Z]{1,4}-\d{3,4}(?![\w-])", _mixed),
]  # fmt: skip


CAPITALS_RULES: list[Rule] = [
    rule(r"(?<![\w.'])(?P<word>[A-Z]{2,}(?:'[A-Z]+)?)(?P<ending>'?s)?(?!\w)", _capitals),
    rule(r"\b[a-z]+[A-Z]\w*", lambda m: None if m[0] in NAMES or is_in_dictionary(m[0]) else camel_case_words(m[0])),
]  # fmt: skip
