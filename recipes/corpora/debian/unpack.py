"""Unpacks audio out of Debian packages and of the archives inside them: Qt .rcc, zip formats, OpenTTD .cat."""

import gzip
import re
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from audiocm.files import atomic_write

AUDIO = (".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".aif", ".aiff", ".au", ".g722")
ARCHIVES = (".rcc", ".pk3", ".pk4", ".wz", ".zip", ".cat", ".ndz", ".dpk")
_DOCS = ("copyright", "core-sounds-en.txt", "core-sounds-en.txt.gz")


def package_name(deb: Path) -> str:
    """Returns the package of a .deb file with the name that apt gives it, name_version_arch.deb."""
    return deb.name.split("_", 1)[0]


def unpack_deb(deb: Path, folder: Path) -> None:
    """Unpacks the audio, archive and copyright files of one package into a folder, atomically; no package script runs.

    An existing folder is not changed. Raises ValueError naming the package if it is damaged."""
    if folder.exists():
        return
    with atomic_write(folder) as partial:
        partial.mkdir()
        _unpack_tar(deb, partial)
        for archive in sorted(p for p in partial.rglob("*") if p.suffix.lower() in ARCHIVES and p.is_file()):
            inside = archive.with_name(archive.name + ".d")
            for name, data in read_archive(archive):
                target = (inside / name).resolve()
                if target.is_relative_to(inside.resolve()):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(data)
            archive.unlink()


def _unpack_tar(deb: Path, folder: Path) -> None:
    """Extracts the files of interest of a package."""
    masks = [f"*{end}" for end in AUDIO + ARCHIVES] + [f"*{end.upper()}" for end in AUDIO + ARCHIVES]
    masks += [f"*/{name}" for name in _DOCS]
    tar = ["tar", "-x", "-C", str(folder), "--wildcards", "--no-same-owner", *masks]
    quiet = {"stderr": subprocess.DEVNULL}
    with subprocess.Popen(["dpkg", "--fsys-tarfile", str(deb)], stdout=subprocess.PIPE, **quiet) as source:
        subprocess.run(tar, stdin=source.stdout, check=False, **quiet)  # exit code 2: a mask matches nothing
        if source.stdout is not None:
            source.stdout.read()
    if source.returncode:
        raise ValueError(f"{deb.name}: not a readable Debian package")


def read_transcripts(folder: Path, language: str) -> dict[str, str]:
    """Returns the words of Asterisk's prompts by name, from the package's list with lines `name: words`.

    Stage directions in brackets are removed; names of tones and other sounds without words are left out."""
    texts = {}
    for path in sorted(folder.rglob(f"core-sounds-{language}.txt*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in data.decode("utf-8", "replace").splitlines():
            name, colon, words = line.partition(":")
            words = " ".join(re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>", " ", words).split())
            if colon and not name.startswith(";") and re.search(r"[A-Za-z]{2}|\d", words):
                texts[name.strip()] = words
    return texts


def read_archive(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yields (inner path, content) of the audio files in an archive; nothing for a file of another format."""
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
    """Reads a Qt resource bundle: nodes, UTF-16 names, and contents raw or compressed by zlib (zstd is skipped)."""
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
    """Reads an OpenTTD sound catalogue: (offset, size) pairs, then entries of name, RIFF file and description."""
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
