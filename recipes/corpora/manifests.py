"""Shared by the corpus recipes: levels and fades of clips, G.722 decoding, and resumable building of a manifest."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from audiocm.audio.io import write_wave
from audiocm.audio.loudness import active_rms
from audiocm.files import read_json_lines, write_json_lines

RATE = 24000


def rng_for(*key: object) -> np.random.Generator:
    """Returns a random generator seeded by the key alone, the same on any machine and in any order of calls."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:8], "little"))


def loudness(wav: np.ndarray) -> float:
    """Returns the RMS in dB of the active part of a wav [sample]: 20 ms frames within 30 dB of the loudest."""
    return float(20 * np.log10(active_rms(wav.astype(np.float64), RATE, range_db=30.0)))


def level(wav: np.ndarray, decibel: float, peak: float = 0.89) -> np.ndarray:
    """Scales a wav [sample] to a loudness in dB, or less where its peak would exceed `peak`; silence is unchanged."""
    gain = 10 ** ((decibel - loudness(wav)) / 20) if np.any(wav) else 1.0
    return (wav * min(gain, peak / max(float(np.abs(wav).max()), 1e-9))).astype(np.float32)


def fade(wav: np.ndarray, seconds: float = 0.01) -> np.ndarray:
    """Returns a wav [sample] with a linear fade at its end, so that a cut does not click."""
    count = min(len(wav), int(seconds * RATE))
    wav = wav.copy()
    wav[len(wav) - count :] *= np.linspace(1, 0, count, dtype=wav.dtype)
    return wav


def read_g722(path: Path) -> np.ndarray:
    """Decodes a raw G.722 file to float32 [sample] at 16 kHz; needs PyPI `av`."""
    import av

    with av.open(str(path), format="g722") as file:
        parts = [frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]
    return np.concatenate(parts).astype(np.float32) / 32768


def read_lines(path: Path) -> list[dict]:
    """Reads a JSON-lines file, [] if it is missing; a last line that a killed process left unfinished is dropped."""
    return read_json_lines(path, skip_damaged=True) if path.exists() else []


def print_summary(lines: Sequence[dict]) -> None:
    """Prints the number and the total length of a manifest's clips."""
    print(f"{len(lines)} clips, {sum(line['seconds'] for line in lines) / 3600:.2f} h")


def build(
    root: Path,
    plan: Sequence[dict],
    make: Callable[[dict], np.ndarray | tuple[np.ndarray, dict[str, str]]],
    n_jobs: int,
    start: Callable[..., None] | None = None,
    start_args: tuple = (),
    title: str = "clips",
) -> list[dict]:
    """Writes the clip of every plan entry that root/manifest.jsonl does not hold yet, and returns the whole manifest.

    An entry is a manifest line without `seconds`; its `spec` is for `make` and is not written. `make` returns a wav, or
    a wav and the `words` of its line. `start` runs once in each of the `n_jobs` processes. The manifest ends in the
    plan's order, without lines that are no longer in the plan: captions can change without a new rendering, but a clip
    whose `spec` changes must be deleted first."""
    path = root / "manifest.jsonl"
    done = {line["file"]: line for line in read_lines(path) if (root / line["file"]).exists()}
    todo = [entry for entry in plan if entry["file"] not in done]
    write_json_lines(path, done.values())
    with path.open("a", encoding="utf-8") as manifest:
        for line in tqdm(_run(root, todo, make, n_jobs, start, start_args), total=len(todo), desc=title, mininterval=5):
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
            manifest.flush()
            done[line["file"]] = line
    kept = {file: {key: line[key] for key in ("seconds", "words") if key in line} for file, line in done.items()}
    lines = [_manifest_line(entry, kept[entry["file"]]) for entry in plan]
    write_json_lines(path, lines)
    return lines


_JOB: dict = {}  # of a worker process


def _begin(root: Path, make: Callable, start: Callable | None, start_args: tuple) -> None:
    _JOB.update(root=root, make=make)
    if start is not None:
        start(*start_args)


def _make_clip(entry: dict) -> dict:
    made = _JOB["make"](entry)
    wav, words = made if isinstance(made, tuple) else (made, None)
    write_wave(_JOB["root"] / entry["file"], wav, RATE)
    return _manifest_line(entry, {"seconds": round(len(wav) / RATE, 3)} | ({} if words is None else {"words": words}))


def _manifest_line(entry: dict, found: dict) -> dict:
    return {"file": entry["file"], **found} | {key: value for key, value in entry.items() if key != "spec"}


def _run(root: Path, todo: Sequence[dict], make: Callable, n_jobs: int, *start: object) -> Iterable[dict]:
    """Yields the manifest lines of new clips in order, made in this process or by `n_jobs` others."""
    if n_jobs <= 1 or len(todo) < 2:
        if todo:
            _begin(root, make, *start)
        yield from map(_make_clip, todo)
        return
    with get_context("spawn").Pool(n_jobs, _begin, (root, make, *start)) as pool:
        yield from pool.imap(_make_clip, todo, chunksize=8)
