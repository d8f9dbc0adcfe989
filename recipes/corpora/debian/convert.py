"""Convert scanned files to clips and tag them, in worker processes, resumable through an append-only clips.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from recipes.corpora.debian import audio
from recipes.corpora.debian.scan import Item
from recipes.corpora.debian.shards import read_lines
from recipes.corpora.debian.tagger import Tagger

_STATE: dict[str, Any] = {}


def _start(root: Path, tagger: Path | None, use_tagger: bool) -> None:
    _STATE.update(root=root, tagger=Tagger(tagger) if use_tagger else None)


def _convert(item: Item) -> dict[str, Any]:
    """One source file to a row: its clips, their features, or why there are none."""
    root, tagger = _STATE["root"], _STATE["tagger"]
    row: dict[str, Any] = {"item": asdict(item), "clips": [], "why": ""}
    try:
        waves = audio.clips(root / "unpacked" / item.package / item.path, item.kind)
    except Exception as error:  # any decoder may fail on a damaged file: it is counted and named
        return row | {"why": "corrupt", "error": repr(error)[:200]}
    if not waves:
        return row | {"why": "near-silent or too short after trimming"}
    for number, wave in enumerate(waves):
        name = f"{item.package}_{item.md5[:10]}_{number}"
        features = [audio.log_mel_statistics(wave)]
        if tagger is not None:
            scores, embedding = tagger(wave)
            verdict = "" if item.kind == "speech" else tagger.verdict(scores)
            if verdict:
                row["why"] = f"tagger hears {verdict} first"
                continue
            features.append(embedding / (np.linalg.norm(embedding) + 1e-6))
        audio.write_flac(root / "clips" / f"{name}.flac", wave)
        np.save(root / "features" / f"{name}.npy", np.concatenate(features).astype(np.float16))
        row["clips"].append({"file": f"clips/{name}.flac", "seconds": round(len(wave) / audio.RATE, 3)})
    return row


def convert(
    root: Path, items: Iterable[Item], *, workers: int, tagger: Path | None, use_tagger: bool
) -> list[dict[str, Any]]:
    """Convert what clips.jsonl does not yet hold; returns the row of every item (in item order)."""
    for folder in ("clips", "features"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    log = root / "clips.jsonl"
    rows = {_key(r["item"]): r for r in read_lines(log)}
    items = list(items)
    todo = [i for i in items if (i.package, i.path, i.md5) not in rows]
    with log.open("a", encoding="utf-8") as file:
        for row in tqdm(_run(todo, workers, (root, tagger, use_tagger)), total=len(todo), desc="convert"):
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows[_key(row["item"])] = row
    return [rows[i.package, i.path, i.md5] | {"item": asdict(i)} for i in items]


def _key(item: dict[str, Any]) -> tuple[str, str, str]:
    return item["package"], item["path"], item["md5"]


def _run(todo: list[Item], workers: int, state: tuple[Path, Path | None, bool]) -> Iterator[dict[str, Any]]:
    if workers <= 1:
        _start(*state)
        yield from map(_convert, todo)
        return
    with ProcessPoolExecutor(workers, initializer=_start, initargs=state) as pool:
        yield from pool.map(_convert, todo, chunksize=8)
