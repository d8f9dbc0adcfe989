"""The semiotic classes of written text: what each is written with (a pattern) and how it is read (its verbaliser).

CLASSES holds them in their order of priority. A verbaliser gets the match and returns words, or None where the context
speaks against its class. Patterns are only ever run on texts of bounded length."""

import re
from collections.abc import Callable, Iterable

from .characters import SUPERSCRIPTS, WORD_MARK
from .dictionary import default_pronouncer
from .tables import (
    ABBREVIATIONS,
    ACRONYM_WORDS,
    BEFORE_NUMBERS,
    BIBLE,
    CURRENCIES,
    DATE_ABBREVIATIONS,
    DAYS,
    DIRECTIONS,
    DOMAINS,
    ELEMENTS,
    EXTENSIONS,
    GREEK,
    LETTER_CUES,
    MAGNITUDES,
    MARKS,
    MONTHS,
    NAMES,
    NO_NOUNS,
    NUMBERED,
    PER,
    PER_WORDS,
    READ_PARTS,
    REGNAL,
    REGNAL_TITLES,
    ROMAN_CUES,
    SPACED_UNITS,
    SPELLED,
    SPELLED_PARTS,
    STATES,
    STREETS,
    SYMBOLS,
    TITLES,
    UNITS,
    VERSIONED,
)
from .verbalisers import cardinal, digits, letters, number, ordinal, pairs, plural, roman, year

Match = re.Match[str]
Rule = tuple[re.Pattern[str], "Callable[[Match], str | None] | str"]


def knows(word: str) -> bool:
    """Whether a word stands in the dictionary."""
    return default_pronouncer().knows(word)


# --- patterns -----------------------------------------------------------------------------------------------------------


def _any(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _before(m: Match, pattern: str) -> Match | None:
    return re.search(rf"(?:{pattern})$", m.string[max(0, m.start() - 80) : m.start()])


def _after(m: Match, pattern: str) -> Match | None:
    return re.compile(pattern).match(m.string, m.end())


def _stop(m: Match) -> str:
    """Returns the stop of an abbreviation that ends the sentence too."""
    return "." if m[0].endswith(".") and _after(m, r"[ \"'”)]*$") else ""


NUMBER = r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
AMOUNT = rf"(?:\d{{1,3}},\d\d(?![\d,.])|{NUMBER})"
SIGN = r"(?:(?<![\w)\]%°.,])(?P<sign>[−±]\s?|\+/-\s?|[-–+](?! )))?"
SIGNS = {"-": "minus ", "–": "minus ", "−": "minus ", "+": "plus ", "±": "plus or minus ", "+/-": "plus or minus "}
START = r"(?<![\w.])"  # of a number
DASH = r"\s?[-–—]\s?"
LARGE = "hundred|thousand|million|billion|trillion"
_MAGNITUDE = rf"(?:\s?(?P<magnitude>(?:{_any(MAGNITUDES)}|{LARGE})\b))?"
_OVER = r"(?:\s?/\s?(?P<over>[A-Za-z]+[²³]?)\b)?"
_CODES, _CURRENCY = (_any(code for code in CURRENCIES if code.isalpha() == kind) for kind in (True, False))
_MONTH, _DAY = (
    rf"(?:{'|'.join(names)}|(?:{'|'.join(k for k, v in DATE_ABBREVIATIONS.items() if v in names)})\b\.?)"
    for names in (MONTHS, DAYS)
)
_ROMAN = r"[IVXLCDM]+"


def _signed(m: Match) -> str:
    return SIGNS.get((m["sign"] or "").strip(), "")


def _one(text: str) -> bool:
    return text in ("1", "1.0")


def _is_attribute(m: Match) -> bool:
    """Whether an amount stands before its noun: "a 12 inch ruler" has the singular."""
    follows = _after(m, r"[ -]([a-z]+)")
    determiner = r"\b(?:[Aa]n?|[Tt]he|[Tt]his|[Tt]hat|[Aa]nother|[Ee]very|[Hh]is|[Hh]er|[Mm]y|[Oo]ur|[Yy]our|[Tt]heir) "
    return bool(_before(m, determiner) and follows and follows[1] not in NO_NOUNS)


# --- money --------------------------------------------------------------------------------------------------------------


def _amount(m: Match, text: str, over: str | None = None) -> str:
    """Returns an amount of the match's currency and magnitude in words."""
    one, many, *parts = CURRENCIES[m["symbol"]]
    many = one if _is_attribute(m) else many
    text = re.sub(r"(?<=\d),(\d\d)$", r".\1", text)  # as on the Continent
    whole, _, decimals = text.partition(".")
    if magnitude := m["magnitude"]:
        words = f"{number(text)} {MAGNITUDES.get(magnitude, magnitude)} {many}"
    elif parts and len(decimals) == 2:
        part = f"{cardinal(int(decimals))} {parts[decimals != '01']}" if int(decimals) else ""
        main = f"{number(whole)} {one if _one(whole) else many}" if whole.strip("0,") or not part else ""
        words = " and ".join(filter(None, (main, part)))
    else:
        words = f"{number(text)} {one if _one(text) else many}"
    return words + (f" per {_per(over)}" if over else "")


def _money(m: Match) -> str:
    sign = "minus " if m.groupdict().get("minus") else _signed(m)
    return sign + _amount(m, m["n"], m["over"])


def _money_range(m: Match) -> str:
    """Reads "$5-10" with its currency once."""
    first = _amount(m, m["a"]) if "." in m["a"] and not m["magnitude"] else number(m["a"])
    return f"{first} to {_amount(m, m['b'])}"


# --- measures -----------------------------------------------------------------------------------------------------------


def _unit(text: str, is_one: bool) -> str | None:
    """Returns a unit, such as "km/h" or "m²", in words, None if it is none."""
    over, slash, under = text.partition("/")
    powers = {"²": "square ", "³": "cubic ", "^2": "square ", "^3": "cubic "}
    ending = next((end for end in powers if over.endswith(end)), "")
    base = over.removesuffix(ending)
    if base not in UNITS and not (slash and base.isalpha() and len(base) > 2):
        return None
    words = powers.get(ending, "") + (UNITS[base][not is_one] if base in UNITS else base)
    return f"{words} per {_per(under)}" if slash else words


def _per(text: str) -> str:
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
    return _fraction_words(whole, int(top), int(bottom))


_LABELLED = (
    r"\b(?i:apartment|apt\.?|unit|rooms?|rm\.?|seats?|suite|gate|exit|floor|flat|row|section|block|level|terminal|platform"
    r"|locker|grade|figure|fig\.?|table|question|exercise|number|no\.?|form|model|line|bus|route) "
)


def _measure(m: Match) -> str | None:
    text, unit = m["n"], m["unit"]
    if len(unit) == 1 and not m["gap"] and _before(m, _LABELLED):
        return None
    if unit in SPACED_UNITS and (
        m["gap"] != " " if unit in ("st", "ac") else _after(m, r"\s+[a-z]") and m["gap"] and unit != "h"
    ):
        return None
    if unit in ("K", "M", "B", "T", "b") and not (unit == "K" and m["gap"]):
        return None
    if unit == "A" and _before(m, "[A-Za-z]-?"):
        return None
    single = (_one(text) and not m["low"]) or re.fullmatch(r"\d{1,2}/\d+", text)
    words = _unit(unit, bool(single) or m["gap"] == "-" or _is_attribute(m))
    if words is None:
        return None
    low = f"{number(m['low'])} {'by' if m['to'] in 'x×' else 'to'} " if m["low"] else ""
    large = f" {m['large']}" if m["large"] else ""
    stop = m["stop"] and ("." if _after(m, r"\s*$| [A-Z]") else "")
    return f"{_signed(m)}{low}{_quantity(text)}{large} {words}{stop}"


def _feet(m: Match) -> str:
    feet = f"{number(m['feet'])} {'foot' if _one(m['feet']) or m['inches'] else 'feet'}"
    return f"{feet} {_quantity(m['inches'])}" if m["inches"] else feet


def _inches(m: Match) -> str | None:
    if m.string[: m.start()].count('"') % 2 and not _after(m, r"\s+\w"):
        return None  # a closing quotation mark
    single = _one(m["n"]) or re.fullmatch(r"\d+/\d+", m["n"]) or _is_attribute(m)
    return f"{_quantity(m['n'])} {'inch' if single else 'inches'}"


def _degrees(m: Match) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin"}.get(m["scale"] or "", "")
    point = f" {DIRECTIONS[m['point']].lower()}" if m["point"] else ""
    low = f"{number(m['low'])} to " if m["low"] else ""
    return f"{_signed(m)}{low}{number(m['n'])} degree{'s' * (not _one(m['n']) or bool(low))}{scale}{point}"


def _fraction_words(whole: str | None, top: int, bottom: int) -> str:
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    name = names.get(bottom) or (ordinal(bottom), ordinal(bottom) + "s")
    if top > max(bottom, 20):
        return f"{pairs(str(top))} over {cardinal(bottom)}"  # of blood pressure
    words = f"{cardinal(top)} {name[top != 1]}"
    return f"{number(whole)} and {'a half' if words == 'one half' else words}" if whole else words


def _fraction(m: Match) -> str | None:
    top, bottom = int(m["top"]), int(m["bottom"])
    if not m["whole"]:
        if _before(m, r"\b(?:[Pp]art|[Pp]age|[Ss]tep|[Ss]lide|[Ww]eek|[Rr]ound|[Dd]ay) "):
            return f"{cardinal(top)} of {cardinal(bottom)}"
        if _before(m, r"\b(?:[Rr]ated|[Ss]cored?|[Gg]ot|[Gg]ave it|[Rr]ating:?|of) (?:an? )?") and bottom in (
            5,
            10,
            20,
            100,
        ):
            return f"{cardinal(top)} out of {cardinal(bottom)}"
        if (top, bottom) in ((24, 7), (9, 11), (7, 7)) or (top > 9 and (top == bottom or top + bottom == 100)):
            return f"{cardinal(top)} {cardinal(bottom)}"
        if _before(m, rf"\b(?:[Oo]n|[Uu]ntil|[Ss]ince|[Bb]y|[Dd]ue|[Dd]ated|{_DAY}),? ") and (
            date := _date(top, bottom, None)
        ):
            return date
    if bottom < 2:
        return None
    return _fraction_words(m["whole"], top, bottom)


# --- dates and times ----------------------------------------------------------------------------------------------------


def _date(month: int, day: int, years: str | None) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    if years and len(years) == 2:
        years = ("19" if int(years) > 40 else "20") + years
    return f"{MONTHS[month - 1]} {ordinal(day)}" + (f", {year(years)}" if years else "")


def _numeric_date(m: Match) -> str | None:
    month, day = int(m["a"]), int(m["b"])
    if m["mark"] == "." or month > 12:
        month, day = day, month
    return _date(month, day, m["year"])


def _stamp(m: Match) -> str | None:
    """Reads a date and time of ISO 8601."""
    years, month, day = m["date"].split("-")
    hours, minutes, *_ = m["time"].split(":")
    date = _date(int(month), int(day), years)
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
    the = m["the"] or ("" if _before(m, r"\b[Tt]he ") else "the ")
    years = f", {year(m['year'])}" if m["year"] else ""
    return f"{the}{ordinal(int(m['day']))} of {_month(m['month'])}{years}"


def _lone_date_word(m: Match) -> str | None:
    """Reads an abbreviated day or month that has no number; "Sat", "Sun", "Wed" and "Mar" are words as well."""
    short = m[0].rstrip(".")
    cued = _before(m, r"\b(?:[Oo]n|[Ii]n|[Ee]very|[Ee]ach|[Ll]ast|[Nn]ext|[Tt]his|[Uu]ntil|[Ss]ince|[Bb]y) ")
    if short in ("Sat", "Sun", "Wed", "Mar", "Jan") and not cued:
        return None
    return _month(m[0]) + _stop(m)


def _time(m: Match) -> str | None:
    hours, minutes, seconds, half = int(m["h"]), m["m"], m["s"], m["half"]
    if hours > 24 or int(minutes or 0) > 59:
        return None
    book = _before(m, r"(\w+)\.? ")
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
    return f"{words} {letters(half + 'm')}" + _stop(m) if half else words


def _military(m: Match) -> str:
    hours = ("zero " if m["h"][0] == "0" else "") + cardinal(int(m["h"]))
    return f"{hours} {'hundred' if m['m'] == '00' else digits(m['m']) if m['m'][0] == '0' else cardinal(int(m['m']))}"


def _duration(m: Match) -> str:
    parts = ((m["h"], "hour"), (m["m"], "minute"), (m["s"], "second"))
    return " ".join(f"{number(count)} {name}{'s' * (not _one(count))}" for count, name in parts if count)


def _ratio(m: Match) -> str:
    book = _before(m, r"(\w+)\.? ")
    joint = " " if book and book[1] in BIBLE else " to "
    if _after(m, r"\s?(?:\w+ )?(?:screen|aspect|display|monitor|video|format)"):
        joint = " by "
    return joint.join(number(part) for part in re.findall(r"\d+", m[0]))


_YEAR_CUE = (
    r"\b(?:[Ii]n|[Ss]ince|[Bb]y|[Oo]f|[Ff]rom|[Uu]ntil|[Tt]ill|[Yy]ears?|[Cc]irca|[Dd]uring|[Bb]efore|[Aa]fter|[Aa]round"
    rf"|[Tt]he|[Ll]ate|[Ee]arly|[Mm]id|[Ss]pring|[Ss]ummer|[Ff]all|[Aa]utumn|[Ww]inter|[Cc]opyright|and|to|{'|'.join(MONTHS)}),? ?"
)


def _year(m: Match) -> str | None:
    counted = _after(m, r" (?:[a-z]+ )?([a-z]{3,}s|people|men|women|children)\b")
    verbs = ("was", "has", "this", "is", "sales", "its", "his", "does", "ends", "begins")
    is_rare = m[0] < "1100" or (counted and counted[1] not in verbs)
    return None if is_rare and not _before(m, _YEAR_CUE) else year(m[0])


def _range(m: Match) -> str | None:
    a, b = m["a"], m["b"]
    if _after(m, r"\s?="):
        return None
    if a == b:
        return f"{number(a)} {number(b)}"
    is_year = [bool(re.fullmatch(r"1[1-9]\d\d|20\d\d", part)) for part in (a, b)]
    if is_year[0] and (is_year[1] or len(b) == 2):
        return f"{year(a)} to {year(b) if is_year[1] else cardinal(int(b))}"
    if (
        _before(m, r"\b(?:[Tt]he|[Aa]|Boeing) ")
        and min(len(a), len(b)) > 2
        and float(a.replace(",", "")) > float(b.replace(",", ""))
    ):
        return f"{pairs(a)} {pairs(b)}"  # a type, as of aeroplanes
    return f"{number(a)} to {number(b)}{' percent' if m['percent'] else ''}"


# --- digits -------------------------------------------------------------------------------------------------------------

_DIGIT_CUE = (
    r"(?i:\b(?:dial|call|called|calling|ring|phone|telephone|tel|text|texted|fax|mobile|cell|pin|code|zip|passcode|password"
    r"|hotline|serial|account|card|extension|postcode|ext|us at|ssn|id|contact|barcode|isbn(?:-1[03])?|issn|ean|upc|imei|vin)"
    r"(?: (?:is|was|number|no|ending in|are|me at|us at|him at|her at|them at|on|at))*\W{1,3}(?:[\d -]{2,16},? (?:or|and) )?)"
)


def _telephone(m: Match) -> str:
    plus = "plus " if m[0].startswith("+") else ""
    extension = f", extension {digits(m['ext'], 4)}" if m["ext"] else ""
    return plus + ", ".join(digits(run, 4) for run in re.findall(r"\d+", m["main"])) + extension


def _digit_groups(m: Match) -> str | None:
    groups, is_cued = re.findall(r"\d+", m[0]), bool(_before(m, _DIGIT_CUE))
    has_zero = len(groups) > 2 or any(group.startswith("0") for group in groups)
    are_years = all(re.fullmatch(r"1\d{3}|20\d\d", group) for group in groups)
    if not is_cued and (sum(map(len, groups)) < 7 or not has_zero or are_years):
        return None
    return ", ".join(digits(group, 4) for group in groups)


def _cued_digits(m: Match) -> str | None:
    if not _before(m, _DIGIT_CUE):
        return None
    return ", ".join(letters(run) if run in "Xx" else digits(run, 4) for run in re.findall(r"\d+|[Xx]", m[0]))


def _vanity(m: Match) -> str:
    word = " ".join(part.lower() if len(part) > 3 else letters(part) for part in m["word"].split("-"))
    return ", ".join([*(digits(run) for run in re.findall(r"\d+", m[0])), word])


# --- addresses of houses and of the internet ----------------------------------------------------------------------------


def _address(m: Match) -> str:
    name = "".join(f" {DIRECTIONS.get(word.rstrip('.'), word)}" for word in _ordinals(m["name"]).split())
    return f"{pairs(m['n'])} {letters(m['letter'])}{name.strip()} {STREETS.get(m['street'], m['street'])}{_stop(m)}"


def _state(m: Match) -> str:
    name = letters("DC") if m["state"] == "DC" else STATES[m["state"]]
    return f"{name} {digits(m['zip'])}" if m["zip"] else name


def _ordinals(text: str) -> str:
    return re.sub(r"(\d+)(?:st|nd|rd|th)\b", lambda m: ordinal(int(m[1])), text)


def _street(m: Match) -> str | None:
    if m["name"] in ("The", "A", "An", "In", "On", "At", "To", "By", "And", "Is", "With", "From", "For", "But"):
        return None
    if _after(m, r" [A-Z]\w") and (m["street"] in ("Dr", "St") or not m["stop"]):
        return None  # "Doctor", "Saint" before a name
    return f"{_ordinals(m['name'])} {STREETS[m['street']]}{_stop(m)}"


def _part(text: str) -> str:
    """Returns a part of an address, file name or variable in words."""
    words = []
    for piece in re.findall(r"\d+|[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+(?:'[a-z]+)?|[A-Z]|[^\W\d_]+", text):
        low = piece.lower()
        is_spelled = (
            low in SPELLED_PARTS or (low not in READ_PARTS and not re.search("[aeiouy]", low)) or len(piece) == 1
        )
        words.append(number(piece) if piece.isdecimal() else letters(piece) if is_spelled else low)
    return " ".join(words)


def _identifier(m: Match) -> str:
    """Reads an e-mail or web address, a path, a file name or a variable."""
    text = m[0].rstrip(".,;:!?")
    parts = re.split(r"([./@\-_:?=&#%+~\\])", text)
    return (
        "".join(f" {MARKS[part]} " if part in MARKS else _part(part) for part in parts if part).strip()
        + m[0][len(text) :]
    )


def _version(m: Match) -> str:
    name = m["name"] if m["name"] else "version " if m["v"] else ""
    tail = re.sub(r"[-_.]?([A-Za-z]+|\d+)", lambda t: f" {_part(t[1])}", m["tail"] or "")
    return name + " point ".join(number(part) for part in m["n"].split(".")) + tail


# --- Roman numerals -----------------------------------------------------------------------------------------------------


def _regnal(m: Match) -> str | None:
    name, numeral = m["name"], m["roman"]
    value = roman(numeral)
    if not 0 < value <= 40 or _after(m, r"\.\s?[A-Z]") or name in ROMAN_CUES or name in REGNAL_TITLES:
        return None
    titled = bool(_before(m, rf"\b(?:{'|'.join(REGNAL_TITLES)})(?: [A-Z]\w+)* "))
    if numeral == "I":
        ends = _after(m, r"'s\b|,|\.|;|\)| (?:of|was|became)\b|$")
        reigns = _after(m, r" (?:ruled|reigned|died|succeeded|abdicated|was crowned|of [A-Z])|'s reign")
        if name not in REGNAL or not (reigns or (titled and ends)):
            return None
    elif len(numeral) == 1 and name not in REGNAL - {"Malcolm"}:
        return None
    is_ruler = name in REGNAL or titled or not knows(name.lower())
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
    has_verb = _after(m, r" (?!(?:of|and|is|was|to|in)\b)[a-z]+(?:ed|t)?\b")
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


# --- letters ------------------------------------------------------------------------------------------------------------


def read_capitals(word: str) -> str:
    """Returns a word in capitals as a word or by its letters."""
    low = word.lower()
    if word in ACRONYM_WORDS:
        return word if knows(word) else word.capitalize()
    if len(word) == 1:
        return word
    if word in SPELLED:
        return letters(word)
    if knows(low) and (len(word) > 2 or low in ("no", "so", "go", "my", "is", "do", "he", "we", "me", "up")):
        return low
    vowels = re.findall("[AEIOUY]+", word)
    if len(word) >= 5 and len(vowels) >= 2 and not re.search("[^AEIOUY]{4}|^[^AEIOUY]{3}", word):
        return word.capitalize()
    return letters(word)


def _capitals(m: Match) -> str:
    word = m["word"]
    return word.lower() if "'" in word or not word.isascii() else read_capitals(word) + (m["ending"] or "")


_BEGINNING = {key[0].upper() + key[1:] for key in ABBREVIATIONS if key[0].islower() and len(key) > 3} - {"Max."}


def _dotted(m: Match) -> str:
    """Reads "U.S." and "J.K." by their letters; a stop at the end of the text stays."""
    return letters(m["letters"]) + (m["ending"] or "") + _stop(m)


def _abbreviation(m: Match) -> str:
    words = ABBREVIATIONS.get(m[0]) or ABBREVIATIONS[m[0][0].lower() + m[0][1:]].capitalize()
    return (letters(words) if re.fullmatch(r"[A-Z](?: [A-Z])+", words) else words) + _stop(m)


def _before_number(m: Match) -> str:
    words = BEFORE_NUMBERS[m["word"]]
    return (words.capitalize() if m["word"][0].isupper() else words) + " "


def _humps(text: str) -> str:
    """Returns the words of "camelCase"; capitals in it are read as such, single letters by their names."""
    pieces = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", text)
    return " ".join(
        number(one)
        if one.isdecimal()
        else letters(one)
        if len(one) == 1
        else read_capitals(one)
        if one.isupper()
        else one
        for one in pieces
    )


def _mixed(m: Match) -> str:
    """Reads a token of letters and digits, such as "MP3", "B52" or "SW1A"."""
    words = []
    for piece in re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", m[0]):
        if piece[0].isdecimal():
            words.append(pairs(piece) if piece.isdecimal() and len(piece) in (3, 4) else number(piece))
        elif piece.isupper():
            is_word = piece in ACRONYM_WORDS or (len(piece) > 3 and piece not in SPELLED)
            words.append(read_capitals(piece) if is_word else letters(piece))
        else:
            words.append(letters(piece) if len(piece) == 1 or not re.search("[aeiouyAEIOUY]", piece) else piece)
    return " ".join(words)


def _formula(m: Match) -> str | None:
    """Reads a chemical formula; without digits only where it can be no word: "NaCl" can, "Cos" cannot."""
    if not re.search(r"\d", m[0]) and (not re.search("[a-z]", m[0]) or re.search(r"[A-Z]{2,}s$", m[0]) or knows(m[0])):
        return None
    return " ".join(number(one) if one.isdecimal() else letters(one) for one in re.findall(r"\d+|[A-Za-z]+", m[0]))


# --- numbers ------------------------------------------------------------------------------------------------------------


def _times(m: Match) -> str:
    """Reads "3x4", which is "by", and "3 × 4", which is "times" in an equation."""
    is_equation = m["sign"] in "×*·" and ("=" in m.string or _after(m, r"\s?[÷+]|\s(?:is|makes|equals)\b"))
    sides = (re.sub(r"\d{4}", lambda n: pairs(n[0]), m[side]) for side in ("a", "b"))
    return (" times " if is_equation else " by ").join(side if side[0].isalpha() else number(side) for side in sides)


def _exponent(text: str) -> str:
    text = text.translate(SUPERSCRIPTS).strip("^(){}").replace("−", "-")
    if not text.lstrip("+-").isdecimal():
        return text
    return ("minus " if text.startswith("-") else "") + ordinal(int(text.lstrip("+-")))


def _power(m: Match) -> str:
    words = {"second": "squared", "third": "cubed"}.get(power := _exponent(m["power"]), f"to the {power}")
    return f"{number(m['base']) if m['base'].isdecimal() else m['base']} {words}"


def _scientific(m: Match) -> str:
    return f"{_signed(m)}{number(m['n'])} times ten to the {_exponent(m['e'] or m['f'] or m['g'])}"


def _magnitude(m: Match) -> str | None:
    if _before(m, _LABELLED):
        return None
    if m["suffix"] == "K" and m["n"] in ("2", "4", "5", "8") and not _after(m, r"\+"):
        return f"{number(m['n'])} {letters('K')}"  # of screens
    if m["suffix"] in "kK" and _after(
        m, r" (?:races?|runs?|walks?|videos?|TVs?|monitors?|displays?|screens?|resolution)\b"
    ):
        return f"{number(m['n'])} {letters('K')}"
    return f"{_signed(m)}{number(m['n'])} {MAGNITUDES[m['suffix']]}"


def _per_word(m: Match) -> str | None:
    over = m["over"]
    is_rate = over in PER or over in UNITS or over in PER_WORDS
    return f" per {_per(over)}" if is_rate and _before(m, r"\d [a-z]+|dollars?|euros?|pounds?|cents?|percent") else None


def _rule(pattern: str, verbalise: "Callable[[Match], str | None] | str") -> Rule:
    return re.compile(pattern), verbalise


_UNIT = rf"(?:{_any(UNITS)})(?:[²³]|\^[23])?"
_TAIL = r"(?P<tail>[-_.]?(?:alpha|beta|rc|dev|post|a|b)[-.]?\d*)?(?![\w]|\.\d)"
_EXT = r"(?:,?\s?(?:x|[Ee]xt\.?|extension)\s?(?P<ext>\d{1,6}))?(?![\w-])"
ELEMENT = rf"(?:{_any(ELEMENTS)})"
SIGN_WORDS = {
    "<=|=<": "less than or equal to", ">=": "greater than or equal to", "!=": "not equal to", "==": "equals", "[-=]>": "to",
}  # fmt: skip
JOINED = {"date", "time", "money", "measure", "number", "plain number", "ordinal"}  # "A - B" of these is "A to B"
CLASSES: dict[str, list[Rule]] = {
    "address of the internet": [
        _rule(r"[\w.+-]{1,64}@[\w-]+(?:\.[\w-]+)+", _identifier),
        _rule(r"\b(?:https?|ftp)://[^\s<>\"“”()]+|\bwww\.[^\s<>\"“”()]+", _identifier),
        _rule(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)", lambda m: " dot ".join(map(digits, m[0].split(".")))),
        _rule(rf"(?<![\w./@-])(?:[A-Za-z0-9-]{{2,64}}\.){{1,8}}(?:{'|'.join(DOMAINS)})\b(?:/[^\s<>\"“”()]*)?(?!\.?\w)", _identifier),
        _rule(rf"(?<![\w/\\.-])[\w-]{{0,64}}[A-Za-z_][\w.-]{{0,64}}\.(?:{'|'.join(EXTENSIONS)})\b(?!\.\w)", _identifier),
        _rule(r"(?<!\S)(?:~|\.{1,2})?(?:/[\w.-]+){2,}/?|(?<!\S)~/[\w./-]+|\b[A-Z]:\\[\w\\.-]+", _identifier),
        _rule(r"(?<!\w)[^\W_]+(?:_[^\W_]+)+(?!\w)", _identifier),
    ],
    "word before a number": [
        _rule(rf"\b(?P<cue>{_any({*ROMAN_CUES, *(c.lower() for c in ROMAN_CUES if len(c) > 2), *BEFORE_NUMBERS})})(?P<stop>\.?)"
              rf"(?P<gap>[ -])(?P<roman>{_ROMAN}|[ivxl]+)(?:{DASH}(?P<last>{_ROMAN}|[ivxl]+))?(?![\w'-])", _roman_cue),
        _rule(r"\bpp?\.? ?(?P<roman>[ivxl]{1,6})\b", lambda m: f"page {cardinal(roman(m['roman']))}" if roman(m["roman"]) else None),
        _rule(rf"{START}(?P<word>{_any(BEFORE_NUMBERS)})\.\s?(?=[#(]?\d)", _before_number),
        _rule(r"\b(?P<word>[Ee]xt) (?=\d)", _before_number),
    ],
    "address": [
        _rule(rf"(?<=\()(?P<party>[DRI])-(?P<state>{'|'.join(STATES)})(?=\))", lambda m: f"{letters(m['party'])}, {STATES[m['state']]}"),
        _rule(r"\bP\.?\s?O\.? [Bb]ox (\d+)", lambda m: f"{letters('PO')} Box {pairs(m[1])}"),
        _rule(rf"(?<![\w.,$£€#])(?P<n>\d{{1,5}})(?P<letter>[A-Z]?) (?P<name>(?:(?:{_any(DIRECTIONS)})\.? )?(?:\d+(?:st|nd|rd|th) |[A-Z][\w'-]+ ){{0,3}})"
              rf"(?P<street>{_any([*STREETS, *STREETS.values()])})\b(?P<stop>\.?)", _address),
        _rule(rf"\b(?P<name>[A-Z][\w']+|\d+(?:st|nd|rd|th)) (?P<street>{_any(STREETS)})\b(?P<stop>\.?)", _street),
        _rule(rf"\b(?P<d>{_any(DIRECTIONS)})\.? (?=\d+(?:st|nd|rd|th)\b)", lambda m: f"{DIRECTIONS[m['d']]} "),
        _rule(rf"(?<=, )(?P<state>{'|'.join(STATES)})(?: (?P<zip>\d{{5}}(?:-\d{{4}})?)\b|(?=[.,]|$))", _state),
        _rule(rf"(?<=(?:{'|'.join(STATES)}) )\d{{5}}(?:-\d{{4}})?\b", lambda m: digits(m[0])),
    ],
    "telephone": [
        _rule(r"(?<![\w.,])\d{1,3}(?: \d{3})*(?: 000)+(?![\w.,]\d)", lambda m: number(m[0].replace(" ", ","))),
        _rule(r"\b1?-?8\d\d-(?P<word>[A-Z]{4,}(?:-[A-Z]+)*)\b", _vanity),
        _rule(rf"(?P<main>\+\d{{1,3}}(?:[ .-]?\(?\d{{1,4}}\)?){{2,5}}){_EXT}", _telephone),
        _rule(rf"(?<![\w(])(?P<main>(?:1[ .-])?\(\d{{3}}\)\s?\d{{3}}[ .-]?\d{{4}}){_EXT}", _telephone),
        _rule(rf"(?<![\w.-])(?P<main>(?:1[ .-])?\d{{3}}([ .-])\d{{3}}\2\d{{4}}){_EXT}", _telephone),
        _rule(rf"(?<![\w.,$£€-])(?P<main>\d{{3}}-\d{{4}}){_EXT}", _telephone),
        _rule(rf"(?<![\w.-])(?P<main>\d{{3}}-\d{{2}}-\d{{4}}|\d{{5}}-\d{{4}}){_EXT}", _telephone),
        _rule(rf"(?<![\w.,$£€-])(?P<main>\(?0\d{{2,4}}\)?[ -]\d{{3,4}}(?:[ -]\d{{3,4}})?){_EXT}", _telephone),
        _rule(r"(?<![\w.,$£€/:-])\d{1,13}(?:[ -]\d{1,7}){0,5}(?:-?[Xx])?(?![\w/:%-]|,\d|\.\d)", _cued_digits),
        _rule(r"(?<![\w.,$£€/:-])\d{2,4}(?:[ ]\d{2,4})+(?![\w,/:%-]|\.\d|-\d)", _digit_groups),
    ],
    "code": [
        _rule(rf"\b(?P<word>{_any(NUMBERED)}) (?:(?P<code>[A-Z]{{1,3}})[ -]?)?(?P<n>\d{{3,4}})(?!\w)",
              lambda m: f"{letters(m['word']) if m['word'].isupper() else m['word']} {letters(m['code'] or '')}{pairs(m['n'])}"),
        _rule(r"\bI-(?P<n>\d{1,3})(?:/(?P<other>\d{1,3}))?(?!\w)",
              lambda m: f"{letters('I')} {pairs(m['n'])}" + (f", {pairs(m['other'])}" if m["other"] else "")),
        _rule(r"(?<![\w.,])\d{3,4}(?!\w|[.,]\d)", lambda m: pairs(m[0]) if _before(m, r"\b(?:Hwy|Rte?|Flt|Rm|Ste|Apt|Bldg)\.? #?") else None),
        _rule(r"\b(40[13])\(([kb])\)", lambda m: f"{pairs(m[1])} {letters(m[2])}"),
    ],
    "date": [
        _rule(r"(?P<date>\d{4}-\d\d-\d\d)T(?P<time>\d\d:\d\d(?::\d\d)?)(?:\.\d+)?(?P<zone>Z|[+-]\d\d:?\d\d)?(?!\w)", _stamp),
        _rule(r"(?<![\w/.-])(?P<year>\d{4})(?P<mark>[-/.])(?P<a>\d{1,2})(?P=mark)(?P<b>\d{1,2})(?![\w/-])",
              lambda m: _date(int(m["a"]), int(m["b"]), m["year"])),
        _rule(r"(?<![\w/.-])(?P<a>\d{1,2})(?P<mark>[-/.])(?P<b>\d{1,2})(?P=mark)(?P<year>\d{4}|(?<![.])\d{2})(?![\w/-]|\.\d)",
              _numeric_date),
        _rule(rf"\b(?P<month>{_MONTH}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:{DASH}(?P<last>\d{{1,2}})(?:st|nd|rd|th)?)?"
              rf"(?![\w:%]|[.,]\d)(?:,? (?P<year>[12]\d{{3}})\b(?!,\d))?", _month_day),
        _rule(rf"(?<![\w.,$-])(?P<the>[Tt]he )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)?[ -](?P<month>{_MONTH})"
              r"(?:,?[ -](?P<year>[12]\d{3})\b)?", _day_month),
        _rule(rf"\b(?P<a>{_DAY}|{_MONTH}){DASH}(?P<b>{_DAY}|{_MONTH})(?!\w)", lambda m: f"{_month(m['a'])} to {_month(m['b'])}"),
        _rule(rf"\b(?:{_DAY})(?=,? (?:\d|{_MONTH}|at\b|and\b|morning|evening|night|to\b))", lambda m: _month(m[0])),
        _rule(rf"\b(?:{_MONTH})(?= \d{{4}}\b)", lambda m: _month(m[0])),
        _rule(rf"(?<=[a-z] )(?:{_DAY})(?!\w)|\b(?:{'|'.join(DATE_ABBREVIATIONS)})\.(?= [a-z]|,|$)", _lone_date_word),
        _rule(r"(?<!\w)'(?P<n>\d0)s\b|(?<![\w,.])(?P<m>1[1-9]\d0|20\d0|[2-9]0)'?s\b",
              lambda m: plural(cardinal(int(m["n"]))) if m["n"] and m["n"] != "00" else "two thousands" if m["n"] or m["m"] == "2000"
              else plural(year(m["m"]) if len(m["m"]) == 4 else cardinal(int(m["m"])))),
        _rule(r"(?<!\w)'(\d\d)(?![\w'])", lambda m: ("oh " if m[1] < "10" else "") + cardinal(int(m[1]))),
    ],
    "time": [
        _rule(r"(?<![\w.,])(?P<h>[01]\d|2[0-4])(?P<m>[0-5]\d)(?= (?:hours|hrs|h)\b)", _military),
        _rule(r"(?<![\w.:])(?P<h>\d{1,3})\s?h(?:rs?)?\s(?P<m>\d{1,2})\s?m(?:in)?(?:\s(?P<s>\d{1,2})\s?s(?:ec)?)?(?!\w)", _duration),
        _rule(r"(?<![\w:.])(?P<h>\d{1,2})(?:[:.](?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?)?\s?(?P<half>[AaPp])(?:\.\s?[Mm]\.|[Mm]\b)(?!\w)", _time),
        _rule(r"(?<![\w:.])(?P<h>\d{1,2})[:h](?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?P<half>)(?![\w:])", _time),
        _rule(r"(?<![\w:])\d+ ?: ?\d+(?: ?: ?\d+)*(?![\w:])", _ratio),
        _rule(r"\b([ap])\.m\.", lambda m: letters(m[1] + "m") + _stop(m)),
    ],
    "money": [
        _rule(rf"(?P<symbol>{_CURRENCY})\s?(?P<a>{NUMBER}){DASH}(?:(?P=symbol)\s?)?(?P<b>{NUMBER}){_MAGNITUDE}(?![\d%])", _money_range),
        _rule(rf"{SIGN}(?P<symbol>{_CURRENCY})\s?(?P<minus>[-−])?(?P<n>{AMOUNT})(?:-(?=[a-z]{{3}}))?{_MAGNITUDE}{_OVER}", _money),
        _rule(rf"{SIGN}\b(?P<symbol>{_CODES})\.?\s?(?P<n>{AMOUNT}){_MAGNITUDE}{_OVER}", _money),
        _rule(rf"{SIGN}{START}(?P<n>{AMOUNT}){_MAGNITUDE}\s?(?P<symbol>(?:{_CURRENCY})(?!\d)|(?:{_CODES})\b){_OVER}", _money),
        _rule(r"(?<![\w.])(?!(?:144|240|360|480|720)p)(\d{1,3})p\b", lambda m: f"{number(m[1])} {'penny' if m[1] == '1' else 'pence'}"),
    ],
    "version": [
        _rule(rf"\b(?P<name>)(?P<v>[vV])\.?\s?(?P<n>\d+(?:\.\d+)*){_TAIL}", _version),
        _rule(rf"\b(?P<name>(?:{_any(VERSIONED)}) )(?P<v>)(?P<n>\d+(?:\.\d+)+){_TAIL}", _version),
        _rule(rf"{START}(?P<name>)(?P<v>)(?P<n>\d+(?:\.\d+){{2,}}){_TAIL}", _version),
    ],
    "ordinal": [_rule(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th|ST|ND|RD|TH)\b", lambda m: ordinal(int(m[1].replace(",", ""))))],
    "scientific notation": [
        _rule(rf"{SIGN}{START}(?P<n>\d+(?:\.\d+)?)(?:[eE](?P<e>[+-]?\d{{1,3}})(?!\w)|\s?[x×*·]\s?10(?:\^(?P<f>[({{]?[-+−]?\d+[)}}]?)"
              r"|(?P<g>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)))", _scientific),
    ],
    "measure": [
        _rule(rf"{START}(?P<feet>\d{{1,3}})\s?['′]\s?(?P<inches>\d{{1,2}}(?:\.\d+| \d/\d)?)\s?(?:\"|″|''|”|“)?(?!\w)", _feet),
        _rule(rf"{START}(?P<feet>\d{{1,3}})\s?['′](?P<inches>)(?![\w])(?=[ .,;)]|$)",
              lambda m: None if len(re.findall(r"(?<!\w)'", m.string[: m.start()])) % 2 and "′" not in m[0] else _feet(m)),
        _rule(rf"{START}(?P<n>(?:\d+[ -])?\d+/\d+|{NUMBER})(?:\s?(?:″|\"(?=[\s.,;)x×]|$))|[\s-]?in(?:\.(?=\s|$|,)|(?=\s(?:wide|tall|long|deep|high|thick"
              r"|by|x)\b|\)|,|$)))", _inches),
        _rule(rf"{SIGN}{START}(?:(?P<low>{NUMBER}){DASH})?(?P<n>{NUMBER})\s?[°º](?:\s?(?P<scale>[CFK])\b|\s?(?P<point>[NSEW])\b)?", _degrees),
        _rule(rf"{SIGN}{START}(?:(?P<low>{NUMBER})\s?(?P<to>[-–—x×])\s?)?(?P<n>(?:\d+[ -])?\d+/\d+|{NUMBER})(?P<large> (?:{LARGE}))?(?P<gap>[ -]?)"
              rf"(?P<unit>{_UNIT}(?:/[A-Za-z]+[²³]?)?|[a-z]{{3,12}}/(?:{_any({*PER, *PER_WORDS, *UNITS})}))(?![\w'/]|\.\w)(?P<stop>\.?)",
              _measure),
    ],
    "science": [
        _rule(rf"(?<=\w )(?P<unit>{_any(UNITS)})⁻(?P<power>[¹²³])", lambda m: f"per {_per(m['unit'] + m['power'].strip('¹'))}"),
        _rule(r"(?P<base>\d+|[A-Za-zα-ωΑ-Ω]|\))(?P<power>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^[({]?[-+−]?(?:\d+|[a-z]{1,2}\b)[)}]?)", _power),
        _rule(r"(?<!\w)[²³]", lambda m: {"²": "two", "³": "three"}[m[0]]),
        _rule(rf"(?<=[\d⁰¹²³⁴⁵⁶⁷⁸⁹] )(?P<unit>{_UNIT}(?:/[A-Za-z]+[²³]?)?)(?![\w'/]|\.\w)",
              lambda m: None if m["unit"] in SPACED_UNITS else _unit(m["unit"], False)),
        _rule(r"(?<![\w.])(?P<n>\d+)(?P<name>[a-z])(?=\s?[-+=^²³])(?!-[a-z])", lambda m: f"{number(m['n'])} {letters(m['name'])}"),
        _rule(rf"\b(?:{ELEMENT}\d{{0,2}}){{2,}}(?!\w)|\b{ELEMENT}\d(?!\w)", _formula),
    ],
    "fraction": [
        _rule(r"(?<![\w/.,])\d{1,3}(?:/\d{1,3}){2,}(?![\w/]|\.\d)", lambda m: " ".join(number(part) for part in m[0].split("/"))),
        _rule(r"(?<![\w/.,])(\d+\.\d+)\s?/\s?(\d+)(?![\w/]|\.\d)", lambda m: f"{number(m[1])} out of {number(m[2])}"),
        _rule(r"(?<![\w/.,])(?:(?P<whole>\d+)[ -]+)?(?P<top>\d{1,3})\s?/\s?(?P<bottom>\d{1,3})(?:ths?|rds?|nds?)?(?![\w/]|\.\d)", _fraction),
    ],
    "range": [
        _rule(rf"{START}(?P<a>{NUMBER})\s?(?P<sign>[x×])\s?(?P<b>{NUMBER})\s?[x×]\s?(?P<c>{NUMBER})", lambda m: f"{_times(m)} by {number(m['c'])}"),
        _rule(rf"{START}(?P<a>{NUMBER})\s?(?P<sign>[x×*])\s?(?P<b>{NUMBER})(?!\w)", _times),
        _rule(rf"(?<![\w.])(?P<n>\d+(?:\.\d+)?)[x×](?:/(?P<over>{_any(PER_WORDS)}))?(?!\w)",
              lambda m: f"{number(m['n'])} times" + (f" per {m['over']}" if m["over"] else "")),
        _rule(r"(?<!\w)[x×](?P<n>\d+)(?!\w)", lambda m: f"times {number(m['n'])}"),
        _rule(r"(?<![\w.,-])\d{1,4}(?:-\d{1,4}){2,}(?![\w-])", lambda m: ", ".join(number(part) for part in m[0].split("-"))),
        _rule(rf"(?<![\w.-])(?P<a>{NUMBER})(?:\s?%)?{DASH}(?P<b>{NUMBER})(?P<percent>\s?%)?(?![\w-]|\.\d)", _range),
    ],
    "Roman numeral": [
        _rule(r"\bWW(I{1,3})\b", lambda m: f"World War {cardinal(len(m[1]))}"),
        _rule(rf"\b(?P<name>[A-Z][\w'-]*[a-z])\s(?P<roman>{_ROMAN})\b(?![-\w])", _regnal),
        _rule(rf"(?<![\w.])(?P<a>{_ROMAN})(?P<joint>,? (?:and|or|to|through|&) |, |{DASH})(?P<b>{_ROMAN})(?![\w'-]|\.\w)", _roman_pair),
        _rule(r"(?<![\w.-])(?:III?|VI{1,3}|IX|XI{1,3}|XI?V|XVI{1,3}|XI?X(?=[ ,.]))(?![\w'-]|\.\w)", lambda m: cardinal(roman(m[0])) if m[0] != "XX" else None),
    ],
    "abbreviation": [
        _rule(r"\b(?P<word>[bdr])\. (?=c\. |1\d{3}|20\d\d)", lambda m: {"b": "born ", "d": "died ", "r": "reigned "}[m["word"]]),
        _rule(r"\bN/A\b", lambda m: letters("NA")),
        _rule(rf"{START}(?P<title>{_any(TITLES)})\. ?(?=[A-Z]|and\b|of\b|{WORD_MARK})", lambda m: TITLES[m["title"]] + " "),
        _rule(r"\b(?P<title>Dr|Mr|Mrs|Ms|Prof|St|Mt|Sgt|Capt|Lt) (?=[A-Z][a-z])", lambda m: TITLES[m["title"]] + " "),
        _rule(r"\b(?P<title>Mrs|Mr|Ms|Dr|Lt|Sgt|Capt|Prof|Sen|Gov|Rev)\.(?=\s|$)", lambda m: TITLES[m["title"]]),
        _rule(rf"{START}(?:(?:{_any(k for k in {*ABBREVIATIONS, *_BEGINNING} if k[-1] == '.')})(?!\w)|(?:{_any(k for k in ABBREVIATIONS if k[-1] != '.')})(?![\w.]))",
              _abbreviation),
        _rule(r"\b(?P<letters>Ph\.?\s?D)\b\.?(?P<ending>)", _dotted),
        _rule(r"(?<![\w.])(?P<letters>(?:[A-Z]\. ?)+[A-Z])(?:\.(?P<ending>'?s\b)?(?=\W|$)|(?<=\.[A-Z])(?P<e2>)(?!\w))", _dotted),
        _rule(r"(?<![\w.])(?P<letters>(?:[A-Za-z]\.)+[A-Za-z])\.?(?P<ending>)(?!\w)", _dotted),
        _rule(r"(?<![\w.'])(?P<letter>[A-HJ-Z])\. (?=[A-Z])", lambda m: letters(m["letter"]) + " "),
        _rule(r"\b(?P<a>[A-Z]{1,3})&(?P<b>[A-Z]{1,3})\b", lambda m: f"{letters(m['a'])} and {letters(m['b'])}"),
        _rule(rf"\b(?P<cue>{_any(LETTER_CUES)}) (?P<letter>[A-Z])(?!\w|\.\w|')", lambda m: f"{m['cue']} {letters(m['letter'])}"),
    ],
    "sign": [
        _rule(r"(?<=\b[A-DFO])-(?=[.,;!?)\s]|$)", " minus"),
        _rule(r"(?<=[\w)]) [-−–] ?(?=\w)", lambda m: " minus " if re.search(r"[=^²³]", m.string) else None),
        _rule(r"(?<=[\dn])!(?=\s?[=+*/)-])", " factorial"),
        _rule(r"(?<!\S)[:;=][-^']?[)(DPp/\\|*]+(?!\S)", ""),
        _rule(r"(?<=[a-z]{2} )<3(?= [a-z]| *$)|(?<=I )<3", "love"),
        _rule(r"(?<!\S)\*(?=\d)", "star "),
        _rule(r"\+/-|\+-", " plus or minus "),
        _rule(r"(?<!\w)~\s?(?=\d)", "about "),
        _rule(r"(?<=[A-Za-z])\+\+", " plus plus"),
        *[_rule(sign, f" {words} ") for sign, words in SIGN_WORDS.items()],
        _rule(r" ?& ?", " and "),
        _rule(r"(?<=[\d½¼¾])\s?%", " percent"),
        _rule(r"(?<!\w)#(?=\d+\b)", "number "),
        _rule(r"(?<!\w)#(?P<tag>\w+)", lambda m: f"hashtag {_humps(m['tag'])}"),
        _rule(r"\b([A-G])#", lambda m: f"{m[1]} sharp"),
        _rule(r"(?<=[a-z])\s?/\s?(?P<over>[A-Za-z]+[²³]?)\b", _per_word),
    ],
    "number": [
        _rule(r"(?<![\w.,$#])(?:1\d{3}|20\d\d)(?![\w/:%'-]|[.,]\d)(?! (?:percent|times|degrees))", _year),
        _rule(rf"{SIGN}{START}(?<!\w-)(?P<n>{NUMBER})\s?(?P<suffix>K|M|B|bn|k)(?![\w'-])", _magnitude),
        _rule(r"(?<![\w.])(?P<n>\d+)'?s\b", lambda m: plural(pairs(m["n"]) if len(m["n"]) == 3 else number(m["n"]))),
    ],
    "letters and digits": [
        _rule(r"(?<!\w)(?<!\d\.)(?=[^\W_]*\d)(?=[^\W_]*[^\W\d_])[^\W_]+(?:\.\d+)?|\b[A-Z]{1,4}-\d{3,4}(?![\w-])", _mixed),
    ],
    "plain number": [
        _rule(rf"{SIGN}(?P<n>{NUMBER})", lambda m: _signed(m) + number(m["n"])),
        _rule(r"\d+", lambda m: number(m[0])),
    ],
    "symbol": [
        _rule(r"(?<=\d),(?=\d)", ", "),
        _rule("[℃℉]", lambda m: f" {UNITS[m[0]][1]}"),
        _rule(r"µm\b", "micrometer"),
        _rule(f"[{''.join(GREEK)}{''.join(GREEK).upper()}]", lambda m: GREEK[m[0].lower()]),
        _rule(f"[{re.escape(''.join(SYMBOLS))}]", lambda m: SYMBOLS[m[0]]),
        _rule(r"\[", "("),
        _rule(r"\]", ")"),
        _rule(r"[*_|{}]+", " "),
        _rule(r"(?<=[.\s])\.(?= \.|\s)", ""),
    ],
    "capitals": [
        _rule(r"(?<![\w.'])(?P<word>[A-Z]{2,}(?:'[A-Z]+)?)(?P<ending>'?s)?(?!\w)", _capitals),
        _rule(r"\b[a-z]+[A-Z]\w*", lambda m: None if m[0] in NAMES or knows(m[0]) else _humps(m[0])),
    ],
}  # fmt: skip
