"""English text to sentences and phonemes: reading, pauses, coding, and text that is refused."""

import warnings

import pytest

from audiocm.speech import phonemes


def read(text: str) -> list[str]:
    """The phoneme lines of a text."""
    return [one.phonemes for one in phonemes.split_sentences(text)]


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        ("5:45 p.m.", "five forty five p m"),
        ("It cost $1,250.50.", "It cost one thousand two hundred fifty dollars and fifty cents."),
        ("Dr. Smith", "Doctor Smith"),
        ("3rd", "third"),
        ("\u22125°C", "minus five degrees celsius"),
        ("ﬁsh", "fish"),
        ("20% & more", "twenty percent and more"),
    ],
)
def test_text_is_normalised(written, spelt):
    plain = ["".join(c for one in read(text) for c in one if c not in " .,ˈˌT") for text in (written, spelt)]
    assert plain[0].replace("ti", "i") == plain[1].replace("ti", "i")


def test_homographs_and_symbols():
    assert read("I read the record.") != read("I record the reader.")
    lines = read("Measure the church, judge! Azure things: this boy's cow; huge pyjamas (five).")
    assert set("".join(lines)) - set(phonemes.STRESS) <= set(phonemes.SYMBOLS)


def test_phonemes_are_encoded_with_stress_and_split():
    assert read("Hello there.") == ["həlˈO ðˈɛɹ."]
    numbers, stress = phonemes.encode_phonemes("həlˈO ðˈɛɹ.")
    assert "".join(phonemes.SYMBOLS[k] for k in numbers) == "_həlO ðɛɹ._"
    assert "".join(map(str, stress)) == "00002002000"
    assert phonemes.split_in_halves("həlˈO ðˈɛɹ.") == ("həlˈO", "ðˈɛɹ.")


def test_sentences_have_pauses_and_bounded_pieces():
    found = list(phonemes.split_sentences("Dr. Who came. He left.\n\nEnd"))
    assert [(one.text, one.pause) for one in found] == [("Dr. Who came.", 0.25), ("He left.", 0.6), ("End", 0.6)]
    for text in ("word " * 400, "a" * 3000, "clause one, " * 100):
        pieces = list(phonemes.split_sentences(text))
        assert len(pieces) > 1 and all(len(one.text) <= phonemes.MAX_CHARACTERS for one in pieces)
        assert "".join(one.text for one in pieces).replace(" ", "") == text.replace(" ", "")


BAD = {
    "empty": ("", "the text is empty"),
    "blank": (" \n", "the text is empty"),
    "unspoken": ("?!... \U0001f642", "no character that can be pronounced"),
    "cyrillic": ("Hello мир", "Cyrillic letters (м)"),
    "chinese": ("漢字", "Cjk letters (漢)"),
    "digits": ("call ٣", "digits of another script"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_text_is_an_error_of_one_line_without_a_warning(text, message):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError) as error:
            phonemes.validate_text(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_characters_that_are_not_read_are_named_in_a_warning():
    with pytest.warns(UserWarning, match=r"🙂 \(slightly smiling face\), • \(bullet\)"):
        assert len(read("Fine 🙂 • really")) == 1
