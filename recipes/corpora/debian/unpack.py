"""Unpack audio out of Debian packages and of the archives inside them (Qt .rcc, zip-like, OpenTTD .cat)."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

AUDIO = (".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".aif", ".aiff", ".au", ".g722")
ARCHIVES = (".rcc", ".pk3", ".pk4", ".wz", ".zip", ".cat", ".ndz", ".dpk")
_DOCS = ("copyright", "core-sounds-en.txt", "core-sounds-en.txt.gz")


def package_name(deb: Path) -> str:
    """Package name of a .deb file as apt names it (``name_version_arch.deb``)."""
    return deb.name.split("_", 1)[0]


def unpack_deb(deb: Path, folder: Path) -> None:
    """Unpack the audio, archive and copyright files of one package into ``folder`` (atomic; no package script runs).

    A folder that already stands is left alone. Raises ValueError naming the package when it is damaged.
    """
    if folder.exists():
        return
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    masks = [f"*{end}" for end in AUDIO + ARCHIVES] + [f"*{end.upper()}" for end in AUDIO + ARCHIVES]
    masks += [f"*/{name}" for name in _DOCS]
    with subprocess.Popen(
        ["dpkg", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as source:
        subprocess.run(
            ["tar", "-x", "-C", str(partial), "--wildcards", "--no-same-owner", *masks],
            stdin=source.stdout,
            stderr=subprocess.DEVNULL,
            check=False,
        )  # 2 = some mask matched nothing
        if source.stdout is not None:
            source.stdout.read()
    if source.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise ValueError(f"{deb.name}: not a readable Debian package")
    for archive in sorted(p for p in partial.rglob("*") if p.suffix.lower() in ARCHIVES and p.is_file()):
        inside = archive.with_name(archive.name + ".d")
        for name, data in read_archive(archive):
            target = (inside / name).resolve()
            if target.is_relative_to(inside.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        archive.unlink()
    partial.rename(folder)


def read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (inner path, bytes) of every audio file in an archive; nothing when the file is no such archive."""
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"qres":
        yield from _read_rcc(path.read_bytes())
    elif magic[:2] == b"PK" and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.lower().endswith(AUDIO):
                    yield info.filename, archive.read(info)
    elif path.suffix.lower() == ".cat":
        yield from _read_cat(path.read_bytes())


def _read_rcc(blob: bytes) -> Iterator[tuple[str, bytes]]:
    """Qt resource bundle: a tree of nodes, UTF-16 names, payloads raw or zlib-compressed (zstd ones are skipped)."""
    version, tree, data, names = struct.unpack_from(">4I", blob, 4)
    stride = 22 if version >= 2 else 14

    def walk(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        at = tree + index * stride
        name_at, flags = struct.unpack_from(">IH", blob, at)
        length = struct.unpack_from(">H", blob, names + name_at)[0] if index else 0
        name = blob[names + name_at + 6 : names + name_at + 6 + 2 * length].decode("utf-16-be")
        here = f"{prefix}/{name}" if prefix else name
        if flags & 2:
            count, first = struct.unpack_from(">II", blob, at + 6)
            for child in range(first, first + count):
                yield from walk(child, here)
        elif here.lower().endswith(AUDIO) and not flags & 4:
            start = data + struct.unpack_from(">I", blob, at + 10)[0]
            size = struct.unpack_from(">I", blob, start)[0]
            payload = blob[start + 4 : start + 4 + size]
            yield here, zlib.decompress(payload[4:]) if flags & 1 else payload

    yield from walk(0, "")


def _read_cat(blob: bytes) -> Iterator[tuple[str, bytes]]:
    """OpenTTD sound catalogue: (offset, size) pairs; each entry is a name, a RIFF file and a description."""
    count = (struct.unpack_from("<I", blob)[0] & 0x7FFFFFFF) // 8
    for index in range(count):
        at = struct.unpack_from("<I", blob, 8 * index)[0] & 0x7FFFFFFF
        name_size = blob[at]
        name = blob[at + 1 : at + 1 + name_size].split(b"\0")[0].decode("latin-1")
        start = at + 1 + name_size
        if blob[start : start + 4] != b"RIFF":
            continue
        end = start + 8 + struct.unpack_from("<I", blob, start + 4)[0]
        text = blob[end + 1 : end + 1 + blob[end]].split(b"\0")[0].decode("latin-1") if end < len(blob) else ""
        text = re.split(r"[\r\n]|Original|\b[Bb]y\b|License", text or name)[0]
        words = "".join(c if c.isalnum() else " " for c in text)[:80].strip()
        yield f"{index:03d} {words}.wav", blob[start:end]
