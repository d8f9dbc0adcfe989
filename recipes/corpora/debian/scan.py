"""List every usable audio file below the unpacked packages: length, rate, kind, name words, source group."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import soundfile
from tqdm import tqdm

from recipes.corpora.debian.names import folder_of, kind_of, words
from recipes.corpora.debian.unpack import AUDIO

MIN_SECONDS = 0.25
G722_BYTES_PER_SECOND = 8000
MIN_RATE = 16000
MIN_RATE_EVERYDAY = 11000
EVERYDAY = {
    "lincity-ng-data",
    "scratch",
    "tuxpaint-stamps-default",
    "searchandrescue-data",
    "simutrans-pak64",
    "bambam",
    "wesnoth-1.16-data",
    "freeciv-data",
    "pingus-data",
    "7kaa-data",
    "tuxpaint-data",
}
"""Packages whose plainly named everyday sounds exist nowhere else: kept from 11 kHz on, their bandwidth noted."""


@dataclass
class Item:
    """One audio file inside a package. ``seconds`` and ``rate`` (Hz) as the file says."""

    package: str
    path: str
    seconds: float
    rate: int
    kind: str
    folder: str
    stem: str
    group: str
    md5: str
    text: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.package, self.folder, self.stem


def transcripts(unpacked: Path) -> dict[str, str]:
    """``core-sounds-en.txt`` (``key: text``) as a table, key without the folder of its language."""
    table: dict[str, str] = {}
    for path in unpacked.glob("asterisk-core-sounds-en/**/core-sounds-en.txt*"):
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in raw.decode("utf-8", "replace").splitlines():
            key, colon, text = line.partition(":")
            text = text.strip()
            if colon and text and not line.startswith(";") and not re.match(r"^[(\[<]", text):
                table[key.strip()] = text
    return table


def scan(
    unpacked: Path, packages: list[str], max_music_a_package: int = 5
) -> tuple[list[Item], Counter[str], list[str]]:
    """Every usable file, why others were left out (counts), and the names of the unreadable ones."""
    items: list[Item] = []
    dropped: Counter[str] = Counter()
    corrupt: list[str] = []
    seen: set[str] = set()
    texts = transcripts(unpacked)
    music: Counter[str] = Counter()
    for package in tqdm([unpacked / p for p in sorted(packages) if (unpacked / p).is_dir()], desc="scan"):
        for file in sorted(p for p in package.rglob("*") if p.suffix.lower() in AUDIO and p.is_file()):
            inner = file.relative_to(package).as_posix()
            why, item = _look(file, package.name, inner, texts)
            if item is not None and item.md5 in seen:
                why, item = "same bytes as another file", None
            if item is not None and item.kind == "music":
                music[package.name] += 1
                if music[package.name] > max_music_a_package:
                    why, item = "enough music of this package", None
            if item is None:
                dropped[why] += 1
                if why == "corrupt":
                    corrupt.append(f"{package.name}: {inner}")
                continue
            seen.add(item.md5)
            items.append(item)
    return items, dropped, corrupt


def _look(file: Path, package: str, inner: str, texts: dict[str, str]) -> tuple[str, Item | None]:
    """(reason, None) for a file to leave out, ("", item) for one to keep."""
    speech = "-g722" in package
    try:
        if speech:
            seconds, rate = file.stat().st_size / G722_BYTES_PER_SECOND, 16000
        else:
            info = soundfile.info(file)
            seconds, rate = info.frames / info.samplerate, info.samplerate
    except (soundfile.LibsndfileError, OSError, ZeroDivisionError):
        return "corrupt", None
    kind = "speech" if speech else kind_of(inner, seconds)
    if kind is None or "/silence/" in inner:
        return "voice, language or silence folder", None
    if seconds < MIN_SECONDS:
        return "shorter than 0.25 s", None
    if rate < (MIN_RATE_EVERYDAY if package in EVERYDAY else MIN_RATE):
        return "sampled under 16 kHz (everyday sounds: under 11 kHz)", None
    name = file.stem
    stem, folder = words(name), folder_of(inner)
    text = ""
    if speech:
        text = texts.get(re.sub(r"^.*/sounds/[^/]+/", "", inner).rsplit(".", 1)[0], "")
        stem, folder = "", inner.split("/sounds/")[-1].split("/")[0]
    group = f"{package}:{folder}:{stem}" if stem else f"{package}:{inner}"
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    return "", Item(package, inner, round(seconds, 3), rate, kind, folder, stem, group, digest, text)
