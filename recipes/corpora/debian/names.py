"""Captions and labels from file paths: words of names and folders, hand-made captions, and what to leave out."""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_GENERIC_FOLDER = re.compile(
    r"usr|share|games|data|sounds?|audio|sfx|snd|resources?|gcompris(-qt)?|src|activities|media|effects|base|core|lib|"
    r"local|wav|ogg|samples?|rcc|public|mods?|res|assets|common|general|files|default|stereo|android|rsc|"
    r"opensfx(\.cat)?|openttd|baseset|data\.d|soundfx|fx|content"
)
_FORMAT_WORD = re.compile(
    r"ogg|wav|mp|flac|k?hz|mono|stereo|final|new|la|lr|remix|edit|short|snd|sfx|fx|mix|loud|ver(sion)?"
)
_DROPPED_FOLDER = re.compile(
    r"^(voices?\w*|\w*voices?|voix|speech|announcers?|dialog(ue)?s?|langs?|languages?|vocals?|taunts?|talk\w*|"
    r"narrat\w*|locale|l10n|i18n|translations?|words?|letters?|alphabet\w*|acknowledge\w*|responses?|tests?|speak\w*|"
    r"chat\w*|codriver|symbols|briefing\w*|story|coms|players?|tutorials?|de|en|cs|nl|fr|es|it|pl|ru|sk|sv|bg|pt)$",
    re.IGNORECASE,
)
_DROPPED_NAME = re.compile(
    r"_desc(_|$)|(^|[_\W])(voice|speech|taunt|dialog|announcer|silence|silent|null|empty|nothing)([_\W\d]|$)",
    re.IGNORECASE,
)
_MUSIC_FOLDER = re.compile(
    r"^(musics?|songs?|soundtracks?|ogg_music|bgm|tunes|playlists?|melod(y|ies))$", re.IGNORECASE
)
_MUSIC_NAME = re.compile(r"music|theme|soundtrack|song|anthem|jingle", re.IGNORECASE)
_AMBIENCE = re.compile(
    r"amb|rain|wind|forest|water|river|sea|ocean|storm|night|crowd|engine|fire|bird|cave|jungle|city|"
    r"weather|environment|waves?|swamp|desert|factory|machin|farm|market|traffic|industry|power|mine",
    re.IGNORECASE,
)
_LONG_SECONDS = 30.0


def words(name: str) -> str:
    """Returns the words of a name: camel case is split; digits, single letters and words of formats are dropped.

    `carHorn_02-loop` gives `car horn loop`."""
    name = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", name)
    parts = re.sub(r"[^A-Za-z]+", " ", name).lower().split()
    return " ".join(part for part in parts if len(part) > 1 and not _FORMAT_WORD.fullmatch(part))


def folder_of(path: str) -> str:
    """Returns the last two folders of a path that describe the sound, joined by "/"; "" if there is none."""
    parts = [part.removesuffix(".d") for part in path.split("/")[:-1]]
    specific = [part for part in parts if not _GENERIC_FOLDER.fullmatch(part.lower()) and words(part)]
    return "/".join(specific[-2:])


def kind_of(path: str, seconds: float = 0.0) -> str | None:
    """Returns "effect" or "music", or None if the path names voices, languages or silence.

    A file of more than 30 s whose path names no ambience counts as music."""
    *parts, name = path.split("/")
    folders = [part.removesuffix(".d") for part in parts]
    if any(map(_DROPPED_FOLDER.match, folders)) or _DROPPED_NAME.search(name.rsplit(".", 1)[0]):
        return None
    is_long = seconds > _LONG_SECONDS and not _AMBIENCE.search(path)
    return "music" if any(map(_MUSIC_FOLDER.match, folders)) or is_long or _MUSIC_NAME.search(name) else "effect"


@dataclass
class Entry:
    """The hand-made captions and labels of one (package, folder, stem)."""

    captions: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    drop: bool = False


Key = tuple[str, str, str]


def read_captions(path: Path) -> dict[Key, Entry]:
    """Reads captions.tsv: package, folder, stem, captions (separated by " | "), AudioSet labels, drop (1: unusable).

    Raises ValueError naming the line that has fewer than four columns."""
    table: dict[Key, Entry] = {}
    if not path.exists():
        return table
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not row or row[0] == "package" or row[0].startswith("#"):
                continue
            if len(row) < 4:
                raise ValueError(f"{path}: line {number} has {len(row)} columns, at least 4 are needed")
            row += [""] * (6 - len(row))
            captions, labels = ([part.strip() for part in cell.split("|") if part.strip()] for cell in row[3:5])
            table[row[0], row[1], row[2]] = Entry(captions, labels, row[5].strip() == "1")
    return table


def captions_of(key: Key, table: dict[Key, Entry], kind: str) -> tuple[list[str], list[str], list[str]] | None:
    """Returns the captions of a name, the source of each, and AudioSet labels; None if the table drops the name."""
    entry = table.get(key)
    if entry is not None and entry.drop:
        return None
    if entry is not None and entry.captions:
        return entry.captions, ["name+hand lexicon"] * len(entry.captions), entry.labels
    _, folder, stem = key
    last = words(folder.split("/")[-1])
    if kind == "music":
        return ["a piece of music"], ["folder"], ["Music"]
    texts = [stem or last or "a sound"]
    sources = ["name" if stem else "folder"]
    if stem and last and last not in stem:
        texts.append(f"{last} {stem}")
        sources.append("folder+name")
    return texts, sources, []


def write_names(rows: Iterable[Key], path: Path) -> int:
    """Writes names.tsv, a row for each (package, folder, stem) with its count; returns the number of rows."""
    counts = Counter(rows)
    lines = ["package\tfolder\tstem\tcount"] + ["\t".join([*key, str(counts[key])]) for key in sorted(counts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(counts)
