"""Phoneme lines as the numbers of the speech encoder."""

from audiocm.speech.phonemes import encode_phonemes
from audiocm.text.alphabet import SYMBOLS


def test_phonemes_are_encoded_with_stress_between_silence():
    numbers, stress = encode_phonemes("həlˈO ðˈɛɹ.")
    assert "".join(SYMBOLS[k] for k in numbers) == "_həlO ðɛɹ._"
    assert "".join(map(str, stress)) == "00002002000"


def test_symbols_that_a_model_does_not_have_are_left_out():
    symbols = SYMBOLS.replace("T", "")
    numbers, _ = encode_phonemes("fˈɔɹTi", symbols)
    assert "".join(symbols[k] for k in numbers) == "_fɔɹi_"
