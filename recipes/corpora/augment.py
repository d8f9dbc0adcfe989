"""More clips from train clips: loudness-matched mixtures and sequences, repeats, and resampled or tilted copies.

    python -m recipes.corpora.augment mixtures  --manifests data/corpus/manifest.jsonl data/rendered/manifest.jsonl --root data/mixtures --count 1200
    python -m recipes.corpora.augment augmented --manifests data/corpus/manifest.jsonl --root data/augmented

Valid and test clips are never used, so nothing of them can reach training through a mixture.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from recipes.corpora.manifests import RATE, build, fade, level, read_manifest, rng_for

LEVEL = -23.0  # dB, every clip before it is mixed
BACKGROUND = -9.0  # dB of "with B in the background" against the foreground
MAX_SECONDS = 8.0
NUMBERS = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
SHORT = 1.5  # seconds; shorter clips get a repeated version


def _train(manifests: Sequence[Path], kinds: set[str], longest: float) -> list[dict]:
    """Train lines of the kinds up to `longest` seconds, with the absolute path of their audio as "audio"."""
    return [
        {**line, "audio": str(path.parent / line["file"])}
        for path in map(Path, manifests)
        for line in read_manifest(path)
        if line["split"] == "train" and line["kind"] in kinds and line["seconds"] <= longest
    ]


def read(path: str) -> np.ndarray:
    """Mono float32 [sample] at 24 kHz."""
    wav, rate = soundfile.read(path, dtype="float32")
    if rate != RATE or wav.ndim != 1:
        raise ValueError(f"{path}: expected mono at {RATE} Hz")
    return wav


def overlay(first: np.ndarray, second: np.ndarray, gain: float, offset: int) -> np.ndarray:
    """first [sample] plus second [sample] at `gain` dB against it (equal active loudness = 0), `offset` samples later."""
    first, second = level(first, LEVEL), level(second, LEVEL) * 10 ** (gain / 20)
    out = np.zeros(max(len(first), offset + len(second)), np.float32)
    out[: len(first)] += first
    out[offset : offset + len(second)] += second
    return out * min(1.0, 0.89 / max(float(np.abs(out).max()), 1e-9))


def sequence(first: np.ndarray, second: np.ndarray, gap: float) -> np.ndarray:
    """first, `gap` seconds of silence, second; both at the same loudness."""
    return np.concatenate([fade(level(first, LEVEL)), np.zeros(int(gap * RATE), np.float32), level(second, LEVEL)])


def repeat(wav: np.ndarray, count: int, gap: float) -> np.ndarray:
    """wav [sample] `count` times with `gap` seconds between."""
    silence = np.zeros(int(gap * RATE), np.float32)
    pieces = [piece for _ in range(count) for piece in (fade(wav, 0.005), silence)]
    return np.concatenate(pieces[:-1])


def shifted(wav: np.ndarray, octaves: float) -> np.ndarray:
    """wav [sample] played faster and higher (octaves > 0) or slower and lower, by resampling."""
    return np.asarray(soxr.resample(wav, RATE * 2.0**octaves, RATE, quality="HQ"), np.float32)


def tilted(wav: np.ndarray, slope: float) -> np.ndarray:
    """wav [sample] with its spectrum tilted by `slope` dB an octave around 1 kHz (clamped at 60 Hz and 12 kHz)."""
    spectrum = np.fft.rfft(wav)
    octave = np.log2(np.clip(np.fft.rfftfreq(len(wav), 1 / RATE), 60, 12_000) / 1000)
    return np.fft.irfft(spectrum * 10 ** (slope * octave / 20), len(wav)).astype(np.float32)


def _caption(line: dict, rng: np.random.Generator) -> str:
    """One caption that can stand in a sentence; short ones keep mixtures within the text encoder's window."""
    short = [caption for caption in line["captions"] if len(caption.split()) <= 8] or line["captions"]
    return str(rng.choice([caption for caption in short if _phrase(caption)] or short)).rstrip(".")


def _phrase(caption: str) -> bool:
    return caption.split()[0].lower() in ("a", "an", "the", "someone", "people")


def _line(name: str, parents: list[dict], captions: list[str], source: str, kind: str, spec: dict, seed: int) -> dict:
    captions = list(dict.fromkeys(captions))
    licences = dict.fromkeys(parent["licence"] for parent in parents)
    digest = hashlib.sha1(f"{seed}:{[parent['file'] for parent in parents]}:{name}".encode()).hexdigest()[:12]
    return {
        "file": f"clips/{name}-{digest}.flac", "split": "train",
        "source": f"{source}:" + "+".join(dict.fromkeys(parent["source"] for parent in parents)),
        "path": " + ".join(parent["file"] for parent in parents), "licence": " + ".join(licences), "kind": kind,
        "captions": captions, "caption_sources": [source] * len(captions),
        "labels": list(dict.fromkeys(label for parent in parents for label in parent.get("labels", []))),
        "group": " + ".join(parent["group"] for parent in parents), "spec": {**spec, "audio": [p["audio"] for p in parents]},
    }  # fmt: skip


def _mixture(pool: list[dict], weights: np.ndarray, index: int, seed: int) -> dict:
    rng = rng_for(seed, "mixture", index)
    first, second = (pool[i] for i in rng.choice(len(pool), 2, replace=False, p=weights))
    how = ("together", "background", "sequence")[int(rng.choice(3, p=[0.4, 0.25, 0.35]))]
    if how != "sequence" and second["seconds"] > first["seconds"] and how == "together":
        first, second = second, first
    texts = []
    for _ in range(5):
        a, b = _caption(first, rng), _caption(second, rng)
        texts += {
            "together": [f"{a} and {b}", f"{b} while {a} goes on" if rng.integers(2) else f"{b} together with {a}"],
            "background": [f"{a} with {b} in the background"],
            "sequence": [f"{a} followed by {b}", f"{a}, then {b}"],
        }[how]
    slack = max(0.0, first["seconds"] - second["seconds"])
    spec = {
        "how": how, "offset": float(rng.uniform(0, slack)) if how != "sequence" else 0.0, "gap": float(rng.uniform(0, 0.35)),
        "gain": BACKGROUND if how == "background" else 0.0,
    }  # fmt: skip
    return _line(f"mix-{index}", [first, second], texts[:6], "mixture", "mixture", spec, seed)


def _make(line: dict) -> np.ndarray:
    spec = line["spec"]
    wavs = [read(path) for path in spec["audio"]]
    if spec["how"] == "sequence":
        wav = sequence(*wavs, spec["gap"])
    elif spec["how"] in ("together", "background"):
        wav = overlay(*wavs, spec["gain"], int(spec["offset"] * RATE))
    else:
        wav = tilted(shifted(wavs[0], spec["octaves"]), spec["tilt"])
        wav = repeat(wav, spec["count"], spec["gap"]) if spec["how"] == "repeat" else wav
        wav = level(wav, LEVEL + spec["decibel"])
    return fade(wav[: int(MAX_SECONDS * RATE)], 0.02)


def mixtures(manifests: Sequence[Path], root: Path, count: int = 1200, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """`count` mixtures of two train clips: "A and B" at equal loudness, "A with B in the background", "A followed by B".

    Effects and instruments are drawn two to one, whatever their numbers; a clip whose captions hold a phrase
    ("a dog barking") is drawn four times as often as one that has only the words of its file name.
    """
    pool = _train(manifests, {"effect", "instrument"}, 5.5)
    if len(pool) < 2:
        raise ValueError(f"no train clips of effects or instruments in {', '.join(map(str, manifests))}")
    share = {"effect": 2.0, "instrument": 1.0}
    numbers = {kind: sum(line["kind"] == kind for line in pool) for kind in share}
    weights = np.array([share[line["kind"]] / numbers[line["kind"]] for line in pool])
    weights *= [4.0 if any(map(_phrase, line["captions"])) else 1.0 for line in pool]
    plan = [_mixture(pool, weights / weights.sum(), index, seed) for index in range(count)]
    return build(root, plan, _make, n_jobs, title="mixtures")


def _copy(line: dict, seed: int) -> list[dict]:
    rng = rng_for(seed, "augment", line["source"], line["file"])
    stem = Path(line["file"]).stem
    name = f"aug-{''.join(c if c.isalnum() else '_' for c in stem)[:40]}"
    spec = {
        "how": "copy", "octaves": float(rng.uniform(0.08, 0.3) * rng.choice([-1, 1])), "tilt": float(rng.uniform(-1.5, 1.5)),
        "decibel": float(rng.uniform(-4, 3)),
    }  # fmt: skip
    out = [_line(name, [line], line["captions"], "augmented", line["kind"], spec, seed)]
    out[0]["caption_sources"] = line["caption_sources"]
    if line["seconds"] < SHORT:
        count = int(rng.integers(2, 6))
        small = {
            "octaves": float(rng.uniform(-0.08, 0.08)),
            "tilt": float(rng.uniform(-1, 1)),
            "decibel": float(rng.uniform(-4, 3)),
        }
        gap = float(rng.uniform(0.05, 0.6))
        ends = (
            "repeatedly",
            "again and again",
            "several times" if count > 2 else "twice",
            NUMBERS[count],
            "over and over",
            "repeatedly",
        )
        captions = [f"{_caption(line, rng)} {end}" for end in ends]
        out.append(
            _line(
                name.replace("aug-", "rep-"),
                [line],
                captions,
                "repeated",
                line["kind"],
                {"how": "repeat", "count": count, "gap": gap, **small},
                seed,
            )
        )
    return out


def augmented(manifests: Sequence[Path], root: Path, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """One copy of every train effect, its speed and pitch moved by .08 to .3 octave and its spectrum tilted;
    and a version of those below 1.5 s repeated two to five times ("... repeatedly")."""
    plan = [copy for line in _train(manifests, {"effect"}, 6.5) for copy in _copy(line, seed)]
    return build(root, plan, _make, n_jobs, title="augmented")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["mixtures", "augmented"])
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1200, help="mixtures to make")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.what == "mixtures":
        lines = mixtures(args.manifests, args.root, args.count, args.seed, args.jobs)
    else:
        lines = augmented(args.manifests, args.root, args.seed, args.jobs)
    print(f"{len(lines)} clips, {sum(line['seconds'] for line in lines) / 3600:.2f} h")
