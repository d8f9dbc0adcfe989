"""Times of words and phonemes: written words with what they are spoken as, and sentences that are cut."""

import json
import re
from itertools import pairwise

import pytest

from audiocm.speech import times
from audiocm.speech.phonemes import encode_phonemes
from audiocm.speech.subtitles import open_times_writer
from audiocm.text.alphabet import SYMBOLS
from audiocm.text.reading import Sentence, read_sentences

STEP = 0.1  # seconds of each symbol


def timed(sentence: Sentence, start: float = 0.0, pause: float = 0.0) -> times.SentenceTimes:
    """The times of a sentence whose symbols all take a tenth of a second."""
    symbols = [SYMBOLS[k] for k in encode_phonemes(sentence.phonemes)[0]]
    end = start + pause + STEP * len(symbols)
    return times.sentence_times(sentence, symbols, [STEP] * len(symbols), start, pause, end)


def read(text: str) -> Sentence:
    (sentence,) = read_sentences(text)
    return sentence


def test_the_words_of_a_sentence_begin_and_end_with_their_phonemes():
    found = timed(read("Hello there."), 1.0, 0.5)  # "_həlO ðɛɹ._"
    assert [(w.text, w.spoken) for w in found.words] == [("Hello", "Hello"), ("there.", "there")]
    assert [w.start for w in found.words] == pytest.approx([1.6, 2.1])
    assert [w.end for w in found.words] == pytest.approx([2.0, 2.4])
    assert (found.start, found.end) == pytest.approx((1.5, 2.6)) and found.phonemes[0] == ("_", 1.0, 1.5)
    assert all(a.end == b.start for a, b in pairwise(found.phonemes)) and found.phonemes[-1].end == found.end


def test_words_have_their_places_among_the_symbols():
    sentence = read("At 5:45 we left, again.")
    symbols = [SYMBOLS[k] for k in encode_phonemes(sentence.phonemes)[0]]
    places = times.word_places(sentence, symbols)
    assert [place.text for place in places] == ["At", "5:45", "we", "left,", "again."]
    spoken = ["".join(symbols[place.first : place.end]) for place in places]
    assert spoken == ["æt", "fIv fɔɹTifIv", "wi", "lɛft", "əɡɛn"]
    assert "".join(symbols[places[3].end : places[4].first]) == ", " and symbols[places[-1].end] == "."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("At 5:45 p.m. we left.", "At|5:45=five forty five|p.m.=P M|we|left."),
        ("It cost $1,250.50 - no joke.", "It|cost|$1,250.50 -=one thousand two hundred fifty dollars and fifty cents|no|joke."),
        ("At 5:30 p.m. on Jan. 3 he paid.", "At|5:30=five thirty|p.m.=P M|on|Jan.=January|3=third|he|paid."),
        ("Dr. King met Charles III.", "Dr.=Doctor|King|met|Charles|III.=the third"),
        ("\U0001f642 Yes, well-known (five)!", "\U0001f642 Yes,=Yes|well-known|(five)!"),
        ("NASA and the DMZ, they said", "NASA|and|the|DMZ,|they|said"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:text has symbols")
def test_written_words_have_the_times_of_what_they_are_spoken_as(text, words):
    sentence = read(text)
    found = timed(sentence)
    expected = [one.partition("=")[::2] for one in words.split("|")]
    assert [w.text for w in found.words] == [written for written, _ in expected]
    for word, (_, spoken) in zip(found.words, expected, strict=True):
        assert not spoken or word.spoken.replace("-", " ") == spoken
    assert " ".join(w.text for w in found.words) == sentence.text
    sounds = {i for w in found.words for i, p in enumerate(found.phonemes) if w.start <= p.start < w.end}
    assert {i for i, p in enumerate(found.phonemes) if p.symbol not in '_ .,!()"“”—'} <= sounds


def test_a_number_said_in_digits_takes_all_of_them():
    text = "Call <say-as interpret-as='telephone'>555-0142</say-as> now, please."
    found = timed(read(text))
    sounds = {w.text: "".join(p.symbol for p in found.phonemes if w.start <= p.start < w.end) for w in found.words}
    assert [sounds[word] for word in ("Call", "now,", "please.")] == ["kɔl", "nW", "pliz"]


def test_words_that_are_spoken_as_one_are_matched_by_length():
    assert times._SPOKEN.findall("P M, I said N G Os, it's") == ["P M", "I", "said", "N G Os", "it's"]
    assert times._match_runs(["Linda-Lou", "sings"], ["lˈɪndə", "lˈu", "sˈɪŋz"]) == [("Linda-Lou", 2), ("sings", 1)]
    assert times._match_runs([], ["ə"]) == [("", 1)] and times._match_runs(["a"], ["b"] * 9) == [("a", 9)]


def test_a_sentence_is_cut_with_its_words():
    sentence = read("When the train came at 5:45, they took their 12 bags, and went home.")
    assert times.place_of_clause(sentence.phonemes, 200) is None and times.place_of_clause("a" * 300, 200) is None
    cut = times.place_of_clause(sentence.phonemes, 40)
    first, second = times.split_sentence(sentence, cut, 0.05)
    assert first.text == "When the train came at 5:45," and first.words.replace("-", " ").endswith("five forty five")
    assert first.pause == 0.05 and second.pause == sentence.pause
    assert f"{first.phonemes} {second.phonemes}" == sentence.phonemes and f"{first.text} {second.text}" == sentence.text
    words = [*timed(first).words, *timed(second).words]
    assert [(w.text, w.spoken) for w in words] == [(w.text, w.spoken) for w in timed(sentence).words]
    assert times.place_of_middle("həlˈO ðˈɛɹ.") == 6 and times.place_of_middle("abcd") == 2


def test_times_can_be_moved():
    found = times.shift_times(timed(read("Hello there.")), 2.0, 0.6)
    assert found.start == 2.0 and found.words[0].start == pytest.approx(2.1)
    assert found.phonemes[0] == ("_", pytest.approx(1.4), 2.0) and found.phonemes[1].start == 2.0


def test_times_are_written_as_json_and_subtitles(tmp_path):
    first = timed(
        read("It's 5:45 & we <all> know that it is late, and that they must go, or miss the last train home.")
    )
    second = timed(read("Hello there."), first.end, 0.25)
    for suffix in ("json", "srt", "vtt"):
        with open_times_writer(tmp_path / f"a.{suffix}") as append:
            append(first)
            append(second)
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["seconds"] == pytest.approx(second.end) == written["sentences"][1]["phonemes"][-1]["end"]
    assert written["sentences"][0]["words"][1]["spoken"].replace("-", " ") == "five forty five and"
    assert written["sentences"][1]["words"][0] == {
        "text": "Hello",
        "spoken": "Hello",
        "start": pytest.approx(first.end + 0.35),
        "end": pytest.approx(first.end + 0.75),
    }
    srt = (tmp_path / "a.srt").read_text()
    assert re.match(r"1\n00:00:00,100 --> 00:00:\d\d,\d{3}\nIt's 5:45 & we <all> know", srt)
    assert all(len(line) <= 42 for line in srt.splitlines()) and srt.rstrip().endswith("Hello there.")
    vtt = (tmp_path / "a.vtt").read_text()
    assert (
        vtt.startswith("WEBVTT\n\n1\n00:00:00.100 --> ")
        and "<00:00:00.500>5:45 &amp; <" in vtt
        and "&lt;all&gt;" in vtt
    )
    with pytest.raises(ValueError, match=r"must be \.json, \.srt, \.vtt"), open_times_writer(tmp_path / "a.txt"):
        pass
