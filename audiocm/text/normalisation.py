"""Written text -> words, by semiotic classes (Taylor, "Text-to-Speech Synthesis", 2009, chapter 5).

A rule is a class, a pattern and its verbaliser; RULES is their order of priority. A verbaliser returns words, or None
where the context speaks against the class, and the text is left to the rules after it."""

import re
import unicodedata
from collections.abc import Callable, Iterator

from .dictionary import default_pronouncer
from .tables import (
    ABBREVIATIONS,
    ACRONYM_WORDS,
    AMBIGUOUS,
    BEFORE_NUMBERS,
    BIBLE,
    CURRENCIES,
    DATE_ABBREVIATIONS,
    DAYS,
    DIRECTIONS,
    DOMAINS,
    EXTENSIONS,
    GREEK,
    MAGNITUDES,
    MONTHS,
    PER,
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
)
from .verbalisers import LETTER_END, cardinal, digits, letters, number, ordinal, pairs, plural, roman, year

Match = re.Match[str]
Verbaliser = Callable[[Match], str | None]
NUMBER = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
WORD_MARK = "\ue000"  # private-use characters stand for words of the lexicon: WORD_MARK + n
PLAIN_SIGNS = " \t\n\r.,;:!?'\"()[]-–—…“”_*|"
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-")
_QUOTES = str.maketrans(
    {**dict.fromkeys("’‘ʼʻ＇`´‛ʹˈ", "'"), **dict.fromkeys("«„‟", "“"), "»": "”", "‐": "-", "‑": "-", "‒": "–", "―": "—"}
    | {"⁄": "/", "∕": "/", "⁓": "~", "∼": "~", "﹣": "-", "−": "−", "‥": "…", "⋅": "×", "·": "·", "′": "′", "∶": ":"}
    | {"❛": "'", "❜": "'", "❝": "“", "❞": "”", "‹": "'", "›": "'", "✕": "×", "✖": "×", "➔": "→", "➜": "→", "➡": "→"}
    | {"【": "(", "】": ")", "{": "(", "}": ")", "￼": " ", "￾": " ", "μ": "µ"}
)


def replace_characters(text: str) -> str:
    """Returns the text with plain quotes, spaces, letters and digits in the place of their rare forms.

    Invisible characters vanish, control characters become spaces; composed accents, full-width and mathematical
    letters become those of Unicode NFC and NFKC. Characters of which no plain form is known stay."""
    if text.isascii() and text.isprintable():
        return text
    text = unicodedata.normalize("NFC", text)
    table = {}
    for character in set(text):
        if not character.isascii() or not character.isprintable():
            table[ord(character)] = _replacement(character)
    return text.translate(table).translate(_QUOTES)


def _replacement(character: str) -> str:
    category, plain = unicodedata.category(character), unicodedata.normalize("NFKC", character)
    if category in ("Cf", "Mn", "Me") or "\ufe00" <= character <= "\ufe0f":
        return ""
    if character == "\n" or category in ("Zl", "Zp"):
        return "\n"
    if category in ("Zs", "Cc"):
        return " "
    if category == "No" and "⁄" in plain:
        return f" {plain.replace('⁄', '/')} "
    if character in "²³¹⁰⁴⁵⁶⁷⁸⁹⁺⁻™µ…ℓ℮№℃℉Ω∆Å" or character in SYMBOLS or not plain.isprintable():
        return character
    if category in ("Ll", "Lu") and unicodedata.name(character, "").startswith("LATIN") and not plain.isascii():
        return character
    return plain


def unread_characters(text: str) -> list[str]:
    """Returns the characters of a text, after `replace_characters`, that are not read, in their order."""
    return [one for one in dict.fromkeys(text) if not _is_read(one)]


def _is_read(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in PLAIN_SIGNS or character in SYMBOLS or character in "\\{}`"
    if (
        character in SYMBOLS
        or character in PLAIN_SIGNS
        or character.lower() in GREEK
        or character in "²³¹⁰⁴⁵⁶⁷⁸⁹⁺⁻℃℉Å″′·"
    ):
        return True
    if WORD_MARK <= character <= "\uf8ff":
        return True
    return unicodedata.category(character)[0] == "L" and unicodedata.name(character, "").startswith("LATIN")


def _one(text: str) -> bool:
    return text.replace(",", "") in ("1", "1.0")


def _is_attribute(m: Match) -> bool:
    """Whether an amount stands before its noun: "a 12 inch ruler" has the singular."""
    before, after = m.string[: m.start()], m.string[m.end() :]
    follows = re.match(r"[ -]([a-z]+)", after)
    return bool(re.search(r"\b[Aa]n? $", before) and follows and follows[1] not in _NO_NOUNS)


_NO_NOUNS = {"a", "an", "and", "at", "each", "for", "from", "in", "is", "of", "on", "or", "per", "to", "was", "with"}


def _unit(text: str, is_one: bool) -> str:
    """Returns a unit, such as "km/h" or "m²", in words. Raises KeyError if it is none."""
    over, slash, under = text.partition("/")
    power = {"²": "square ", "³": "cubic ", "^2": "square ", "^3": "cubic "}
    ending = next((end for end in power if over.endswith(end)), "")
    base = over.removesuffix(ending)
    words = power.get(ending, "") + (UNITS[base] if base in UNITS else _named_unit(base))[not is_one]
    return f"{words} per {_per(under)}" if slash else words


def _named_unit(text: str) -> list[str]:
    if text not in ("mile", "miles", "gallon", "gallons", "liters", "people", "requests", "words", "meters", "dollars"):
        raise KeyError(text)
    return [text, text]


def _per(text: str) -> str:
    """Returns what stands behind a slash: "h" is "hour", "s²" is "second squared"."""
    ending = {"²": " squared", "³": " cubed", "^2": " squared"}
    power = next((end for end in ending if text.endswith(end)), "")
    base = text.removesuffix(power)
    name = PER.get(base) or (UNITS[base][0] if base in UNITS else base)
    if power and base in ("m", "cm", "mm", "km", "ft", "in", "mi"):
        return f"{'square' if '2' in power or '²' in power else 'cubic'} {name}"
    return name + ending.get(power, "")


def _amount(sign: str | None, text: str, symbol: str, magnitude: str | None, m: Match, over: str | None = None) -> str:
    """Returns an amount of money in words."""
    one, many, *parts = CURRENCIES[symbol]
    many = one if _is_attribute(m) else many
    whole, _, decimals = text.partition(".")
    if magnitude:
        words = f"{number(text)} {MAGNITUDES.get(magnitude, magnitude)} {many}"
    elif parts and len(decimals) == 2:
        part = f"{number(str(int(decimals)))} {parts[decimals != '01']}" if int(decimals) else ""
        main = f"{number(whole)} {one if _one(whole) else many}" if int(whole.replace(",", "") or 0) or not part else ""
        words = " and ".join(filter(None, (main, part)))
    else:
        words = f"{number(text)} {one if _one(text) else many}"
    return ("minus " if sign else "") + words + (f" per {_per(over)}" if over else "")


def _money(m: Match) -> str | None:
    return _amount(m["sign"], m["n"], m["symbol"], m["magnitude"], m, m["over"])


def _money_range(m: Match) -> str:
    """ "$5-10" has its currency once."""
    one = _one(m["b"]) and not m["magnitude"]
    tail = f" {MAGNITUDES.get(m['magnitude'], m['magnitude'])}" if m["magnitude"] else ""
    return f"{number(m['a'])} to {number(m['b'])}{tail} {CURRENCIES[m['symbol']][not one]}"


def _measure(m: Match) -> str | None:
    text, unit = m["n"], m["unit"]
    rest = m.string[m.end() :]
    if unit in SPACED_UNITS and m["gap"] == " " and re.match(r"\s+[a-z]", rest) and unit not in ("h",):
        return None
    if unit in ("K", "M", "B", "T", "b") or (unit == "A" and re.search(r"[A-Za-z]-?$", m.string[: m.start()])):
        return None if unit != "K" or not m["gap"] else f"{number(text)} kelvin"
    try:
        words = _unit(unit, _one(text) or (m["gap"] == "-") or _is_attribute(m))
    except KeyError:
        return None
    lost_stop = "." if m["stop"] and not rest.strip() else m["stop"] if m["stop"] and re.match(r" [A-Z]", rest) else ""
    return f"{number(text)} {words}{lost_stop}"


def _feet(m: Match) -> str:
    feet = f"{number(m['feet'])} {'foot' if _one(m['feet']) or m['inches'] else 'feet'}"
    return f"{feet} {number(m['inches'])}" if m["inches"] else feet


def _inches(m: Match) -> str | None:
    if m.string[: m.start()].count('"') % 2 and not re.match(r"\s+\w", m.string[m.end() :]):
        return None  # a closing quotation mark
    return f"{number(m['n'])} {'inch' if _one(m['n']) or _is_attribute(m) else 'inches'}"


def _degrees(m: Match) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin", None: ""}[m["scale"]]
    return f"{number(m['n'])} degree{'' if _one(m['n']) else 's'}{scale}"


def _fraction_words(top: int, bottom: int) -> str:
    names = {2: ("half", "halves"), 4: ("quarter", "quarters")}
    name = names.get(bottom) or (ordinal(bottom), ordinal(bottom) + "s")
    return f"{cardinal(top)} {name[top != 1]}"


def _fraction(m: Match) -> str | None:
    top, bottom = int(m["top"]), int(m["bottom"])
    if (
        re.search(r"\b(?:[Pp]art|[Pp]age|[Ss]tep|[Ss]lide|[Ww]eek|[Rr]ound) $", m.string[: m.start()])
        and not m["whole"]
    ):
        return f"{cardinal(top)} of {cardinal(bottom)}"
    if (top, bottom) in ((24, 7), (9, 11), (50, 50), (20, 20), (7, 7)) and not m["whole"]:
        return f"{cardinal(top)} {cardinal(bottom)}"
    before = re.search(r"\b([Oo]n|[Uu]ntil|[Ss]ince|[Bb]y|[Dd]ue|[Dd]ated) $", m.string[: m.start()])
    if before and 1 <= top <= 12 and 1 <= bottom <= 31 and not m["whole"]:
        return f"{MONTHS[top - 1]} {ordinal(bottom)}"
    if not bottom or bottom == 1 or top >= bottom * 10:
        return None
    if m["whole"]:
        words = _fraction_words(top, bottom)
        return f"{number(m['whole'])} and {'a half' if words == 'one half' else words}"
    return _fraction_words(top, bottom)


def _date(month: int, day: int, year_text: str | None) -> str | None:
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return None
    if year_text and len(year_text) == 2:
        year_text = ("19" if int(year_text) > 40 else "20") + year_text
    return f"{MONTHS[month - 1]} {ordinal(day)}" + (f", {year(year_text)}" if year_text else "")


def _numeric_date(m: Match) -> str | None:
    month, day = int(m["a"]), int(m["b"])
    if m["mark"] == "." or month > 12:
        month, day = day, month
    return _date(month, day, m["year"])


def _month_day(m: Match) -> str | None:
    month, day = _month(m["month"]), int(m["day"])
    if day > 31 or not day:
        return None
    last = f" to {ordinal(int(m['last']))}" if m["last"] else ""
    years = f", {year(m['year'])}" if m["year"] else ""
    return f"{month} {ordinal(day)}{last}{years}"


def _day_month(m: Match) -> str | None:
    day = int(m["day"])
    if not 1 <= day <= 31:
        return None
    the = "" if m["the"] or re.search(r"\b[Tt]he $", m.string[: m.start()]) else "the "
    years = f", {year(m['year'])}" if m["year"] else ""
    return f"{m['the'] or the}{ordinal(day)} of {_month(m['month'])}{years}"


def _month(text: str) -> str:
    text = text.rstrip(".").capitalize()
    return DATE_ABBREVIATIONS.get(text, text)


def _clock(hours: int, minutes: str | None, seconds: str | None, half: str | None) -> str:
    words = cardinal(hours)
    if minutes and int(minutes):
        words += f" oh {cardinal(int(minutes))}" if int(minutes) < 10 else f" {cardinal(int(minutes))}"
    elif minutes and not half and not seconds:
        words += " hundred" if hours > 12 else " o'clock" if hours else " hundred"
    if seconds:
        words += f" and {cardinal(int(seconds))} second{'s' * (int(seconds) != 1)}"
    return f"{words} {letters(half + 'm')}" if half else words


def _time(m: Match) -> str | None:
    hours, minutes, seconds, half = m["h"], m["m"], m["s"], m["half"]
    if int(hours) > 24 or int(minutes or 0) > 59 or int(seconds or 0) > 59:
        return None
    before = m.string[: m.start()]
    book = re.search(r"(\w+)\.? $", before)
    if not half and not seconds and book and book[1] in BIBLE and not (hours == "12" and minutes == "00"):
        return f"{cardinal(int(hours))} {cardinal(int(minutes))}"
    if not half and re.search(r"\b(?:ratio|scale|odds|mix|aspect)\b", m.string):
        return None
    if len(hours) == 2 and hours[0] == "0" and not int(hours) and not half:
        return "zero " + (cardinal(int(minutes)) if int(minutes) else "hundred")
    dots = m["ends"] or ""
    stop = "." if dots.endswith(".") and not m.string[m.end() :].strip(" \"'”)") else ""
    return _clock(int(hours), minutes, seconds, half and half.lower()) + stop


def _ratio(m: Match) -> str:
    before = re.search(r"(\w+)\.? $", m.string[: m.start()])
    joint = " " if before and before[1] in BIBLE else " to "
    if re.match(r"\s?(?:\w+ )?(?:screen|aspect|display|monitor|video|format)", m.string[m.end() :]):
        joint = " by "
    return joint.join(number(part) for part in m[0].replace(" ", "").split(":"))


def _telephone(m: Match) -> str:
    plus = "plus " if m[0].startswith("+") else ""
    return plus + ", ".join(digits(run, 4) for run in re.findall(r"\d+", m[0]))


def _digit_groups(m: Match) -> str | None:
    groups = re.findall(r"\d+", m[0])
    cued = bool(_DIGIT_CUE.search(m.string[: m.start()]))
    if len("".join(groups)) < 7 and not cued:
        return None
    if not cued and len(groups) < 3 and not any(group.startswith("0") for group in groups):
        return None
    if not cued and all(re.fullmatch(r"1\d{3}|20\d\d", group) for group in groups):
        return None
    return ", ".join(digits(group, 4) for group in groups)


_DIGIT_CUE = re.compile(
    r"(?:\b(?:dial|call|called|calling|ring|phone|telephone|tel|text|texted|fax|mobile|cell|pin|code|zip|passcode|password"
    r"|hotline|serial number|account number|card number|account|extension|area code|postcode|ext|reach us at|ssn|card"
    r"|phone number|id|contact)(?: (?:is|was|number|no|ending in|are|me at|us at|him at|her at|them at|on|at))?\W{1,3})$",
    re.IGNORECASE,
)


def _cued_digits(m: Match) -> str | None:
    return digits(m[0], 4) if _DIGIT_CUE.search(m.string[: m.start()]) else None


def _vanity(m: Match) -> str:
    numbers = re.findall(r"\d+", m[0])
    return (
        ", ".join(digits(run) for run in numbers)
        + ", "
        + " ".join(part.lower() if len(part) > 3 else letters(part) for part in m["word"].split("-"))
    )


def _address(m: Match) -> str:
    name = f" {m['name'].strip()}" if m["name"].strip() else ""
    street = STREETS.get(m["street"], m["street"])
    stop = (
        "." if m["stop"] and (not m.string[m.end() :].strip() or re.match(r" [A-Z]\w+ ", m.string[m.end() :])) else ""
    )
    stop = stop if not m.string[m.end() :].strip() else ""
    return f"{pairs(m['n'])}{name} {street}{stop}"


def _street(m: Match) -> str | None:
    name = m["name"]
    if name in ("The", "A", "An", "In", "On", "At", "To", "By", "And", "Is", "With", "From", "For", "But"):
        return None
    follows = re.match(r"\.? ([A-Z]\w+)", m.string[m.end() :].lstrip("."))
    if m["street"] in ("Dr", "St", "Ct", "Pl", "Ter", "Cir", "Sq") and follows and not m["stop"]:
        return None
    if m["street"] in ("Dr", "St") and re.match(r" [A-Z]\w+", m.string[m.end() :]):
        return None
    return f"{name} {STREETS[m['street']]}" + ("." if m["stop"] and not m.string[m.end() :].strip() else "")


def _direction(m: Match) -> str:
    return DIRECTIONS[m["direction"].rstrip(".")] + " "


def _part(text: str) -> str:
    """Returns a part of an address, file name or variable in words."""
    pieces = re.findall(r"\d+|[A-Z]{2,}(?![a-z])|[A-Z]?[a-z]+(?:'[a-z]+)?|[A-Z]|[^\W\d_]+", text)
    words = []
    for piece in pieces:
        if piece.isdigit():
            words.append(number(piece))
        elif piece.lower() in SPELLED_PARTS or (
            piece.lower() not in READ_PARTS and not re.search("[aeiouyAEIOUY]", piece)
        ):
            words.append(letters(piece))
        else:
            words.append(piece.lower() if len(piece) > 1 else letters(piece))
    return " ".join(words)


_MARKS = {
    ".": " dot ",
    "/": " slash ",
    "@": " at ",
    "-": " dash ",
    "_": " underscore ",
    ":": " colon ",
    "?": " question mark ",
}
_MARKS |= {
    "=": " equals ",
    "&": " and ",
    "#": " hash ",
    "%": " percent ",
    "+": " plus ",
    "~": " tilde ",
    "\\": " backslash ",
}


def _identifier(m: Match) -> str:
    """Reads an e-mail or web address, a path, a file name or a variable."""
    text = m[0]
    end = re.search(r"[.,;:!?]+$", text)
    text, tail = (text[: end.start()], end[0]) if end else (text, "")
    return "".join(_MARKS.get(part, _part(part)) for part in re.split(r"([./@\-_:?=&#%+~\\])", text) if part) + tail


def _file_name(m: Match) -> str | None:
    return _identifier(m)


def _ip(m: Match) -> str:
    return " dot ".join(digits(part) for part in m[0].split("."))


def _version(m: Match) -> str:
    name = "" if not m["v"] else "version " if m["v"] in "vV" else m["v"]
    parts = m["n"].split(".")
    words = " point ".join(number(part) for part in parts)
    tail = re.sub(
        r"[-_.]?([A-Za-z]+|\d+)", lambda t: " " + (number(t[1]) if t[1].isdigit() else _part(t[1])), m["tail"] or ""
    )
    return f"{name}{words}{tail}"


def _regnal(m: Match) -> str | None:
    name, numeral = m["name"], m["roman"]
    value = roman(numeral)
    if not value or value > 40 or re.match(r"\.\s?[A-Z]", m.string[m.end() :]):
        return None
    titled = bool(re.search(rf"\b(?:{'|'.join(REGNAL_TITLES)})(?: [A-Z]\w+)* $", m.string[: m.start()]))
    if name in ROMAN_CUES or name in REGNAL_TITLES:
        return None
    if numeral == "I":
        ends = re.match(r"(?:'s\b|,|\.|;|\)| (?:of|was|ruled|died|reigned|became)\b|$)", m.string[m.end() :])
        if not (name in REGNAL and ends and titled):
            return None
    elif len(numeral) == 1 and name not in REGNAL - {"Malcolm"}:
        return None
    if name in REGNAL or titled or not _knows(name.lower()):
        return f"{name} the {ordinal(value)}"
    return f"{name} {cardinal(value)}"


def _roman_cue(m: Match) -> str | None:
    value = roman(m["roman"])
    after = m.string[m.end() :]
    if (
        not value
        or (m["cue"] == "Mark" and value < 2)
        or (m["cue"].islower() and m["cue"] not in ("war",) and m["roman"] in "IC")
    ):
        return None
    is_numbered = m["cue"].lower() in ("war", "type", "phase", "level", "stage", "class", "grade", "title")
    has_verb = re.match(r" (?:[a-z]+(?:ed|t)?\b)", after) and not re.match(r" (?:of|and|is|was|to|in)\b", after)
    if m["roman"] == "I" and not is_numbered and has_verb:
        return None
    if m["roman"] in ("C", "D", "L", "M") or (m["roman"] in ("X",) and m["cue"] in ("Generation", "Factor")):
        return None
    return f"{m['cue']}{m['gap']}{cardinal(value)}"


def _range(m: Match) -> str | None:
    a, b = m["a"], m["b"]
    if re.match(r"\s?=", m.string[m.end() :]):
        return None
    years = [re.fullmatch(r"1[1-9]\d\d|20\d\d", part) for part in (a, b)]
    if all(years) or (years[0] and len(b) == 2):
        last = year(b) if years[1] else cardinal(int(b))
        return f"{year(a)} to {last}{m['percent'] or ''}"
    return f"{number(a)} to {number(b)}{m['percent'] or ''}"


def _named_range(m: Match) -> str:
    return f"{_month(m['a'])} to {_month(m['b'])}"


def _times(m: Match) -> str:
    equation = re.search(r"[=÷+]|\bis\b|\bmakes\b|\bequals\b", m.string[m.end() : m.end() + 12])
    sides = (
        re.sub(r"\d+", lambda n: pairs(n[0]) if len(n[0]) == 4 else number(n[0]), side) for side in (m["a"], m["b"])
    )
    return (" times " if equation or "^" in m["b"] else " by ").join(sides)


def _power(m: Match) -> str:
    exponent = m["power"].translate(_SUPERSCRIPTS).lstrip("^").strip("(){}")
    base = m["base"]
    if exponent in ("2", "3"):
        return f"{base} {'squared' if exponent == '2' else 'cubed'}"
    if exponent.lstrip("-+").isdigit():
        sign = "minus " if exponent.startswith("-") else ""
        value = int(exponent.lstrip("-+"))
        words = f"minus {ordinal(value)}" if sign else ordinal(value)
        return f"{base} to the {words}"
    return f"{base} to the {exponent}"


def _scientific(m: Match) -> str:
    exponent = int(m["e"])
    return f"{number(m['n'])} times ten to the {'minus ' if exponent < 0 else ''}{ordinal(abs(exponent))}"


def _decade(m: Match) -> str:
    return plural(year(m["n"]) if len(m["n"]) == 4 else cardinal(int(m["n"])))


def _year(m: Match) -> str | None:
    before, after = m.string[: m.start()], m.string[m.end() :]
    cue = re.search(
        r"\b(?:in|since|by|of|from|until|till|year|years|circa|during|before|after|around|the|late|early|mid|spring|summer"
        rf"|fall|autumn|winter|class of|copyright|and|to|{'|'.join(MONTHS)}),? ?$",
        before,
        re.IGNORECASE,
    )
    counted = re.match(r" (?:[a-z]+ )?([a-z]{3,}s)\b", after)
    if (
        counted
        and counted[1] not in ("was", "has", "this", "is", "sales", "its", "his", "does", "ends", "begins")
        and not cue
    ):
        return None
    if re.match(r" (?:people|men|women|children|points|miles)\b", after):
        return None
    return year(m[0])


def _ordinal(m: Match) -> str:
    return ordinal(int(m["n"].replace(",", "")))


def _mixed(m: Match) -> str | None:
    """Reads a token of letters and digits, such as "MP3", "B52" or "H2O"."""
    words = []
    for piece in re.findall(r"\d+(?:\.\d+)?|[^\W\d_]+", m[0]):
        if piece[0].isdigit():
            words.append(pairs(piece) if piece.isdigit() and len(piece) == 3 and len(m[0]) <= 5 else number(piece))
        elif piece.isupper() and len(piece) > 1:
            words.append(_capitals_word(piece, False))
        elif len(piece) == 1 or not re.search("[aeiouyAEIOUY]", piece):
            words.append(letters(piece))
        else:
            words.append(piece)
    return " ".join(words)


def _magnitude(m: Match) -> str | None:
    if m["suffix"] == "K" and m["n"] in ("2", "4", "5", "8") and not m["gap"]:
        return f"{number(m['n'])} {letters('K')}"
    return f"{number(m['n'])} {MAGNITUDES[m['suffix']]}"


def _knows(word: str) -> bool:
    return default_pronouncer().knows(word)


def is_capitals(text: str) -> bool:
    """Whether a sentence is written in capitals: then its words are words."""
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text)
    long = [word for word in words if len(word) > 1]
    if not words or any(word != word.upper() for word in words) or not long:
        return False
    if len(words) == 1:
        return False
    return any(len(word) > 3 or _knows(word.lower()) for word in long if word not in SPELLED - AMBIGUOUS)


def _capitals_word(word: str, in_capitals: bool) -> str:
    """Reads a word in capitals as a word or by its letters."""
    if word in ACRONYM_WORDS:
        return word if _knows(word) and not in_capitals else word.lower() if in_capitals else word.capitalize()
    if len(word) == 1:
        return word
    lower = word.lower()
    if word in SPELLED and not (in_capitals and word in AMBIGUOUS):
        return letters(word)
    if _knows(lower) and (
        in_capitals or len(word) > 2 or lower in ("no", "so", "go", "my", "is", "do", "he", "we", "me", "up")
    ):
        return lower
    vowels = re.findall("[AEIOUY]+", word)
    if in_capitals and vowels:
        return lower
    if len(word) >= 5 and len(vowels) >= 2 and not re.search("[^AEIOUY]{4}|^[^AEIOUY]{3}", word):
        return word.capitalize()
    return letters(word)


def _capitals(m: Match) -> str | None:
    word, ending = m["word"], m["ending"] or ""
    if "'" in word or not word.isascii():
        return word.lower()
    return _capitals_word(word, False) + ending


def _dotted(m: Match) -> str:
    """Reads "U.S." and "J.K." by their letters; a stop at the end of the text stays."""
    text = m[0]
    stop = "." if text.endswith(".") and not m.string[m.end() :].strip(" \"'”)") else ""
    return letters(text) + (m["ending"] or "") + stop


def _abbreviation(m: Match) -> str:
    stop = "." if m[0].endswith(".") and not m.string[m.end() :].strip(" \"'”)") else ""
    words = ABBREVIATIONS[m[0]]
    if re.fullmatch(r"[A-Z]( [A-Z])+", words):
        words = letters(words)
    return f"{words}{stop}"


def _title(m: Match) -> str:
    return TITLES[m["title"]] + " "


def _before_number(m: Match) -> str:
    words = BEFORE_NUMBERS[m["word"]]
    return (words.capitalize() if m["word"][0].isupper() else words) + " "


def _greek(m: Match) -> str:
    return f" {GREEK[m[0].lower()]} "


def _per_slash(m: Match) -> str | None:
    if m["over"] not in PER and m["over"] not in UNITS and m["over"] not in _PER_WORDS:
        return None
    return f" per {_per(m['over'])}"


_PER_WORDS = {
    "hour",
    "day",
    "week",
    "month",
    "year",
    "person",
    "night",
    "minute",
    "second",
    "unit",
    "piece",
    "page",
    "mile",
}
_PER_WORDS |= {
    "gallon",
    "user",
    "head",
    "pound",
    "ounce",
    "kilo",
    "liter",
    "share",
    "barrel",
    "ton",
    "acre",
    "game",
    "word",
}


def _hashtag(m: Match) -> str:
    return "hashtag " + " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", m["tag"].replace("_", " ")))


def _camel(m: Match) -> str | None:
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", m[0])) if not _knows(m[0]) else None


def _alternatives(words) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def _rule(pattern: str, verbaliser: Verbaliser | str) -> tuple[re.Pattern[str], Verbaliser | str]:
    return re.compile(pattern), verbaliser


_SIGN = r"(?P<sign>(?<![\w)])[-−–])?"
_MAGNITUDE = rf"(?:\s?(?P<magnitude>(?:{_alternatives(MAGNITUDES)}|hundred|thousand|million|billion|trillion)\b))?"
_OVER = r"(?:\s?/\s?(?P<over>[A-Za-z]+[²³]?)\b)?"
_CODES = _alternatives(code for code in CURRENCIES if code.isalpha())
_SIGNS = _alternatives(code for code in CURRENCIES if not code.isalpha())
_MONTH = (
    rf"(?:{'|'.join(MONTHS)}|(?:{'|'.join(k for k in DATE_ABBREVIATIONS if DATE_ABBREVIATIONS[k] in MONTHS)})\b\.?)"
)
_DAY = rf"(?:{'|'.join(DAYS)}|(?:{'|'.join(k for k in DATE_ABBREVIATIONS if DATE_ABBREVIATIONS[k] in DAYS)})\b\.?)"
_END = r"(?!\w)"
_ROMAN = r"[IVXLCDM]+"
_TLD = rf"(?:{'|'.join(DOMAINS)})"
RULES: dict[str, list[tuple[re.Pattern[str], Verbaliser | str]]] = {
    "e-mail, web address, path": [
        _rule(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _identifier),
        _rule(r"\b(?:https?|ftp)://[^\s<>\"“”()]+", _identifier),
        _rule(r"\bwww\.[^\s<>\"“”()]+", _identifier),
        _rule(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]\d)", _ip),
        _rule(rf"(?<![\w./@-])(?:[A-Za-z0-9-]{{2,}}\.)+{_TLD}\b(?:/[^\s<>\"“”()]*)?(?!\.?\w)", _identifier),
        _rule(rf"(?<![\w/\\.])[\w-]*[A-Za-z_][\w.-]*\.(?:{'|'.join(EXTENSIONS)})\b(?!\.\w)", _file_name),
        _rule(r"(?<!\S)(?:~|\.{1,2})?(?:/[\w.-]+){2,}/?|(?<!\S)~/[\w./-]+|\b[A-Z]:\\[\w\\.-]+", _identifier),
        _rule(r"(?<![\w])\w*[^\W_]_[^\W_]\w*", _identifier),
    ],
    "markup": [
        _rule(r"(\*{1,3}|_{1,3}|`+|~~)(?=\S)([^*`~\n]*?\S)\1(?!\w)", r"\2"),
        _rule(r"^\s*#{1,6}\s+", ""),
        _rule(r"^\s*[-*•‣◦▪–]\s+", ""),
        _rule(r"^\s*(\d{1,3})[.)]\s+(?=\S)", r"\1, "),
        _rule(r"^\s*([a-zA-Z])\)\s+", lambda m: letters(m[1]).strip() + LETTER_END + ", "),
    ],
    "address": [
        _rule(r"\bP\.?\s?O\.? [Bb]ox (\d+)", lambda m: f"{letters('PO')} Box {pairs(m[1])}"),
        _rule(
            rf"(?<![\w.,$£€#])(?P<n>\d{{1,5}}) (?P<name>(?:(?:{_alternatives(DIRECTIONS)})\.? )?(?:\d+(?:st|nd|rd|th) |"
            rf"[A-Z][\w'-]+ ){{0,3}})(?P<street>{_alternatives([*STREETS, *STREETS.values()])})\b(?P<stop>\.?)",
            lambda m: _address(m),
        ),
        _rule(rf"\b(?P<name>[A-Z][\w']+|\d+(?:st|nd|rd|th)) (?P<street>{_alternatives(STREETS)})\b(?P<stop>\.?)", _street),
        _rule(rf"\b(?P<direction>{_alternatives(DIRECTIONS)})\.? (?=\d+(?:st|nd|rd|th)\b)", _direction),
        _rule(
            rf"(?<=\d )(?P<direction>{_alternatives(DIRECTIONS)})\.? (?=[A-Z][a-z]+ (?:{_alternatives(STREETS.values())}))",
            _direction,
        ),
        _rule(
            rf"(?<=, )(?P<state>{'|'.join(STATES)})(?= \d{{5}}\b|[.,]|$)",
            lambda m: letters("DC") if m["state"] == "DC" else STATES[m["state"]],
        ),
    ],
    "telephone": [
        _rule(r"\b1?-?8\d\d-(?P<word>[A-Z]{4,}(?:-[A-Z]+)*)\b", _vanity),
        _rule(r"\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}(?!\w)", _telephone),
        _rule(r"(?<![\w(])(?:1[ .-])?\(\d{3}\)\s?\d{3}[ .-]?\d{4}(?!\w)", _telephone),
        _rule(r"(?<![\w.-])(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}(?![\w-])", _telephone),
        _rule(r"(?<![\w.,$£€-])\d{3}-\d{4}(?![\w-])", _telephone),
        _rule(r"(?<![\w.-])\d{3}-\d{2}-\d{4}(?![\w-])", _telephone),
        _rule(r"(?<![\w.-])\d{5}-\d{4}(?![\w-])", _telephone),
        _rule(r"(?<![\w.,$£€-])\(?0\d{2,4}\)?[ -]\d{3,4}(?:[ -]\d{3,4})?(?!\w)", _telephone),
        _rule(r"(?<![\w.,$£€/:-])\d{2,4}(?:[ ]\d{2,4})+(?![\w,/:%-]|\.\d|-\d)", _digit_groups),
        _rule(r"(?<![\w.,$£€/:-])\d{2,10}(?![\w,/:%-]|\.\d|-\d)", _cued_digits),
    ],
    "date": [
        _rule(r"(?<![\w/.-])(?P<year>\d{4})(?P<mark>[-/.])(?P<a>\d{1,2})(?P=mark)(?P<b>\d{1,2})(?![\w/-])",
              lambda m: _date(int(m["a"]), int(m["b"]), m["year"])),
        _rule(r"(?<![\w/.-])(?P<a>\d{1,2})(?P<mark>[-/.])(?P<b>\d{1,2})(?P=mark)(?P<year>\d{4}|(?<![.])\d{2})(?![\w/-]|\.\d)",
              _numeric_date),
        _rule(rf"\b(?P<month>{_MONTH}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:\s?[-–]\s?(?P<last>\d{{1,2}})(?:st|nd|rd|th)?)?"
              rf"(?![\w:%]|[.,]\d)(?:,? (?P<year>[12]\d{{3}})\b(?!,\d))?", _month_day),
        _rule(rf"(?<![\w.,$-])(?P<the>[Tt]he )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?: of)?[ -](?P<month>{_MONTH})"
              rf"(?:,?[ -](?P<year>[12]\d{{3}})\b)?", _day_month),
        _rule(rf"\b(?P<a>{_DAY}|{_MONTH})\s?[-–]\s?(?P<b>{_DAY}|{_MONTH})(?!\w)", _named_range),
        _rule(rf"\b(?P<day>{_DAY})(?=,? (?:\d|{_MONTH}|at\b|and\b|morning|evening|night|to\b))", lambda m: _month(m["day"])),
        _rule(rf"(?<=[a-z] )(?P<day>(?:{_DAY}))(?!\w)", lambda m: _month(m["day"]) if m["day"] != "Sat" and m["day"] != "Sun" and m["day"] != "Wed" else None),
        _rule(rf"\b(?P<month>{_MONTH})(?= \d{{4}}\b)", lambda m: _month(m["month"])),
        _rule(rf"\b(?P<month>(?:{'|'.join(k for k in DATE_ABBREVIATIONS)})\.)(?= [a-z]|,|$)",
              lambda m: None if m["month"] in ("Sat.", "Sun.", "Mar.") and not re.search(r"\b(on|in|every|each|last|next) $", m.string[: m.start()].lower()) else _month(m["month"]) + ("." if m.end() == len(m.string) else "")),
        _rule(r"(?<!\w)['](?P<n>\d0)s\b", _decade),
        _rule(r"(?<![\w,.])(?P<n>1[1-9]\d0|20\d0|[2-9]0)'?s\b", _decade),
        _rule(r"(?<!\w)'(\d\d)(?![\w'])", lambda m: f"oh {cardinal(int(m[1]))}" if m[1] < "10" else cardinal(int(m[1]))),
    ],
    "time": [
        _rule(r"(?<![\w:.])(?P<h>\d{1,2})[:.](?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?\s?(?P<half>[AaPp])(?P<ends>\.?\s?[Mm]\b\.?)", _time),
        _rule(r"(?<![\w:.])(?P<h>\d{1,2})(?P<m>)(?P<s>)\s?(?P<half>[AaPp])(?P<ends>\.?\s?[Mm]\b\.?)(?!\w)", _time),
        _rule(r"(?<![\w:.])(?P<h>\d{1,2}):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d))?(?P<half>)(?P<ends>)(?![\w:])", _time),
        _rule(r"(?<![\w:.])(?P<h>\d{1,2})h(?P<m>[0-5]\d)(?P<s>)(?P<half>)(?P<ends>)(?![\w:])", _time),
        _rule(r"(?<![\w:])(\d+ ?: ?\d+(?: ?: ?\d+)*)(?![\w:])", _ratio),
        _rule(r"\b([ap])\.m\.", lambda m: letters(m[1] + "m") + ("." if not m.string[m.end():].strip(" \"'”)") else "")),
    ],
    "money": [
        _rule(rf"(?P<symbol>{_SIGNS})(?P<a>{NUMBER})\s?[-–]\s?(?P<b>{NUMBER}){_MAGNITUDE}(?![\d%])", _money_range),
        _rule(rf"{_SIGN}(?P<symbol>{_SIGNS})\s?(?P<minus>[-−])?(?P<n>{NUMBER})(?:-(?=[a-z]{{3}}))?{_MAGNITUDE}{_OVER}", lambda m: _amount(m["sign"] or m["minus"], m["n"], m["symbol"], m["magnitude"], m, m["over"])),
        _rule(rf"{_SIGN}\b(?P<symbol>{_CODES})\.?\s?(?P<n>{NUMBER}){_MAGNITUDE}{_OVER}", _money),
        _rule(rf"{_SIGN}(?<![\w.])(?P<n>{NUMBER}){_MAGNITUDE}\s?(?P<symbol>{_SIGNS}){_OVER}(?![\d])", _money),
        _rule(rf"{_SIGN}(?<![\w.])(?P<n>{NUMBER}){_MAGNITUDE}\s?(?P<symbol>{_CODES})\b{_OVER}", _money),
    ],
    "version": [
        _rule(r"\b(?P<v>[vV])\.?\s?(?P<n>\d+(?:\.\d+)+|\d+)(?P<tail>[-_.]?(?:alpha|beta|rc|dev|post|a|b)[-.]?\d*)?(?![\w.]\w)", _version),
        _rule(r"\b(?P<v>(?:[Vv]ersion|[Rr]elease|[Pp]ython|[Jj]ava|[Nn]ode|[Ii][Oo][Ss]|[Aa]ndroid|macOS|Django|Rust|PHP|Ruby|Swift|Go|HTTP|TLS|USB|Bluetooth|Wi-Fi|CUDA) )"
              r"(?P<n>\d+\.\d+)(?P<tail>)(?![\w.]\w)", _version),
        _rule(r"(?<![\w.])(?P<v>)(?P<n>\d+(?:\.\d+){2,})(?P<tail>[-_.]?(?:alpha|beta|rc|dev|post|a|b)[-.]?\d*)?(?![\w]|\.\d)", _version),
    ],
    "measure": [
        _rule(r"(?<![\w.])(?P<feet>\d{1,3})\s?['′]\s?(?P<inches>\d{1,2}(?:\.\d+)?)\s?(?:\"|″|''|”|“)?(?!\w)", _feet),
        _rule(r"(?<![\w.])(?P<feet>\d{1,3})\s?['′](?P<inches>)(?![\w])(?=[ .,;)]|$)",
              lambda m: None if m.string[: m.start()].count("'") % 2 and "′" not in m[0] else _feet(m)),
        _rule(rf"(?<![\w.])(?P<n>{NUMBER})\s?(?:″|\"(?=[\s.,;)x×]|$))", _inches),
        _rule(rf"(?<![\w.])(?P<n>{NUMBER})(?:\s|-)?in(?:\.(?=\s|$|,)|(?=\s(?:wide|tall|long|deep|high|thick|by|x)\b|\)|,|$))", _inches),
        _rule(rf"(?<![\w.])(?P<n>{NUMBER})\s?[°º]\s?(?P<scale>[CFK])?\b", _degrees),
        _rule(rf"(?<![\w.])(?P<n>{NUMBER})\s?[°º](?P<scale>)(?!\w)", lambda m: f"{number(m['n'])} degree{'' if _one(m['n']) else 's'}"),
        _rule(rf"(?<![\w.])(?P<n>{NUMBER})(?P<gap>[ -]?)(?P<unit>(?:{_alternatives(UNITS)}|miles|gallons|liters|meters|people|requests|words)(?:[²³]|\^[23])?/[A-Za-z]+[²³]?)(?![\w])(?P<stop>)", _measure),
        _rule(rf"(?<![\w.])(?P<n>{NUMBER})(?P<gap>[ -]?)(?P<unit>(?:{_alternatives(UNITS)})(?:[²³]|\^[23])?)(?![\w'/])(?P<stop>\.?)", _measure),
    ],
    "science": [
        _rule(r"(?<![\w.])(?P<n>\d+(?:\.\d+)?)[eE](?P<e>[+-]?\d{1,3})(?!\w)", _scientific),
        _rule(r"(?P<base>\d|[^\W\d_]|\))(?P<power>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+|\^[({]?[-+−]?\w+[)}]?)", _power),
        _rule(r"(?<!\w)[²³]", lambda m: {"²": "two", "³": "three"}[m[0]]),
    ],
    "fraction": [
        _rule(r"(?<![\w/.,])(?:(?P<whole>\d+)[ -]+)?(?P<top>\d{1,3})\s?/\s?(?P<bottom>\d{1,3})(?:ths?|rds?|nds?)?(?![\w/]|\.\d)", _fraction),
    ],
    "range, multiplication": [
        _rule(rf"(?<![\w.])(?P<a>{NUMBER})\s?[x×]\s?(?P<b>{NUMBER}(?:\^\d+)?)(?=\s?[x×]\s?\d)", lambda m: f"{number(m['a'])} by {m['b']}"),
        _rule(rf"(?<![\w.])(?P<a>{NUMBER})\s?[x×]\s?(?P<b>{NUMBER})(?![\d])", _times),
        _rule(rf"(?<=by )(?P<a>{NUMBER})\s?[x×]\s?(?P<b>{NUMBER})", _times),
        _rule(r"(?<![\w.])(?P<n>\d+(?:\.\d+)?)[x×](?!\w)", lambda m: f"{number(m['n'])} times"),
        _rule(r"(?<!\w)[x×](?P<n>\d+)(?!\w)", lambda m: f"times {number(m['n'])}"),
        _rule(rf"(?<![\w.-])(?P<a>{NUMBER})(?P<percent>)\s?%\s?[-–—]\s?(?P<b>{NUMBER})\s?%", lambda m: f"{number(m['a'])} to {number(m['b'])} percent"),
        _rule(rf"(?<![\w.,-])(?P<a>{NUMBER})(?:\s?[-–]\s?|—)(?P<b>{NUMBER})(?P<percent>\s?%)?(?![\w-]|\.\d)", _range),
    ],
    "roman": [
        _rule(r"\bWW(I{1,3})\b", lambda m: f"World War {cardinal(len(m[1]))}"),
        _rule(rf"\b(?P<cue>{_alternatives([*ROMAN_CUES, *(c.lower() for c in ROMAN_CUES if len(c) > 3)])})(?P<gap>[ -])"
              rf"(?P<roman>{_ROMAN}|(?<=[Ss]cene )[ivx]+|(?<=[Pp]age )[ivxl]+)(?![\w'-])", _roman_cue),
        _rule(rf"\b(?P<name>[^\W\d_][\w'-]*[a-z])\s(?P<roman>{_ROMAN})\b(?![-\w])",
              lambda m: _regnal(m) if m["name"][0].isupper() else None),
        _rule(r"\b(?:p|pp)\.? (?P<roman>[ivxl]{1,6})\b", lambda m: f"page {cardinal(roman(m['roman']))}" if roman(m["roman"]) else None),
    ],
    "abbreviation": [
        _rule(rf"(?<![\w.])(?P<word>{_alternatives(BEFORE_NUMBERS)})\.\s?(?=#?\d|[IVX]+\b)", _before_number),
        _rule(r"(?<![\w.])(?P<word>[Nn]os?|[Aa]pt|[Ff]igs?|[Cc]h|pp?)\.? (?=\d)(?<=\. )", _before_number),
        _rule(rf"(?<![\w.])(?P<title>{_alternatives(TITLES)})\. ?(?=[A-Z]|and\b|of\b|{WORD_MARK})", _title),
        _rule(r"\b(?P<title>Dr|Mr|Mrs|Ms|Prof|St|Mt|Sgt|Capt|Lt) (?=[A-Z][a-z])", _title),
        _rule(r"\b(?P<title>Mrs|Mr|Ms|Dr)\.(?=\s|$)", lambda m: TITLES[m["title"]]),
        _rule(rf"(?<![\w.])(?:{_alternatives(k for k in ABBREVIATIONS if k.endswith('.'))})(?!\w)", _abbreviation),
        _rule(rf"(?<![\w.])(?:{_alternatives(k for k in ABBREVIATIONS if not k.endswith('.'))})(?![\w.])", _abbreviation),
        _rule(r"(?<![\w.])(?:[A-Z]\.\s?){2,}(?P<ending>'?s\b)?(?=\W|$)", lambda m: _dotted(m).rstrip() + (" " if m[0][-1] == " " else "")),
        _rule(r"(?<![\w.])(?:[A-Za-z]\.){1,}[A-Z](?P<ending>)(?![\w])", _dotted),
        _rule(r"(?<![\w.])(?:[A-Z]\.)(?:[A-Z]\.?)+(?P<ending>'?s\b)", _dotted),
        _rule(r"\b(Ph)\.?\s?D\b\.?", lambda m: letters("PHD")),
        _rule(r"(?<![\w.'])(?P<letter>[A-HJ-Z])\. (?=[A-Z])", lambda m: letters(m["letter"]) + " "),
    ],
    "ordinal": [_rule(r"(?<![\w.])(?P<n>\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th|ST|ND|RD|TH)\b", _ordinal)],
    "sign": [
        _rule(r"(?<![\w)\]%°])[-−]\s?(?=\.?\d)", "minus "),
        _rule(r"−", " minus "),
        _rule(r"(?<=\d) - (?=\d)", " minus "),
        _rule(r"(?<!\w)~\s?(?=\d)", "about "),
        _rule(r"\+/-|\+-", " plus or minus "),
        _rule(r"(?<=[A-Za-z])\+\+", " plus plus"),
        _rule(r"(?<=\d)\s?\*\s?(?=\d)", " times "),
        _rule(r"<=|=<", " less than or equal to "), _rule(r">=", " greater than or equal to "),
        _rule(r"!=", " not equal to "), _rule(r"==", " equals "), _rule(r"[-=]>", " to "),
        _rule(r" ?& ?", " and "),
        _rule(r"(?<=\d)\s?(?P<half>%)", " percent"),
        _rule(r"(?<!\w)#(?=\d)", "number "),
        _rule(r"(?<!\w)#(?P<tag>[A-Za-z]\w*)", _hashtag),
        _rule(r"\bC#", "C sharp"), _rule(r"\bF#", "F sharp"),
        _rule(r"(?<=[a-z])\s?/\s?(?P<over>[A-Za-z]+[²³]?)\b", lambda m: _per_slash(m) if re.search(r"\d|dollars?$|euros?$|pounds?$|meters?$|cents$|percent$", m.string[: m.start()][-9:]) else None),
    ],
    "telephone, after dates": [],
    "year and number": [
        _rule(r"(?<![\w.,$])(?:1[1-9]\d\d|20\d\d)(?![\w,/:%'-]|\.\d|,\d)(?! (?:percent|times|degrees))", _year),
        _rule(r"\b(?P<word>[Ff]light|[Rr]oom|[Rr]oute|[Hh]ighway|[Ii]nterstate|[Bb]us|[Ss]uite|Apartment|Boeing|Airbus) (?P<n>\d{3,4})(?!\w)", lambda m: f"{m['word']} {pairs(m['n'])}"),
        _rule(rf"(?<![\w.])(?P<n>{NUMBER})(?P<gap>\s?)(?P<suffix>K|M|B|bn|k)(?![\w'-])", _magnitude),
        _rule(r"(?<![\w.])(?P<n>\d+)'?s\b", lambda m: plural(pairs(m["n"]) if len(m["n"]) == 3 else number(m["n"]))),
        _rule(r"(?<![\w])(?=\w*\d)(?=\w*[^\W\d_])[^\W_]+(?:\.\d+)?", _mixed),
        _rule(rf"{NUMBER}", lambda m: number(m[0])),
        _rule(r"(?<=\w)-(?=(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b)", " "),
    ],
    "symbols": [
        _rule("℃|℉", lambda m: UNITS[m[0]][1]),
        _rule(r"µm\b", "micrometer"),
        _rule(f"[{''.join(GREEK)}{''.join(GREEK).upper()}]", _greek),
        _rule(f"[{re.escape(''.join(SYMBOLS))}]", lambda m: f" {SYMBOLS[m[0]]} "),
        _rule(r"(?<=\w)\[(?=\w)|[\[\]]", lambda m: "(" if m[0] == "[" else ")"),
        _rule(r"[*_|{}]+", " "),
    ],
    "capitals": [
        _rule(r"(?<![\w.'])(?P<word>[A-Z]{2,}(?:'[A-Z]+)?)(?P<ending>'?s)?(?![\w])(?!\u2009)", _capitals),
        _rule(r"\b[a-z]+[A-Z]\w*|\b(?:[A-Z][a-z]+){2,}\b(?<!Mc)", _camel),
    ],
}  # fmt: skip
_LOWER_CAPITALS = re.compile(r"(?<![\w.])[A-Z]+(?:'[A-Z]+)*(?![\w.]?[a-z0-9])(?!\.[A-Z])")


def _lower_capitals(text: str) -> str:
    """Returns a sentence in capitals in lower case, all but its acronyms, numerals and single letters."""

    def word(m: Match) -> str:
        cue = re.search(r"(\w+) $", text[: m.start()])
        if (
            roman(m[0])
            and cue
            and (cue[1].capitalize() in ROMAN_CUES | REGNAL or m[0] in ("II", "III", "VI", "VII", "VIII"))
        ):
            return m[0]
        if len(m[0]) == 1:
            return m[0] if m[0] == "I" or text[m.end() : m.end() + 1] == "." else m[0].lower() if m[0] == "A" else m[0]
        return (
            m[0] if m[0] in SPELLED - AMBIGUOUS or re.match(r"\.\w", text[m.end() :]) else _case(m[0], text, m.start())
        )

    return _LOWER_CAPITALS.sub(word, text)


def _case(word: str, text: str, start: int) -> str:
    """Returns a word of a line in capitals as it is written in a sentence."""
    return (
        word.capitalize()
        if word.capitalize() in ROMAN_CUES | REGNAL | REGNAL_TITLES | set(TITLES) or not start
        else word.lower()
    )


_SPACES = re.compile(r"[ \t\n\r]+")
_BEFORE_STOP = re.compile(r" +([.,;:!?])(?=\s|$|[\"'”)])")


def normalise(sentence: str) -> str:
    """Returns a sentence in words, with its punctuation: "It's 5:45." is "It's five forty-five."

    Spelled letters are capitals followed by a thin space (see `verbalisers`). Characters that are not read are left
    out; `unread_characters` names them."""
    text = replace_characters(sentence)
    unread = unread_characters(text)
    if unread:
        text = text.translate(dict.fromkeys(map(ord, unread), " "))
    if is_capitals(text):
        text = _lower_capitals(text)
    for rules in RULES.values():
        for pattern, verbaliser in rules:
            if isinstance(verbaliser, str):
                text = pattern.sub(verbaliser, text)
            else:
                text = pattern.sub(lambda m, read=verbaliser: m[0] if (words := read(m)) is None else words, text)
    return _BEFORE_STOP.sub(r"\1", _SPACES.sub(" ", text)).strip(" ")


def words(sentence: str) -> Iterator[str]:
    """Yields the words of a sentence as they are spoken, in lower case, without punctuation."""
    text = normalise(sentence).lower().replace(LETTER_END, " ")
    yield from re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)
