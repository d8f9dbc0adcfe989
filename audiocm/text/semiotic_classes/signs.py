"""Signs and symbols that are read as words, and those that are left out: "&", "%", "#", "≥", Greek letters."""

import re

from ..tables import GREEK, PER, PER_WORDS, SYMBOLS, UNITS
from .abbreviations import camel_case_words
from .measures import per_words
from .patterns import Match, Rule, preceded_by, rule

SIGN_WORDS = {
    "<=|=<": "less than or equal to", ">=": "greater than or equal to", "!=": "not equal to", "==": "equals", "[-=]>": "to",
}  # fmt: skip


def _per_word(m: Match) -> str | None:
    over = m["over"]
    is_rate = over in PER or over in UNITS or over in PER_WORDS
    return (
        f" per {per_words(over)}"
        if is_rate and preceded_by(m, r"\d [a-z]+|dollars?|euros?|pounds?|cents?|percent")
        else None
    )


SIGN_RULES: list[Rule] = [
    rule(r"(?<=\b[A-DFO])-(?=[.,;!?)\s]|$)", " minus"),
    rule(r"(?<=[\w)]) [-−–] ?(?=\w)", lambda m: " minus " if re.search(r"[=^²³]", m.string) else None),
    rule(r"(?<=[\dn])!(?=\s?[=+*/)-])", " factorial"),
    rule(r"(?<!\S)[:;=][-^']?[)(DPp/\\|*]+(?!\S)", ""),
    rule(r"(?<=[a-z]{2} )<3(?= [a-z]| *$)|(?<=I )<3", "love"),
    rule(r"(?<!\S)\*(?=\d)", "star "),
    rule(r"\+/-|\+-", " plus or minus "),
    rule(r"(?<!\w)~\s?(?=\d)", "about "),
    rule(r"(?<=[A-Za-z])\+\+", " plus plus"),
    *[rule(sign, f" {words} ") for sign, words in SIGN_WORDS.items()],
    rule(r" ?& ?", " and "),
    rule(r"(?<=[\d½¼¾])\s?%", " percent"),
    rule(r"(?<!\w)#(?=\d+\b)", "number "),
    rule(r"(?<!\w)#(?P<tag>\w+)", lambda m: f"hashtag {camel_case_words(m['tag'])}"),
    rule(r"\b([A-G])#", lambda m: f"{m[1]} sharp"),
    rule(r"(?<=[a-z])\s?/\s?(?P<over>[A-Za-z]+[²³]?)\b", _per_word),
]  # fmt: skip


SYMBOL_RULES: list[Rule] = [
    rule(r"(?<=\d),(?=\d)", ", "),
    rule("[℃℉]", lambda m: f" {UNITS[m[0]][1]}"),
    rule(r"µm\b", "micrometer"),
    rule(f"[{''.join(GREEK)}{''.join(GREEK).upper()}]", lambda m: GREEK[m[0].lower()]),
    rule(f"[{re.escape(''.join(SYMBOLS))}]", lambda m: SYMBOLS[m[0]]),
    rule(r"\[", "("),
    rule(r"\]", ")"),
    rule(r"[*_|{}]+", " "),
    rule(r"(?<=[.\s])\.(?= \.|\s)", ""),
]  # fmt: skip
