"""One embedded folder: features of at most CAP clips (a random sample of more), and moments of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .clips import Form, Intake
from .embedders import Embedder
from .features import stream
from .metrics import RunningMoments, Score, frechet_score
from .metrics.draws import Clips, independent, together
from .metrics.frechet import frechet_from_moments

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
        return together if self.names and self.names == reference.names else independent

    def frechet(self, name: str, reference: FeatureSet, draws: int, seed: int) -> Score:
        """Fréchet distance to `reference` with its interval; exact moments where not all features are held."""
        score = frechet_score(name, self.vectors, reference.vectors, self.draw(reference), draws, seed)
        if self.whole and reference.whole:
            return score
        value = frechet_from_moments(self.running.moments(), reference.running.moments())
        scale = np.sqrt(len(self.paths) / self.count)
        low, high = (value + (edge - score.value) * scale for edge in (score.low, score.high))
        return Score(name, value, max(low, 0.0), high, self.count)


def collect(
    paths: Sequence[Path],
    embedder: Embedder,
    form: Form,
    intake: Intake,
    cache: Path | None,
    workers: int = 2,
    seed: int = 0,
    cap: int = CAP,
) -> FeatureSet:
    """Embed a folder in bounded memory. Raises ValueError, naming the reasons, if no clip can be used."""
    generator, running, kept, count = np.random.default_rng(seed), RunningMoments(), [], 0
    waiting: list[np.ndarray] = []
    for path, found in stream(paths, embedder, form, intake, cache, workers):
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
