"""Number words of American English, spelled letters and Roman numerals.

A spelled letter is a capital followed by a thin space, LETTER_END: pronunciation reads "F\u2009B\u2009I\u2009" by the
names of the letters, where a lone "A" or "I" is a word."""

import re

LETTER_END = "\u2009"
ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
TENS = ["-", "-", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ["", " thousand", " million", " billion", " trillion", " quadrillion", " quintillion"]
ORDINALS = {"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth"}
ORDINALS["twelve"] = "twelfth"
MAX_DIGITS = 9  # of a number without commas; longer ones are read digit by digit
_ROMAN = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})", re.IGNORECASE)
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}


def cardinal(number: int) -> str:
    """Returns a whole number in words, without "and": 120 is "one hundred twenty"."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f"-{ONES[number % 10]}" if number % 10 else "")
    if number < 1000:
        return f"{ONES[number // 100]} hundred" + (f" {cardinal(number % 100)}" if number % 100 else "")
    power = (len(str(number)) - 1) // 3
    if power >= len(SCALES):
        return digits(str(number))
    high, low = divmod(number, 1000**power)
    return f"{cardinal(high)}{SCALES[power]}" + (f" {cardinal(low)}" if low else "")


def ordinal(number: int) -> str:
    """Returns an ordinal in words: 21 is "twenty-first"."""
    head, last = re.fullmatch(r"(.*?)(\w+)", cardinal(number)).groups()
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return head + ORDINALS.get(last, regular)


def digits(text: str, group: int = 3) -> str:
    """Returns the digits of a text one by one; runs of more than `group` + 2 have a comma after each group."""
    runs = [
        [run[i : i + group] for i in range(0, len(run), group)] if len(run) > group + 2 else [run]
        for run in re.findall(r"\d+", text)
    ]
    return ", ".join(" ".join(ONES[int(digit)] for digit in part) for run in runs for part in run)


def number(text: str) -> str:
    """Returns a number as written, "1,234.50" or "007", in words."""
    whole, point, decimals = text.replace(",", "").partition(".")
    if (whole.startswith("0") and len(whole) > 1) or (len(whole) > MAX_DIGITS and "," not in text):
        words = digits(whole)
    else:
        words = cardinal(int(whole)) if whole else ""
    return f"{words} point {digits(decimals, len(decimals))}".strip() if point and decimals else words


def year(text: str) -> str:
    """Returns a year of one to four digits in words: 1905 is "nineteen oh five"."""
    value = int(text)
    high, low = divmod(value, 100)
    if len(text) != 4 or text.startswith("0") or (high % 10 == 0 and low < 10):
        return number(text)
    return f"{cardinal(high)} " + ("hundred" if not low else f"oh {cardinal(low)}" if low < 10 else cardinal(low))


def pairs(text: str) -> str:
    """Returns a number as houses, rooms and flights are read: 221 is "two twenty-one"."""
    if text.startswith("0") or len(text) > 4:
        return digits(text)
    if len(text) == 4:
        return year(text) if text[1:3] != "00" else cardinal(int(text))
    if len(text) == 3 and text[1:] != "00":
        low = int(text[1:])
        return f"{ONES[int(text[0])]} " + (f"oh {ONES[low]}" if low < 10 else cardinal(low))
    return cardinal(int(text))


def plural(word: str) -> str:
    """Returns a number word in the plural: "nineties", "sixes"."""
    return word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith(("x", "s")) else "s")


def letters(text: str) -> str:
    """Returns the letters of a text, each marked as spelled."""
    return "".join(f"{letter.upper()}{LETTER_END}" for letter in text if letter.isalpha())


def shown(text: str) -> str:
    """Returns a normalised text as it is shown to people: spelled letters apart, "C D s" as "C Ds"."""
    text = re.sub(rf"{LETTER_END}(?='?s\b|-)", "", text).replace(LETTER_END, " ")
    return re.sub(r" +(?=[\s.,;:!?)]|$)", "", text)


def roman(text: str) -> int:
    """Returns the value of a Roman numeral, 0 if it is none."""
    if not text or not _ROMAN.fullmatch(text):
        return 0
    values = [_ROMAN_VALUES[letter] for letter in text.upper()]
    return sum(-a if a < b else a for a, b in zip(values, [*values[1:], 0], strict=True))
