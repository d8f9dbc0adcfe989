"""Words -> phonemes: a lexicon of the user's first, then homographs by their context, then a converter.

The one that is used is that of `hibari-tts` (Apache-2.0, offline, about 2 ms a sentence): the lexicon of misaki with
part-of-speech rules, and a small network for unknown words."""

import re
from collections.abc import Mapping
from pathlib import Path

from .alphabet import CONSONANTS, STRESS, SYMBOLS, VOWELS
from .characters import WORD_MARK
from .dictionary import Pronouncer, default_pronouncer
from .homographs import in_context
from .ipa import pronunciation_of
from .verbalisers import LETTER_END

LETTER_NAMES = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "A bi si di i ɛf ʤi Aʧ I ʤA kA ɛl ɛm ɛn O pi kju ɑɹ ɛs ti ju vi dˈʌbᵊlju ɛks wI zi".split(),  # noqa: SIM905
        strict=True,
    )
)
_LETTERS = re.compile(rf"((?:[A-Z]{LETTER_END})+)((?:')?s\b)?")
_MARKED = re.compile(f"[{WORD_MARK}-\uf8ff]")


class Lexicon:
    """Words of a user and how they are read, before anything else reads them.

    Attributes: phonemes, a dict from a word, or several, to phonemes of `alphabet`. A word in lower case matches any
    case, one with capitals only itself."""

    def __init__(self, phonemes: Mapping[str, str]) -> None:
        self.phonemes = dict(phonemes)
        words = sorted(self.phonemes, key=len, reverse=True)
        choice = "|".join(re.escape(word) if word != word.lower() else f"(?i:{re.escape(word)})" for word in words)
        self._pattern = re.compile(rf"(?<!\w)(?:{choice})(?!\w)") if words else None

    @classmethod
    def read(cls, path: str | Path) -> "Lexicon":
        """Reads a UTF-8 file of lines "word = /IPA/" or "word = re-SPEL-ling"; # begins a comment.

        Raises ValueError, which names the line, if one is malformed, and if the file cannot be read."""
        try:
            text = Path(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise ValueError(f"cannot read the lexicon {path}: {reason}") from error
        found = {}
        for i, line in enumerate(text.splitlines(), 1):
            line = line.partition("#")[0].strip()
            if not line:
                continue
            word, mark, spoken = (part.strip() for part in re.sub(r"\t+", "=", line, count=1).partition("="))
            if not (mark and word and spoken):
                raise ValueError(f"{path}, line {i}: {line[:60]!r} is not 'word = /IPA/' or 'word = re-SPEL-ling'")
            try:
                found[word] = pronunciation_of(spoken)
            except ValueError as error:
                raise ValueError(f"{path}, line {i}: {error}") from error
        return cls(found)

    def mark(self, text: str, marked: list[tuple[str, str]]) -> str:
        """Returns the text with a private-use character for each word of the lexicon, adding (word, phonemes)."""
        if self._pattern is None:
            return text

        def one(m: re.Match[str]) -> str:
            marked.append((m[0], self.phonemes.get(m[0]) or self.phonemes[m[0].lower()]))
            return chr(ord(WORD_MARK) + len(marked) - 1)

        return self._pattern.sub(one, text)


def _spell(m: re.Match[str]) -> str:
    """Returns spelled letters with their phonemes, the last one stressed, as a word of `Pronouncer`."""
    spelled = m[1].replace(LETTER_END, "")
    names = [LETTER_NAMES[letter] for letter in spelled]
    marks = ["ˌ"] * (len(names) - 1) + ["ˈ"]
    line = "".join(_stressed(name, mark) for name, mark in zip(names, marks, strict=True))
    if m[2]:
        line += "ᵻz" if line[-1] in "szʧʃ" else "s" if line[-1] in "fkpt" else "z"
    return f"[{spelled}](/{line}/) "


def _stressed(name: str, mark: str) -> str:
    first = next(i for i, symbol in enumerate(name) if symbol in VOWELS)
    plain = name.replace("ˈ", "")
    first = min(first, next(i for i, symbol in enumerate(plain) if symbol in VOWELS))
    return plain[:first] + mark + plain[first:]


def phonemise(text: str, marked: list[tuple[str, str]] = [], pronouncer: Pronouncer | None = None) -> str:  # noqa: B006
    """Converts a normalised sentence to phonemes, stress marks and punctuation: "həlˈO ðˈɛɹ."; "" if it is silent.

    marked: the words and phonemes of its private-use characters, see `Lexicon.mark`."""
    pronouncer = pronouncer or default_pronouncer()
    text = in_context(text, pronouncer)
    text = _MARKED.sub(lambda m: "[{}](/{}/)".format(*marked[ord(m[0]) - ord(WORD_MARK)]), text)
    text = re.sub(r" +([.,;:!?'\")”]|$)", r"\1", _LETTERS.sub(_spell, text).replace(LETTER_END, " "))
    text = re.sub(r"  +", " ", text)
    line = "".join(c for c in pronouncer(text) if c in SYMBOLS or c in STRESS)
    return " ".join(line.split()) if any(c in VOWELS or c in CONSONANTS for c in line) else ""
