"""The bench of reading: the share of texts read right, by kind, of audiocm, hibari alone and other normalisers.

    python -m recipes.text_to_speech.reading --output samples/reading_scores
    python -m recipes.text_to_speech.reading --systems audiocm --pronouncers audiocm --wrong

reading.tsv has a kind, the part of the bench, an input, its spoken form in words ("|" separates forms that are as good,
"/" sentences) and, for homographs and names, a word with its phonemes. All are by one hand. The
first part was written before the front end; of the second and third part, each was written before the front end had read
any of its lines, and of the words 89.4 % and 100 % were right at that first reading, of the pronunciations
75.9 % and 90.5 %. Kinds that were wrong were worked on after it, so that shares of a later run are those of known texts.

A reading is right if its words are those of a spoken form, in lower case, without punctuation, hyphens and the "and" of
numbers. audiocm and hibari have to find the sentences as well, and hibari, which normalises some classes only while it
looks up phonemes, is compared by its phonemes. Other normalisers are right if either the words are, or the phonemes of
hibari from them. A pronunciation is right if a word of the line has the same sounds and main stress; weak vowels count
as one. Needs `wetext`, `nemo-text-processing`,
`misaki` and `g2p-en` for their columns; those that are not installed are left out, and with --keep their columns are
those of the results file.
"""

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from audiocm.evaluation.provenance import commit
from audiocm.files import atomic_write, write_json
from audiocm.text import Lexicon, read_sentences
from audiocm.text.alphabet import CONSONANTS, VOWELS
from audiocm.text.dictionary import default_pronouncer
from audiocm.text.ipa import phonemes_of_ipa

BENCH = Path(__file__).with_suffix(".tsv")
LEXICON = Path(__file__).with_name("reading_lexicon.tsv")  # of the rows of the kind "lexicon"
NUMBER_WORDS = r"(?:hundred|thousand|million|billion|trillion)"
ARPABET = dict(
    pair.split(":")
    for pair in [
        "AA:ɑ",
        "AE:æ",
        "AH:ʌ",
        "AO:ɔ",
        "AW:W",
        "AY:I",
        "B:b",
        "CH:ʧ",
        "D:d",
        "DH:ð",
        "EH:ɛ",
        "ER:ɜɹ",
        "EY:A",
        "F:f",
        "G:ɡ",
        "HH:h",
        "IH:ɪ",
        "IY:i",
        "JH:ʤ",
        "K:k",
        "L:l",
        "M:m",
        "N:n",
        "NG:ŋ",
        "OW:O",
        "OY:Y",
        "P:p",
        "R:ɹ",
        "S:s",
        "SH:ʃ",
        "T:t",
        "TH:θ",
        "UH:ʊ",
        "UW:u",
        "V:v",
        "W:w",
        "Y:j",
        "Z:z",
        "ZH:ʒ",
    ]
)
Reader = Callable[[str], list[str]]  # a text to its sentences
Row = dict[str, str]


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


# --- normalisers --------------------------------------------------------------------------------------------------------


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


@functools.cache
def hibari() -> Callable[[str], str]:
    """Returns the converter of hibari-tts with its own normaliser."""
    from hibari.g2p import G2P

    return G2P()


# --- converters to phonemes ---------------------------------------------------------------------------------------------


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


# --- the measurement ----------------------------------------------------------------------------------------------------


def installed(name: str) -> dict[str, str | float]:
    """Returns the version, licence and size in MB of a package, the first word of a name, without what it needs."""
    name = name.split()[0]
    metadata = importlib.metadata.metadata(name)
    files = importlib.metadata.files(name) or []
    size = sum(path.stat().st_size for path in (Path(str(file.locate())) for file in files) if path.is_file())
    kinds = [one.rsplit(" :: ", 1)[1] for one in metadata.get_all("Classifier") or [] if one.startswith("License ::")]
    licence = metadata.get("License-Expression") or (metadata.get("License") or "").split("\n")[0]
    return {
        "version": metadata["Version"],
        "licence": licence or ", ".join(kinds) or "see the package",
        "megabytes": round(size / 1e6, 1),
    }


def shares(marks: dict[str, list[bool]]) -> dict:
    """Returns the shares of marks under "all", "part ..." and kinds."""
    share = {key: round(sum(values) / len(values), 4) for key, values in marks.items()}
    parts = {key.removeprefix("part "): share.pop(key) for key in list(share) if key.startswith("part ")}
    return {"right": share.pop("all"), "parts": parts, "kinds": share}


def measure(rows: list[Row], run: Callable[[Row], bool]) -> dict:
    """Returns the shares of rows for which `run` is true, in all, by part and by kind, and its time."""
    marks: dict[str, list[bool]] = {}
    start = time.perf_counter()
    for row in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            good = run(row)
        for key in ("all", f"part {row['part']}", row["kind"]):
            marks.setdefault(key, []).append(good)
    return shares(marks) | {"milliseconds": round(1000 * (time.perf_counter() - start) / len(rows), 2)}


def measure_words(system: str, rows: list[Row], show_wrong: bool) -> dict:
    """Returns the shares whose words a normaliser reads right. Raises ImportError if it is missing."""
    read = READERS[system]()

    def run(row: Row) -> bool:
        try:
            sentences = read(row["input"])
        except ValueError as error:
            sentences = [str(error)]
        good = is_right(system, sentences, row)
        if show_wrong and not good:
            print(f"{system} | {row['kind']} | {row['input']!r} | {sentences} | {row['spoken']}")
        return good

    return measure(rows, run) | installed(system)


def measure_phonemes(system: str, rows: list[Row], show_wrong: bool) -> dict:
    """Returns the shares whose phonemes a converter finds. Raises ImportError if it is missing."""
    pronounce = PRONOUNCERS[system]()

    def run(row: Row) -> bool:
        try:
            line = pronounce(row) or ""
        except ValueError as error:
            line = str(error)
        good = is_pronounced(line, row)
        if show_wrong and not good:
            print(f"{system} | {row['kind']} | {row['input']!r} | {line} | {row['phonemes']}")
        return good

    return measure(rows, run) | installed(system)


def table(results: dict[str, dict], rows: list[Row]) -> str:
    """Returns the shares as a Markdown table, in percent."""

    def line(name: str, count: int | str, values: list) -> str:
        return f"| {name} | {count} | {' | '.join(str(value) for value in values)} |"

    def percent(value: float | None) -> str:
        return "" if value is None else f"{100 * value:.1f}"

    lines = [line("kind", "texts", list(results)), f"|---|--:|{'--:|' * len(results)}"]
    lines.append(line("**all**", len(rows), [f"**{percent(one['right'])}**" for one in results.values()]))
    for part in dict.fromkeys(row["part"] for row in rows):
        count = sum(row["part"] == part for row in rows)
        lines.append(line(f"{part} part", count, [percent(one["parts"].get(part)) for one in results.values()]))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        count = sum(row["kind"] == kind for row in rows)
        lines.append(line(kind, count, [percent(one["kinds"].get(kind)) for one in results.values()]))
    for key in ("milliseconds", "megabytes", "licence", "version"):
        lines.append(line(key, "", [one.get(key, "") for one in results.values()]))
    return "\n".join(lines) + "\n"


def run_all(names: list[str], measure_one: Callable, rows: list[Row], show_wrong: bool, kept: dict) -> dict[str, dict]:
    """Returns the results of systems by name; those that are not installed are taken from `kept`, or left out."""
    results = {}
    for name in names:
        try:
            results[name] = measure_one(name, rows, show_wrong)
        except ImportError as error:
            print(f"{name} is left out: {error}")
            if name in kept:
                results[name] = kept[name]
            continue
        print(f"{name}: {100 * results[name]['right']:.1f} % of {len(rows)}, by part {results[name]['parts']}")
        print("  below 90 %:", {kind: share for kind, share in results[name]["kinds"].items() if share < 0.9})
    return results


def main() -> None:
    """Reads the bench with each system and writes OUTPUT.json and OUTPUT.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", metavar="FILE", help="without extension; .json and .md are written")
    parser.add_argument("--systems", nargs="*", choices=READERS, default=list(READERS))
    parser.add_argument("--pronouncers", nargs="*", choices=PRONOUNCERS, default=list(PRONOUNCERS))
    parser.add_argument("--part", choices=("first", "second", "third"), help="a part of the bench alone")
    parser.add_argument("--keep", action="store_true", help="keep OUTPUT.json's columns of systems not installed here")
    parser.add_argument("--wrong", action="store_true", help="print what is read wrong")
    args = parser.parse_args()
    rows = [row for row in read_bench() if args.part in (None, row["part"])]
    voiced = [row for row in rows if row["phonemes"] != "-"]
    for row in voiced:  # a misspelt symbol is found here
        for form in row["phonemes"].split("=")[1].split("|"):
            phonemes_of_ipa(form)
    old = json.loads(Path(f"{args.output}.json").read_text(encoding="utf-8")) if args.output and args.keep else {}
    results = run_all(args.systems, measure_words, rows, args.wrong, old.get("systems", {}))
    spoken = run_all(args.pronouncers, measure_phonemes, voiced, args.wrong, old.get("pronouncers", {}))
    if args.output:
        card = {"bench": BENCH.name, "texts": len(rows), "kinds": len({row["kind"] for row in rows})}
        card |= {"phonemes": len(voiced), "commit": commit(), "seed": None, "python": platform.python_version()}
        card |= {"device": f"{platform.machine()}, {os.cpu_count()} CPU cores"}
        write_json(f"{args.output}.json", {"card": card, "systems": results, "pronouncers": spoken})
        with atomic_write(f"{args.output}.md") as path:
            text = f"Texts read right, in percent\n\n{table(results, rows)}\nWords pronounced right, in percent\n\n"
            path.write_text(text + table(spoken, voiced), encoding="utf-8")


if __name__ == "__main__":
    main()
