"""Phoneme lines -> the symbol numbers of the speech encoder."""

from ..text.alphabet import SILENCE, STRESS, SYMBOLS


def encode_phonemes(line: str, symbols: str = SYMBOLS) -> tuple[list[int], list[int]]:
    """Returns the symbol numbers of a phoneme line and their stress (0, 1, 2), with silence before and after."""
    numbers, stresses, stress = [symbols.index(SILENCE)], [0], 0
    for character in line:
        if character in STRESS:
            stress = STRESS[character]
        elif character in symbols:
            numbers.append(symbols.index(character))
            stresses.append(stress)
            stress = 0
    return [*numbers, symbols.index(SILENCE)], [*stresses, 0]
