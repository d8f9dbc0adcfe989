"""The bench of reading: the share of texts read right, by kind, of audiocm, hibari alone and other normalisers.

    python -m recipes.text_to_speech.reading --output samples/tts/reading
    python -m recipes.text_to_speech.reading --systems audiocm --wrong

reading.tsv has a kind, the half of the bench, an input and its spoken form in words: "|" separates forms that are as
good, "/" sentences. All texts so far were written before the front end, by the same hand. A reading is right if its words are those of a spoken form, in lower case, without punctuation, hyphens and the
"and" of numbers. audiocm and hibari have to find the sentences as well, and hibari, which normalises some classes only
while it looks up phonemes, is compared by its phonemes. Other normalisers are right if either the words are, or the
phonemes of hibari from them. Needs `wetext` and `nemo-text-processing`; those that are not installed are left out.
"""

import argparse
import importlib.metadata
import re
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from audiocm.files import atomic_write, write_json
from audiocm.text import read_sentences
from audiocm.text.alphabet import CONSONANTS, VOWELS
from audiocm.text.dictionary import default_pronouncer
from audiocm.text.pronunciation import phonemise

BENCH = Path(__file__).with_suffix(".tsv")
NUMBER_WORDS = r"(?:hundred|thousand|million|billion|trillion)"
Reader = Callable[[str], list[str]]  # a text to its sentences


def read_bench(path: Path = BENCH) -> list[dict[str, str]]:
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


def sounds(text: str) -> str:
    """Returns the phonemes of a text by hibari, without stress, punctuation and spaces."""
    line = phonemise(text)
    return "".join("t" if c == "T" else "ə" if c in "ɐᵊ" else c for c in line if c in VOWELS + CONSONANTS)


def read_by_audiocm(text: str) -> list[str]:
    """Returns the sentences of a text in words."""
    return [sentence.words for sentence in read_sentences(text)]


def read_by_hibari(text: str) -> list[str]:
    """Returns the sentences of a text; hibari reads their numbers when it looks up phonemes."""
    from hibari import Hibari

    return Hibari.split_sentences(text)


def wetext_reader() -> Reader:
    """Returns wetext's normaliser; a text that it fails on stays as it is."""
    from wetext import Normalizer

    normaliser = Normalizer(lang="en", operator="tn")

    def read(text: str) -> list[str]:
        try:
            return [normaliser.normalize(text)]
        except Exception:  # AssertionError for some signs
            return [text]

    return read


def nemo_reader() -> Reader:
    """Returns NeMo's normaliser; a text that it fails on stays as it is."""
    from nemo_text_processing.text_normalization.normalize import Normalizer

    normaliser = Normalizer(input_case="cased", lang="en")

    def read(text: str) -> list[str]:
        try:
            return [normaliser.normalize(text, punct_post_process=True)]
        except Exception:
            return [text]

    return read


SYSTEMS: dict[str, Callable[[], Reader]] = {
    "audiocm": lambda: read_by_audiocm,
    "hibari-tts": lambda: read_by_hibari,
    "wetext": wetext_reader,
    "nemo-text-processing": nemo_reader,
}


def is_right(system: str, sentences: list[str], spoken: str) -> bool:
    """Whether sentences are one of the spoken forms; see the head of this file."""
    for form in spoken.split("|"):
        parts = [part.strip() for part in form.split("/")]
        if system == "audiocm" and [plain(one) for one in sentences] == [plain(part) for part in parts]:
            return True
        if system == "hibari-tts" and [hibari_sounds(one) for one in sentences] == [sounds(part) for part in parts]:
            return True
        if system in ("audiocm", "hibari-tts"):
            continue
        text = " ".join(sentences)
        if plain(text) == plain(" ".join(parts)) or hibari_sounds(text) == hibari_sounds(" ".join(parts)):
            return True
    return False


def hibari_sounds(text: str) -> str:
    """Returns the phonemes of a text that hibari reads on its own, in the form of `sounds`."""
    try:
        line = default_pronouncer()(text)
    except Exception:  # some numbers
        return ""
    return "".join("t" if c == "T" else "ə" if c in "ɐᵊ" else c for c in line if c in VOWELS + CONSONANTS)


def installed_size(name: str) -> dict[str, str | float]:
    """Returns the version, licence and size in MB of a package, without what it needs."""
    metadata = importlib.metadata.metadata(name)
    files = importlib.metadata.files(name) or []
    size = sum(path.stat().st_size for path in (Path(str(file.locate())) for file in files) if path.is_file())
    licence = metadata.get("License-Expression") or (metadata.get("License") or "").split("\n")[0] or "see the package"
    return {"version": metadata["Version"], "licence": licence, "megabytes": round(size / 1e6, 1)}


def measure(system: str, rows: list[dict[str, str]], show_wrong: bool) -> dict:
    """Returns the shares read right by a system: in all, by half and by kind. Raises ImportError if it is missing."""
    read = SYSTEMS[system]()
    right: dict[str, list[bool]] = {}
    seconds = 0.0
    for row in rows:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                sentences = read(row["input"])
            except ValueError as error:
                sentences = [str(error)]
        seconds += time.perf_counter() - start
        good = is_right(system, sentences, row["spoken"])
        for key in ("all", f"half {row['half']}", row["kind"]):
            right.setdefault(key, []).append(good)
        if show_wrong and not good:
            print(f"{system} | {row['kind']} | {row['input']!r} | {sentences} | {row['spoken']}")
    share = {key: round(sum(values) / len(values), 4) for key, values in right.items()}
    halves = {key.removeprefix("half "): share.pop(key) for key in list(share) if key.startswith("half ")}
    found = {"right": share.pop("all"), "halves": halves, "milliseconds": round(1000 * seconds / len(rows), 2)}
    return found | {"kinds": share} | installed_size(system)


def table(results: dict[str, dict], rows: list[dict[str, str]]) -> str:
    """Returns the shares as a Markdown table, in percent."""
    counts = {kind: sum(row["kind"] == kind for row in rows) for kind in dict.fromkeys(row["kind"] for row in rows)}
    lines = [f"| kind | texts | {' | '.join(results)} |", f"|---|--:|{'--:|' * len(results)}"]

    def line(name: str, count: int | str, values: list) -> str:
        return f"| {name} | {count} | {' | '.join(str(value) for value in values)} |"

    lines.append(line("**all**", len(rows), [f"**{100 * one['right']:.1f}**" for one in results.values()]))
    for half in dict.fromkeys(row["half"] for row in rows):
        count = sum(row["half"] == half for row in rows)
        lines.append(line(f"{half} half", count, [f"{100 * one['halves'][half]:.1f}" for one in results.values()]))
    for kind, count in counts.items():
        lines.append(line(kind, count, [f"{100 * one['kinds'][kind]:.0f}" for one in results.values()]))
    for key in ("milliseconds", "megabytes", "licence", "version"):
        lines.append(line(key, "", [one.get(key, "") for one in results.values()]))
    return "\n".join(lines) + "\n"


def main() -> None:
    """Reads the bench with each system and writes OUTPUT.json and OUTPUT.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", metavar="FILE", help="without extension; .json and .md are written")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--half", choices=("first", "second"), help="a half of the bench alone")
    parser.add_argument("--wrong", action="store_true", help="print what is read wrong")
    args = parser.parse_args()
    rows = [row for row in read_bench() if args.half in (None, row["half"])]
    results = {}
    for system in args.systems:
        try:
            results[system] = measure(system, rows, args.wrong)
        except ImportError as error:
            print(f"{system} is left out: {error}")
            continue
        print(f"{system}: {100 * results[system]['right']:.1f} % of {len(rows)}, by half {results[system]['halves']}")
        print("  below 90 %:", {kind: share for kind, share in results[system]["kinds"].items() if share < 0.9})
    if args.output:
        card = {"bench": BENCH.name, "texts": len(rows), "kinds": len({row["kind"] for row in rows})}
        write_json(f"{args.output}.json", {"card": card, "systems": results})
        with atomic_write(f"{args.output}.md") as path:
            path.write_text(table(results, rows), encoding="utf-8")


if __name__ == "__main__":
    main()
