"""Words -> phonemes: a lexicon of the user's first, then a grapheme-to-phoneme converter.

The one that is used is that of `hibari-tts` (Apache-2.0, offline, about 2 ms a sentence): the lexicon of misaki with
part-of-speech rules, and a small network for unknown words."""

import re
from collections.abc import Mapping
from pathlib import Path

from .alphabet import CONSONANTS, STRESS, SYMBOLS, VOWELS
from .characters import WORD_MARK
from .dictionary import Pronouncer, default_pronouncer
from .verbalisers import LETTER_END

LETTER_NAMES = dict(
    zip(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        [
            "A",
            "bi",
            "si",
            "di",
            "i",
            "ɛf",
            "ʤi",
            "Aʧ",
            "I",
            "ʤA",
            "kA",
            "ɛl",
            "ɛm",
            "ɛn",
            "O",
            "pi",
            "kju",
            "ɑɹ",
            "ɛs",
            "ti",
            "ju",
            "vi",
            "dˈʌbᵊlju",
            "ɛks",
            "wI",
            "zi",
        ],
        strict=True,
    )
)
IPA = {
    "eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "O", "aʊ": "W", "ɔɪ": "Y", "tʃ": "ʧ", "dʒ": "ʤ", "ɝ": "ɜɹ", "ɚ": "əɹ",
    "ɛə": "ɛɹ", "g": "ɡ", "r": "ɹ", "ɒ": "ɑ", "e": "ɛ", "ɫ": "l", "ɐ": "ə", "ɨ": "ɪ", "ʉ": "u", "o": "O", "x": "k",
    "y": "i", "ʁ": "ɹ", "ɲ": "nj", "ç": "h", "ɬ": "l", "ɣ": "ɡ", "β": "v", "c": "k", "ø": "ɜ", "œ": "ɜ", "ɵ": "ə",
}  # fmt: skip
IPA_IGNORED = "ːˑ.‿͡ˌˈ ̩̯̃ʰˠʲ()ˤ"
RESPELLING = {
    "air": "ɛɹ", "ear": "ɪɹ", "eer": "ɪɹ", "oor": "ʊɹ", "oar": "ɔɹ", "igh": "I", "eye": "I", "sh": "ʃ", "ch": "ʧ", "th": "θ",
    "dh": "ð", "zh": "ʒ", "ng": "ŋ", "ph": "f", "kh": "k", "wh": "w", "hw": "w", "ck": "k", "qu": "kw", "ee": "i",
    "ea": "i", "ay": "A", "ai": "A", "ah": "ɑ", "aa": "ɑ", "aw": "ɔ", "au": "ɔ", "oh": "O", "oe": "O", "oo": "u",
    "uu": "ʊ", "uh": "ə", "eh": "ɛ", "ih": "ɪ", "ow": "W", "ou": "W", "oy": "Y", "oi": "Y", "ar": "ɑɹ", "er": "əɹ",
    "ur": "ɜɹ", "ir": "ɪɹ", "or": "ɔɹ", "yu": "ju", "a": "æ", "e": "ɛ", "i": "ɪ", "o": "ɑ", "u": "ʌ", "y": "I", "j": "ʤ",
    "g": "ɡ", "r": "ɹ", "c": "k", "q": "k", "x": "ks",
} | {letter: letter for letter in "bdfhklmnpstvwz"}  # fmt: skip
_LETTERS = re.compile(rf"((?:[A-Z]{LETTER_END})+)((?:')?s\b)?")
_MARKED = re.compile(f"[{WORD_MARK}-\uf8ff]")


def phonemes_of_ipa(ipa: str) -> str:
    """Converts IPA to the phonemes of `alphabet`: "ˈmiː.soʊ" is "mˈisO".

    A stress mark goes before the vowel of its syllable. Raises ValueError for a symbol that English does not have."""
    line, stress, i = "", "", 0
    while i < len(ipa):
        pair, one = ipa[i : i + 2], ipa[i]
        symbol = IPA.get(pair) or IPA.get(one) or (one if one in VOWELS + CONSONANTS else None)
        i += 2 if pair in IPA else 1
        if symbol:
            if stress and symbol[0] in VOWELS:
                line, stress = line + stress, ""
            line += symbol
        elif one in STRESS:
            stress = one
        elif one == "'":
            stress = "ˈ"
        elif one not in IPA_IGNORED and one not in "-ˈˌ":
            raise ValueError(f"{one!r} in /{ipa}/ is no sound of English in IPA")
    if not any(symbol in VOWELS for symbol in line):
        raise ValueError(f"/{ipa}/ has no vowel")
    return line if "ˈ" in line else _stress_first(line)


def phonemes_of_respelling(text: str) -> str:
    """Converts a respelling, syllables with hyphens and the stressed one in capitals, to phonemes: "mee-SOH".

    The letters are those of American dictionaries: ay ee eye oh oo, a e i o u, ah aw ow oy uh uu, er or ar air, ch sh
    zh th dh ng. Raises ValueError for another letter, or a respelling without a vowel."""
    line = ""
    for syllable in re.split(r"[-\s]+", text.strip()):
        stressed, rest = syllable.isupper() and "-" in text, syllable.lower()
        while rest:
            key = next((rest[:n] for n in (3, 2, 1) if rest[:n] in RESPELLING), "")
            if rest[0] == "y" and len(rest) > 1 and rest[1] in "aeiou":
                key, symbol = "y", "j"
            elif not key:
                raise ValueError(f"{rest[0]!r} in {text!r} is no letter of a respelling")
            else:
                symbol = RESPELLING[key]
            if stressed and symbol[0] in VOWELS:
                line, stressed = f"{line}ˈ", False
            line, rest = line + symbol, rest[len(key) :]
    if not any(symbol in VOWELS for symbol in line):
        raise ValueError(f"the respelling {text!r} has no vowel")
    return line if "ˈ" in line else _stress_first(line)


def _stress_first(line: str) -> str:
    first = next(i for i, symbol in enumerate(line) if symbol in VOWELS)
    return f"{line[:first]}ˈ{line[first:]}".replace("ˈˌ", "ˈ") if "ˌ" not in line else line


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


def pronunciation_of(spoken: str) -> str:
    """Returns the phonemes of "/IPA/", or of a respelling. Raises ValueError if it is neither."""
    if spoken.startswith("/") and spoken.endswith("/") and len(spoken) > 2:
        return phonemes_of_ipa(spoken[1:-1])
    return phonemes_of_respelling(spoken)


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
    text = _MARKED.sub(lambda m: "[{}](/{}/)".format(*marked[ord(m[0]) - ord(WORD_MARK)]), text)
    text = re.sub(r" +([.,;:!?'\")”]|$)", r"\1", _LETTERS.sub(_spell, text).replace(LETTER_END, " "))
    text = re.sub(r"  +", " ", text)
    line = "".join(c for c in (pronouncer or default_pronouncer())(text) if c in SYMBOLS or c in STRESS)
    return " ".join(line.split()) if any(c in VOWELS or c in CONSONANTS for c in line) else ""
