"""Folders → features: streamed in chunks, several workers, kept by content hash so that a second run costs seconds."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .clips import Form, Intake, Source, UnusableClipError, decode
from .embedders import Embedder, digest_of

SOURCE = "source"  # key of a stored clip's rate, channels and samples


def cache_folder() -> Path:
    """$AUDIOCM_CACHE, else ~/.cache/audiocm/features."""
    return Path(os.environ.get("AUDIOCM_CACHE", Path.home() / ".cache" / "audiocm" / "features"))


class FeatureCache:
    """One small .npz per clip, found by the hash of the file's bytes, under the embedder's and the form's digest."""

    def __init__(self, embedder: Embedder, form: Form, root: Path | None) -> None:
        key = digest_of(embedder.digest, json.dumps(form.as_dict(), sort_keys=True))
        self.folder = None if root is None else Path(root) / f"{embedder.name.replace('/', '_')}-{key}"

    def path(self, content: str) -> Path:
        return self.folder / content[:2] / f"{content}.npz"

    def read(self, content: str) -> dict[str, np.ndarray] | None:
        if self.folder is None or not self.path(content).exists():
            return None
        try:
            with np.load(self.path(content)) as stored:
                found = {key: stored[key] for key in stored.files}
                return found if SOURCE in found else None  # an older audiocm's entry: computed again
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # half-written by a killed run: computed again
            return None

    def write(self, content: str, features: dict[str, np.ndarray]) -> None:
        if self.folder is None:
            return
        target = self.path(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(file, **features)
        part.replace(target)


@dataclass(frozen=True)
class _Read:
    path: Path
    source: Source | None = None
    wav: np.ndarray | None = None  # None = the cache has it, or it cannot be used
    known: dict[str, np.ndarray] | None = None
    problem: UnusableClipError | None = None


def _read(path: Path, embedder: Embedder, form: Form, cache: FeatureCache) -> _Read:
    try:
        data = path.read_bytes()
        content = hashlib.sha256(data).hexdigest()
        known = cache.read(content)
        if known is not None:
            return _Read(path, Source(content, *map(int, known.pop(SOURCE))), known=known)
        if not data:
            raise UnusableClipError("corrupt", "the file is empty")
        wav, rate = decode(data)
        return _Read(path, Source.of(content, wav, rate), form(wav, rate, embedder.sample_rate))
    except OSError as error:
        return _Read(path, problem=UnusableClipError("corrupt", str(error)))
    except UnusableClipError as error:
        return _Read(path, problem=error)


def stream(
    paths: Sequence[Path],
    embedder: Embedder,
    form: Form,
    intake: Intake,
    cache: Path | None = None,
    workers: int = 2,
    chunk: int = 64,
) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
    """(path, features of that clip) in the order of `paths`, holding at most two chunks of sound in memory.

    Clips that cannot be used are not yielded; `intake` counts and names them."""
    store = FeatureCache(embedder, form, cache)
    starts = range(0, len(paths), chunk)
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(paths), desc=embedder.name, disable=None) as bar:

        def submit(start: int):
            return [pool.submit(_read, p, embedder, form, store) for p in paths[start : start + chunk]]

        waiting = submit(0) if paths else []
        for start in starts:
            reads = [future.result() for future in waiting]
            waiting = submit(start + chunk) if start + chunk < len(paths) else []
            yield from _embedded(reads, embedder, form, store, intake)
            bar.update(len(reads))


def _embedded(reads: list[_Read], embedder: Embedder, form: Form, store: FeatureCache, intake: Intake):
    new = [r for r in reads if r.wav is not None]
    batch = embedder.features([r.wav for r in new]) if new else {}
    computed = {id(r): {k: v[i] for k, v in batch.items()} for i, r in enumerate(new)}
    for read in reads:
        if read.problem is not None:
            intake.leave_out(read.problem.reason, str(read.path))
            continue
        if read.known is None:
            source = np.array([read.source.rate, read.source.channels, read.source.samples])
            store.write(read.source.content, {**computed[id(read)], SOURCE: source})
        intake.use(read.path, read.source, form)
        yield read.path, read.known or computed[id(read)]


def gather(
    paths: Sequence[Path], embedder: Embedder, form: Form, intake: Intake, cache: Path | None = None, **options
) -> tuple[list[Path], dict[str, np.ndarray]]:
    """`stream`, stacked: the used paths and features [clip, ...]. For sets that fit in memory."""
    pairs = list(stream(paths, embedder, form, intake, cache, **options))
    if not pairs:
        raise ValueError(f"none of {len(paths)} clips can be scored: {json.dumps(intake.as_dict()['left_out'])}")
    keys = pairs[0][1].keys()
    return [path for path, _ in pairs], {key: np.stack([found[key] for _, found in pairs]) for key in keys}
