"""Words that the converter would pronounce wrongly: homographs by their context, and names.

The rows "homograph" of tables.tsv have a word, its IPA and patterns of the text before and behind it, the first row whose
patterns are found decides; "~verb" stands for what comes before a verb. The rows "name" have a word and its IPA. A name
with a prefix, "McAllister", is its prefix and the rest; an accent that the dictionary does not know is left out."""

import functools
import re
import unicodedata

from .dictionary import Pronouncer
from .ipa import phonemes_of_ipa
from .tables import NAMES, rows

VERB = (
    r"(?:\b(?:I|[Yy]ou|[Ww]e|[Tt]hey|[Ww]ho|will|would|can|could|may|might|must|shall|should|do|does|did|not|never|[Pp]lease"
    r"|[Ll]et's|[Ll]et us|[Tt]o|always|often|cannot|[a-z]+n't) |^\W*(?:[A-Z][a-z]+|(?:These|Those|Most|All|Some|Many|The two) [a-z]+)s )$"
)
PREFIXES = {
    "Mc": "mək",
    "Mac": "mək",
    "O'": "O",
    "De": "də",
    "Le": "lə",
    "La": "lə",
    "Di": "dɪ",
    "Du": "du",
    "Fitz": "fɪts",
}
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*(?![^\W_])")
_PREFIXED = re.compile(rf"({'|'.join(PREFIXES)})([A-Z][a-z]+)('s)?")


@functools.cache
def _homographs() -> dict[str, list[tuple[str, re.Pattern[str], re.Pattern[str]]]]:
    found: dict[str, list[tuple[str, re.Pattern[str], re.Pattern[str]]]] = {}
    for word, ipa, *context in rows("homograph"):
        before, after = (re.compile(pattern.replace("~verb", VERB)) for pattern in [*context, "", ""][:2])
        found.setdefault(word, []).append((phonemes_of_ipa(ipa), before, after))
    return found


@functools.cache
def _names() -> dict[str, str]:
    return {name: phonemes_of_ipa(ipa) for name, ipa in NAMES.items()}


def pronunciation_in_context(word: str, before: str, after: str, pronouncer: Pronouncer) -> str:
    """Returns the phonemes of a word between two texts, "" if the converter's own are right."""
    homographs = _homographs()
    for phonemes, wanted_before, wanted_after in homographs.get(word) or homographs.get(word.lower(), []):
        if wanted_before.search(before) and wanted_after.match(after):
            return phonemes
    stem, genitive = (word[:-2], True) if word.endswith(("'s", "’s")) else (word, False)
    if phonemes := _names().get(stem, ""):
        return phonemes + (_genitive(phonemes) if genitive else "")
    if pronouncer.knows(word) or pronouncer.knows(word.lower()):
        return ""
    if m := _PREFIXED.fullmatch(word):
        prefix, rest = PREFIXES[m[1]], pronouncer(m[2])
        if prefix[-1] == "k" and rest[:1] in ("k", "ɡ"):
            prefix = prefix[:-1]
        return prefix + rest + (_genitive(rest) if m[3] else "")
    plain = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
    return pronouncer(plain) if plain != word and pronouncer.knows(plain) else ""


def _genitive(phonemes: str) -> str:
    return "ᵻz" if phonemes[-1] in "szʧʃʤʒ" else "s" if phonemes[-1] in "fkptθ" else "z"


def in_context(text: str, pronouncer: Pronouncer) -> str:
    """Returns a text with the pronunciation of homographs and names: "[lead](/lˈɛd/) pipes"."""

    def one(m: re.Match[str]) -> str:
        phonemes = pronunciation_in_context(m[0], text[: m.start()], text[m.end() :], pronouncer)
        return f"[{m[0]}](/{phonemes}/)" if phonemes else m[0]

    return _WORD.sub(one, text)
