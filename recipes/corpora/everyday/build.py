"""Everyday sounds with exact captions, synthesised by physical models of what makes them.

    python -m recipes.corpora.everyday.build --root data/everyday [--jobs 2] [--seed 0] [--scale 1.0] [--narrowed]

Runs on a CPU with numpy and scipy alone and continues where it stopped. No take was chosen by a judge, but the ranges of
the kinds in narrowed.txt (most voices, blows and bells) were narrowed by YAMNet's answers to random takes. YAMNet is no
independent judge of a model that is trained on them, so that they are left out without `--narrowed`.
"""

import argparse
import importlib
import pkgutil
from pathlib import Path

import numpy as np

from audiocm.data.manifest import split_of
from audiocm.files import write_json_lines
from recipes.corpora.everyday.sound import Sound
from recipes.corpora.manifests import build, level, print_summary, rng_for

LICENCE = "Apache-2.0"  # that of this repository
DECIBEL, SPREAD = -23.0, 4.0


def all_sounds() -> dict[str, Sound]:
    """Returns the kinds of all modules of this folder, by name. Raises ValueError if two have the same name."""
    found: dict[str, Sound] = {}
    for module in sorted(one.name for one in pkgutil.iter_modules([str(Path(__file__).parent)]) if one.name != "build"):
        more = getattr(importlib.import_module(f"recipes.corpora.everyday.{module}"), "SOUNDS", {})
        if twice := sorted(set(found) & set(more)):
            raise ValueError(f"{module}.SOUNDS: {', '.join(twice)} is in another module too")
        found |= more
    return found


SOUNDS = all_sounds()
NARROWED = frozenset(Path(__file__).with_name("narrowed.txt").read_text(encoding="utf-8").splitlines())


def length_of(sound: Sound, rng: np.random.Generator) -> float:
    """Draws a length in seconds: of a continuous sound 2 to 10 s, 30 % of them 8 to 10 s; of another its range."""
    low, high = sound.seconds
    if sound.continuous:
        low, high = max(low, 2.0), min(high, 10.0)
        if high > 8 and rng.random() < 0.3:
            low = 8.0
        elif high > 8:
            high = 8.0
    return float(rng.uniform(low, high))


def captions_of(sound: Sound, words: dict[str, str]) -> list[str]:
    """Returns the captions of a take: the templates filled with its words, each once."""
    return list(dict.fromkeys(" ".join(template.format(**words).split()) for template in sound.captions))


def make(entry: dict) -> tuple[np.ndarray, dict[str, str]]:
    """Synthesises the take of a plan's entry: float32 [sample] at its level, and the words of its captions."""
    name, take, seed = entry["spec"]
    sound, rng = SOUNDS[name], rng_for("everyday", name, take, seed)
    wav, words = sound.make(rng, length_of(sound, rng))
    return level(wav, DECIBEL + rng.uniform(-SPREAD, SPREAD)), words


def plan(seed: int = 0, scale: float = 1.0, narrowed: bool = False) -> list[dict]:
    """Returns the manifest lines, without captions, of `scale` times each kind's number of takes, at least one."""
    lines = []
    for name, sound in ((name, sound) for name, sound in SOUNDS.items() if narrowed or name not in NARROWED):
        slug = name.replace(" ", "-").replace("'", "")
        for take in range(max(1, round(sound.count * scale))):
            group = f"everyday:{slug}:{seed}:{take}"
            line = {"file": f"clips/{slug}-{seed}-{take:04d}.flac", "split": split_of(group, 0.03, 0.02)}
            line |= {"source": f"synthesised:{slug}", "licence": LICENCE, "kind": "everyday"}
            line |= {"labels": list(sound.labels), "group": group, "thing": name, "continuous": sound.continuous}
            line |= {"role": "texture" if sound.continuous else "event"}
            lines.append(line | {"spec": (name, take, seed)})
    return lines


def synthesise(root: Path, seed: int = 0, scale: float = 1.0, n_jobs: int = 1, narrowed: bool = False) -> list[dict]:
    """Synthesises the plan under `root` with `n_jobs` processes; returns the manifest, captions filled.

    Raises ValueError if `scale` is not positive."""
    if not scale > 0:
        raise ValueError(f"scale {scale} must be positive")
    lines = []
    for line in build(root, plan(seed, scale, narrowed), make, n_jobs, title="everyday"):
        captions = captions_of(SOUNDS[line["thing"]], line["words"])
        lines.append(line | {"captions": captions, "caption_sources": ["exact"] * len(captions)})
    write_json_lines(root / "manifest.jsonl", lines)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/everyday"), help="folder of the corpus")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the usual number of takes")
    parser.add_argument("--narrowed", action="store_true", help="also the kinds of narrowed.txt")
    args = parser.parse_args()
    try:
        print_summary(synthesise(args.root, args.seed, args.scale, args.jobs, args.narrowed))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
