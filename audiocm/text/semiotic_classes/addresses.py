"""Addresses of houses: numbers, streets, states and ZIP codes."""

import re

from ..tables import DIRECTIONS, STATES, STREETS
from ..verbalisers import digits, letters, ordinal, pairs
from .patterns import Match, Rule, any_of, final_stop, followed_by, rule


def _address(m: Match) -> str:
    name = "".join(f" {DIRECTIONS.get(word.rstrip('.'), word)}" for word in _ordinals(m["name"]).split())
    return (
        f"{pairs(m['n'])} {letters(m['letter'])}{name.strip()} {STREETS.get(m['street'], m['street'])}{final_stop(m)}"
    )


def _state(m: Match) -> str:
    name = letters("DC") if m["state"] == "DC" else STATES[m["state"]]
    return f"{name} {digits(m['zip'])}" if m["zip"] else name


def _ordinals(text: str) -> str:
    return re.sub(r"(\d+)(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1])), text)


def _street(m: Match) -> str | None:
    if m["name"] in ("The", "A", "An", "In", "On", "At", "To", "By", "And", "Is", "With", "From", "For", "But"):
        return None
    if followed_by(m, r" [A-Z]\w") and (m["street"] in ("Dr", "St") or not m["stop"]):
        return None  # "Doctor", "Saint" before a name
    return f"{_ordinals(m['name'])} {STREETS[m['street']]}{final_stop(m)}"


ADDRESS_RULES: list[Rule] = [
    rule(rf"(?<=\()(?P<party>[DRI])-(?P<state>{'|'.join(STATES)})(?=\))", lambda m: f"{letters(m['party'])}, {STATES[m['state']]}"),
    rule(r"\bP\.?\s?O\.? [Bb]ox (\d+)", lambda m: f"{letters('PO')} Box {pairs(m[1])}"),
    rule(rf"(?<![\w.,$£€#])(?P<n>\d{{1,5}})(?P<letter>[A-Z]?) (?P<name>(?:(?:{any_of(DIRECTIONS)})\.? )?(?:\d+(?:st|nd|rd|th) |[A-Z][\w'-]+ ){{0,3}})"
         rf"(?P<street>{any_of([*STREETS, *STREETS.values()])})\b(?P<stop>\.?)", _address),
    rule(rf"\b(?P<name>[A-Z][\w']+|\d+(?:st|nd|rd|th)) (?P<street>{any_of(STREETS)})\b(?P<stop>\.?)", _street),
    rule(rf"\b(?P<d>{any_of(DIRECTIONS)})\.? (?=\d+(?:st|nd|rd|th)\b)", lambda m: f"{DIRECTIONS[m['d']]} "),
    rule(rf"(?<=, )(?P<state>{'|'.join(STATES)})(?: (?P<zip>\d{{5}}(?:-\d{{4}})?)\b|(?=[.,]|$))", _state),
    rule(rf"(?<=(?:{'|'.join(STATES)}) )\d{{5}}(?:-\d{{4}})?\b", lambda m: digits(m[0])),
]  # fmt: skip
