"""The card of a result: everything that changes a score. Results with different cards are not compared."""

import os
import platform
import subprocess
from collections.abc import Sequence, Set
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ..version import __version__
from .preprocessing import Preprocessing

PACKAGES = ("audiocm", "torch", "torchaudio", "numpy", "scipy", "librosa", "soxr", "soundfile", "transformers", "onnxruntime",
            "laion-clap", "pesq", "pystoi", "speechmos", "jiwer", "faster-whisper", "resemblyzer")  # fmt: skip
# keys that describe the run and not the measurement: they may differ between two results that are compared
DESCRIPTIVE = {"generated", "reference_name", "versions", "commit", "device", "date", "files", "python", "preset"}


def versions(names: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Returns the versions of those packages that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


class PackageJudge:
    """A package whose own code and weights are the measurement (PESQ, STOI, DNSMOS); its version is its digest."""

    def __init__(self, name: str) -> None:
        self.name, self.digest = name, versions((name,)).get(name, "unknown")


def commit(package: Path | None = None) -> str:
    """Returns the commit of audiocm's source tree, with "+" if tracked files are changed, or else its version.

    A repository counts as the source tree only if its root holds `package` (default: this package) and its files are
    tracked, so that an installation inside another repository is not given that one's commit. $AUDIOCM_COMMIT overrides
    both, for a tree that was copied without its history."""
    if "AUDIOCM_COMMIT" in os.environ:
        return os.environ["AUDIOCM_COMMIT"]
    package = package or Path(__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, cwd=package, capture_output=True, text=True, check=True).stdout.strip()

    with suppress(OSError, subprocess.CalledProcessError):
        git("ls-files", "--error-unmatch", "__init__.py")
        if Path(git("rev-parse", "--show-toplevel")).resolve() == package.resolve().parent:
            return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    return f"version {__version__}"


def describe_judge(judge) -> dict:
    """Returns the card's entry of an embedder or package; `clip` is how an embedder cuts and pads clips."""
    entry = {"digest": judge.digest, "sample_rate": getattr(judge, "sample_rate", None)}
    return entry | ({"clip": judge.clip} if getattr(judge, "clip", None) else {})


def card(judges: Sequence, preprocessing: Preprocessing, seed: int, **more) -> dict:
    """Returns the card of a result. `judges` are embedders and whatever else has a name and a digest; `more` holds
    further entries such as clip counts and the digest of the reference."""
    return {
        "embedders": {judge.name: describe_judge(judge) for judge in judges},
        "form": preprocessing.as_dict(),
        "seed": seed,
        "versions": versions(),
        "python": platform.python_version(),
        "commit": commit(),
        "device": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        **more,
    }


def describe_counts(card: dict) -> str:
    """Returns the numbers of used, unusable and truncated clips of each folder."""
    parts = []
    for role, used in card["clips"].items():
        unusable = (f"{card['left_out'][role].get(why, 0)} {why}" for why in ("silent", "corrupt", "too short"))
        parts.append(f"{role} {used} used, {', '.join(unusable)}, {card.get('cut', {}).get(role, 0)} truncated")
    return "; ".join(parts)


def describe_card(card: dict) -> list[str]:
    """Returns a card as lines for a terminal or a model card."""
    judges, reference = [], card.get("reference")
    for name, one in card["embedders"].items():
        facts = [one["digest"], one["sample_rate"] and f"{one['sample_rate']} Hz", one.get("clip")]
        judges.append(f"{name} ({', '.join(filter(None, facts))})")
    steps = ", ".join(f"{key} {value}" for key, value in card["form"].items() if value is not None)
    prompts = f", prompts: {card['caption_policy']}" if card.get("caption_policy") else ""
    compared = f"reference {card.get('reference_name', '')} {reference}" if reference else "no reference"
    if card.get("prompts"):
        compared += f", prompts {card['prompts']}"
    preset = card.get("preset")
    changed = f"; with other {', '.join(preset['changed'])}" if preset and preset["changed"] else ""
    return [
        *([f"preset: {preset['name']}{changed}; {preset['follows']}; {preset['departs']}"] if preset else []),
        f"embedders: {', '.join(judges) or 'none'}",
        f"preprocessing: {steps}{prompts}",
        f"clips: {describe_counts(card)}, {' '.join(compared.split())}, seed {card['seed']}",
        f"versions: {', '.join(f'{k} {v}' for k, v in card['versions'].items())}; commit {card['commit']}",
    ]


def differences(first: dict, second: dict, ignored: Set[str] = DESCRIPTIVE, prefix: str = "") -> list[str]:
    """Returns one "key: a != b" for each entry of two cards that differs, except for the top-level keys `ignored`."""
    found = []
    for key in sorted((first.keys() | second.keys()) - ignored):
        a, b = first.get(key), second.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, set(), f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} != {b}")
    return found


def require_comparable(first: dict, second: dict, ignored: Set[str] = DESCRIPTIVE) -> None:
    """Raises ValueError naming every difference of two cards."""
    if found := differences(first, second, ignored):
        raise ValueError("these results were measured differently and cannot be compared: " + "; ".join(found))
