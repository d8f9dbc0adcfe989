"""Files and folders that are never half-written, JSON lines, and digests of contents."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .checks import check_path
from .schema import parse_json


@contextmanager
def atomic_write(path: str | os.PathLike, sync: bool = False) -> Iterator[Path]:
    """Yields a temporary path that takes the place of `path` at the end of the block, and is deleted after an error.

    The block makes a file or a folder there, named `.NAME.PID.partial` beside `path`, whose parents are created. A
    process that is killed leaves it behind; `remove_partials` deletes it.
    sync: flush everything to the disk, so that it also survives a power failure. Raises ValueError if the operating
    system refuses to write."""
    path = Path(check_path("path", path))
    path = path.resolve() if os.path.islink(path) else path
    is_device = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)  # such as /dev/null
    partial = path if is_device else path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if is_device:
            return
        if sync:
            _sync(*partial.rglob("*"), partial)
        if partial.is_dir() and path.is_dir():
            shutil.rmtree(path)
        os.replace(partial, path)
        if sync:
            _sync(path.parent)
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if os.path.isdir(partial):
            shutil.rmtree(partial, ignore_errors=True)
        elif os.path.isfile(partial):
            partial.unlink(missing_ok=True)


def remove_partials(folder: str | os.PathLike) -> None:
    """Deletes what `atomic_write` began in a folder in processes that are dead."""
    for partial in Path(folder).glob(".*.partial"):
        pid = partial.name.split(".")[-2]
        if pid.isdecimal() and not _is_alive(int(pid)):
            with suppress(OSError):  # of another user, or gone
                shutil.rmtree(partial) if partial.is_dir() and not partial.is_symlink() else partial.unlink()


def _is_alive(pid: int) -> bool:
    if os.name != "posix":  # where a signal 0 would end the process
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another user
        return True
    return True


def _sync(*paths: Path) -> None:
    """Flushes files, and folders as lists of their files, to the disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _to_json(value: Any, indent: int | None = None) -> bytes:
    """Returns JSON in UTF-8 and a line's end; bytes of a file name that are no UTF-8 stay escaped."""
    return (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a value as indented JSON. Raises ValueError if the file cannot be written."""
    with atomic_write(path) as partial:
        partial.write_bytes(_to_json(value, indent=1))


def write_json_lines(path: str | os.PathLike, rows: Iterable[Any]) -> None:
    """Writes one JSON value per line. Raises ValueError if the file cannot be written."""
    with atomic_write(path) as partial:
        partial.write_bytes(b"".join(map(_to_json, rows)))


def append_json_line(path: str | os.PathLike, row: Any) -> None:
    """Appends a JSON value as a line, in one write: a kill leaves whole lines, and a full disk the file as it was.

    Raises ValueError if the file cannot be written."""
    try:
        with open(path, "ab", buffering=0) as file:
            size, line = file.tell(), _to_json(row)
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from error


def read_text(path: str | os.PathLike, kind: str = "", errors: str = "strict") -> str:
    """Returns the content of a UTF-8 file. Raises ValueError, which calls it the `kind` file, if it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8-sig", errors=errors)
    except (OSError, UnicodeDecodeError) as error:
        name, reason = f"the {kind} file {path}" if kind else path, getattr(error, "strerror", None)
        raise ValueError(f"cannot read {name}: {reason or 'it is not UTF-8 text'}") from error


def read_json_lines(path: str | os.PathLike, skip_damaged: bool = False) -> list[Any]:
    """Returns the values of a JSON-lines file; empty lines are skipped.

    skip_damaged: leave out lines that are not JSON, such as the last one of a killed process. Raises ValueError naming
    the file, and the line if one is not JSON."""
    values = []
    for number, line in enumerate(read_text(path, errors="replace" if skip_damaged else "strict").split("\n"), 1):
        try:
            values += [parse_json(line, allow_nan=True)] if line.strip() else []
        except ValueError as error:
            if not skip_damaged:
                raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
    return values


def content_digest(*parts: bytes | str) -> str:
    """Returns sixteen hexadecimal digits of a SHA-256 hash, which change when any part does."""
    whole = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(whole).hexdigest()[:16]


def file_digest(path: str | os.PathLike) -> str:
    """Returns `content_digest` of a file's bytes, which are read in blocks. Raises OSError if it cannot be read."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:16]
