"""Sound files, prompt files and the manifest of `audiocm generate`: nothing is ever half-written."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy

FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
_BLOCK = 16_384  # libsndfile's Vorbis writer overflows its stack when handed minutes at once


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `file` at the end of the block, or vanishes with an error.

    ValueError when the file cannot be written.
    """
    beside = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        os.replace(beside, file)
    except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        raise ValueError(f"cannot write {file}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        beside.unlink(missing_ok=True) if beside.parent.is_dir() else None


@contextmanager
def sound_file(
    file: str | os.PathLike, sample_rate: int, channels: int = 1
) -> Iterator[Callable[[numpy.ndarray], None]]:
    """A function that appends wav [sample] (or [sample, channel]) in [-1, 1] to a WAV or FLAC (16 bit) or OGG Vorbis file.

    The file appears, whole, at the end of the block. ValueError for another extension or when it cannot be written.
    """
    import soundfile

    file = Path(file)
    container, subtype = _format(file)
    with (
        whole(file) as beside,
        soundfile.SoundFile(beside, "w", sample_rate, channels, subtype, format=container) as out,
    ):

        def append(wav: numpy.ndarray) -> None:
            for start in range(0, len(wav), _BLOCK):
                out.write(wav[start : start + _BLOCK])

        yield append


def write_sound(file: str | os.PathLike, wav: numpy.ndarray, sample_rate: int) -> None:
    """Write a whole sound, see `sound_file`."""
    with sound_file(file, sample_rate, 1 if wav.ndim == 1 else wav.shape[1]) as append:
        append(wav)


def _format(file: Path) -> tuple[str, str]:
    if file.suffix.lower() not in FORMATS:
        raise ValueError(f"cannot write {file}: the extension must be {', '.join(FORMATS)}, or give a folder")
    return FORMATS[file.suffix.lower()]


def read_prompts(file: str | os.PathLike) -> list[str]:
    """One prompt a line, empty lines skipped. ValueError when the file cannot be read or holds none."""
    try:
        lines = Path(file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ValueError(f"cannot read the prompt file {file}: {reason}") from error
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise ValueError(f"the prompt file {file} holds no prompt")
    return prompts


class Destination:
    """Where sounds go: one file, or a folder with numbered files and a manifest. ValueError, before any work, if it cannot."""

    def __init__(self, output: str, count: int):
        self.path = Path(output)
        self.is_folder = self.path.is_dir() or output.endswith(("/", os.sep)) or not self.path.suffix
        if not self.is_folder:
            _format(self.path)
            if count > 1:
                raise ValueError(f"{output} is one file, but {count} sounds were asked for: give a folder")
        elif self.path.exists() and not self.path.is_dir():
            raise ValueError(f"cannot write to the folder {output}: a file is in its place")
        standing = next(place for place in (self.path, *self.path.absolute().parents) if place.is_dir())
        try:
            tempfile.TemporaryFile(dir=standing).close()
            if blocked := next((p for p in self.path.absolute().parents if p.exists() and not p.is_dir()), None):
                raise NotADirectoryError(20, f"{blocked} is not a folder")
        except OSError as error:
            raise ValueError(f"cannot write {output}: {error.strerror or error}") from error

    def write(self, prompt: int, take: int, wav: numpy.ndarray, sample_rate: int) -> str:
        """Write one sound [sample] and return its file name."""
        file = self.path / f"{prompt:03d}_{take}.wav" if self.is_folder else self.path
        write_sound(file, wav, sample_rate)
        return file.name

    def finish(self, rows: list[dict]) -> None:
        """Write manifest.jsonl, one line a sound, if this is a folder that got any."""
        if self.is_folder and rows:
            with whole(self.path / "manifest.jsonl") as beside:
                beside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
