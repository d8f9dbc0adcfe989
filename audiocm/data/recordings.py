"""Recordings with captions: a folder, a manifest or tar shards, as a list that is made without decoding any sound.

Shards are read with tarfile, not with the library webdataset: each recording is decoded once, into a cache that training
reads in random order (`encoded`), so a stream with a shuffle buffer, which cannot resume at a sample, is never needed.
"""

import csv
import io
import os
import re
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..audio.io import AUDIO_SUFFIXES, UNREAD_SUFFIXES, missing_end, resample, to_mono
from ..files import content_digest, read_json_lines, read_text
from ..schema import parse_json

FILE_FIELDS = ("file", "file_name", "filename", "path", "audio", "audio_path", "wav")
CAPTION_FIELDS = ("caption", "text", "prompt")  # each also with a plural s and a number: captions, caption_1
MANIFESTS = (".csv", ".tsv", ".jsonl")
SILENCE = 1e-4  # peak of a part of a recording that is left out
HOW = "put NAME.txt or NAME.json beside NAME.wav, or give a .csv or .jsonl manifest or .tar shards"


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound with its captions. `key` changes with its name, size and time of change; `offset` is its first byte in a
    tar file, -1 for a file of its own."""

    name: str
    path: str
    captions: tuple[str, ...]
    key: str
    offset: int = -1
    size: int = 0


def find_recordings(source: str | os.PathLike) -> tuple[list[Recording], dict[str, str]]:
    """Lists the recordings of a data set that have captions, and what was left out: (recordings, name -> reason).

    A folder is searched with its subfolders: captions are the lines of NAME.txt, or NAME.json (a string, a list of
    strings, or an object with `caption`, `captions` or `text`), beside NAME.wav; .tar files in it are shards. A manifest
    (.csv and .tsv with a header, .jsonl) has the fields `file` and `caption` or `captions`; lines whose `split` is not
    train are not used. In a shard, members with one name up to the first dot belong together, as webdataset has it.
    Raises ValueError if there is no such source, no sound in it, or no caption of any."""
    path = Path(source)
    skipped: dict[str, str] = {}
    if path.is_dir():
        found = _in_folder(path, skipped)
    elif path.suffix.lower() in MANIFESTS and path.is_file():
        found = _in_manifest(path, skipped)
    elif path.suffix.lower() == ".tar" and path.is_file():
        found = _in_tar(path, path.name, skipped)
    else:
        why = (
            "no such file or folder"
            if not path.exists()
            else f"must be a folder, or end in .tar, {', '.join(MANIFESTS)}"
        )
        raise ValueError(f"data {path}: {why}")
    merged: dict[str, Recording] = {}
    for one in found:  # a manifest may name a file once for each caption
        before = merged.get(one.key)
        captions = one.captions if before is None else tuple(dict.fromkeys((*before.captions, *one.captions)))
        merged[one.key] = replace(one, captions=captions)
    recordings = list(merged.values())
    if not recordings and not skipped:
        raise ValueError(f"data {path}: there is no sound in it ({', '.join(sorted(AUDIO_SUFFIXES))})")
    if not recordings and set(skipped.values()) == {NO_CAPTION}:
        raise ValueError(f"data {path}: none of {len(skipped)} sounds has a caption: {HOW}")
    if not recordings:
        name, reason = next(iter(skipped.items()))
        raise ValueError(f"data {path}: none of {len(skipped)} sounds can be used, such as {name}: {reason}")
    return recordings, skipped


NO_CAPTION = "has no caption"
NO_FILE = "is a folder, a pipe or a device, not a file"


def captions_in(value: Any) -> tuple[str, ...]:
    """Returns the captions of a JSON value or a line of a manifest: a string, a list of strings, or an object's field.

    Of an object, fields named by the first of `caption`, `text` and `prompt` that it has count, numbered ones too."""
    if isinstance(value, Mapping):
        names = {str(name).strip().lower(): one for name, one in value.items() if name is not None}
        for field in CAPTION_FIELDS:
            parts = [captions_in(one) for name, one in names.items() if re.fullmatch(rf"{field}s?(_?\d+)?", name)]
            if found := tuple(dict.fromkeys(caption for part in parts for caption in part)):
                return found
        return ()
    texts = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(" ".join(text.split()) for text in texts if isinstance(text, str) and text.strip()))


def _captions(content: str, suffix: str) -> tuple[str, ...]:
    """Returns the captions of a .txt or .json file. Raises ValueError if it is not JSON."""
    if suffix == ".txt":
        return captions_in(content.splitlines())
    try:
        return captions_in(parse_json(content, allow_nan=True))
    except ValueError as error:
        raise ValueError(f"its .json file is damaged: {error}") from error


def _in_folder(root: Path, skipped: dict[str, str]) -> Iterator[Recording]:
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        place = os.path.realpath(folder)  # a link may lead back to where it is
        folders[:] = [] if place in seen else sorted(one for one in folders if not one.startswith("."))
        files = [] if place in seen else files
        seen.add(place)
        names = {one.lower(): one for one in files}
        for file in sorted(one for one in files if not one.startswith(".")):
            path = Path(folder, file)
            name, suffix = path.relative_to(root).as_posix(), path.suffix.lower()
            if suffix in (".tar", *AUDIO_SUFFIXES) and path.exists() and not path.is_file():
                skipped[name] = NO_FILE
            elif suffix == ".tar":
                yield from _in_tar(path, name, skipped)
            elif suffix in UNREAD_SUFFIXES:
                skipped[name] = f"is of a format that is not read ({', '.join(sorted(AUDIO_SUFFIXES))} are)"
            elif suffix in AUDIO_SUFFIXES:
                captions: tuple[str, ...] = ()
                beside = _beside(path.stem, names)
                try:
                    if beside is not None and Path(folder, beside).is_file():
                        captions = _captions(read_text(Path(folder, beside), "caption"), Path(beside).suffix.lower())
                except ValueError as error:
                    skipped[name] = str(error)
                    continue
                yield from _recording(name, path, captions, skipped)


def _beside(stem: str, names: Mapping[str, str]) -> str | None:
    """Returns the file of captions of a sound, which may be written in other cases: .json before .txt."""
    return next((names[one] for one in (f"{stem.lower()}.json", f"{stem.lower()}.txt") if one in names), None)


def _in_manifest(path: Path, skipped: dict[str, str]) -> Iterator[Recording]:
    if path.suffix.lower() == ".jsonl":
        rows = read_json_lines(path)
    else:
        text = io.StringIO(read_text(path, "manifest"), newline="")
        try:
            rows = list(csv.DictReader(text, delimiter="\t" if path.suffix.lower() == ".tsv" else ","))
        except csv.Error as error:
            raise ValueError(f"manifest {path}: {error}") from error
    if not rows:
        raise ValueError(f"manifest {path}: no entry (the first line of .csv and .tsv names the fields: file,caption)")
    if not any(_is_used(row) for row in rows):
        raise ValueError(f"manifest {path}: none of {len(rows)} entries is of the split train")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"manifest {path}, entry {number}: not a JSON object")
        row = {str(name).strip().lower(): one for name, one in row.items()}
        file = next((row[name] for name in FILE_FIELDS if isinstance(row.get(name), str) and row[name].strip()), None)
        if file is None:
            raise ValueError(
                f"manifest {path}, entry {number}: without a field {' or '.join(FILE_FIELDS)}; "
                f"it has {', '.join(map(str, row))[:200]}"
            )
        if _is_used(row):
            yield from _recording(file, path.parent / file, captions_in(row), skipped)


def _is_used(row: Any) -> bool:
    """Returns whether a line of a manifest is of the split train, as one without a split is; others than objects are."""
    if not isinstance(row, dict):
        return True
    return next((one for name, one in row.items() if str(name).strip().lower() == "split"), None) in (None, "", "train")


def _recording(name: str, path: Path, captions: tuple[str, ...], skipped: dict[str, str]) -> Iterator[Recording]:
    """Yields the recording of a file, or adds it to `skipped`."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # of a name with a null character
        skipped[name] = f"cannot be read: {getattr(error, 'strerror', error)}"
        return
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for its writer
        skipped[name] = NO_FILE
    elif captions:
        key = content_digest(f"{name}|{status.st_size}|{status.st_mtime_ns}")
        yield Recording(name, str(path), captions, key, size=status.st_size)
    else:
        skipped[name] = NO_CAPTION


def _in_tar(path: Path, name: str, skipped: dict[str, str]) -> Iterator[Recording]:
    """Yields the recordings of a shard; members are found by their headers alone, and captions are read."""
    groups: dict[str, dict[str, tarfile.TarInfo]] = {}
    try:
        with tarfile.open(path, "r:") as tar, path.open("rb") as content:
            try:
                for member in tar:
                    if member.isreg() and not Path(member.name).name.startswith("."):
                        folder, _, file = member.name.rpartition("/")
                        stem, _, extension = file.partition(".")
                        groups.setdefault(f"{folder}/{stem}" if folder else stem, {})["." + extension.lower()] = member
            except (tarfile.TarError, OSError) as error:
                skipped[name] = f"is a damaged shard after {len(groups)} samples: {error}"
            status = path.stat()
            if status.st_size % tarfile.BLOCKSIZE:
                skipped.setdefault(name, f"is a damaged shard: it ends inside of a sample, after {len(groups)}")
            for stem, members in groups.items():
                sound = next((suffix for suffix in members if suffix in AUDIO_SUFFIXES), None)
                beside = next((suffix for suffix in (".json", ".txt") if suffix in members), None)
                if sound is None:
                    continue
                one, label = members[sound], f"{name}/{stem}{sound}"
                captions: tuple[str, ...] = ()
                try:
                    if beside is not None:
                        content.seek(members[beside].offset_data)
                        captions = _captions(content.read(members[beside].size).decode("utf-8-sig"), beside)
                except ValueError as error:  # UnicodeDecodeError is one
                    skipped[label] = f"its captions cannot be read: {error}"
                    continue
                if captions:
                    key = content_digest(f"{label}|{one.offset_data}|{one.size}|{status.st_mtime_ns}")
                    yield Recording(label, str(path), captions, key, one.offset_data, one.size)
                else:
                    skipped[label] = NO_CAPTION
    except (tarfile.TarError, OSError) as error:
        skipped[name] = f"is not a tar file that can be read: {error}"


def read_parts(recording: Recording, sample_rate: int, channels: int, samples: int) -> list[tuple[np.ndarray, float]]:
    """Reads a recording in consecutive parts: [(wav [channel, sample] float32 padded with silence, seconds of sound)].

    Parts have `samples` samples at `sample_rate` Hz; silent ones are left out, and a last one of less than half that
    length if there are others. One channel is copied to two, several are averaged to one; of more than two, the first
    two are taken. Raises ValueError, with what is wrong, if no part is left, or a sample is not finite."""
    import soundfile

    parts: list[tuple[np.ndarray, float]] = []
    try:
        with open(recording.path, "rb") as file:
            file.seek(max(recording.offset, 0))
            source: Any = file if recording.offset < 0 else io.BytesIO(file.read(recording.size))
            with soundfile.SoundFile(source) as sound:
                if missing := missing_end(sound.extra_info):
                    raise ValueError(missing)
                length, whole = max(1, round(samples * sound.samplerate / sample_rate)), False
                while len(wav := sound.read(length, dtype="float32", always_2d=True)):
                    if whole and len(wav) < length / 2:
                        break
                    whole = True
                    if not np.isfinite(wav).all():
                        raise ValueError("holds samples that are not finite")
                    if np.abs(wav).max() >= SILENCE:
                        seconds = len(wav) / sound.samplerate
                        parts.append((_fitted(wav, sound.samplerate, sample_rate, channels, samples), seconds))
    except (RuntimeError, OSError, TypeError) as error:
        raise ValueError(f"cannot be read: {' '.join(str(error).split())}") from error
    if not parts:
        raise ValueError("is silent" if whole else "is empty")
    return parts


def _fitted(wav: np.ndarray, rate: int, target_rate: int, channels: int, samples: int) -> np.ndarray:
    """Returns a wav [sample, channel] as [channels, samples] at another rate."""
    wav = to_mono(wav)[:, None] if channels == 1 else wav[:, [0, min(1, wav.shape[1] - 1)]]
    wav = resample(wav, rate, target_rate)[:samples].clip(-1.0, 1.0)
    return np.ascontiguousarray(np.pad(wav, ((0, samples - len(wav)), (0, 0))).T)
