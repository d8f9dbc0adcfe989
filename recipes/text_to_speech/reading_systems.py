"""The normalisers and converters to phonemes that `reading.py` compares, each by the name of its package."""

import functools
from collections.abc import Callable
from pathlib import Path

from audiocm.text import Lexicon, read_sentences
from audiocm.text.dictionary import default_pronouncer

LEXICON = Path(__file__).with_name("reading_lexicon.tsv")  # of the rows of the kind "lexicon"
ARPABET = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "W", "AY": "I", "B": "b", "CH": "ʧ", "D": "d", "DH": "ð",
    "EH": "ɛ", "ER": "ɜɹ", "EY": "A", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "ʤ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "O", "OY": "Y", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ",
    "T": "t", "TH": "θ", "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
Reader = Callable[[str], list[str]]  # a text to its sentences
Row = dict[str, str]


@functools.cache
def lexicon() -> Lexicon:
    """Returns the lexicon of the rows of the kind "lexicon"."""
    return Lexicon.read(LEXICON)


def read_by_audiocm(text: str) -> list[str]:
    """Returns the sentences of a text in words."""
    return [sentence.words for sentence in read_sentences(text)]


def read_by_hibari(text: str) -> list[str]:
    """Returns the sentences of a text; hibari reads their numbers when it looks up phonemes."""
    from hibari import Hibari

    return Hibari.split_sentences(text)


def guarded(normalise: Callable[[str], str]) -> Reader:
    """Returns a reader by a library's normaliser; a text that it fails on stays as it is."""

    def read(text: str) -> list[str]:
        try:
            return [normalise(text)]
        except Exception:  # AssertionError of wetext for some signs
            return [text]

    return read


def wetext_reader() -> Reader:
    """Returns wetext's normaliser."""
    from wetext import Normalizer

    return guarded(Normalizer(lang="en", operator="tn").normalize)


def nemo_reader() -> Reader:
    """Returns NeMo's normaliser."""
    from nemo_text_processing.text_normalization.normalize import Normalizer

    return guarded(functools.partial(Normalizer(input_case="cased", lang="en").normalize, punct_post_process=True))


READERS: dict[str, Callable[[], Reader]] = {
    "audiocm": lambda: read_by_audiocm,
    "hibari-tts": lambda: read_by_hibari,
    "wetext": wetext_reader,
    "nemo-text-processing": nemo_reader,
}


@functools.cache
def hibari() -> Callable[[str], str]:
    """Returns the converter of hibari-tts with its own normaliser."""
    from hibari.g2p import G2P

    return G2P()


def pronounce_by_audiocm(row: Row) -> str:
    """Returns the phonemes of the input, by the bench's lexicon in rows of that kind."""
    own = lexicon() if row["kind"] == "lexicon" else None
    return " ".join(sentence.phonemes for sentence in read_sentences(row["input"], own))


def misaki_pronouncer(fallback: bool) -> Callable[[Row], str]:
    """Returns misaki for American English, with hibari's network for unknown words or without. Downloads nothing."""
    import spacy
    from misaki.en import G2P

    if not spacy.util.is_package("en_core_web_sm"):  # misaki would fetch it
        raise ImportError("misaki needs the package en_core_web_sm")

    network = default_pronouncer()
    convert = G2P(trf=False, british=False, fallback=(lambda token: (network(token.text), 2)) if fallback else None)
    return lambda row: convert(row["input"])[0]


def g2p_en_pronouncer() -> Callable[[Row], str]:
    """Returns g2p-en: the CMU dictionary, parts of speech for homographs, and a small network for unknown words."""
    import nltk

    try:
        nltk.data.find("corpora/cmudict")
        nltk.data.find("taggers/averaged_perceptron_tagger_eng")
    except LookupError:  # g2p-en would fetch them
        raise ImportError("g2p-en needs nltk's cmudict and averaged_perceptron_tagger_eng") from None
    from g2p_en import G2p

    convert = G2p()

    def line(row: Row) -> str:
        words = " ".join(convert(row["input"])).split("   ")
        return " ".join(_of_arpabet(word.split()) for word in words)

    return line


def _of_arpabet(symbols: list[str]) -> str:
    line = ""
    for symbol in symbols:
        name, stress = symbol.rstrip("012"), symbol[-1:]
        if name in ARPABET:
            line += "ˈ" * (stress == "1") + ("əɹ" if symbol == "ER0" else ARPABET[name])
    return line


PRONOUNCERS: dict[str, Callable[[], Callable[[Row], str]]] = {
    "audiocm": lambda: pronounce_by_audiocm,
    "hibari-tts": lambda: lambda row: hibari()(row["input"]),
    "misaki": lambda: misaki_pronouncer(False),
    "misaki with hibari-tts": lambda: misaki_pronouncer(True),
    "g2p-en": g2p_en_pronouncer,
}
