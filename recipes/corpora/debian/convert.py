"""Converts scanned files to clips and tags them, in worker processes; resumable by an append-only clips.jsonl."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from audiocm.audio.io import resample, write_wave
from audiocm.embedders.yamnet import Yamnet
from recipes.corpora.debian.audio import log_mel_statistics, read_clips
from recipes.corpora.debian.scan import Item
from recipes.corpora.manifests import RATE, read_lines

SPEECH_CLASSES = range(6)  # of AudioSet, from Speech to Speech synthesizer
_STATE: dict[str, Any] = {}  # of a worker process


def _start(root: Path, tagger: Path | None, use_tagger: bool) -> None:
    _STATE.update(root=root, tagger=Yamnet(tagger, threads=1) if use_tagger else None)


def unwanted_tag(probabilities: np.ndarray, classes: list[str]) -> str:
    """Returns "speech" or "silence" if this is the most probable class of a clip, else ""."""
    best = int(probabilities.argmax())
    silent = classes[best] == "Silence" and probabilities[best] > 0.5
    return "speech" if best in SPEECH_CLASSES else "silence" if silent else ""


def _convert(item: Item) -> dict[str, Any]:
    """Returns the row of one source file: its clips, whose features are written beside them, or why there are none."""
    root, tagger = _STATE["root"], _STATE["tagger"]
    row: dict[str, Any] = {"item": asdict(item), "clips": [], "why": ""}
    try:
        wavs = read_clips(root / "unpacked" / item.package / item.path, item.kind)
    except Exception as error:  # any decoder may fail on a damaged file: it is counted and named
        return row | {"why": "corrupt", "error": repr(error)[:200]}
    if not wavs:
        return row | {"why": "near-silent or too short after trimming"}
    for number, wav in enumerate(wavs):
        name = f"{item.package}_{item.md5[:10]}_{number}"
        features = [log_mel_statistics(wav)]
        if tagger is not None:
            tags = tagger.features([resample(wav, RATE, tagger.sample_rate)])
            tag = "" if item.kind == "speech" else unwanted_tag(tags["probabilities"][0], tagger.classes)
            if tag:
                row["why"] = f"the tagger's first class is {tag}"
                continue
            features.append(tags["embedding"][0] / (np.linalg.norm(tags["embedding"][0]) + 1e-6))
        write_wave(root / "clips" / f"{name}.flac", wav, RATE)
        np.save(root / "features" / f"{name}.npy", np.concatenate(features).astype(np.float16))
        row["clips"].append({"file": f"clips/{name}.flac", "seconds": round(len(wav) / RATE, 3)})
    return row


def convert(
    root: Path, items: Iterable[Item], *, workers: int, tagger: Path | None, use_tagger: bool
) -> list[dict[str, Any]]:
    """Converts the items that clips.jsonl does not hold yet, and returns the rows of all, in their order."""
    (root / "features").mkdir(parents=True, exist_ok=True)
    log = root / "clips.jsonl"
    rows = {_key(row["item"]): row for row in read_lines(log)}
    items = list(items)
    todo = [item for item in items if _key(asdict(item)) not in rows]
    with log.open("a", encoding="utf-8") as file:
        for row in tqdm(_run(todo, workers, (root, tagger, use_tagger)), total=len(todo), desc="convert"):
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows[_key(row["item"])] = row
    return [rows[_key(asdict(item))] | {"item": asdict(item)} for item in items]


def _key(item: dict[str, Any]) -> tuple[str, str, str]:
    return item["package"], item["path"], item["md5"]


def _run(todo: list[Item], workers: int, state: tuple[Path, Path | None, bool]) -> Iterator[dict[str, Any]]:
    if workers <= 1:
        _start(*state)
        yield from map(_convert, todo)
        return
    with ProcessPoolExecutor(workers, initializer=_start, initargs=state) as pool:
        yield from pool.map(_convert, todo, chunksize=8)
