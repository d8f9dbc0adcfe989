"""Roman numerals, and words before a number: "Henry VIII", "Chapter IV", "II-IV", "vol. 3"."""

from ..tables import BEFORE_NUMBERS, REGNAL, REGNAL_TITLES, ROMAN_CUES
from ..verbalisers import cardinal, ordinal, roman
from .patterns import DASH, ROMAN, START, Match, Rule, any_of, followed_by, is_in_dictionary, preceded_by, rule


def _regnal(m: Match) -> str | None:
    name, numeral = m["name"], m["roman"]
    value = roman(numeral)
    if not 0 < value <= 40 or followed_by(m, r"\.\s?[A-Z]") or name in ROMAN_CUES or name in REGNAL_TITLES:
        return None
    titled = bool(preceded_by(m, rf"\b(?:{'|'.join(REGNAL_TITLES)})(?: [A-Z]\w+)* "))
    if numeral == "I":
        ends = followed_by(m, r"'s\b|,|\.|;|\)| (?:of|was|became)\b|$")
        reigns = followed_by(m, r" (?:ruled|reigned|died|succeeded|abdicated|was crowned|of [A-Z])|'s reign")
        if name not in REGNAL or not (reigns or (titled and ends)):
            return None
    elif len(numeral) == 1 and name not in REGNAL - {"Malcolm"}:
        return None
    is_ruler = name in REGNAL or titled or not is_in_dictionary(name.lower())
    return f"{name} the {ordinal(value)}" if is_ruler else f"{name} {cardinal(value)}"


def _roman_cue(m: Match) -> str | None:
    cue, numeral, value = m["cue"], m["roman"], roman(m["roman"])
    if not value or (cue == "Mark" and value < 2) or numeral in ("C", "D", "L", "M"):
        return None
    if (m["stop"] and cue not in BEFORE_NUMBERS) or (
        cue.islower() and not m["stop"] and cue != "war" and numeral in "IC"
    ):
        return None
    if numeral.islower() and not (m["stop"] or cue.lower() in ("scene", "page", "act", "section", "chapter")):
        return None
    is_numbered = cue.lower() in ("war", "type", "phase", "level", "stage", "class", "grade", "title")
    has_verb = followed_by(m, r" (?!(?:of|and|is|was|to|in)\b)[a-z]+(?:ed|t)?\b")
    if (numeral == "I" and not is_numbered and has_verb and not m["stop"]) or (
        numeral == "X" and cue in ("Generation", "Factor")
    ):
        return None
    name = BEFORE_NUMBERS[cue] if m["stop"] else cue
    last = f" to {cardinal(roman(m['last']))}" if m["last"] else ""
    return f"{name.capitalize() if cue[0].isupper() else name}{m['gap']}{cardinal(value)}{last}"


def _roman_pair(m: Match) -> str | None:
    first, last = roman(m["a"]), roman(m["b"])
    if not 0 < first < last < 100 or len(m["a"] + m["b"]) < 3:
        return None
    return f"{cardinal(first)}{' to ' if m['joint'].strip() in '-–—' else m['joint']}{cardinal(last)}"


def _before_number(m: Match) -> str:
    words = BEFORE_NUMBERS[m["word"]]
    return (words.capitalize() if m["word"][0].isupper() else words) + " "


WORD_BEFORE_NUMBER_RULES: list[Rule] = [
    rule(rf"\b(?P<cue>{any_of({*ROMAN_CUES, *(c.lower() for c in ROMAN_CUES if len(c) > 2), *BEFORE_NUMBERS})})(?P<stop>\.?)"
         rf"(?P<gap>[ -])(?P<roman>{ROMAN}|[ivxl]+)(?:{DASH}(?P<last>{ROMAN}|[ivxl]+))?(?![\w'-])", _roman_cue),
    rule(r"\bpp?\.? ?(?P<roman>[ivxl]{1,6})\b", lambda m: f"page {cardinal(roman(m['roman']))}" if roman(m["roman"]) else None),
    rule(rf"{START}(?P<word>{any_of(BEFORE_NUMBERS)})\.\s?(?=[#(]?\d)", _before_number),
    rule(r"\b(?P<word>[Ee]xt) (?=\d)", _before_number),
]  # fmt: skip


ROMAN_NUMERAL_RULES: list[Rule] = [
    rule(r"\bWW(I{1,3})\b", lambda m: f"World War {cardinal(len(m[1]))}"),
    rule(rf"\b(?P<name>[A-Z][\w'-]*[a-z])\s(?P<roman>{ROMAN})\b(?![-\w])", _regnal),
    rule(rf"(?<![\w.])(?P<a>{ROMAN})(?P<joint>,? (?:and|or|to|through|&) |, |{DASH})(?P<b>{ROMAN})(?![\w'-]|\.\w)", _roman_pair),
    rule(r"(?<![\w.-])(?:III?|VI{1,3}|IX|XI{1,3}|XI?V|XVI{1,3}|XI?X(?=[ ,.]))(?![\w'-]|\.\w)", lambda m: cardinal(roman(m[0])) if m[0] != "XX" else None),
]  # fmt: skip
