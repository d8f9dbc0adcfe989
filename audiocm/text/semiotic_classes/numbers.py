"""Plain numbers: ordinals, ranges, products, years, and numbers with a magnitude such as "5K"."""

import re

from ..tables import MAGNITUDES, MONTHS, PER_WORDS
from ..verbalisers import cardinal, letters, number, ordinal, pairs, plural, year
from .patterns import (
    DASH,
    LABELLED,
    NUMBER,
    SIGN,
    START,
    Match,
    Rule,
    any_of,
    followed_by,
    preceded_by,
    rule,
    sign_in_words,
)

_YEAR_CUE = (
    r"\b(?:[Ii]n|[Ss]ince|[Bb]y|[Oo]f|[Ff]rom|[Uu]ntil|[Tt]ill|[Yy]ears?|[Cc]irca|[Dd]uring|[Bb]efore|[Aa]fter|[Aa]round"
    rf"|[Tt]he|[Ll]ate|[Ee]arly|[Mm]id|[Ss]pring|[Ss]ummer|[Ff]all|[Aa]utumn|[Ww]inter|[Cc]opyright|and|to|{'|'.join(MONTHS)}),? ?"
)


def _year(m: Match) -> str | None:
    counted = followed_by(m, r" (?:[a-z]+ )?([a-z]{3,}s|people|men|women|children)\b")
    verbs = ("was", "has", "this", "is", "sales", "its", "his", "does", "ends", "begins")
    is_rare = m[0] < "1100" or (counted and counted[1] not in verbs)
    return None if is_rare and not preceded_by(m, _YEAR_CUE) else year(m[0])


def _range(m: Match) -> str | None:
    a, b = m["a"], m["b"]
    if followed_by(m, r"\s?="):
        return None
    if a == b:
        return f"{number(a)} {number(b)}"
    is_year = [bool(re.fullmatch(r"1[1-9]\d\d|20\d\d", part)) for part in (a, b)]
    if is_year[0] and (is_year[1] or len(b) == 2):
        return f"{year(a)} to {year(b) if is_year[1] else cardinal(int(b))}"
    if (
        preceded_by(m, r"\b(?:[Tt]he|[Aa]|Boeing) ")
        and min(len(a), len(b)) > 2
        and float(a.replace(",", "")) > float(b.replace(",", ""))
    ):
        return f"{pairs(a)} {pairs(b)}"  # a type, as of aeroplanes
    return f"{number(a)} to {number(b)}{' percent' if m['percent'] else ''}"


def _times(m: Match) -> str:
    """Reads "3x4", which is "by", and "3 × 4", which is "times" in an equation."""
    is_equation = m["sign"] in "×*·" and ("=" in m.string or followed_by(m, r"\s?[÷+]|\s(?:is|makes|equals)\b"))
    sides = (re.sub(r"\d{4}", lambda n: pairs(n[0]), m[side]) for side in ("a", "b"))
    return (" times " if is_equation else " by ").join(side if side[0].isalpha() else number(side) for side in sides)


def _magnitude(m: Match) -> str | None:
    if preceded_by(m, LABELLED):
        return None
    if m["suffix"] == "K" and m["n"] in ("2", "4", "5", "8") and not followed_by(m, r"\+"):
        return f"{number(m['n'])} {letters('K')}"  # of screens
    if m["suffix"] in "kK" and followed_by(
        m, r" (?:races?|runs?|walks?|videos?|TVs?|monitors?|displays?|screens?|resolution)\b"
    ):
        return f"{number(m['n'])} {letters('K')}"
    return f"{sign_in_words(m)}{number(m['n'])} {MAGNITUDES[m['suffix']]}"


ORDINAL_RULES: list[Rule] = [rule(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th|ST|ND|RD|TH)\b", lambda m: ordinal(int(m[1].replace(",", ""))))]  # fmt: skip


RANGE_RULES: list[Rule] = [
    rule(rf"{START}(?P<a>{NUMBER})\s?(?P<sign>[x×])\s?(?P<b>{NUMBER})\s?[x×]\s?(?P<c>{NUMBER})", lambda m: f"{_times(m)} by {number(m['c'])}"),
    rule(rf"{START}(?P<a>{NUMBER})\s?(?P<sign>[x×*])\s?(?P<b>{NUMBER})(?!\w)", _times),
    rule(rf"(?<![\w.])(?P<n>\d+(?:\.\d+)?)[x×](?:/(?P<over>{any_of(PER_WORDS)}))?(?!\w)",
         lambda m: f"{number(m['n'])} times" + (f" per {m['over']}" if m["over"] else "")),
    rule(r"(?<!\w)[x×](?P<n>\d+)(?!\w)", lambda m: f"times {number(m['n'])}"),
    rule(r"(?<![\w.,-])\d{1,4}(?:-\d{1,4}){2,}(?![\w-])", lambda m: ", ".join(number(part) for part in m[0].split("-"))),
    rule(rf"(?<![\w.-])(?P<a>{NUMBER})(?:\s?%)?{DASH}(?P<b>{NUMBER})(?P<percent>\s?%)?(?![\w-]|\.\d)", _range),
]  # fmt: skip


NUMBER_RULES: list[Rule] = [
    rule(r"(?<![\w.,$#])(?:1\d{3}|20\d\d)(?![\w/:%'-]|[.,]\d)(?! (?:percent|times|degrees))", _year),
    rule(rf"{SIGN}{START}(?<!\w-)(?P<n>{NUMBER})\s?(?P<suffix>K|M|B|bn|k)(?![\w'-])", _magnitude),
    rule(r"(?<![\w.])(?P<n>\d+)'?s\b", lambda m: plural(pairs(m["n"]) if len(m["n"]) == 3 else number(m["n"]))),
]  # fmt: skip


PLAIN_NUMBER_RULES: list[Rule] = [
    rule(rf"{SIGN}(?P<n>{NUMBER})", lambda m: sign_in_words(m) + number(m["n"])),
    rule(r"\d+", lambda m: number(m[0])),
]  # fmt: skip
