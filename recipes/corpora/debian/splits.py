"""Splits of the Debian corpus by source recording or package, and near-duplicates across them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recipes.corpora.debian.sources import OTHER, PACKAGES

VALID_SHARE = 0.03


def split_of(group: str, package: str) -> str:
    """Returns train, valid or test, the same for all clips of a group; the package has the share of test clips.

    The hash is read in another byte order than in `audiocm.data.manifest.split_of`; the published results rest on it.
    """
    test = PACKAGES.get(package, OTHER).test_share
    u = int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48
    return "test" if u < test else "valid" if u < test + VALID_SHARE else "train"


def load_features(root: Path, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Returns the features [clip, dim] of manifest rows, scaled to norm 1: a cosine is the mean of its parts'."""
    names = [root / "features" / (Path(row["file"]).stem + ".npy") for row in rows]
    features = np.stack([np.load(name) for name in names]).astype(np.float32)
    return features / (np.linalg.norm(features, axis=1, keepdims=True) + 1e-9)


def near_duplicates(features: np.ndarray, splits: Sequence[str], threshold: float | np.ndarray = 0.97) -> np.ndarray:
    """Marks [clip] the clips that must leave their split because one that is held out further is nearly the same.

    Train clips are compared with valid and test clips, valid clips with test clips. `threshold` is a cosine, for all or
    for each clip: prompts of one speaker are all alike and need a higher one."""
    limit = np.broadcast_to(threshold, len(splits))
    ranks = np.array([["train", "valid", "test"].index(split) for split in splits])
    leave = np.zeros(len(ranks), dtype=bool)
    for rank in (0, 1):
        clips, held_out = np.flatnonzero(ranks == rank), np.flatnonzero(ranks > rank)
        if not clips.size or not held_out.size:
            continue
        for start in range(0, len(clips), 2048):
            block = clips[start : start + 2048]
            leave[block] = (features[block] @ features[held_out].T).max(axis=1) > limit[block]
    return leave
