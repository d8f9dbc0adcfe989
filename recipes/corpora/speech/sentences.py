"""English sentences for synthesis, free to use, from WordNet, the King James Bible, US documents and templates.

    python -m recipes.corpora.speech.sentences --packages UNPACKED --output data/speech/sentences.txt [--count 25000]

Runs on a CPU. UNPACKED holds Debian's `wordnet-base`, `miscfiles`, `bible-kjv` and `bible-kjv-text` (dpkg -x);
missing ones are named. The templates have numbers, dates, times, money, abbreviations and questions. A line is `split
<tab> source <tab> text`: 50 of valid, 50 of test, then train, shuffled; every fifth of these is of one or two words
(short_lines.py) and every fifteenth of words that sound alike (alike_lines.py), none of them a text of the benches
../../text_to_speech/short_texts.txt and sentences.txt.
"""

import argparse
import gzip
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from recipes.corpora.manifests import rng_for
from recipes.corpora.speech.alike_lines import alike_lines
from recipes.corpora.speech.short_lines import NAMES, short_lines, shuffled

BENCHES = Path(__file__).parents[2] / "text_to_speech"  # short_texts.txt and sentences.txt there are held out
SHORT_EVERY = 5  # of the lines after those of valid and test, one has one or two words
ALIKE_EVERY = 15  # and one has words that sound alike
HELD_OUT = 100  # lines of valid and test

UNWANTED = re.compile(
    r"offensive|slur|obscen|vulgar|derogat|disparag|ethnic|sexual|rape|nigg|fuck|shit|whore|slut|negro", re.I
)
CLEAN = re.compile(r"[A-Za-z0-9 ,.;:'?!$%&-]+")
WORDS = f"""
months: January; February; March; April; May; June; July; August; September; October; November; December
days: Monday; Tuesday; Wednesday; Thursday; Friday; Saturday; Sunday
names: {NAMES}; Simon; Tina; Victor
surnames: Adams; Baker; Clark; Davis; Evans; Foster; Green; Harris; Jones; King; Lewis; Miller; Nelson; Parker; Reed;
   Scott; Turner; Walker; Young
titles: Dr.; Mr.; Mrs.; Ms.; Prof.
places: the station; the library; the market; the harbor; the old bridge; the hospital; Main St.; the airport; Paris;
   Boston; the north gate
things: a green umbrella; two loaves of bread; the red notebook; a box of nails; an old map; a cup of tea;
   the blue suitcase; a pair of boots
halves: am; pm
animals: dog; cat; horse; parrot
"""
TEMPLATES = """
The meeting is on {day}, {month} {date}, {year}, at {hour}:{minute} {half}.
{name} was born on {month} {date}, {year}, in {place2}.
The train to {place2} leaves at {hour}:{minute} {half} from platform {small}.
It costs ${dollars}.{cents}, or ${big} for a dozen.
{title} {surname} will see you in room {room}.
Did {name} leave {thing} at {place}?
Why was {place} closed on {day}?
How many people live within {small} miles of {place2}?
{name} and {name2} walked to {place} and bought {thing}.
Call me at {three}-{three2}-{four}, please.
About {percent}% of the {big} visitors came by train.
The temperature fell to {small}.{digit} degrees on {day} night.
Turn left at {place}, then go straight for {small} miles.
Chapter {small}: {name} finds {thing}.
Have you seen {thing}?
"I can't find {thing}," said {name}.
Wait! Isn't that {title} {surname}'s {animal}?
He weighed {room} lbs. and was {foot} ft. tall.
No. {small} on the list is {thing}.
{name}, bring {thing} to {place} by {hour} o'clock!
The {ordinal} of {month} was the coldest day since {year}.
It took {small} hours and {minute} minutes to reach {place2}.
What time does {place} open on {day}s?
Please hold the line; {title} {surname} is speaking with {name}.
"""


def read_words(table: str) -> dict[str, list[str]]:
    """Reads lines `name: word; word ...`, which may go on in indented lines."""
    lines = table.strip().replace("\n  ", "").splitlines()
    return {name: words.strip().split("; ") for name, _, words in (line.partition(":") for line in lines)}


def generate_sentences(count: int, seed: int) -> Iterator[str]:
    """Yields `count` sentences from TEMPLATES, filled with words and numbers."""
    rng, words, templates = rng_for(seed, "templates"), read_words(WORDS), TEMPLATES.strip().splitlines()
    cities = [place for place in words["places"] if place[0].isupper() and "." not in place]

    def pick(items: list[str]) -> str:
        return items[int(rng.integers(len(items)))]

    def number(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    for _ in range(count):
        day = number(1, 29)
        suffix = "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        template = pick(templates)
        values = {"date": day, "ordinal": f"{day}{suffix}", "day": pick(words["days"]), "month": pick(words["months"])}
        values |= {"year": number(1780, 2031), "hour": number(1, 13), "minute": number(10, 60)}
        values |= {"half": pick(words["halves"]), "name": pick(words["names"]), "name2": pick(words["names"])}
        values |= {"surname": pick(words["surnames"]), "title": pick(words["titles"]), "place": pick(words["places"])}
        values |= {"place2": pick(cities), "thing": pick(words["things"]), "small": number(2, 60)}
        values |= {"digit": number(1, 10), "dollars": number(1, 90), "cents": number(10, 100)}
        values |= {"big": f"{number(1, 90)},{number(100, 1000)}", "room": number(101, 400), "percent": number(2, 99)}
        values |= {"three": number(201, 900), "three2": number(201, 900), "four": number(1000, 9999)}
        values |= {"foot": number(5, 7), "animal": pick(words["animals"])}
        yield template.format(**values)


def wordnet(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields (source, text): WordNet's example sentences, and "word: gloss" for every fifth synset."""
    for path in sorted(folder.rglob("wordnet/data.*")):
        for index, line in enumerate(path.read_text(encoding="latin-1").splitlines()):
            head, _, gloss = line.partition(" | ")
            if not gloss or head.startswith("  "):
                continue
            for example in re.findall(r'"([^"]+)"', gloss):
                yield "wordnet example", example
            word, definition = head.split()[4].replace("_", " "), gloss.split('; "')[0].split(";")[0].strip()
            if index % 5 == 0 and word.islower():
                yield "wordnet gloss", f"{word}: {definition}"


def bible(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields (source, text): verses of the King James Bible, printed by the package's own reader."""
    program, data = folder / "usr/bin/bible", folder / "usr/lib"
    if not (program.exists() and (data / "bible.data").exists()):
        return
    command = [program, "-p", f"{data}/", "gen1:1-rev22:21"]
    text = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False).stdout
    verses = re.split(r"\n\s+\d+ ", re.sub(r"\n\n.*\n\n", "\n", text))
    for verse in verses[1:]:
        yield "bible", " ".join(verse.split())


def documents(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields (source, text): sentences of the US Constitution and the Declaration of Independence."""
    for path in sorted(folder.rglob("state/us-*.gz")):
        text = gzip.decompress(path.read_bytes()).decode("latin-1")
        for paragraph in re.split(r"\n\s*\n", text):
            for sentence in re.split(r"(?<=[.;])\s+", " ".join(paragraph.split())):
                yield path.stem, sentence


def tidy(text: str) -> str | None:
    """Returns a cleaned sentence of 3 to 26 words that can be read aloud, or None."""
    text = re.sub(r"\([^)]*\)", " ", text).replace("`", "'").replace(" - ", ", ")
    text = re.sub(r"\s+([,.;:?!])", r"\1", " ".join(text.split())).strip(" ;,:-")
    if not CLEAN.fullmatch(text.replace('"', "")) or not 3 <= len(text.split()) <= 26 or not 14 <= len(text) <= 170:
        return None
    if UNWANTED.search(text) or sum(letter.isupper() for letter in text) > len(text) / 4:
        return None
    return text[0].upper() + text[1:] + ("" if text[-1] in '.?!"' else ".")


def collect_sentences(
    packages: Path,
    count: int = 25_000,
    seed: int = 0,
    short_every: int = SHORT_EVERY,
    alike_every: int = ALIKE_EVERY,
) -> list[tuple[str, str, str]]:
    """Returns (split, source, text): `count` sentences, a fifth generated, the rest from the packages, without repeats,
    shuffled, and, after so many of train, a short line, and one of words that sound alike; 0: no such line."""
    sources: dict[str, str] = {}
    for source, text in [*wordnet(packages), *bible(packages), *documents(packages)]:
        if clean := tidy(text):
            sources.setdefault(clean, source)
    for source in {"wordnet example", "bible", "us-constitution"} - set(sources.values()):
        print(f"no sentence of {source} found below {packages}", file=sys.stderr)
    order = rng_for(seed, "order").permutation(len(sources))
    texts = list(sources.items())
    generated = list(dict.fromkeys(generate_sentences(count // 5, seed)))
    chosen = [(texts[i][1], texts[i][0]) for i in order[: count - len(generated)]] + [
        ("generated", text) for text in generated
    ]
    chosen = shuffled(chosen, rng_for(seed, "mix"))
    held_out = (BENCHES / "short_texts.txt").read_text(encoding="utf-8").splitlines()
    sentences = (BENCHES / "sentences.txt").read_text(encoding="utf-8").splitlines()
    held_out += [line.partition("\t")[2] for line in sentences]
    for name, every, make in (("short", short_every, short_lines), ("alike", alike_every, alike_lines)):
        if every:
            lines = make(packages, count // every, held_out, rng_for(seed, name))
            chosen = insert_lines(chosen, [line for line in lines if UNWANTED.search(line[1]) is None], every)
    return split_lines(chosen)


def insert_lines(chosen: list[tuple[str, str]], lines: Sequence[tuple[str, str]], every: int) -> list[tuple[str, str]]:
    """Returns the lines, of those after HELD_OUT one of `lines` before every `every` - 1, as far as both reach."""
    result, rest = chosen[:HELD_OUT], chosen[HELD_OUT:]
    for line in lines:
        if not rest:
            break
        result += [line, *rest[: every - 1]]
        rest = rest[every - 1 :]
    return [*result, *rest]


def split_lines(lines: Sequence[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Returns (split, source, text): the first HELD_OUT lines are of valid and test, half of them each."""
    splits = ["valid"] * (HELD_OUT // 2) + ["test"] * (HELD_OUT // 2)
    return [(splits[i] if i < HELD_OUT else "train", *line) for i, line in enumerate(lines)]


def write_sentences(lines: Iterable[tuple[str, str, str]], path: Path) -> None:
    """Writes one `split <tab> source <tab> text` per line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def read_sentences(path: Path) -> list[tuple[str, str, str]]:
    """Reads (split, source, text) of each line. Raises FileNotFoundError if the file is missing."""
    if not path.is_file():
        raise FileNotFoundError(f"no sentences at {path}: make them with recipes.corpora.speech.sentences")
    return [tuple(line.split("\t")) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=Path, required=True, help="folder of the unpacked packages")
    parser.add_argument("--output", type=Path, default=Path("data/speech/sentences.txt"))
    parser.add_argument("--count", type=int, default=25_000, help="number of sentences")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short-every", type=int, default=SHORT_EVERY, help="one short line in so many, or 0: none")
    alike = "one line of words that sound alike in so many, or 0: none"
    parser.add_argument("--alike-every", type=int, default=ALIKE_EVERY, help=alike)
    args = parser.parse_args()
    lines = collect_sentences(args.packages, args.count, args.seed, args.short_every, args.alike_every)
    write_sentences(lines, args.output)


if __name__ == "__main__":
    main()
