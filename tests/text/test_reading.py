"""The text front end: the bench's spoken forms, sentences, lexicon, markup, and texts that cannot be read."""

import warnings

import pytest

from audiocm.text import Lexicon, normalise, read_sentences, validate_text
from recipes.text_to_speech.reading import read_bench

RIGHT = 0.94  # share of the bench that is read right


def words_of(text: str) -> str:
    """The words of a text as the bench compares them: lower case, no punctuation and hyphens, no "and"."""
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower())
    return " ".join(word for word in kept.split() if word != "and")


def test_the_bench_is_read_right() -> None:
    rows, right = read_bench(), 0
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            spoken = words_of(" ".join(sentence.words for sentence in read_sentences(row["input"])))
        right += spoken in {words_of(form.replace("/", " ")) for form in row["spoken"].split("|")}
    assert len({row["kind"] for row in rows}) >= 40 and len(rows) >= 250
    assert right / len(rows) >= RIGHT


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("She said no.", "she said no"),
        ("King Charles III came.", "king charles the third came"),
        ("It costs 10€.", "it costs ten euros"),
        ("Meet on Jan. 5.", "meet on january fifth"),
        ("The U.S. Army left.", "the u s army left"),
    ],
)
def test_texts_of_public_reports(text: str, spoken: str) -> None:
    sentences = list(read_sentences(text))
    assert len(sentences) == 1 and words_of(sentences[0].words) == spoken


def test_a_hard_wrapped_sentence_is_one() -> None:
    wrapped = "It was the best of times,\nit was the worst\nof times. It was the age of wisdom."
    assert len(list(read_sentences(wrapped))) == 2


def test_digits_without_end_are_read_in_groups() -> None:
    spoken = " ".join(sentence.words for sentence in read_sentences("1" * 40))
    assert words_of(spoken).split() == ["one"] * 40


@pytest.mark.parametrize("text", ["", "   ", "...", "你好世界"])
def test_texts_without_anything_to_speak_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text"):
        validate_text(text)


def test_normalise_leaves_plain_words_alone() -> None:
    assert words_of(normalise("The quick brown fox jumps.")) == "the quick brown fox jumps"


def test_a_lexicon_names_its_wrong_line(tmp_path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("Cholmondeley\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1"):
        Lexicon.read(path)
