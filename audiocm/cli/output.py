"""Prompt files, and the file or folder that `audiocm generate` writes its sounds to."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np

from ..audio.io import _format, write_sound
from ..files import atomic_write


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

    def write(self, prompt: int, take: int, wav: np.ndarray, sample_rate: int) -> str:
        """Write one sound [sample] and return its file name."""
        file = self.path / f"{prompt:03d}_{take}.wav" if self.is_folder else self.path
        write_sound(file, wav, sample_rate)
        return file.name

    def finish(self, rows: list[dict]) -> None:
        """Write manifest.jsonl, one line a sound, if this is a folder that got any."""
        if self.is_folder and rows:
            with atomic_write(self.path / "manifest.jsonl") as beside:
                beside.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
