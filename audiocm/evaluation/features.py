"""Folders → features: streamed in chunks, several workers, kept by content hash so that a second run costs seconds."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio.io import UnusableClipError, decode
from ..embedders.protocol import Embedder
from ..files import content_digest
from ..metrics import RunningMoments, Score, frechet_score
from ..metrics.frechet import frechet_from_moments
from ..metrics.score import Clips, independent_resample, paired_resample
from .preprocessing import LoadReport, Preprocessing, Source

SOURCE = "source"  # key of a stored clip's rate, channels and samples


def cache_folder() -> Path:
    """$AUDIOCM_CACHE, else ~/.cache/audiocm/features."""
    return Path(os.environ.get("AUDIOCM_CACHE", Path.home() / ".cache" / "audiocm" / "features"))


class FeatureCache:
    """One small .npz per clip, found by the hash of the file's bytes, under the embedder's and the form's digest."""

    def __init__(self, embedder: Embedder, form: Preprocessing, root: Path | None) -> None:
        key = content_digest(embedder.digest, json.dumps(form.as_dict(), sort_keys=True))
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


def _read(path: Path, embedder: Embedder, form: Preprocessing, cache: FeatureCache) -> _Read:
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


def stream_features(
    paths: Sequence[Path],
    embedder: Embedder,
    form: Preprocessing,
    intake: LoadReport,
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


def _embedded(reads: list[_Read], embedder: Embedder, form: Preprocessing, store: FeatureCache, intake: LoadReport):
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


def gather_features(
    paths: Sequence[Path],
    embedder: Embedder,
    form: Preprocessing,
    intake: LoadReport,
    cache: Path | None = None,
    **options,
) -> tuple[list[Path], dict[str, np.ndarray]]:
    """`stream`, stacked: the used paths and features [clip, ...]. For sets that fit in memory."""
    pairs = list(stream_features(paths, embedder, form, intake, cache, **options))
    if not pairs:
        raise ValueError(f"none of {len(paths)} clips can be scored: {json.dumps(intake.as_dict()['left_out'])}")
    keys = pairs[0][1].keys()
    return [path for path, _ in pairs], {key: np.stack([found[key] for _, found in pairs]) for key in keys}


CAP = 20_000  # clips whose features are held: 20,000 of 2,048 + 527 numbers are 200 MB


@dataclass
class FeatureSet:
    """features [kept clip, ...] by kind; `frames` (one [frame, dim] a clip) where the embedder gives them; moments of
    all `count` clips (of their frames where there are some)."""

    paths: list[Path]
    features: dict[str, np.ndarray]
    frames: list[np.ndarray] | None
    running: RunningMoments
    count: int
    names: list[str] = field(default_factory=list)

    @property
    def dimension(self) -> int:
        return self.features["embedding"].shape[1]

    @property
    def vectors(self) -> Clips:
        """What Fréchet distances are over: each clip's frames where the embedder gives them, else its embedding."""
        return self.features["embedding"] if self.frames is None else self.frames

    @property
    def whole(self) -> bool:
        """Are the features of all clips held?"""
        return len(self.paths) == self.count

    def draw(self, reference: FeatureSet):
        """How a bootstrap draws: pairs where the files of both folders have the same names."""
        return paired_resample if self.names and self.names == reference.names else independent_resample

    def frechet(self, name: str, reference: FeatureSet, draws: int, seed: int) -> Score:
        """Fréchet distance to `reference` with its interval; exact moments where not all features are held."""
        score = frechet_score(name, self.vectors, reference.vectors, self.draw(reference), draws, seed)
        if self.whole and reference.whole:
            return score
        value = frechet_from_moments(self.running.moments(), reference.running.moments())
        scale = np.sqrt(len(self.paths) / self.count)
        low, high = (value + (edge - score.value) * scale for edge in (score.low, score.high))
        return Score(name, value, max(low, 0.0), high, self.count)


def collect_features(
    paths: Sequence[Path],
    embedder: Embedder,
    form: Preprocessing,
    intake: LoadReport,
    cache: Path | None,
    workers: int = 2,
    seed: int = 0,
    cap: int = CAP,
) -> FeatureSet:
    """Embed a folder in bounded memory. Raises ValueError, naming the reasons, if no clip can be used."""
    generator, running, kept, count = np.random.default_rng(seed), RunningMoments(), [], 0
    waiting: list[np.ndarray] = []
    for path, found in stream_features(paths, embedder, form, intake, cache, workers):
        waiting.append(np.atleast_2d(found.get("frames", found["embedding"])))
        if len(waiting) == 256:
            running.update(np.concatenate(waiting))
            waiting = []
        count += 1
        if len(kept) < cap:
            kept.append((path, found))
        elif (place := int(generator.integers(0, count))) < cap:  # reservoir sampling: all have the same chance
            kept[place] = (path, found)
    if not kept:
        reasons = ", ".join(f"{len(names)} {reason}" for reason, names in intake.left_out.items())
        raise ValueError(f"{paths[0].parent}: none of {len(paths)} clips can be scored: {reasons} (first: {paths[0]})")
    if waiting:
        running.update(np.concatenate(waiting))
    keys = [key for key in kept[0][1] if key != "frames"]
    features = {key: np.stack([found[key] for _, found in kept]) for key in keys}
    frames = [found["frames"] for _, found in kept] if "frames" in kept[0][1] else None
    return FeatureSet([path for path, _ in kept], features, frames, running, count)
