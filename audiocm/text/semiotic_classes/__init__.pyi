from . import (
    abbreviations as abbreviations,
    addresses as addresses,
    dates_and_times as dates_and_times,
    electronic as electronic,
    fractions as fractions,
    measures as measures,
    money as money,
    numbers as numbers,
    patterns as patterns,
    priority as priority,
    roman_numerals as roman_numerals,
    science as science,
    signs as signs,
    telephone as telephone,
)
from .priority import CLASSES as CLASSES
