"""Embeddings of a folder of clips, computed in chunks by several workers and cached by the content of each file."""

import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ..audio.io import UnusableClipError
from ..embedders.protocol import Embedder
from ..files import atomic_write, content_digest
from ..metrics import Projection, RunningMoments, Score, frechet_score
from ..metrics.frechet import frechet_from_moments
from ..metrics.moments import Moments
from ..metrics.score import Clips, independent_resample, paired_resample, select
from .preprocessing import LoadReport, Preprocessing, Source, decode_clip, hash_content

SOURCE = "source"  # key of the sample rate, channels and samples of a cached clip
CAP = 20_000  # clips whose features are kept: 20,000 clips of 2,048 + 527 numbers are 200 MB


def cache_folder() -> Path | None:
    """Returns $AUDIOCM_CACHE, or ~/.cache/audiocm/features if it is not set; None for a user without a home."""
    try:
        return Path(os.environ.get("AUDIOCM_CACHE") or "~/.cache/audiocm/features").expanduser()
    except RuntimeError:
        return None


class FeatureCache:
    """One .npz file per clip, addressed by the hash of the file's bytes, in a folder named by the digest of the
    embedder and the preprocessing. Disabled if `root` is None."""

    def __init__(self, embedder: Embedder, preprocessing: Preprocessing, root: Path | None) -> None:
        key = content_digest(embedder.digest, json.dumps(preprocessing.as_dict(), sort_keys=True))
        self.folder = None if root is None else Path(root) / f"{embedder.name.replace('/', '_')}-{key}"

    def _path(self, content: str) -> Path:
        return self.folder / content[:2] / f"{content}.npz"

    def read(self, content: str) -> dict[str, np.ndarray] | None:
        """Returns the cached features, or None if there are none that can be read."""
        if self.folder is None:
            return None
        try:
            with np.load(self._path(content)) as stored:
                features = dict(stored)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # missing, or damaged: computed again
            return None
        return features if SOURCE in features else None

    def write(self, content: str, features: dict[str, np.ndarray]) -> None:
        """Stores the features of one clip. If that is refused, warns once and stores no more."""
        if self.folder is None:
            return
        try:
            with atomic_write(self._path(content)) as beside, beside.open("wb") as file:
                np.savez(file, **features)
        except (OSError, ValueError) as error:
            reason = next((one.strerror for one in (error, error.__cause__) if isinstance(one, OSError)), None) or error
            advice = "embeddings are not kept; $AUDIOCM_CACHE names another folder, --no-cache none"
            warnings.warn(f"the cache {self.folder.parent} cannot be written ({reason}): {advice}", stacklevel=2)
            self.folder = None


@dataclass
class _LoadedClip:
    """A clip with its wav [sample], or with its features if they were cached."""

    path: Path
    source: Source
    wav: np.ndarray | None = None
    features: dict[str, np.ndarray] | None = None


def _load_clip(path: Path, embedder: Embedder, preprocessing: Preprocessing, cache: FeatureCache) -> _LoadedClip:
    content = hash_content(path)
    cached = cache.read(content)
    if cached is not None:
        return _LoadedClip(path, Source(content, *map(int, cached.pop(SOURCE))), features=cached)
    wav, source = decode_clip(path, content, preprocessing.max_seconds)
    return _LoadedClip(path, source, preprocessing(wav, source.rate, embedder.sample_rate))


def stream_features(
    paths: Sequence[Path],
    embedder: Embedder,
    preprocessing: Preprocessing,
    report: LoadReport,
    cache: Path | None = None,
    workers: int = 2,
    chunk: int = 64,
) -> Iterator[tuple[Path, dict[str, np.ndarray]]]:
    """Yields each usable path with the features of its clip, in the order of `paths`, while holding at most two chunks
    of audio in memory. Unusable clips are counted and named in `report`."""
    store = FeatureCache(embedder, preprocessing, cache)
    with ThreadPoolExecutor(workers) as pool, tqdm(total=len(paths), desc=embedder.name, disable=None) as bar:

        def submit(start: int) -> list[tuple[Path, Future[_LoadedClip]]]:
            some = paths[start : start + chunk]
            return [(path, pool.submit(_load_clip, path, embedder, preprocessing, store)) for path in some]

        pending = submit(0)
        for start in range(0, len(paths), chunk):
            loading, clips, pending = pending, [], submit(start + chunk)
            for path, future in loading:
                try:
                    clips.append(future.result())
                except UnusableClipError as error:
                    report.skip(path, error)
            _embed([clip for clip in clips if clip.features is None], embedder, store)
            for clip in clips:
                if not np.isfinite(clip.features["embedding"]).all():
                    report.skip(clip.path, UnusableClipError("corrupt", f"{embedder.name} gives no finite embedding"))
                    continue
                report.add(clip.path, clip.source, preprocessing)
                yield clip.path, clip.features
            bar.update(len(loading))


def _embed(clips: list[_LoadedClip], embedder: Embedder, store: FeatureCache) -> None:
    """Computes and caches the features of clips."""
    batch = embedder.features([clip.wav for clip in clips]) if clips else {}
    for i, clip in enumerate(clips):
        clip.features = {key: values[i] for key, values in batch.items()}
        source = np.array([clip.source.rate, clip.source.channels, clip.source.samples])
        store.write(clip.source.content, {**clip.features, SOURCE: source})


def matching_rows(first: Sequence[str], second: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices in `first` and in `second` of the names that both have, in the order of `first`."""
    place = {name: i for i, name in enumerate(second)}
    rows = [(i, place[name]) for i, name in enumerate(first) if name in place]
    return tuple(np.array(rows, dtype=int).reshape(-1, 2).T)


@dataclass
class FeatureSet:
    """The features of a folder: arrays [kept clip, ...] by kind, the frames [frame, dim] of each clip if the embedder
    returns them, and the moments of all `count` clips (of their frames, if there are some).

    A reference that is known by its moments alone has them as `given`, and no clips."""

    paths: list[Path]
    features: dict[str, np.ndarray]
    frames: list[np.ndarray] | None
    moments: RunningMoments
    count: int
    names: list[str] = field(default_factory=list)
    given: Moments | None = None

    @property
    def vectors(self) -> Clips | Moments:
        """The vectors between which Fréchet distances are measured: frames if there are some, else embeddings."""
        if self.given is not None:
            return self.given
        return self.features["embedding"] if self.frames is None else self.frames

    @property
    def is_complete(self) -> bool:
        """Whether the features of all clips are held, or their moments given."""
        return self.given is not None or len(self.paths) == self.count

    def subset(self, names: set[str]) -> "FeatureSet":
        """Returns the set of those clips whose name is in `names`."""
        rows = np.array([i for i, name in enumerate(self.names) if name in names], dtype=int)
        features = {key: values[rows] for key, values in self.features.items()}
        frames = None if self.frames is None else select(self.frames, rows)
        moments = RunningMoments()
        moments.update(np.concatenate(frames) if frames else features["embedding"])
        paths, kept = [self.paths[i] for i in rows], [self.names[i] for i in rows]
        return FeatureSet(paths, features, frames, moments, len(rows), kept)

    def project(self, projection: Projection) -> "FeatureSet":
        """Returns the kept clips with their embeddings (and frames), or moments, in the components of `projection`."""
        if self.given is not None:
            given = projection.moments(self.given)
            return FeatureSet([], {}, None, RunningMoments(self.moments.count, given), self.count, given=given)
        frames = None if self.frames is None else [projection(one) for one in self.frames]
        features = {"embedding": projection(self.features["embedding"])}
        return FeatureSet(self.paths, features, frames, self.moments, len(self.paths), self.names)

    def resampling(self, reference: "FeatureSet"):
        """Returns how the bootstrap resamples this set and `reference`: in pairs if their clips have the same names."""
        return paired_resample if self.names and self.names == reference.names else independent_resample

    def frechet(self, name: str, reference: "FeatureSet", resamples: int, seed: int) -> Score:
        """Returns the Fréchet distance to `reference` with its interval. The value comes from the moments of all clips;
        the interval is scaled to their number if not all features are held."""
        score = frechet_score(name, self.vectors, reference.vectors, self.resampling(reference), resamples, seed)
        if self.is_complete and reference.is_complete:
            return score
        value = frechet_from_moments(self.moments.moments(), reference.moments.moments())
        scale = np.sqrt(len(self.paths) / self.count)
        low, high = (value + (edge - score.value) * scale for edge in (score.low, score.high))
        return Score(name, value, max(low, 0.0), high, self.count)


def collect_features(
    paths: Sequence[Path],
    embedder: Embedder,
    preprocessing: Preprocessing,
    report: LoadReport,
    cache: Path | None = None,
    workers: int = 2,
    seed: int = 0,
    cap: int = CAP,
) -> FeatureSet:
    """Embeds a folder in bounded memory: the features of at most `cap` clips are kept, drawn by reservoir sampling.

    Raises ValueError with the reasons if no clip is usable."""
    generator, moments, kept, count = np.random.default_rng(seed), RunningMoments(), [], 0
    pending: list[np.ndarray] = []
    for path, features in stream_features(paths, embedder, preprocessing, report, cache, workers):
        pending.append(np.atleast_2d(features.get("frames", features["embedding"])))
        if len(pending) == 256:
            moments.update(np.concatenate(pending))
            pending = []
        count += 1
        if len(kept) < cap:
            kept.append((path, features))
        elif (place := int(generator.integers(0, count))) < cap:
            kept[place] = (path, features)
    if not kept:
        reasons = ", ".join(f"{len(names)} {reason}" for reason, names in report.unusable.items())
        raise ValueError(f"{paths[0].parent}: none of {len(paths)} clips can be scored: {reasons} (first: {paths[0]})")
    if pending:
        moments.update(np.concatenate(pending))
    columns = {key: [features[key] for _, features in kept] for key in kept[0][1]}
    frames, arrays = columns.pop("frames", None), {key: np.stack(values) for key, values in columns.items()}
    return FeatureSet([path for path, _ in kept], arrays, frames, moments, count)
