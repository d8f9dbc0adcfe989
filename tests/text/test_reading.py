"""The text front end: the bench's spoken forms, sentences, lexicon, markup, and texts that cannot be read."""

import itertools
import warnings
from collections import defaultdict
from contextlib import suppress

import pytest

from audiocm.text import Lexicon, normalise, read_sentences, validate_text
from audiocm.text.normalisation import MAX_PIECE
from recipes.text_to_speech.reading_bench import is_pronounced, is_right, read_bench
from recipes.text_to_speech.reading_systems import pronounce_by_audiocm

RIGHT, RIGHT_OF_A_KIND = 0.98, 0.9  # shares of the bench that are read right


def words_of(text: str) -> str:
    """The words of a text as the bench compares them: lower case, no punctuation and hyphens, no "and"."""
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower())
    return " ".join(word for word in kept.split() if word != "and")


def spoken(text: str) -> list[str]:
    return [words_of(sentence.words) for sentence in read_sentences(text)]


@pytest.mark.filterwarnings("ignore:text has symbols")
def test_the_bench_is_read_right() -> None:
    marks, rows = defaultdict(list), read_bench()
    for row in rows:
        right = is_right("audiocm", [sentence.words for sentence in read_sentences(row["input"])], row)
        for key in (row["part"], (row["kind"], row["part"])):
            marks[key].append(right)
    assert len({row["kind"] for row in rows}) >= 80 and len(rows) >= 700
    for key, values in marks.items():
        assert sum(values) / len(values) >= (RIGHT if isinstance(key, str) else RIGHT_OF_A_KIND), key


def test_homographs_and_names_are_pronounced_right() -> None:
    rows = [row for row in read_bench() if row["phonemes"] != "-"]
    assert len(rows) >= 100
    assert sum(is_pronounced(pronounce_by_audiocm(row), row) for row in rows) / len(rows) >= RIGHT


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("She said no.", "she said no"),
        ("King Charles III came.", "king charles the third came"),
        ("It costs 10€.", "it costs ten euros"),
        ("Meet on Jan. 5.", "meet on january fifth"),
        ("The U.S. Army left.", "the u s army left"),
        ("They ran from 9am-5pm, Mon.-Fri.", "they ran from nine a m to five p m monday to friday"),
        ("His BP is 120/80 mmHg.", "his b p is one twenty over eighty millimeters of mercury"),
        ("Gate 12A, seat 3B, apt. 4C", "gate twelve a seat three b apartment four c"),
    ],
)
def test_texts_of_public_reports(text: str, words: str) -> None:
    assert spoken(text) == [words]


def test_a_hard_wrapped_sentence_is_one() -> None:
    wrapped = "It was the best of times,\nit was the worst\nof times. It was the age of wisdom."
    assert len(spoken(wrapped)) == 2


@pytest.mark.parametrize("count", [40, 5000])
def test_digits_without_end_are_read_one_by_one(count: int) -> None:
    assert " ".join(spoken("1" * count)).split() == ["one"] * count


@pytest.mark.parametrize("text", ["", "   ", "...", "你好世界"])
def test_texts_without_anything_to_speak_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="text"):
        validate_text(text)


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("🙂", "slightly smiling face"),
        ("\0", "U\\+0000"),
        ("\ue000", "U\\+E000"),
        ("я", "cyrillic"),
        ("x\u0302", "circumflex"),
    ],
)
def test_what_is_not_read_is_named_once(character: str, name: str) -> None:
    with pytest.warns(UserWarning, match=name) as caught:
        assert "the dog barks" in spoken(f"The dog barks {character}. {character} The cat {character} sleeps.")[0]
    assert len(caught) == 1


def test_nothing_is_said_of_invisible_characters() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert spoken("co\u00adop\u200berate\u2060 now\ufeff") == ["cooperate now"]


def test_a_text_in_blocks_is_read_as_it_comes() -> None:
    taken = itertools.count()
    blocks = ("The dog barks, and the c" + "at sleeps. " * (next(taken) > -1) for _ in range(10**9))
    assert [words_of(one.words) for one in itertools.islice(read_sentences(blocks), 3)] == [
        "the dog barks the cat sleeps"
    ] * 3
    assert next(taken) < 10_000  # of a thousand million blocks
    assert [words_of(one.words) for one in read_sentences(["Hello wor", "ld. It\r", "\nis 1", "2."])] == [
        "hello world",
        "it is twelve",
    ]


ALPHABETS = [
    "1",
    "1,",
    "$1 ",
    "1-",
    "1/",
    "1:",
    "a.",
    "A. ",
    "IV ",
    "a@",
    "http://a",
    "./a",
    "a_",
    "*",
    "[a](",
    '."',
    "Jan. ",
]
ALPHABETS += [
    "1'",
    "½",
    "10^",
    "⁻¹",
    "#1",
    "+1 ",
    "1x",
    "H2",
    "aB",
    "O'B",
    "000 ",
    "I-1",
    "</p",
    "<p ",
    "'s",
    "e.g. ",
    "1 km ",
]


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_every_class_is_read_in_bounded_steps(alphabet: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from audiocm.text import normalisation

    read, lengths = normalisation._read_classes, []

    def read_once(text: str) -> str:  # the first piece in full: later ones are like it, and of no greater length
        lengths.append(len(text))
        return read(text) if len(lengths) == 1 else text

    monkeypatch.setattr(normalisation, "_read_classes", read_once)
    normalise(alphabet * (20_000 // len(alphabet)))
    assert max(lengths) <= MAX_PIECE


@pytest.mark.parametrize(
    "text", [".*" * 10_000, ". " + "*" * 20_000, "a" * 20_000 + "1\nb", "<p " * 5000, "[pause" * 3000]
)
def test_no_pattern_of_sentences_and_markup_runs_away(text: str) -> None:
    with suppress(ValueError):  # of markup that is wrong
        next(read_sentences(f"A dog. {text}"))


def test_an_open_comment_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- is not closed"):
        list(read_sentences("<speak>A dog <!-- barks</speak>"))


def test_normalise_leaves_plain_words_alone() -> None:
    assert normalise("The quick brown fox jumps.") == "The quick brown fox jumps."


def test_a_lexicon_comes_first_and_names_its_wrong_line(tmp_path) -> None:
    path = tmp_path / "lexicon.txt"
    path.write_text("lead\t/liːd/\n# a comment\nCholmondeley = CHUM-lee\n", encoding="utf-8")
    (one,) = read_sentences("Cholmondeley sold lead pipes.", Lexicon.read(path))
    assert "ʧˈʌmli" in one.phonemes and "lˈid" in one.phonemes
    for wrong in ("Cholmondeley\n", "dog\t/dɔg?/\n", "dog\t//\n"):
        path.write_text(f"cat\t/kæt/\n{wrong}", encoding="utf-8")
        with pytest.raises(ValueError, match=r"lexicon.txt, line 2"):
            Lexicon.read(path)
