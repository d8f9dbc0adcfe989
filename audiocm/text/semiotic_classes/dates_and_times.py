"""Dates, times of day, durations and ratios: "2024-05-06", "May 6", "5:45 p.m.", "1 h 20 min", "3:2"."""

import re

from ..tables import BIBLE, DATE_ABBREVIATIONS, DAYS, MONTHS
from ..verbalisers import cardinal, digits, letters, number, ordinal, plural, year
from .patterns import DASH, Match, Rule, final_stop, followed_by, is_one, preceded_by, rule

MONTH, DAY = (
    rf"(?:{'|'.join(names)}|(?:{'|'.join(k for k, v in DATE_ABBREVIATIONS.items() if v in names)})\b\.?)"
    for names in (MONTHS, DAYS)
)


def date_words(month: int, day: int, years: str | None) -> str | None:
    """Returns a date in words, None if there is no such month or day; `years` may have two digits, or be None."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    if years and len(years) == 2:
        years = ("19" if int(years) > 40 else "20") + years
    return f"{MONTHS[month - 1]} {ordinal(day)}" + (f", {year(years)}" if years else "")


def _numeric_date(m: Match) -> str | None:
    month, day = int(m["a"]), int(m["b"])
    if m["mark"] == "." or month > 12:
        month, day = day, month
    return date_words(month, day, m["year"])


def _stamp(m: Match) -> str | None:
    """Reads a date and time of ISO 8601."""
    years, month, day = m["date"].split("-")
    hours, minutes, *_ = m["time"].split(":")
    date = date_words(int(month), int(day), years)
    zone = letters("UTC") if m["zone"] == "Z" else ""
    return date and f"{date}, {number(hours)} {number(minutes) if int(minutes) else 'hundred'} {zone}"


def _month(text: str) -> str:
    text = text.rstrip(".").capitalize()
    return DATE_ABBREVIATIONS.get(text, text)


def _month_day(m: Match) -> str | None:
    if not 1 <= int(m["day"]) <= 31:
        return None
    last = f" to {ordinal(int(m['last']))}" if m["last"] else ""
    return f"{_month(m['month'])} {ordinal(int(m['day']))}{last}" + (f", {year(m['year'])}" if m["year"] else "")


def _day_month(m: Match) -> str | None:
    if not 1 <= int(m["day"]) <= 31:
        return None
    the = m["the"] or ("" if preceded_by(m, r"\b[Tt]he ") else "the ")
    years = f", {year(m['year'])}" if m["year"] else ""
    return f"{the}{ordinal(int(m['day']))} of {_month(m['month'])}{years}"


def _lone_date_word(m: Match) -> str | None:
    """Reads an abbreviated day or month that has no number; "Sat", "Sun", "Wed" and "Mar" are words as well."""
    short = m[0].rstrip(".")
    cued = preceded_by(m, r"\b(?:[Oo]n|[Ii]n|[Ee]very|[Ee]ach|[Ll]ast|[Nn]ext|[Tt]his|[Uu]ntil|[Ss]ince|[Bb]y) ")
    if short in ("Sat", "Sun", "Wed", "Mar", "Jan") and not cued:
        return None
    return _month(m[0]) + final_stop(m)


def _time(m: Match) -> str | None:
    hours, minutes, seconds, half = int(m["h"]), m["m"], m["s"], m["half"]
    if hours > 24 or int(minutes or 0) > 59:
        return None
    book = preceded_by(m, r"(\w+)\.? ")
    if not half and not seconds and book and book[1] in BIBLE and m["h"] != "12":
        return f"{cardinal(hours)} {cardinal(int(minutes))}"
    if not half and re.search(r"\b(?:ratio|scale|odds|mix|aspect)\b", m.string, re.IGNORECASE):
        return None
    low = int(minutes or 0)
    words = "zero" if m["h"] == "00" and not half else cardinal(hours)
    if low:
        words += f" oh {cardinal(low)}" if 0 < low < 10 and words != "zero" else f" {cardinal(low)}"
    elif minutes and not half and not seconds:
        words += " o'clock" if 0 < hours <= 12 else " hundred"
    if seconds:
        words += f" and {cardinal(int(seconds))} second{'s' * (int(seconds) != 1)}"
    return f"{words} {letters(half + 'm')}" + final_stop(m) if half else words


def _military(m: Match) -> str:
    hours = ("zero " if m["h"][0] == "0" else "") + cardinal(int(m["h"]))
    return f"{hours} {'hundred' if m['m'] == '00' else digits(m['m']) if m['m'][0] == '0' else cardinal(int(m['m']))}"


def _duration(m: Match) -> str:
    parts = ((m["h"], "hour"), (m["m"], "minute"), (m["s"], "second"))
    return " ".join(f"{number(count)} {name}{'s' * (not is_one(count))}" for count, name in parts if count)


def _ratio(m: Match) -> str:
    book = preceded_by(m, r"(\w+)\.? ")
    joint = " " if book and book[1] in BIBLE else " to "
    if followed_by(m, r"\s?(?:\w+ )?(?:screen|aspect|display|monitor|video|format)"):
        joint = " by "
    return joint.join(number(part) for part in re.findall(r"\d+", m[0]))


DATE_RULES: list[Rule] = [
    rule(r"(?P<date>\d{4}-\d\d-\d\d)T(?P<time>\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?P<zone>Z|[+-]\d\d:?\d\d)?(?!\w)", _stamp),
    rule(r"(?<![\w/.-])(?P<year>\d{4})(?P<mark>[-/.])(?P<a>\d{1,2})(?P=mark)(?P<b>\d{1,2})(?![\w/-])",
         lambda m: date_words(int(m["a"]), int(m["b"]), m["year"])),
    rule(r"(?<![\w/.-])(?P<a>\d{1,2})(?P<mark>[-/.])(?P<b>\d{1,2})(?P=mark)(?P<year>\d{4}|(?<![.])\d{2})(?![\w/-]|\.\d)",
         _numeric_date),
    rule(rf"\b(?P<month>{MONTH}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:{DASH}(?P<last>\d{{1,2}})(?:st|nd|rd|th)?)?"
         rf"(?![\w:%]|[.,]\d)(?:,? (?P<year>[12]\d{{3}})\b(?!,\d))?", _month_day),
    rule(rf"(?<![\w.,$-])(?P<the>[Tt]he )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)?[ -](?P<month>{MONTH})"
         r"(?:,?[ -](?P<year>[12]\d{3})\b)?", _day_month),
    rule(rf"\b(?P<a>{DAY}|{MONTH}){DASH}(?P<b>{DAY}|{MONTH})(?!\w)", lambda m: f"{_month(m['a'])} to {_month(m['b'])}"),
    rule(rf"\b(?:{DAY})(?=,? (?:\d|{MONTH}|at\b|and\b|morning|evening|night|to\b))", lambda m: _month(m[0])),
    rule(rf"\b(?:{MONTH})(?= \d{{4}}\b)", lambda m: _month(m[0])),
    rule(rf"(?<=[a-z] )(?:{DAY})(?!\w)|\b(?:{'|'.join(DATE_ABBREVIATIONS)})\.(?= [a-z]|,|$)", _lone_date_word),
    rule(r"(?<!\w)'(?P<n>\d0)s\b|(?<![\w,.])(?P<m>1[1-9]\d0|20\d0|[2-9]0)'?s\b",
         lambda m: plural(cardinal(int(m["n"]))) if m["n"] and m["n"] != "00" else "two thousands" if m["n"] or m["m"] == "2000"
         else plural(year(m["m"]) if len(m["m"]) == 4 else cardinal(int(m["m"])))),
    rule(r"(?<!\w)'(\d\d)(?![\w'])", lambda m: ("oh " if m[1] < "10" else "") + cardinal(int(m[1]))),
]  # fmt: skip


TIME_RULES: list[Rule] = [
    rule(r"(?<![\w.,])(?P<h>[01]\d|2[0-4])(?P<m>[0-5]\d)(?= (?:hours|hrs|h)\b)", _military),
    rule(r"(?<![\w.:])(?P<h>\d{1,3})\s?h(?:rs?)?\s(?P<m>\d{1,2})\s?m(?:in)?(?:\s(?P<s>\d{1,2})\s?s(?:ec)?)?(?!\w)", _duration),
    rule(r"(?<![\w:.])(?P<h>\d{1,2})(?:[:.](?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?)?\s?(?P<half>[AaPp])(?:\.\s?[Mm]\.|[Mm]\b)(?!\w)", _time),
    rule(r"(?<![\w:.])(?P<h>\d{1,2})[:h](?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?P<half>)(?![\w:])", _time),
    rule(r"(?<![\w:])\d+ ?: ?\d+(?: ?: ?\d+)*(?![\w:])", _ratio),
    rule(r"\b([ap])\.m\.", lambda m: letters(m[1] + "m") + final_stop(m)),
]  # fmt: skip
