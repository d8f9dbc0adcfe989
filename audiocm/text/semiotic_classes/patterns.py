"""What the classes of text share: patterns of numbers and signs, and tests of what stands around a match.

Patterns are only ever run on texts of bounded length."""

import re
from collections.abc import Callable, Iterable

from ..dictionary import default_pronouncer
from ..tables import NO_NOUNS

Match = re.Match[str]
Rule = tuple[re.Pattern[str], "Callable[[Match], str | None] | str"]  # a pattern and its verbaliser, or its words


def is_in_dictionary(word: str) -> bool:
    """Whether a word stands in the dictionary."""
    return default_pronouncer().knows(word)


def any_of(words: Iterable[str]) -> str:
    """Returns the pattern of any of some words, of which the longest one that fits matches."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def preceded_by(m: Match, pattern: str) -> Match | None:
    """Returns the match of a pattern that ends where `m` begins, among the 80 characters before it, or None."""
    return re.search(rf"(?:{pattern})$", m.string[max(0, m.start() - 80) : m.start()])


def followed_by(m: Match, pattern: str) -> Match | None:
    """Returns the match of a pattern that begins where `m` ends, or None."""
    return re.compile(pattern).match(m.string, m.end())


def final_stop(m: Match) -> str:
    """Returns the stop of an abbreviation that ends the sentence too."""
    return "." if m[0].endswith(".") and followed_by(m, r"[ \"'”)]*$") else ""


NUMBER = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
SIGN = r"(?:(?<![\w)\]%°.,])(?P<sign>[−±]\s?|\+/-\s?|[-–+](?! )))?"
SIGNS = {"-": "minus ", "–": "minus ", "−": "minus ", "+": "plus ", "±": "plus or minus ", "+/-": "plus or minus "}
START = r"(?<![\w.])"  # of a number, which is no part of a longer word or number
DASH = r"\s?[-–—]\s?"
LARGE = "hundred|thousand|million|billion|trillion"
ROMAN = r"[IVXLCDM]+"


def sign_in_words(m: Match) -> str:
    """Returns the sign of a number, matched by SIGN, in words with a space behind them; "" if it has none."""
    return SIGNS.get((m["sign"] or "").strip(), "")


def is_one(text: str) -> bool:
    """Whether a number as written is one, so that its noun is singular."""
    return text in ("1", "1.0")


def stands_before_noun(m: Match) -> bool:
    """Whether an amount stands before its noun: "a 12 inch ruler" has the singular."""
    follows = followed_by(m, r"[ -]([a-z]+)")
    determiner = r"\b(?:[Aa]n?|[Tt]he|[Tt]his|[Tt]hat|[Aa]nother|[Ee]very|[Hh]is|[Hh]er|[Mm]y|[Oo]ur|[Yy]our|[Tt]heir) "
    return bool(preceded_by(m, determiner) and follows and follows[1] not in NO_NOUNS)


LABELLED = (  # words before the number of a thing: its letter is no unit, as of "apartment 5A"
    r"\b(?i:apartment|apt\.?|unit|rooms?|rm\.?|seats?|suite|gate|exit|floor|flat|row|section|block|level|terminal|platform"
    r"|locker|grade|figure|fig\.?|table|question|exercise|number|no\.?|form|model|line|bus|route) "
)


def rule(pattern: str, verbalise: "Callable[[Match], str | None] | str") -> Rule:
    """Returns a rule: a compiled pattern, and its words or the function that returns them, None to leave the text."""
    return re.compile(pattern), verbalise
