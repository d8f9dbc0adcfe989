"""Values from outside, checked once where they enter: JSON of bounded size and depth, and what each key may hold.

A rule is a function (value, place) that raises ValueError if the value is not allowed. The error is one line with the
place (a key or an argument, "" for the whole of a file), what is allowed and what was there. Rules are made of other
rules: a `table` of `whole` numbers, `list_of` `text`."""

import json
import math
import os
import reprlib
from collections.abc import Callable, Collection, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NoReturn

Rule = Callable[[Any, str], None]

MOST_BYTES = 2**28  # of a JSON file
MOST_DEPTH = 32  # of objects and lists in each other


def parse_json(content: str | bytes, allow_nan: bool = False, most_depth: int = MOST_DEPTH) -> Any:
    """Returns the value of a JSON text, in UTF-8 if it is bytes.

    Raises ValueError, with the reason, if it is not JSON, names a key of an object twice, nests deeper than `most_depth`,
    or holds a number that JSON does not have (unless `allow_nan`) or half of a surrogate pair."""
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        value = (_LENIENT if allow_nan else _STRICT).decode(text)
    except RecursionError as error:
        raise ValueError(f"it nests deeper than {most_depth} levels") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8 text") from error
    _check_values(value, allow_nan, most_depth, "\\ud" in text or "\\uD" in text)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _no_number(name: str) -> float:
    raise ValueError(f"it holds {name}, which is no number of JSON")


_LENIENT = json.JSONDecoder(object_pairs_hook=_object)
_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number)


def _check_values(value: Any, allow_nan: bool, most_depth: int, has_escapes: bool) -> None:
    """Raises ValueError for too deep a value, a number over the largest float, or half of a surrogate pair."""
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
                below += one if has_escapes else ()
            elif isinstance(one, list):
                below += one
            elif isinstance(one, float) and not allow_nan and not math.isfinite(one):
                raise ValueError("it holds a number that is too large")
            elif has_escapes and isinstance(one, str) and any("\ud800" <= c <= "\udfff" for c in one):
                raise ValueError("it holds half of a surrogate pair")
        level, depth = below, depth + 1
        if depth > most_depth + 1:
            raise ValueError(f"it nests deeper than {most_depth} levels")


def read_json(file: str | os.PathLike, kind: str = "file", rule: Rule | None = None, allow_nan: bool = False) -> Any:
    """Returns the value of a JSON file that follows a rule.

    Raises ValueError, which calls it the `kind`, if it is missing, cannot be read, is not JSON or breaks the rule."""
    if not os.path.isfile(file):
        raise ValueError(f"{kind} {file} is missing")
    try:
        if os.path.getsize(file) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES // 2**20} MiB")
        value = parse_json(Path(file).read_bytes(), allow_nan)
        if rule is not None:
            rule(value, "")
        return value
    except OSError as error:
        raise ValueError(f"cannot read {kind} {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"{kind} {file} is damaged: {error}") from error


def refuse(value: Any, place: str, allowed: str) -> NoReturn:
    """Raises the ValueError of a value that is not allowed."""
    raise ValueError(f"{place or 'it'} must be {allowed}, not {reprlib.repr(value)}")


def whole(low: int, high: int) -> Rule:
    """Allows whole numbers between two bounds."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, Integral) or isinstance(value, bool) or not low <= value <= high:
            refuse(value, place, f"a whole number from {low} to {high}")

    return check


def number(low: float, high: float) -> Rule:
    """Allows finite numbers between two bounds."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, Real) or isinstance(value, bool) or not low <= value <= high:
            refuse(value, place, f"a number from {low:g} to {high:g}")

    return check


def flag(value: Any, place: str) -> None:
    """Allows true and false."""
    if not isinstance(value, bool):
        refuse(value, place, "true or false")


def text(*choices: str, longest: int = 1000) -> Rule:
    """Allows some strings, or any that is not empty and has at most `longest` characters."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, str) or (choices and value not in choices) or not 0 < len(value) <= longest:
            refuse(value, place, " or ".join(map(repr, choices)) or f"a text of 1 to {longest} characters")

    return check


def optional(rule: Rule) -> Rule:
    """Allows null too."""

    def check(value: Any, place: str) -> None:
        if value is not None:
            rule(value, place)

    return check


def list_of(rule: Rule, fewest: int = 0, most: int = 10**6) -> Rule:
    """Allows lists (or tuples) whose items follow a rule."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, list | tuple) or not fewest <= len(value) <= most:
            count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            refuse(value, place, f"a list of {count} values")
        for i, one in enumerate(value):
            rule(one, f"{place}[{i}]")

    return check


def interval(low: float, high: float) -> Rule:
    """Allows two numbers between bounds, the second not below the first."""
    pair = list_of(number(low, high), 2, 2)

    def check(value: Any, place: str) -> None:
        pair(value, place)
        if value[0] > value[1]:
            refuse(value, place, "two numbers, the second not below the first")

    return check


def _below(place: str, key: str) -> str:
    """Returns the place of a key of an object."""
    return f"{place}.{key}" if place else key


def table(rules: Mapping[str, Rule], required: Collection[str] = (), others: Rule | None = None) -> Rule:
    """Allows objects whose keys have rules and that have the `required` ones.

    Keys that begin with "_" are notes of the program that wrote the file, and free. others: rule of further keys, which
    are not allowed without one."""

    def check(value: Any, place: str) -> None:
        if not isinstance(value, Mapping):
            refuse(value, place, "an object {...}")
        if missing := [key for key in required if key not in value]:
            raise ValueError(f"{_below(place, missing[0])} is missing")
        for key, one in value.items():
            rule = rules.get(key) or others
            if rule is not None:
                rule(one, _below(place, key))
            elif not key.startswith("_"):
                raise ValueError(f"{_below(place, repr(key)[:60])} is not known; known are {', '.join(rules)}")

    return check
