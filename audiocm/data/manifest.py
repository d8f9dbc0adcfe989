"""The manifest, one JSON line for each clip, and the reading of its sound files."""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..audio.io import read_wave
from ..schema import parse_json

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Clip:
    """One sound file and its description: a line of the manifest. `path` is the file's place on this machine."""

    file: str
    path: Path
    seconds: float
    split: str = "train"
    captions: tuple[str, ...] = ()
    kind: str = ""
    source: str = ""
    licence: str = ""
    group: str = ""
    text: str = ""  # transcript, of speech
    voice: str = ""  # name of the speaker
    role: str = ""  # "event", "texture" or "" (taken as a whole), see `latent_batches.Role`
    thing: str = ""  # what makes the sound


def read_manifest(path: str | Path, keep: Callable[[Clip], bool] = lambda clip: True) -> list[Clip]:
    """Reads the clips that `keep` accepts. Raises ValueError with the line and what is wrong, or if none is left."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"manifest {path}: no such file")
    clips: list[Clip] = []
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                clip = _clip(parse_json(line), path.parent)
                if clip.file in seen:
                    raise ValueError(f"{clip.file!r} is also in line {seen[clip.file]}")
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise ValueError(f"manifest {path}, line {number}: {error}") from error
            seen[clip.file] = number
            if keep(clip):
                clips.append(clip)
    if not clips:
        raise ValueError(f"manifest {path}: no clip in it is selected")
    return clips


def in_split(name: str) -> Callable[[Clip], bool]:
    """Returns a `keep` for `read_manifest` that accepts the clips of one split."""
    return lambda clip: clip.split == name


def split_of(key: str, valid: float = 0.04, test: float = 0.06) -> str:
    """Assigns a key to train, valid or test by its hash, so that clips with the same key never change their split."""
    u = int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "little") / 2**48
    return "test" if u < test else "valid" if u < test + valid else "train"


def _clip(line: dict, root: Path) -> Clip:
    """Builds the clip of a manifest line. Raises ValueError if a field is missing or not allowed."""
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
    texts = {
        key: str(line.get(key, "")) for key in ("kind", "source", "licence", "group", "text", "voice", "role", "thing")
    }
    return Clip(line["file"], root / line["file"], seconds, split, tuple(captions), **texts)


def read_waves(
    clips: Sequence[Clip], sample_rate: int, skipped: dict[str, str], threads: int = 8
) -> Iterator[tuple[Clip, np.ndarray]]:
    """Yields readable clips in order with their waveforms, decoded ahead by threads; adds others to `skipped`."""

    def load(clip: Clip) -> np.ndarray | str:
        try:
            return read_wave(clip.path, sample_rate)
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(clips), 256):  # in parts: map() decodes all its input into memory
            part = clips[start : start + 256]
            for clip, wave in zip(part, pool.map(load, part), strict=True):
                if isinstance(wave, str):
                    skipped[clip.file] = wave
                else:
                    yield clip, wave


def warn_of_skipped(skipped: dict[str, str], total: int) -> None:
    """Gives one warning that counts the skipped clips and names the first five."""
    if skipped:
        named = "; ".join(f"{file} {reason}" for file, reason in list(skipped.items())[:5])
        more = "" if len(skipped) <= 5 else f"; and {len(skipped) - 5} more"
        warnings.warn(f"{len(skipped)} of {total} clips left out: {named}{more}", stacklevel=3)


def content_keys(clips: Iterable[Clip], skipped: dict[str, str], threads: int = 8) -> dict[str, str]:
    """Returns file -> 24 hex digits of the SHA-256 of its content; adds unreadable files to `skipped`."""

    def key(clip: Clip) -> tuple[str, str, str]:
        try:
            return clip.file, hashlib.sha256(clip.path.read_bytes()).hexdigest()[:24], ""
        except OSError as error:
            return clip.file, "", f"cannot be read: {error.strerror}"

    with ThreadPoolExecutor(threads) as pool:
        keys = list(pool.map(key, clips))
    skipped |= {file: reason for file, _, reason in keys if reason}
    return {file: digest for file, digest, reason in keys if not reason}
