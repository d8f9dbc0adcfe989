"""Files that are never half-written, flushed to the disk, and named by their content."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(file: Path) -> Iterator[Path]:
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


def write_json(path: Path, value: Any) -> None:
    """Write and flush to the disk."""
    path.write_text(json.dumps(value, indent=1, allow_nan=True))
    sync_file(path)


def sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def content_digest(*parts: bytes | str) -> str:
    """Sixteen hex digits that change when any part does."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
    return total.hexdigest()[:16]
