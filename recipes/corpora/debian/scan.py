"""Lists the usable audio files of the unpacked Debian packages: length, rate, kind, words of the name, group."""

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import soundfile
from tqdm import tqdm

from recipes.corpora.debian.audio import MIN_SECONDS
from recipes.corpora.debian.names import folder_of, kind_of, words
from recipes.corpora.debian.sources import OTHER, PACKAGES
from recipes.corpora.debian.unpack import AUDIO, read_transcripts

G722_BYTES_PER_SECOND = 8000


@dataclass
class Item:
    """One audio file inside a package, with the length in seconds and the rate in Hz of its header."""

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
        """The key of hand-made captions: package, folder, stem."""
        return self.package, self.folder, self.stem


def scan(
    unpacked: Path, packages: list[str], max_music_per_package: int = 5
) -> tuple[list[Item], Counter[str], list[str]]:
    """Returns all usable files, the numbers of others by reason, and the names of the unreadable ones."""
    items: list[Item] = []
    dropped: Counter[str] = Counter()
    corrupt: list[str] = []
    seen: set[str] = set()
    texts = read_transcripts(unpacked, "en")
    music: Counter[str] = Counter()
    for package in tqdm([unpacked / p for p in sorted(packages) if (unpacked / p).is_dir()], desc="scan"):
        for file in sorted(p for p in package.rglob("*") if p.suffix.lower() in AUDIO and p.is_file()):
            inner = file.relative_to(package).as_posix()
            reason, item = _scan_file(file, package.name, inner, texts)
            if item is not None and item.md5 in seen:
                reason, item = "same bytes as another file", None
            if item is not None and item.kind == "music":
                music[package.name] += 1
                if music[package.name] > max_music_per_package:
                    reason, item = "enough music of this package", None
            if item is None:
                dropped[reason] += 1
                if reason == "corrupt":
                    corrupt.append(f"{package.name}: {inner}")
                continue
            seen.add(item.md5)
            items.append(item)
    return items, dropped, corrupt


def _scan_file(file: Path, package: str, inner: str, texts: dict[str, str]) -> tuple[str, Item | None]:
    """Returns (reason, None) for a file to leave out, ("", item) for one to keep."""
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
        return f"shorter than {MIN_SECONDS} s", None
    if rate < PACKAGES.get(package, OTHER).min_rate:
        return "sampled under 16 kHz (everyday sounds: under 11 kHz)", None
    stem, folder, text = words(file.stem), folder_of(inner), ""
    if speech:
        text = texts.get(re.sub(r"^.*/sounds/[^/]+/", "", inner).rsplit(".", 1)[0], "")
        stem, folder = "", inner.split("/sounds/")[-1].split("/")[0]
    group = f"{package}:{folder}:{stem}" if stem else f"{package}:{inner}"
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    return "", Item(package, inner, round(seconds, 3), rate, kind, folder, stem, group, digest, text)
