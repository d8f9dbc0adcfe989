"""Sentences for synthesis: short lines between the others, and none of those that the bench of short texts holds out."""

from pathlib import Path

import numpy as np
import pytest

from recipes.corpora.speech import sentences
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
    lines = sentences.collect_sentences(wordnet, 2000, short_every=every)
    assert [split for split, *_ in lines[:100]] == ["valid"] * 50 + ["test"] * 50
    short = [i for i, (_, source, _) in enumerate(lines) if source in ("word", "pair", "phrase")]
    assert all((i - 100) % 4 == 0 and i >= 100 for i in short) and bool(short) == bool(every)
    bench = {letters_of(text) for text in sentences.SHORT_TEXTS.read_text(encoding="utf-8").splitlines()}
    assert not bench & {letters_of(lines[i][2]) for i in short}
