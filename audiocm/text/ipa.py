"""IPA and respellings -> the phonemes of `alphabet`."""

import re

from .alphabet import CONSONANTS, STRESS, VOWELS

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


def pronunciation_of(spoken: str) -> str:
    """Returns the phonemes of "/IPA/", or of a respelling. Raises ValueError if it is neither."""
    if spoken.startswith("/") and spoken.endswith("/") and len(spoken) > 2:
        return phonemes_of_ipa(spoken[1:-1])
    return phonemes_of_respelling(spoken)
