"""The converter of words to phonemes, and whether it knows a word.

The one that is used is that of `hibari-tts` (Apache-2.0, offline, about 2 ms a sentence)."""

import functools
import importlib.util
import sys
from typing import Any, Protocol


class Pronouncer(Protocol):
    """Converts normalised words to phonemes of `alphabet.SYMBOLS` and STRESS, with their punctuation."""

    def __call__(self, text: str) -> str:
        """Returns the phonemes of a sentence; "[word](/phonemes/)" sets those of a word."""

    def knows(self, word: str) -> bool:
        """Whether a word, in this case, stands in the dictionary."""


class HibariPronouncer:
    """The converter of hibari-tts."""

    def __init__(self) -> None:
        _delay_package("hibari")  # whose __init__ imports scipy.fft for its synthesis, in 0.4 s
        from hibari.g2p import G2P

        self._g2p = G2P()

    def __call__(self, text: str) -> str:
        return self._g2p(text, False)  # the words are normalised already

    def knows(self, word: str) -> bool:
        lexicon = self._g2p.lexicon
        return word in lexicon.golds or word in lexicon.silvers


def _delay_package(name: str) -> None:
    """Lets modules of a package be imported without its `__init__`, which is run when an attribute of it is asked for."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    package = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        del package.__getattr__
        spec.loader.exec_module(package)
        return getattr(package, attribute)

    package.__getattr__ = load
    sys.modules[name] = package


@functools.cache
def default_pronouncer() -> Pronouncer:
    """Returns the converter that is used, loaded once."""
    return HibariPronouncer()
