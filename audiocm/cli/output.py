"""The file or folder that a command writes sounds to, what it says of missing ones, and the file of prompts it reads."""

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from ..audio.io import file_format, write_wave
from ..files import read_text

SOUNDS_MISSING = 3  # exit code


def read_prompts(file: str | os.PathLike) -> list[str]:
    """Returns the non-empty lines of a file. Raises ValueError if it cannot be read or holds none."""
    prompts = [line.strip() for line in read_text(file, "prompt").splitlines() if line.strip()]
    if not prompts:
        raise ValueError(f"the prompt file {file} holds no prompt")
    return prompts


class Destination:
    """A file for one sound, or a folder for numbered files and a manifest.

    Raises ValueError at once if it cannot be written or `count` sounds do not fit."""

    def __init__(self, output: str, count: int):
        self.path, self.recorded = Path(output), 0
        self.is_folder = self.path.is_dir() or output.endswith(("/", os.sep)) or not self.path.suffix
        if not self.is_folder:
            file_format(self.path)
            if count > 1:
                raise ValueError(f"{output} is one file, but {count} sounds were asked for: give a folder")
        elif self.path.exists() and not self.path.is_dir():
            raise ValueError(f"cannot write to the folder {output}: a file is in its place")
        folder = (self.path if self.is_folder else self.path.parent).absolute()
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        if not existing.is_dir():
            raise ValueError(f"cannot write {output}: {existing} is not a folder")
        try:
            tempfile.TemporaryFile(dir=existing).close()
        except OSError as error:
            raise ValueError(f"cannot write {output}: {error.strerror or error}") from error

    def write(self, prompt: int, take: int, wav: np.ndarray, sample_rate: int) -> str:
        """Writes one sound [sample] and returns its file name."""
        file = self.path / f"{prompt:03d}_{take}.wav" if self.is_folder else self.path
        write_wave(file, wav, sample_rate)
        return file.name

    def record(self, row: dict) -> None:
        """Appends a sound's line to manifest.jsonl, which the first one begins anew, if this is a folder."""
        if self.is_folder:
            with (self.path / "manifest.jsonl").open("a" if self.recorded else "w", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self.recorded += 1


def report_missing(what: str, prompt: str, place: str, reason: str) -> None:
    """Prints one line on stderr about a sound that no seed made valid."""
    print(f"audiocm: no {what} for {prompt!r} ({place}): it {reason}", file=sys.stderr)
