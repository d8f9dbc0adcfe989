"""Clips and manifests shared by the synthetic recipes: 24 kHz mono FLAC files and one JSON line for each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

RATE = 24000


def rng_for(*key: object) -> np.random.Generator:
    """A generator that depends on nothing but the key: the same on any machine and in any order."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little"))


def split_of(key: str, valid: float = 0.04, test: float = 0.06) -> str:
    """train, valid or test by a hash of the key, so that a group never moves."""
    u = int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "little") / 2**48
    return "test" if u < test else "valid" if u < test + valid else "train"


def loudness(wav: np.ndarray) -> float:
    """RMS in dB of the active part of wav [sample]: 20 ms frames within 30 dB of the loudest; -inf for silence."""
    frames = wav[: len(wav) // 480 * 480].reshape(-1, 480) if len(wav) >= 480 else wav[None]
    power = (frames.astype(np.float64) ** 2).mean(1)
    active = power[power > power.max() * 1e-3]
    return float(10 * np.log10(active.mean())) if active.size else float("-inf")


def level(wav: np.ndarray, decibel: float, peak: float = 0.89) -> np.ndarray:
    """wav [sample] scaled to an active loudness in dB, or less where the peak would pass `peak`."""
    gain = 10 ** ((decibel - loudness(wav)) / 20) if np.any(wav) else 1.0
    return (wav * min(gain, peak / max(float(np.abs(wav).max()), 1e-9))).astype(np.float32)


def fade(wav: np.ndarray, seconds: float = 0.01) -> np.ndarray:
    """wav [sample] with a linear fade at its end, so that a cut does not click."""
    count = min(len(wav), int(seconds * RATE))
    wav = wav.copy()
    wav[len(wav) - count :] *= np.linspace(1, 0, count, dtype=wav.dtype)
    return wav


def write_flac(path: Path, wav: np.ndarray) -> None:
    """wav [sample] float in [-1, 1] to a 16-bit FLAC at 24 kHz, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    soundfile.write(part, wav, RATE, format="FLAC", subtype="PCM_16")
    part.replace(path)


def read_manifest(path: Path) -> list[dict]:
    """The manifest's lines; a last line that a killed process left unfinished is dropped."""
    lines = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return lines


def build(
    root: Path, plan: Sequence[dict], make: Callable[[dict], np.ndarray], n_jobs: int,
    start: Callable[..., None] | None = None, start_args: tuple = (), title: str = "clips",
) -> list[dict]:  # fmt: skip
    """Write the clip of every plan entry that root/manifest.jsonl does not hold yet; returns the whole manifest.

    An entry is a manifest line (without `seconds`) that may hold a `spec` for `make`, which is not written.
    The manifest ends in the plan's order and words (captions may be improved without a new rendering; a changed
    `spec` needs the old file deleted), without lines that are no longer in the plan.
    """
    root.mkdir(parents=True, exist_ok=True)
    path = root / "manifest.jsonl"
    done = {line["file"]: line for line in read_manifest(path) if (root / line["file"]).exists()}
    todo = [entry for entry in plan if entry["file"] not in done]
    with path.open("w", encoding="utf-8") as manifest:
        for line in done.values():
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
        for line in tqdm(_run(root, todo, make, n_jobs, start, start_args), total=len(todo), desc=title, mininterval=5):
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
            manifest.flush()
            done[line["file"]] = line
    lines = [_described(entry, done[entry["file"]]["seconds"]) for entry in plan]
    ordered = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    part = path.with_suffix(".part")
    part.write_text(ordered, encoding="utf-8")
    part.replace(path)
    return lines


_JOB: dict = {}


def _begin(root: Path, make: Callable, start: Callable | None, start_args: tuple) -> None:
    _JOB.update(root=root, make=make)
    if start is not None:
        start(*start_args)


def _one(entry: dict) -> dict:
    wav = _JOB["make"](entry)
    write_flac(_JOB["root"] / entry["file"], wav)
    return _described(entry, round(len(wav) / RATE, 3))


def _described(entry: dict, seconds: float) -> dict:
    return {"file": entry["file"], "seconds": seconds} | {key: value for key, value in entry.items() if key != "spec"}


def _run(
    root: Path, todo: Sequence[dict], make: Callable, n_jobs: int, start: Callable | None, start_args: tuple
) -> Iterable[dict]:
    if n_jobs <= 1 or len(todo) < 2:
        if todo:
            _begin(root, make, start, start_args)
        yield from map(_one, todo)
        return
    with get_context("spawn").Pool(n_jobs, _begin, (root, make, start, start_args)) as pool:
        yield from pool.imap(_one, todo, chunksize=8)
