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
import importlib.metadata
import json
import os
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from audiocm.evaluation.provenance import commit
from audiocm.files import atomic_write, write_json
from audiocm.text.ipa import phonemes_of_ipa
from recipes.text_to_speech.reading_bench import BENCH, is_pronounced, is_right, read_bench
from recipes.text_to_speech.reading_systems import PRONOUNCERS, READERS, Row


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
