"""The rows of the bench of reading, and when a reading or a pronunciation of one is right."""

import re
from pathlib import Path

from audiocm.text.alphabet import CONSONANTS, VOWELS
from recipes.text_to_speech.reading_systems import Row, hibari

BENCH = Path(__file__).with_name("reading.tsv")
NUMBER_WORDS = r"(?:hundred|thousand|million|billion|trillion)"


def read_bench(path: Path = BENCH) -> list[Row]:
    """Returns the rows of the bench, with escapes of the input resolved. Raises ValueError for a malformed row."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = lines[0].split("\t")
    rows = []
    for i, line in enumerate(lines[1:], 2):
        values = line.split("\t")
        if len(values) != len(names) or not all(values):
            raise ValueError(f"{path}, line {i}: {len(names)} columns are needed")
        row = dict(zip(names, values, strict=True))
        row["input"] = re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), row["input"]).replace("\\n", "\n")
        rows.append(row)
    return rows


def plain(text: str) -> str:
    """Returns the words of a spoken form: lower case, without punctuation, hyphens and the "and" of numbers."""
    text = re.sub(r"['’]", "", text.lower().replace("o'clock", "o clock"))
    text = " ".join(re.findall(r"[^\W_]+", text))
    text = re.sub(rf"({NUMBER_WORDS}) and (?=\w)", r"\1 ", text)
    return re.sub(r"\boh\b", "o", text).replace("oclock", "o clock").replace("et cetera", "etcetera")


def sounds(line: str) -> str:
    """Returns a line of phonemes without stress, punctuation and spaces, and with one sign for each weak vowel."""
    return "".join("t" if c == "T" else "ə" if c in "ɐᵊ" else c for c in line if c in VOWELS + CONSONANTS)


def word_sounds(line: str) -> str:
    """Returns the phonemes of a word with its main stress and one sign for all weak vowels."""
    kept = "".join("t" if c in "Tɾ" else c for c in line if c in VOWELS + CONSONANTS + "ˈɾ")
    return re.sub(r"(?<!ˈ)[ɐəɜɪɛiᵊᵻʌʊ]", "ə", kept)


def is_pronounced(line: str, row: Row) -> bool:
    """Whether a line of phonemes has the word of a row as it is pronounced."""
    _, spoken = row["phonemes"].split("=")
    return bool({word_sounds(form) for form in spoken.split("|")} & {word_sounds(word) for word in line.split()})


def is_right(system: str, sentences: list[str], row: Row) -> bool:
    """Whether sentences are one of the spoken forms; see the head of this file."""
    for form in row["spoken"].split("|"):
        parts = form.split(" / ")
        if system not in ("audiocm", "hibari-tts"):  # they leave sentences as they are
            sentences, parts = [" ".join(sentences)], [" ".join(parts)]
        if system != "hibari-tts" and [plain(one) for one in sentences] == [plain(part) for part in parts]:
            return True
        if system != "audiocm" and [hibari_sounds(one) for one in sentences] == [hibari_sounds(part) for part in parts]:
            return True
    return False


def hibari_sounds(text: str) -> str:
    """Returns the phonemes of a text that hibari normalises on its own, in the form of `sounds`."""
    try:
        return sounds(hibari()(text))
    except Exception:  # some numbers
        return ""
