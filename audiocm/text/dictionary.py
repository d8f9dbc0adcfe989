"""The converter of words to phonemes, and whether it knows a word.

The one that is used is that of `hibari-tts` (Apache-2.0, offline, about 2 ms a sentence)."""

import functools
from typing import Protocol


class Pronouncer(Protocol):
    """Converts normalised words to phonemes of `alphabet.SYMBOLS` and STRESS, with their punctuation."""

    def __call__(self, text: str) -> str:
        """Returns the phonemes of a sentence; "[word](/phonemes/)" sets those of a word."""

    def knows(self, word: str) -> bool:
        """Whether a word, in this case, stands in the dictionary."""


class HibariPronouncer:
    """The converter of hibari-tts."""

    def __init__(self) -> None:
        from hibari.g2p import G2P

        self._g2p = G2P()

    def __call__(self, text: str) -> str:
        return self._g2p(text, False)  # the words are normalised already

    def knows(self, word: str) -> bool:
        lexicon = self._g2p.lexicon
        return word in lexicon.golds or word in lexicon.silvers


@functools.cache
def default_pronouncer() -> Pronouncer:
    """Returns the converter that is used, loaded once."""
    return HibariPronouncer()
