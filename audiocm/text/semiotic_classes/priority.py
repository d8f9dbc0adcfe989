"""The semiotic classes of written text in their order of priority: the first one that reads a stretch has it."""

from .abbreviations import ABBREVIATION_RULES, CAPITALS_RULES, LETTERS_AND_DIGITS_RULES
from .addresses import ADDRESS_RULES
from .dates_and_times import DATE_RULES, TIME_RULES
from .electronic import INTERNET_RULES, VERSION_RULES
from .fractions import FRACTION_RULES
from .measures import MEASURE_RULES
from .money import MONEY_RULES
from .numbers import NUMBER_RULES, ORDINAL_RULES, PLAIN_NUMBER_RULES, RANGE_RULES
from .patterns import Rule
from .roman_numerals import ROMAN_NUMERAL_RULES, WORD_BEFORE_NUMBER_RULES
from .science import SCIENCE_RULES, SCIENTIFIC_NOTATION_RULES
from .signs import SIGN_RULES, SYMBOL_RULES
from .telephone import CODE_RULES, TELEPHONE_RULES

CLASSES: dict[str, list[Rule]] = {
    "address of the internet": INTERNET_RULES,
    "word before a number": WORD_BEFORE_NUMBER_RULES,
    "address": ADDRESS_RULES,
    "telephone": TELEPHONE_RULES,
    "code": CODE_RULES,
    "date": DATE_RULES,
    "time": TIME_RULES,
    "money": MONEY_RULES,
    "version": VERSION_RULES,
    "ordinal": ORDINAL_RULES,
    "scientific notation": SCIENTIFIC_NOTATION_RULES,
    "measure": MEASURE_RULES,
    "science": SCIENCE_RULES,
    "fraction": FRACTION_RULES,
    "range": RANGE_RULES,
    "Roman numeral": ROMAN_NUMERAL_RULES,
    "abbreviation": ABBREVIATION_RULES,
    "sign": SIGN_RULES,
    "number": NUMBER_RULES,
    "letters and digits": LETTERS_AND_DIGITS_RULES,
    "plain number": PLAIN_NUMBER_RULES,
    "symbol": SYMBOL_RULES,
    "capitals": CAPITALS_RULES,
}
JOINED = {"date", "time", "money", "measure", "number", "plain number", "ordinal"}  # "A - B" of these is "A to B"
