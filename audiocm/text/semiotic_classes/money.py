"""Amounts of money: "$5.50", "5-10 €", "USD 3 million"."""

import re

from ..tables import CURRENCIES, MAGNITUDES
from ..verbalisers import cardinal, number
from .measures import per_words
from .patterns import (
    DASH,
    LARGE,
    NUMBER,
    SIGN,
    START,
    Match,
    Rule,
    any_of,
    is_one,
    rule,
    sign_in_words,
    stands_before_noun,
)

AMOUNT = rf"(?:\d{{1,3}},\d\d(?![\d,.])|{NUMBER})"
_MAGNITUDE = rf"(?:\s?(?P<magnitude>(?:{any_of(MAGNITUDES)}|{LARGE})\b))?"
_OVER = r"(?:\s?/\s?(?P<over>[A-Za-z]+[²³]?)\b)?"
_CODES, _CURRENCY = (any_of(code for code in CURRENCIES if code.isalpha() == kind) for kind in (True, False))


def _amount(m: Match, text: str, over: str | None = None) -> str:
    """Returns an amount of the match's currency and magnitude in words."""
    one, many, *parts = CURRENCIES[m["symbol"]]
    many = one if stands_before_noun(m) else many
    text = re.sub(r"(?<=\d),(\d\d)$", r".\1", text)  # as on the Continent
    whole, _, decimals = text.partition(".")
    if magnitude := m["magnitude"]:
        words = f"{number(text)} {MAGNITUDES.get(magnitude, magnitude)} {many}"
    elif parts and len(decimals) == 2:
        part = f"{cardinal(int(decimals))} {parts[decimals != '01']}" if int(decimals) else ""
        main = f"{number(whole)} {one if is_one(whole) else many}" if whole.strip("0,") or not part else ""
        words = " and ".join(filter(None, (main, part)))
    else:
        words = f"{number(text)} {one if is_one(text) else many}"
    return words + (f" per {per_words(over)}" if over else "")


def _money(m: Match) -> str:
    sign = "minus " if m.groupdict().get("minus") else sign_in_words(m)
    return sign + _amount(m, m["n"], m["over"])


def _money_range(m: Match) -> str:
    """Reads "$5-10" with its currency once."""
    first = _amount(m, m["a"]) if "." in m["a"] and not m["magnitude"] else number(m["a"])
    return f"{first} to {_amount(m, m['b'])}"


MONEY_RULES: list[Rule] = [
    rule(rf"(?P<symbol>{_CURRENCY})\s?(?P<a>{NUMBER}){DASH}(?:(?P=symbol)\s?)?(?P<b>{NUMBER}){_MAGNITUDE}(?![\d%])", _money_range),
    rule(rf"{SIGN}(?P<symbol>{_CURRENCY})\s?(?P<minus>[-−])?(?P<n>{AMOUNT})(?:-(?=[a-z]{{3}}))?{_MAGNITUDE}{_OVER}", _money),
    rule(rf"{SIGN}\b(?P<symbol>{_CODES})\.?\s?(?P<n>{AMOUNT}){_MAGNITUDE}{_OVER}", _money),
    rule(rf"{SIGN}{START}(?P<n>{AMOUNT}){_MAGNITUDE}\s?(?P<symbol>(?:{_CURRENCY})(?!\d)|(?:{_CODES})\b){_OVER}", _money),
    rule(r"(?<![\w.])(?!(?:144|240|360|480|720)p)(\d{1,3})p\b", lambda m: f"{number(m[1])} {'penny' if m[1] == '1' else 'pence'}"),
]  # fmt: skip
