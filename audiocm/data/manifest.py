"""manifest.jsonl: which sounds there are, what they are called, and how they become arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
import json
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import numpy as np
from concurrent.futures import ThreadPoolExecutor
import warnings
import hashlib
from collections.abc import Iterable
from ..audio.io import read_wave


SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Clip:
    """One manifest line. `path` is where the file is on this machine."""

    file: str
    path: Path
    seconds: float
    split: str = "train"
    captions: tuple[str, ...] = ()
    kind: str = ""
    source: str = ""
    licence: str = ""
    group: str = ""
    text: str = ""  # what is said, of speech
    voice: str = ""  # by whom


def read_manifest(path: str | Path, keep: Callable[[Clip], bool] = lambda clip: True) -> list[Clip]:
    """The clips of a manifest that `keep` accepts. ValueError names file, line and what is wrong with it."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"manifest {path}: no such file")
    clips: list[Clip] = []
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8") as lines:
        for number, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                clip = _clip(json.loads(text), path.parent)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"manifest {path}, line {number}: {error}") from error
            if clip.file in seen:
                raise ValueError(f"manifest {path}, line {number}: {clip.file!r} is also in line {seen[clip.file]}")
            seen[clip.file] = number
            if keep(clip):
                clips.append(clip)
    if not clips:
        raise ValueError(f"manifest {path}: no clip in it is wanted")
    return clips


def in_split(name: str) -> Callable[[Clip], bool]:
    """For read_manifest's `keep`."""
    return lambda clip: clip.split == name


def _clip(line: dict, root: Path) -> Clip:
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    missing = [name for name in ("file", "seconds") if name not in line]
    if missing:
        raise ValueError(f"without {' and '.join(missing)}")
    seconds, split, captions = float(line["seconds"]), line.get("split", "train"), line.get("captions", [])
    if not 0 < seconds < float("inf"):
        raise ValueError(f"seconds {line['seconds']!r} is not a positive number")
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is not one of {', '.join(SPLITS)}")
    if isinstance(captions, str) or not all(isinstance(words, str) and words.strip() for words in captions):
        raise ValueError("captions is not a list of non-empty strings")
    if Path(line["file"]).is_absolute() or ".." in Path(line["file"]).parts:
        raise ValueError(f"file {line['file']!r} must lie under the manifest's folder")
    named = {key: str(line.get(key, "")) for key in ("kind", "source", "licence", "group", "text", "voice")}
    return Clip(line["file"], root / line["file"], seconds, split, tuple(captions), **named)


def read_waves(
    clips: Sequence[Clip], sample_rate: int, skipped: dict[str, str], threads: int = 8
) -> Iterator[tuple[Clip, np.ndarray]]:
    """The readable clips in order, decoded ahead by threads. Others go into `skipped`: file -> why."""

    def load(clip: Clip) -> np.ndarray | str:
        try:
            return read_wave(clip.path, sample_rate)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(clips), 256):  # map() alone would decode everything into memory
            part = clips[start : start + 256]
            for clip, wave in zip(part, pool.map(load, part), strict=True):
                if isinstance(wave, str):
                    skipped[clip.file] = wave
                else:
                    yield clip, wave


def warn_of_skipped(skipped: dict[str, str], of: int) -> None:
    """One warning that counts and names what was left out."""
    if skipped:
        named = "; ".join(f"{file} {why}" for file, why in list(skipped.items())[:5])
        more = "" if len(skipped) <= 5 else f"; and {len(skipped) - 5} more"
        warnings.warn(f"{len(skipped)} of {of} clips left out: {named}{more}", stacklevel=3)


def content_key(path: Path) -> str:
    """The first 24 hex digits of the file's SHA-256. ValueError if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:24]
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error


def content_keys(clips: Iterable[Clip], skipped: dict[str, str], threads: int = 8) -> dict[str, str]:
    """file -> content_key of the clips that can be read."""

    def key(clip: Clip) -> tuple[str, str, str]:
        try:
            return clip.file, content_key(clip.path), ""
        except ValueError as error:
            return clip.file, "", str(error)

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(key, clips))
    skipped |= {file: why for file, _, why in found if why}
    return {file: digest for file, digest, why in found if not why}
