"""Carry a corpus to another machine: Ogg clips in a few tar shards, and back. Needs soundfile only."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

RATE = 24000


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a jsonl file; a torn last line (killed run) is ignored."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def encode(wave: np.ndarray, quality: float, subtype: str = "OPUS") -> bytes:
    """Ogg bytes of a 24 kHz mono wave; ``quality`` in [0, 1], 1 the best and largest."""
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", RATE, 1, format="OGG", subtype=subtype, compression_level=1 - quality
    ) as file:
        for start in range(0, len(wave), RATE):  # libsndfile's Vorbis writer overflows its stack on long blocks
            file.write(wave[start : start + RATE])
    return buffer.getvalue()


def choose(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Manifest rows in travel order: named sounds, music, English prompts (held out first), then what can stay behind."""

    def rank(row: dict[str, Any]) -> tuple[int, bool]:
        if row["kind"] == "speech":
            return 2 if row.get("language") == "en" else 3, row["split"] == "train"
        return {"effect": 0, "music": 1}.get(row["kind"], 4), False

    return sorted(rows, key=rank)


def pack(
    root: Path,
    folder: Path,
    max_mb: float = 58.0,
    quality: float = 0.3,
    max_seconds: float = 5.0,
    held_seconds: float = 8.0,
    rows: list[dict[str, Any]] | None = None,
    max_shards: int | None = None,
) -> list[Path]:
    """Write shard_000.tar ... of at most ``max_mb`` MB each: clips as Ogg/Opus, and their manifest lines.

    ``rows`` are manifest rows (default: all of the root's manifest), packed in their order until
    ``max_shards`` are full. Train clips longer than
    ``max_seconds`` and other clips longer than ``held_seconds`` are cut to their loudest such window.
    ``quality`` 0.3 is some 86 kbps and moves the log-mel by 0.06 on average (Vorbis of that size: 0.07).
    """
    rows = read_lines(root / "manifest.jsonl") if rows is None else rows
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("shard_*.tar*"):
        old.unlink()
    done: list[Path] = []
    for number, part in enumerate(_parts(root, rows, max_mb * 1e6, quality, (max_seconds, held_seconds))):
        path = folder / f"shard_{number:03d}.tar"
        with tarfile.open(path.with_suffix(".part"), "w", format=tarfile.USTAR_FORMAT) as archive:
            _add(archive, "clips.bin", b"".join(data for _, data in part))
            lines = [json.dumps(row | {"bytes": len(data)}) for row, data in part]
            _add(archive, "manifest.jsonl", "\n".join(lines).encode())
        os.replace(path.with_suffix(".part"), path)
        done.append(path)
        if len(done) == max_shards:
            break
    return done


def unpack_shards(folder: Path, root: Path) -> int:
    """Rebuild ``root`` (FLAC clips and manifest.jsonl) from the shards in ``folder``; returns the number of clips.

    Raises ValueError when there is no shard or one is damaged.
    """
    shards = sorted(folder.glob("shard_*.tar"))
    if not shards:
        raise ValueError(f"{folder}: no shard_*.tar found")
    rows: list[dict[str, Any]] = []
    for shard in tqdm(shards, desc="unpack shards"):
        try:
            with tarfile.open(shard) as archive:
                blob, lines = (archive.extractfile(name).read() for name in ("clips.bin", "manifest.jsonl"))
        except (tarfile.TarError, KeyError, AttributeError, EOFError) as error:
            raise ValueError(f"{shard}: damaged shard ({error})") from error
        at = 0
        for row in map(json.loads, lines.decode().splitlines()):
            size = row.pop("bytes")
            _write_clip(root / row["file"], blob[at : at + size])
            at += size
            rows.append(row)
    partial = root / "manifest.part"
    partial.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    os.replace(partial, root / "manifest.jsonl")
    return len(rows)


def _write_clip(path: Path, data: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    wave, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    soundfile.write(path.with_suffix(".part"), wave, RATE, format="FLAC", subtype="PCM_16")
    os.replace(path.with_suffix(".part"), path)


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def loudest(wave: np.ndarray, seconds: float) -> np.ndarray:
    """The loudest window of ``seconds`` of a longer wave."""
    size = round(seconds * RATE)
    if len(wave) <= size:
        return wave
    energy = np.concatenate([[0.0], np.cumsum(wave.astype(np.float64) ** 2)])
    starts = np.arange(0, len(wave) - size + 1, RATE // 10)
    best = starts[np.argmax(energy[starts + size] - energy[starts])]
    return wave[best : best + size]


def _parts(
    root: Path, rows: list[dict[str, Any]], limit: float, quality: float, seconds: tuple[float, float]
) -> Iterator[list[tuple[dict[str, Any], bytes]]]:
    """Lists of (row, Ogg bytes), each list within ``limit`` bytes with its manifest."""
    part: list[tuple[dict[str, Any], bytes]] = []
    used = 0
    for row in tqdm(rows, desc="pack"):
        wave, _ = soundfile.read(root / row["file"], dtype="float32")
        wave = loudest(wave, seconds[row["split"] != "train"])
        row = row | {"seconds": round(len(wave) / RATE, 3)}
        data = encode(wave, quality)
        cost = len(data) + len(json.dumps(row)) + 16
        if part and used + cost > limit - 20000:
            yield part
            part, used = [], 0
        part.append((row, data))
        used += cost
    if part:
        yield part
