"""Sentences for synthesis: short lines, and lines of like sounds, between the others, and none that a bench holds out."""

from pathlib import Path

import numpy as np
import pytest

from recipes.corpora.speech import sentences
from recipes.corpora.speech.alike_lines import alike_lines, group_words
from recipes.corpora.speech.short_lines import count_words, letters_of, read_pairs, short_lines

NOUN = '{:08d} 03 n 02 {} 0 other 1 000 | a gloss; "The {} of a long and ordinary example was here"\n'


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    folder = tmp_path / "usr/share/wordnet"
    folder.mkdir(parents=True)
    words = ["water", "music", "stone", "river", "cloud", "lamp", "apple", "x-ray", "UK"]
    lines = [f"{word}%1:00:00:: 1 {100 - 10 * k}\n" for k, word in enumerate(words)] + ["water%2:30:00:: 1 7\n"]
    (folder / "cntlist.rev").write_text("".join(lines), encoding="latin-1")
    pairs = ["New_York", "San_Francisco", "hood_ornament", "Ada_Lovelace", "three_word_name", "stone"]
    nouns = [NOUN.format(k, word, word.replace("_", " ")) for k, word in enumerate(pairs)]
    (folder / "data.noun").write_text("  a licence\n" + "".join(nouns), encoding="latin-1")
    return tmp_path


def test_words_are_counted_and_pairs_read(wordnet):
    counts = count_words(wordnet)
    assert counts["water"] == 107 and counts["apple"] == 40 and not {"x-ray", "UK"} & set(counts)
    assert read_pairs(wordnet) == ["New York", "San Francisco", "hood ornament", "Ada Lovelace"]


def test_short_lines_have_two_or_three_words_and_none_that_is_held_out(wordnet):
    held_out = ["Water.", "music", "New York!", "Turn left"]
    lines = short_lines(wordnet, 100, held_out, np.random.default_rng(0))
    assert lines == short_lines(wordnet, 100, held_out, np.random.default_rng(0))
    texts = {
        source: {letters_of(text) for one, text in lines if one == source} for source in ("word", "pair", "phrase")
    }
    assert texts["word"] == {"stone", "river", "cloud", "lamp", "apple"}  # all that are not held out
    assert texts["pair"] == {"san francisco", "hood ornament", "ada lovelace"}
    assert len(texts["phrase"]) == 20 and max(len(text.split()) for text in texts["phrase"]) <= 3
    assert all(text[0].isupper() for _, text in lines)


def test_common_words_come_first_more_often(wordnet):
    first = [short_lines(wordnet, 2, [], np.random.default_rng(seed)) for seed in range(600)]
    words = [letters_of(text) for lines in first for source, text in lines if source == "word"]
    assert len(words) == 600 and words.count("water") > 1.2 * words.count("apple") > 0


@pytest.mark.parametrize("every", [0, 4])
def test_short_lines_stand_between_sentences_of_train(wordnet, every):
    lines = sentences.collect_sentences(wordnet, 2000, short_every=every, alike_every=0)
    assert [split for split, *_ in lines[:100]] == ["valid"] * 50 + ["test"] * 50
    short = [i for i, (_, source, _) in enumerate(lines) if source in ("word", "pair", "phrase")]
    assert all((i - 100) % 4 == 0 and i >= 100 for i in short) and bool(short) == bool(every)
    bench = {letters_of(text) for text in (sentences.BENCHES / "short_texts.txt").read_text().splitlines()}
    assert not bench & {letters_of(lines[i][2]) for i in short}


def test_groups_begin_or_end_alike():
    words = [f"{start}{rest}" for start in ("sta", "sto") for rest in ("bing", "king", "ming", "ling")]
    assert sorted(map(len, group_words(words))) == [8, 8]  # by "st" and by "ing"; "sta" and "sto" are too few
    assert group_words(words[:7]) == []


def test_lines_of_like_sounds_are_of_words_of_a_group(tmp_path):
    folder = tmp_path / "wordnet"
    folder.mkdir()
    words = [
        f"{start}{rest}"
        for start in ("gra", "blo")
        for rest in ("den", "fen", "len", "men", "pen", "ren", "ten", "wen")
    ]
    (folder / "cntlist.rev").write_text("".join(f"{word}%1:00:00:: 1 9\n" for word in words), encoding="latin-1")
    held_out = "Graden grafen gralen."
    lines = alike_lines(tmp_path, 40, [held_out], np.random.default_rng(0))
    assert len(set(lines)) == len(lines) == 40 and {source for source, _ in lines} == {"alike"}
    assert lines == alike_lines(tmp_path, 40, [held_out], np.random.default_rng(0))
    spoken = [letters_of(text).split() for _, text in lines]
    assert all(set(line) <= set(words) and len(set(line)) == len(line) for line in spoken if len(line) != 6)
    assert all(text[0].isupper() and text[-1] == "." for _, text in lines)
    taken = lines[0][1]
    assert ("alike", taken) not in alike_lines(tmp_path, 40, [taken], np.random.default_rng(0))


def test_lines_stand_evenly_after_those_that_are_held_out():
    chosen = [("a", str(k)) for k in range(120)]
    mixed = sentences.insert_lines(chosen, [("b", "0"), ("b", "1")], 4)
    assert [i for i, (source, _) in enumerate(mixed) if source == "b"] == [100, 104]
    assert [line for line in mixed if line[0] == "a"] == chosen
