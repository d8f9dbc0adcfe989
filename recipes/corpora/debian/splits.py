"""Splits by source recording or package, and the near-duplicate check across them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

TEST_PACKAGES = {"unknown-horizons", "freeciv-data", "warmux-data", "minetest-mod-homedecor", "naev-data"}
"""Nothing of these is trained on."""
EVERYDAY_PACKAGES = {
    "gcompris-qt-data",
    "tuxpaint-stamps-default",
    "scratch",
    "widelands-data",
    "wesnoth-1.16-data",
    "0ad-data",
    "openttd-opensfx",
    "lincity-ng-data",
    "minetest-data",
    "flightgear-data-base",
    "supertuxkart-data",
    "lmms-common",
    "sonic-pi-samples",
    "ufoai-sound",
    "redeclipse-data",
    "freedroidrpg-data",
    "flare-game",
    "simutrans-pak64",
    "triplea",
}
"""Best named: split by recording, a larger share held out."""
TEST_SHARE, TEST_SHARE_EVERYDAY, VALID_SHARE = 0.05, 0.13, 0.03


def share(group: str) -> float:
    """A number in [0, 1) that depends on the group's name alone."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def split_of(group: str, package: str) -> str:
    """``train``, ``valid`` or ``test``: the same for every clip of a group, the whole of a test package held out."""
    if package in TEST_PACKAGES:
        return "test"
    test = TEST_SHARE_EVERYDAY if package in EVERYDAY_PACKAGES else TEST_SHARE
    at = share(group)
    return "test" if at < test else "valid" if at < test + VALID_SHARE else "train"


def load_features(root: Path, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Unit-norm features [clip, dim] of manifest rows, in their order (cosine = mean of the parts' cosines)."""
    names = [root / "features" / (Path(row["file"]).stem + ".npy") for row in rows]
    found = np.stack([np.load(name) for name in names]).astype(np.float32)
    return found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-9)


def near_duplicates(features: np.ndarray, splits: Sequence[str], threshold: float | np.ndarray = 0.97) -> np.ndarray:
    """bool [clip]: True for every clip that must leave its split because a more held-out one holds its like.

    Train clips are compared with valid and test, valid clips with test; ``threshold`` is a cosine, one for all
    or one a clip (prompts of one speaker are all alike: they need a higher one).
    """
    limit = np.broadcast_to(threshold, len(splits))
    order = np.array([["train", "valid", "test"].index(s) for s in splits])
    leave = np.zeros(len(order), dtype=bool)
    for rank in (0, 1):
        mine, held = np.flatnonzero(order == rank), np.flatnonzero(order > rank)
        if not mine.size or not held.size:
            continue
        for start in range(0, len(mine), 2048):
            block = mine[start : start + 2048]
            leave[block] = (features[block] @ features[held].T).max(axis=1) > limit[block]
    return leave
