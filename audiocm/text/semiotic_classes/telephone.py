"""Numbers that are names: telephone, account and card numbers, digit by digit; roads and flights, in pairs."""

import re

from ..tables import NUMBERED
from ..verbalisers import digits, letters, number, pairs
from .patterns import Match, Rule, any_of, preceded_by, rule

_DIGIT_CUE = (
    r"(?i:\b(?:dial|call|called|calling|ring|phone|telephone|tel|text|texted|fax|mobile|cell|pin|code|zip|passcode|password"
    r"|hotline|serial|account|card|extension|postcode|ext|us at|ssn|id|contact|barcode|isbn(?:-1[03])?|issn|ean|upc|imei|vin)"
    r"(?: (?:is|was|number|no|ending in|are|me at|us at|him at|her at|them at|on|at))*\W{1,3}(?:[\d -]{2,16},? (?:or|and) )?)"
)
_EXT = r"(?:,?\s?(?:x|[Ee]xt\.?|extension)\s?(?P<ext>\d{1,6}))?(?![\w-])"


def _telephone(m: Match) -> str:
    plus = "plus " if m[0].startswith("+") else ""
    extension = f", extension {digits(m['ext'], 4)}" if m["ext"] else ""
    return plus + ", ".join(digits(run, 4) for run in re.findall(r"\d+", m["main"])) + extension


def _digit_groups(m: Match) -> str | None:
    groups, is_cued = re.findall(r"\d+", m[0]), bool(preceded_by(m, _DIGIT_CUE))
    has_zero = len(groups) > 2 or any(group.startswith("0") for group in groups)
    are_years = all(re.fullmatch(r"1\d{3}|20\d\d", group) for group in groups)
    if not is_cued and (sum(map(len, groups)) < 7 or not has_zero or are_years):
        return None
    return ", ".join(digits(group, 4) for group in groups)


def _cued_digits(m: Match) -> str | None:
    if not preceded_by(m, _DIGIT_CUE):
        return None
    return ", ".join(letters(run) if run in "Xx" else digits(run, 4) for run in re.findall(r"\d+|[Xx]", m[0]))


def _vanity(m: Match) -> str:
    word = " ".join(part.lower() if len(part) > 3 else letters(part) for part in m["word"].split("-"))
    return ", ".join([*(digits(run) for run in re.findall(r"\d+", m[0])), word])


TELEPHONE_RULES: list[Rule] = [
    rule(r"(?<![\w.,])\d{1,3}(?: \d{3})*(?: 000)+(?![\w.,]\d)", lambda m: number(m[0].replace(" ", ","))),
    rule(r"\b1?-?8\d\d-(?P<word>[A-Z]{4,}(?:-[A-Z]+)*)\b", _vanity),
    rule(rf"(?P<main>\+\d{{1,3}}(?:[ .-]?\(?\d{{1,4}}\)?){{2,5}}){_EXT}", _telephone),
    rule(rf"(?<![\w(])(?P<main>(?:1[ .-])?\(\d{{3}}\)\s?\d{{3}}[ .-]?\d{{4}}){_EXT}", _telephone),
    rule(rf"(?<![\w.-])(?P<main>(?:1[ .-])?\d{{3}}([ .-])\d{{3}}\2\d{{4}}){_EXT}", _telephone),
    rule(rf"(?<![\w.,$£€-])(?P<main>\d{{3}}-\d{{4}}){_EXT}", _telephone),
    rule(rf"(?<![\w.-])(?P<main>\d{{3}}-\d{{2}}-\d{{4}}|\d{{5}}-\d{{4}}){_EXT}", _telephone),
    rule(rf"(?<![\w.,$£€-])(?P<main>\(?0\d{{2,4}}\)?[ -]\d{{3,4}}(?:[ -]\d{{3,4}})?){_EXT}", _telephone),
    rule(r"(?<![\w.,$£€/:-])\d{1,13}(?:[ -]\d{1,7}){0,5}(?:-?[Xx])?(?![\w/:%-]|,\d|\.\d)", _cued_digits),
    rule(r"(?<![\w.,$£€/:-])\d{2,4}(?:[ ]\d{2,4})+(?![\w,/:%-]|\.\d|-\d)", _digit_groups),
]  # fmt: skip


CODE_RULES: list[Rule] = [
    rule(rf"\b(?P<word>{any_of(NUMBERED)}) (?:(?P<code>[A-Z]{{1,3}})[ -]?)?(?P<n>\d{{3,4}})(?!\w)",
         lambda m: f"{letters(m['word']) if m['word'].isupper() else m['word']} {letters(m['code'] or '')}{pairs(m['n'])}"),
    rule(r"\bI-(?P<n>\d{1,3})(?:/(?P<other>\d{1,3}))?(?!\w)",
         lambda m: f"{letters('I')} {pairs(m['n'])}" + (f", {pairs(m['other'])}" if m["other"] else "")),
    rule(r"(?<![\w.,])\d{3,4}(?!\w|[.,]\d)", lambda m: pairs(m[0]) if preceded_by(m, r"\b(?:Hwy|Rte?|Flt|Rm|Ste|Apt|Bldg)\.? #?") else None),
    rule(r"\b(40[13])\(([kb])\)", lambda m: f"{pairs(m[1])} {letters(m[2])}"),
]  # fmt: skip
