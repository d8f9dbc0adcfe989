"""Powers, scientific notation, units of equations and chemical formulas: "x²", "3e8", "m s⁻¹", "H2O"."""

import re

from ..characters import SUPERSCRIPTS
from ..tables import ELEMENTS, SPACED_UNITS, UNITS
from ..verbalisers import letters, number, ordinal
from .measures import UNIT, per_words, unit_words
from .patterns import SIGN, START, Match, Rule, any_of, is_in_dictionary, rule, sign_in_words

ELEMENT = rf"(?:{any_of(ELEMENTS)})"


def _formula(m: Match) -> str | None:
    """Reads a chemical formula; without digits only where it can be no word: "NaCl" can, "Cos" cannot."""
    if not re.search(r"\d", m[0]) and (
        not re.search("[a-z]", m[0]) or re.search(r"[A-Z]{2,}s$", m[0]) or is_in_dictionary(m[0])
    ):
        return None
    return " ".join(number(one) if one.isdecimal() else letters(one) for one in re.findall(r"\d+|[A-Za-z]+", m[0]))


def _exponent(text: str) -> str:
    text = text.translate(SUPERSCRIPTS).strip("^(){}").replace("−", "-")
    if not text.lstrip("+-").isdecimal():
        return text
    return ("minus " if text.startswith("-") else "") + ordinal(int(text.lstrip("+-")))


def _power(m: Match) -> str:
    words = {"second": "squared", "third": "cubed"}.get(power := _exponent(m["power"]), f"to the {power}")
    return f"{number(m['base']) if m['base'].isdecimal() else m['base']} {words}"


def _scientific(m: Match) -> str:
    return f"{sign_in_words(m)}{number(m['n'])} times ten to the {_exponent(m['e'] or m['f'] or m['g'])}"


SCIENTIFIC_NOTATION_RULES: list[Rule] = [
    rule(rf"{SIGN}{START}(?P<n>\d+(?:\.\d+)?)(?:[eE](?P<e>[+-]?\d{{1,3}})(?!\w)|\s?[x×*·]\s?10(?:\^(?P<f>[({{]?[-+−]?\d+[)}}]?)"
         r"|(?P<g>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)))", _scientific),
]  # fmt: skip


SCIENCE_RULES: list[Rule] = [
    rule(rf"(?<=\w )(?P<unit>{any_of(UNITS)})⁻(?P<power>[¹²³])", lambda m: f"per {per_words(m['unit'] + m['power'].strip('¹'))}"),
    rule(r"(?P<base>\d+|[A-Za-zα-ωΑ-Ω]|\))(?P<power>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^[({]?[-+−]?(?:\d+|[a-z]{1,2}\b)[)}]?)", _power),
    rule(r"(?<!\w)[²³]", lambda m: {"²": "two", "³": "three"}[m[0]]),
    rule(rf"(?<=[\d⁰¹²³⁴⁵⁶⁷⁸⁹] )(?P<unit>{UNIT}(?:/[A-Za-z]+[²³]?)?)(?![\w'/]|\.\w)",
         lambda m: None if m["unit"] in SPACED_UNITS else unit_words(m["unit"], False)),
    rule(r"(?<![\w.])(?P<n>\d+)(?P<name>[a-z])(?=\s?[-+=^²³])(?!-[a-z])", lambda m: f"{number(m['n'])} {letters(m['name'])}"),
    rule(rf"\b(?:{ELEMENT}\d{{0,2}}){{2,}}(?!\w)|\b{ELEMENT}\d(?!\w)", _formula),
]  # fmt: skip
