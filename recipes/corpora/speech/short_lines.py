"""Lines of one and two words, some of three, for synthesis: common words, names and compounds of WordNet, and small phrases.

A voice that learned from whole sentences alone swallows the onset of a single word. Library of sentences.py.
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import numpy as np

WORD_COUNT, PAIR_SHARE, PHRASE_SHARE = 5000, 0.35, 0.2  # of the commonest words; of the lines, pairs and phrases
ENDS, END_WEIGHTS = ("", ".", "!", "?"), (0.35, 0.35, 0.15, 0.15)
NAMES = "Anna; Ben; Clara; David; Emma; Frank; Grace; Henry; Irene; Jack; Karen; Liam; Maria; Noah; Olivia; Peter; Rosa"
PHRASES = (  # each of the first with each of the second
    ("hi; hello; hey; goodbye; good; dear; thanks; sorry", f"{NAMES}; there; everyone; again; friends; all"),
    (
        "go; come; stop; wait; look; sit; stand; turn; move; walk; run; keep; stay",
        "on; up; back; away; here; now; there",
    ),
    ("yes; no; well; okay; right; please; maybe", "please; sir; indeed; wait; fine; again; never; exactly"),
    ("I; we; you; they; he; she; it", "can; will; did; knew; heard; lost; slept; ate; fell; agreed; left early; won't"),
    ("who; what; where; when; why; how", "else; then; not; exactly; again; is it; was that; did you"),
    (
        "one; two; three; four; five; nine; eleven; thirty; sixty",
        "hours; days; miles; people; percent; dollars; o'clock",
    ),
    ("open; close; press; check; save; send; print; call", "it; this; all; home; again; the door; the file; the box"),
)


def count_words(wordnet: Path) -> Counter[str]:
    """Returns how often WordNet's annotated texts have each single word, from its cntlist.rev."""
    counts: Counter[str] = Counter()
    for path in sorted(wordnet.rglob("wordnet/cntlist.rev")):
        for line in path.read_text(encoding="latin-1").splitlines():
            key, _, count = line.split()
            counts[key.partition("%")[0]] += int(count)
    return Counter({word: count for word, count in counts.items() if re.fullmatch("[a-z]{2,14}", word)})


def read_pairs(wordnet: Path) -> list[str]:
    """Returns the compounds and names of two words among WordNet's nouns, as they are written there."""
    pairs: dict[str, None] = {}
    for path in sorted(wordnet.rglob("wordnet/data.noun")):
        for line in path.read_text(encoding="latin-1").splitlines():
            if not line.startswith("  ") and re.fullmatch("[A-Za-z]{3,10}_[A-Za-z]{3,10}", word := line.split()[4]):
                pairs[word.replace("_", " ")] = None
    return list(pairs)


def order_words(counts: Counter[str], rng: np.random.Generator) -> list[str]:
    """Returns the WORD_COUNT commonest words in a random order, common ones earlier: drawn by the root of their
    count."""
    words = counts.most_common(WORD_COUNT)
    weights = np.sqrt([count for _, count in words])
    return [words[i][0] for i in rng.choice(len(words), len(words), replace=False, p=weights / weights.sum())]


def letters_of(text: str) -> str:
    """Returns a text without capitals and punctuation."""
    return re.sub("[^a-z ]", "", text.lower())


def short_lines(wordnet: Path, count: int, held_out: Iterable[str], rng: np.random.Generator) -> list[tuple[str, str]]:
    """Returns `count` pairs (source, text), fewer if the folder has fewer; none of them is a text of `held_out`."""
    held, counts = set(map(letters_of, held_out)), count_words(wordnet)
    phrases = [" ".join(pair) for parts in PHRASES for pair in product(*(part.split("; ") for part in parts))]
    sources = {
        "word": (order_words(counts, rng) if counts else [], 1 - PAIR_SHARE - PHRASE_SHARE),
        "pair": (shuffled(read_pairs(wordnet), rng), PAIR_SHARE),
        "phrase": (shuffled(phrases, rng), PHRASE_SHARE),
    }
    lines = []
    for source, (texts, share) in sources.items():
        kept = [text for text in texts if letters_of(text) not in held][: round(count * share)]
        ends = rng.choice(ENDS, len(kept), p=END_WEIGHTS)
        lines += [(source, text[0].upper() + text[1:] + end) for text, end in zip(kept, ends, strict=True)]
    return shuffled(lines, rng)


def shuffled(items: list, rng: np.random.Generator) -> list:
    """Returns the items in a random order."""
    return [items[i] for i in rng.permutation(len(items))]
