"""The card of a result: everything that moves a score. Two results with different cards are not compared."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .preprocessing import Preprocessing

PACKAGES = ("audiocm", "torch", "numpy", "scipy", "librosa", "soxr", "soundfile", "transformers", "onnxruntime",
            "pesq", "pystoi", "speechmos", "jiwer", "faster-whisper", "resemblyzer")  # fmt: skip
# keys that describe the run, not the measure: they may differ between two results that are compared
DESCRIPTIVE = {"generated", "versions", "commit", "device", "date", "files", "python"}


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class PackageJudge:
    """A package whose own arithmetic and weights are the measure (PESQ, STOI, DNSMOS ...): its version is its digest."""

    def __init__(self, name: str) -> None:
        self.name, self.digest = name, versions((name,)).get(name, "unknown")


def commit(folder: Path | None = None) -> str | None:
    """The commit of the source tree, with "+" where tracked files were changed; None outside a repository. A tree that
    was copied without its history is told it by $AUDIOCM_COMMIT."""
    if "AUDIOCM_COMMIT" in os.environ:
        return os.environ["AUDIOCM_COMMIT"]
    folder = folder or Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _told_of(embedder) -> dict:
    """What a card says of one embedder; `clip`: how it cuts and pads by itself, where it does."""
    found = {"digest": embedder.digest, "sample_rate": getattr(embedder, "sample_rate", None)}
    own = getattr(embedder, "clip", None)
    return found | ({"clip": own} if own else {})


def card(embedders: Sequence, form: Preprocessing, seed: int, **more) -> dict:
    """What a result says about itself. `more` holds counts, the caption policy, references ..."""
    return {
        "embedders": {e.name: _told_of(e) for e in embedders},
        "form": form.as_dict(),
        "seed": seed,
        "versions": versions(),
        "python": platform.python_version(),
        "commit": commit(),
        "device": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        **more,
    }


def differences(first: dict, second: dict, prefix: str = "") -> list[str]:
    """What moves the score and differs between two cards, one "key: a != b" each."""
    found = []
    for key in sorted(first.keys() | second.keys()):
        if not prefix and key in DESCRIPTIVE:
            continue
        a, b = first.get(key), second.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} != {b}")
    return found


def require_comparable(first: dict, second: dict) -> None:
    """Raises ValueError naming every difference that moves a score."""
    found = differences(first, second)
    if found:
        raise ValueError("these results were measured differently and cannot be compared: " + "; ".join(found))
