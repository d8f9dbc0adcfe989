"""Numbers with a unit: "12 km/h", "5'10\"", "20 °C", "3 x 4 m"."""

import re

from ..tables import DIRECTIONS, PER, PER_WORDS, SPACED_UNITS, UNITS
from ..verbalisers import number
from .fractions import fraction_words
from .patterns import (
    DASH,
    LABELLED,
    LARGE,
    NUMBER,
    SIGN,
    START,
    Match,
    Rule,
    any_of,
    followed_by,
    is_one,
    preceded_by,
    rule,
    sign_in_words,
    stands_before_noun,
)

UNIT = rf"(?:{any_of(UNITS)})(?:[²³]|\^[23])?"


def unit_words(text: str, singular: bool) -> str | None:
    """Returns a unit, such as "km/h" or "m²", in words, None if it is none."""
    over, slash, under = text.partition("/")
    powers = {"²": "square ", "³": "cubic ", "^2": "square ", "^3": "cubic "}
    ending = next((end for end in powers if over.endswith(end)), "")
    base = over.removesuffix(ending)
    if base not in UNITS and not (slash and base.isalpha() and len(base) > 2):
        return None
    words = powers.get(ending, "") + (UNITS[base][not singular] if base in UNITS else base)
    return f"{words} per {per_words(under)}" if slash else words


def per_words(text: str) -> str:
    """Returns what stands behind a slash: "h" is "hour", "s²" is "second squared"."""
    endings = {"²": " squared", "³": " cubed", "^2": " squared"}
    power = next((end for end in endings if text.endswith(end)), "")
    base = text.removesuffix(power)
    name = PER.get(base) or (UNITS[base][0] if base in UNITS else base)
    if power and base in ("m", "cm", "mm", "km", "ft", "in", "mi"):
        return f"{'cubic' if power == '³' else 'square'} {name}"
    return name + endings.get(power, "")


def _quantity(text: str) -> str:
    """Returns a number, "1,200", "1/2" or "2 1/2", in words."""
    if "/" not in text:
        return number(text)
    whole, top, bottom = re.fullmatch(r"(?:(\d+)[ -]+)?(\d+)\s?/\s?(\d+)", text).groups()
    return fraction_words(whole, int(top), int(bottom))


def _measure(m: Match) -> str | None:
    text, unit = m["n"], m["unit"]
    if len(unit) == 1 and not m["gap"] and preceded_by(m, LABELLED):
        return None
    if unit in SPACED_UNITS and (
        m["gap"] != " " if unit in ("st", "ac") else followed_by(m, r"\s+[a-z]") and m["gap"] and unit != "h"
    ):
        return None
    if unit in ("K", "M", "B", "T", "b") and not (unit == "K" and m["gap"]):
        return None
    if unit == "A" and preceded_by(m, "[A-Za-z]-?"):
        return None
    single = (is_one(text) and not m["low"]) or re.fullmatch(r"\d{1,2}/\d+", text)
    words = unit_words(unit, bool(single) or m["gap"] == "-" or stands_before_noun(m))
    if words is None:
        return None
    low = f"{number(m['low'])} {'by' if m['to'] in 'x×' else 'to'} " if m["low"] else ""
    large = f" {m['large']}" if m["large"] else ""
    stop = m["stop"] and ("." if followed_by(m, r"\s*$| [A-Z]") else "")
    return f"{sign_in_words(m)}{low}{_quantity(text)}{large} {words}{stop}"


def _feet(m: Match) -> str:
    feet = f"{number(m['feet'])} {'foot' if is_one(m['feet']) or m['inches'] else 'feet'}"
    return f"{feet} {_quantity(m['inches'])}" if m["inches"] else feet


def _inches(m: Match) -> str | None:
    if m.string[: m.start()].count('"') % 2 and not followed_by(m, r"\s+\w"):
        return None  # a closing quotation mark
    single = is_one(m["n"]) or re.fullmatch(r"\d+/\d+", m["n"]) or stands_before_noun(m)
    return f"{_quantity(m['n'])} {'inch' if single else 'inches'}"


def _degrees(m: Match) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin"}.get(m["scale"] or "", "")
    point = f" {DIRECTIONS[m['point']].lower()}" if m["point"] else ""
    low = f"{number(m['low'])} to " if m["low"] else ""
    return f"{sign_in_words(m)}{low}{number(m['n'])} degree{'s' * (not is_one(m['n']) or bool(low))}{scale}{point}"


MEASURE_RULES: list[Rule] = [
    rule(rf"{START}(?P<feet>\d{{1,3}})\s?['′]\s?(?P<inches>\d{{1,2}}(?:\.\d+| \d/\d)?)\s?(?:\"|″|''|”|“)?(?!\w)", _feet),
    rule(rf"{START}(?P<feet>\d{{1,3}})\s?['′](?P<inches>)(?![\w])(?=[ .,;)]|$)",
         lambda m: None if len(re.findall(r"(?<!\w)'", m.string[: m.start()])) % 2 and "′" not in m[0] else _feet(m)),
    rule(rf"{START}(?P<n>(?:\d+[ -])?\d+/\d+|{NUMBER})(?:\s?(?:″|\"(?=[\s.,;)x×]|$))|[\s-]?in(?:\.(?=\s|$|,)|(?=\s(?:wide|tall|long|deep|high|thick"
         r"|by|x)\b|\)|,|$)))", _inches),
    rule(rf"{SIGN}{START}(?:(?P<low>{NUMBER}){DASH})?(?P<n>{NUMBER})\s?[°º](?:\s?(?P<scale>[CFK])\b|\s?(?P<point>[NSEW])\b)?", _degrees),
    rule(rf"{SIGN}{START}(?:(?P<low>{NUMBER})\s?(?P<to>[-–—x×])\s?)?(?P<n>(?:\d+[ -])?\d+/\d+|{NUMBER})(?P<large> (?:{LARGE}))?(?P<gap>[ -]?)"
         rf"(?P<unit>{UNIT}(?:/[A-Za-z]+[²³]?)?|[a-z]{{3,12}}/(?:{any_of({*PER, *PER_WORDS, *UNITS})}))(?![\w'/]|\.\w)(?P<stop>\.?)",
         _measure),
]  # fmt: skip
