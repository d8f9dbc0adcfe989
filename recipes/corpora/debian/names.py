"""What a file's path says about its sound: cleaned name words, folder words, drop rules, hand-made captions."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_GENERIC = {
    "usr",
    "share",
    "games",
    "data",
    "sounds",
    "sound",
    "audio",
    "sfx",
    "snd",
    "resource",
    "resources",
    "gcompris",
    "src",
    "activities",
    "media",
    "effects",
    "base",
    "core",
    "lib",
    "local",
    "wav",
    "ogg",
    "samples",
    "sample",
    "rcc",
    "gcompris-qt",
    "public",
    "mods",
    "mod",
    "res",
    "assets",
    "common",
    "general",
    "files",
    "default",
    "stereo",
    "android",
    "rsc",
    "opensfx",
    "opensfx.cat",
    "openttd",
    "baseset",
    "data.d",
    "soundfx",
    "fx",
    "content",
}
_DROP_DIR = re.compile(
    r"^(voices?\w*|\w*voices?|voix|speech|announcers?|dialog(ue)?s?|langs?|languages?|vocals?|taunts?|talk\w*|narrat\w*|"
    r"locale|l10n|i18n|translations?|words?|letters?|alphabet\w*|acknowledge\w*|responses?|tests?|speak\w*|chat\w*|"
    r"codriver|symbols|briefing\w*|story|coms|players?|tutorials?|de|en|cs|nl|fr|es|it|pl|ru|sk|sv|bg|pt)$",
    re.IGNORECASE,
)
_MUSIC_DIR = re.compile(r"^(musics?|songs?|soundtracks?|ogg_music|bgm|tunes|playlists?|melod(y|ies))$", re.IGNORECASE)
_DROP_NAME = re.compile(
    r"_desc(_|$)|(^|[_\W])(voice|speech|taunt|dialog|announcer|silence|silent|null|empty|nothing)"
    r"([_\W\d]|$)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"amb|rain|wind|forest|water|river|sea|ocean|storm|night|crowd|engine|fire|bird|cave|jungle|city|"
    r"weather|environment|waves?|swamp|desert|factory|machin|farm|market|traffic|industry|power|mine",
    re.IGNORECASE,
)
_MUSIC_NAME = re.compile(r"music|theme|soundtrack|song|anthem|jingle", re.IGNORECASE)
_LONG = 30.0
_NOISE = {
    "ogg",
    "wav",
    "mp",
    "flac",
    "hz",
    "khz",
    "mono",
    "stereo",
    "final",
    "new",
    "la",
    "lr",
    "remix",
    "edit",
    "short",
    "snd",
    "sfx",
    "fx",
    "mix",
    "loud",
    "version",
    "ver",
}


def words(name: str) -> str:
    """``carHorn_02-loop`` -> ``car horn loop``: camel case split, digits and one-letter or format words dropped."""
    name = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", name)
    parts = re.sub(r"[^A-Za-z]+", " ", name).lower().split()
    return " ".join(p for p in parts if len(p) > 1 and p not in _NOISE)


def folder_of(path: str) -> str:
    """The last two telling folders of a path inside its package, joined by ``/``; empty when none tells anything."""
    parts = [p.removesuffix(".d") for p in path.split("/")[:-1]]
    telling = [p for p in parts if p.lower() not in _GENERIC and words(p)]
    return "/".join(telling[-2:])


def kind_of(path: str, seconds: float = 0.0) -> str | None:
    """``effect`` or ``music`` by folder, or None when the path names voices, languages or silence.

    A file over 30 s whose path names no ambience is taken for music.
    """
    *parts, name = path.split("/")
    if any(_DROP_DIR.match(p.removesuffix(".d")) for p in parts) or _DROP_NAME.search(name.rsplit(".", 1)[0]):
        return None
    if any(_MUSIC_DIR.match(p.removesuffix(".d")) for p in parts):
        return "music"
    long_without_place = seconds > _LONG and not _PLACE.search(path)
    return "music" if long_without_place or _MUSIC_NAME.search(name) else "effect"


@dataclass
class Entry:
    """Hand-made words for one (package, folder, stem)."""

    captions: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    drop: bool = False


Key = tuple[str, str, str]


def read_captions(path: Path) -> dict[Key, Entry]:
    """Read captions.tsv: package, folder, stem, captions (`` | `` between), AudioSet labels (same), drop (1 = unusable).

    Raises ValueError naming the line that has fewer than four columns.
    """
    table: dict[Key, Entry] = {}
    if not path.exists():
        return table
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), 1):
            if not row or row[0] == "package" or row[0].startswith("#"):
                continue
            if len(row) < 4:
                raise ValueError(f"{path}: line {number} has {len(row)} columns, at least 4 are needed")
            captions, labels = (
                [p.strip() for p in (row[i] if len(row) > i else "").split("|") if p.strip()] for i in (3, 4)
            )
            table[row[0], row[1], row[2]] = Entry(captions, labels, len(row) > 5 and row[5].strip() == "1")
    return table


def captions_of(key: Key, table: dict[Key, Entry], kind: str) -> tuple[list[str], list[str], list[str]] | None:
    """(captions, where each came from, AudioSet labels) of a name; None when the table says the name is unusable."""
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
    """Write names.tsv, one row per distinct (package, folder, stem) with its count; returns the number of rows."""
    counts = Counter(rows)
    lines = ["package\tfolder\tstem\tcount"] + ["\t".join([*key, str(counts[key])]) for key in sorted(counts)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(counts)
