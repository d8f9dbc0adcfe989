"""Lines of words that begin or end alike, for synthesis: sounds that follow each other closely, as in tongue-twisters.

Library of sentences.py; the words are the common ones of WordNet and its nouns of two words.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from recipes.corpora.speech.short_lines import count_words, letters_of, read_pairs, shuffled

WORD_COUNT = 12_000  # commonest words
LEAST = 8  # words of a group
SHARES = (0.5, 0.3, 0.2)  # of the lines: one onset, two onsets in turn, a noun of two words again and again


def onset(word: str) -> str:
    """Returns the letters of a word up to its first vowel, that one included."""
    return re.match("[^aeiouy]*[aeiouy]?", word).group()


def group_words(words: Iterable[str]) -> list[list[str]]:
    """Returns the groups, of at least LEAST words, that begin or end alike: by onset, by consonants, by last letters."""
    groups: dict[str, list[str]] = defaultdict(list)
    for word in words:
        keys = {f"{onset(word)}-", f"{onset(word).rstrip('aeiouy')}-", f"-{word[-3:]}"} - {"-"}
        for key in sorted(keys):
            groups[key].append(word)
    return [group for _, group in sorted(groups.items()) if len(group) >= LEAST]


def draw(group: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """Returns `count` different words of a group."""
    return [group[i] for i in rng.choice(len(group), count, replace=False)]


def alike_line(groups: list[list[str]], pairs: list[str], rng: np.random.Generator) -> str:
    """Returns one line of a random form of SHARES."""
    form = rng.choice(len(SHARES) if pairs else 2, p=SHARES if pairs else (0.6, 0.4))
    if form == 2:
        pair = pairs[rng.integers(len(pairs))]
        return ", ".join([pair] * int(rng.integers(2, 4)))
    first, second = (groups[i] for i in rng.choice(len(groups), 2, replace=False))
    if form == 0:
        words = draw(first, int(rng.integers(3, 8)), rng)
        middle = len(words) // 2
        words[middle] += "," if rng.random() < 0.4 else ""
        return " ".join(words)
    return ", ".join(f"{a} {b}" for a, b in zip(draw(first, 3, rng), draw(second, 3, rng), strict=True))


def alike_lines(wordnet: Path, count: int, held_out: Iterable[str], rng: np.random.Generator) -> list[tuple[str, str]]:
    """Returns `count` different pairs ("alike", text), none for a folder of few words; none is a text of `held_out`."""
    counts, held = count_words(wordnet), set(map(letters_of, held_out))
    groups = group_words(word for word, _ in counts.most_common(WORD_COUNT) if len(word) > 2)
    if len(groups) < 2:
        return []
    pairs, lines = shuffled(read_pairs(wordnet), rng), dict[str, None]()
    for _ in range(10 * count):
        if len(lines) == count:
            break
        line = alike_line(groups, pairs, rng)
        if letters_of(line) not in held:
            lines[line[0].upper() + line[1:] + "."] = None
    return [("alike", line) for line in lines]
