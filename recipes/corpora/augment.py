"""More clips from train clips: mixtures, sequences, resampled, tilted and repeated copies, and longer textures.

    python -m recipes.corpora.augment mixtures --manifests data/corpus/manifest.jsonl data/rendered/manifest.jsonl \\
        --root data/mixtures --count 1200
    python -m recipes.corpora.augment augmented --manifests data/corpus/manifest.jsonl --root data/augmented
    python -m recipes.corpora.augment extended --manifests data/corpus/manifest.jsonl data/augmented/manifest.jsonl \\
        --root data/extended

Runs on a CPU and continues where it stopped. The bundled text-to-audio models were trained on both, with the corpora
that they are made of. Valid and test clips are never used, so nothing of them can reach training through a mixture.
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiocm.audio.io import decode, resample
from recipes.corpora.manifests import RATE, build, fade, level, print_summary, read_lines, rng_for

LEVEL = -23.0  # dB, of every clip before it is mixed
BACKGROUND = -9.0  # dB of "with B in the background" against the foreground
MAX_SECONDS = 8.0
TEXTURE_SECONDS = 10.3  # of an extended texture
OVERLAP, CANDIDATES = 0.35, 48  # seconds that are cross-faded where a texture is joined, and places that are compared
NUMBERS = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
SHORT_SECONDS = 1.5  # shorter clips get a repeated version


def _train_lines(manifests: Sequence[Path], kinds: set[str], longest: float) -> list[dict]:
    """Returns the train lines of the kinds up to `longest` seconds, with the path of their audio as "audio"."""
    return [
        {**line, "audio": str(path.parent / line["file"])}
        for path in map(Path, manifests)
        for line in read_lines(path)
        if line["split"] == "train" and line["kind"] in kinds and line["seconds"] <= longest
    ]


def read_clip(path: str) -> np.ndarray:
    """Reads a corpus clip, float32 [sample]. Raises ValueError unless it is mono at 24 kHz."""
    wav, rate = decode(path)
    if rate != RATE or wav.ndim != 1:
        raise ValueError(f"{path}: expected mono at {RATE} Hz")
    return wav


def overlay(first: np.ndarray, second: np.ndarray, gain: float, offset: int) -> np.ndarray:
    """Adds `second` [sample] to `first`, `offset` samples later and `gain` dB louder in its active parts."""
    first, second = level(first, LEVEL), level(second, LEVEL) * 10 ** (gain / 20)
    out = np.zeros(max(len(first), offset + len(second)), np.float32)
    out[: len(first)] += first
    out[offset : offset + len(second)] += second
    return out * min(1.0, 0.89 / max(float(np.abs(out).max()), 1e-9))


def sequence(first: np.ndarray, second: np.ndarray, gap: float) -> np.ndarray:
    """Joins two wavs of the same loudness by `gap` seconds of silence."""
    return np.concatenate([fade(level(first, LEVEL)), np.zeros(int(gap * RATE), np.float32), level(second, LEVEL)])


def repeat(wav: np.ndarray, count: int, gap: float) -> np.ndarray:
    """Repeats a wav `count` times with `gap` seconds of silence between."""
    silence = np.zeros(int(gap * RATE), np.float32)
    pieces = [piece for _ in range(count) for piece in (fade(wav, 0.005), silence)]
    return np.concatenate(pieces[:-1])


def extend(wav: np.ndarray, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Extends a texture by parts of itself: each is cross-faded where its spectrum is nearest to that of the end.

    Of CANDIDATES random places, the one with the smallest distance of mean log spectra over the overlap is taken; the
    fade has constant power, since the parts are not in phase."""
    overlap = min(round(OVERLAP * RATE), len(wav) // 3)
    rise = np.sin(np.linspace(0, np.pi / 2, overlap, dtype=np.float32))
    places = rng.integers(0, len(wav) - 2 * overlap + 1, CANDIDATES)
    spectra = np.stack([_log_spectrum(wav[place : place + overlap]) for place in places])
    out = wav[: len(wav) - int(rng.integers(0, max(1, len(wav) // 8)))]
    while len(out) < seconds * RATE:
        distance = np.abs(spectra - _log_spectrum(out[-overlap:])).mean(1)
        near = np.argsort(distance)[: max(2, CANDIDATES // 8)]  # one of the nearest, so that joins differ
        part = wav[places[rng.choice(near)] :]
        joined = out[-overlap:] * rise[::-1] + part[:overlap] * rise
        out = np.concatenate([out[:-overlap], joined, part[overlap:]])
    return out[: round(seconds * RATE)]


def _log_spectrum(wav: np.ndarray) -> np.ndarray:
    """Returns the log power in 32 bands of a piece, equally spaced on a logarithmic frequency axis."""
    power = np.abs(np.fft.rfft(wav * np.hanning(len(wav)))) ** 2
    edges = np.unique(np.geomspace(2, len(power), 33).astype(int))
    return np.log(np.add.reduceat(power, edges[:-1]) / np.diff(edges) + 1e-8)


def shift_pitch(wav: np.ndarray, octaves: float) -> np.ndarray:
    """Resamples a wav so that it is higher and faster (octaves > 0) or lower and slower."""
    return resample(wav, RATE * 2.0**octaves, RATE)


def tilt_spectrum(wav: np.ndarray, slope: float) -> np.ndarray:
    """Tilts the spectrum of a wav by `slope` dB per octave around 1 kHz, constant below 60 Hz and above 12 kHz."""
    spectrum = np.fft.rfft(wav)
    octave = np.log2(np.clip(np.fft.rfftfreq(len(wav), 1 / RATE), 60, 12_000) / 1000)
    return np.fft.irfft(spectrum * 10 ** (slope * octave / 20), len(wav)).astype(np.float32)


def _draw_caption(line: dict, rng: np.random.Generator) -> str:
    """Draws a caption that can be part of a sentence; short ones keep mixtures within the text encoder's window."""
    short = [caption for caption in line["captions"] if len(caption.split()) <= 8] or line["captions"]
    return str(rng.choice([caption for caption in short if _is_phrase(caption)] or short)).rstrip(".")


def _is_phrase(caption: str) -> bool:
    return caption.split()[0].lower() in ("a", "an", "the", "someone", "people")


def _line(name: str, parents: list[dict], captions: list[str], source: str, kind: str, spec: dict, seed: int) -> dict:
    """Returns the manifest line of a clip that is made of its parents as `spec` says."""
    captions = list(dict.fromkeys(captions))
    digest = hashlib.sha1(f"{seed}:{[parent['file'] for parent in parents]}:{name}".encode()).hexdigest()[:12]
    return {
        "file": f"clips/{name}-{digest}.flac",
        "split": "train",
        "source": f"{source}:" + "+".join(dict.fromkeys(parent["source"] for parent in parents)),
        "path": " + ".join(parent["file"] for parent in parents),
        "licence": " + ".join(dict.fromkeys(parent["licence"] for parent in parents)),
        "kind": kind,
        "role": parents[0].get("role", "") if len(parents) == 1 else "",
        "thing": parents[0].get("thing", "") if len(parents) == 1 else kind,
        "captions": captions,
        "caption_sources": [source] * len(captions),
        "labels": list(dict.fromkeys(label for parent in parents for label in parent.get("labels", []))),
        "group": " + ".join(parent["group"] for parent in parents),
        "spec": {**spec, "audio": [parent["audio"] for parent in parents]},
    }


def _mixture(pool: list[dict], weights: np.ndarray, index: int, seed: int) -> dict:
    rng = rng_for(seed, "mixture", index)
    first, second = (pool[i] for i in rng.choice(len(pool), 2, replace=False, p=weights))
    how = ("together", "background", "sequence")[int(rng.choice(3, p=[0.4, 0.25, 0.35]))]
    if how == "together" and second["seconds"] > first["seconds"]:
        first, second = second, first
    texts = []
    for _ in range(5):
        a, b = _draw_caption(first, rng), _draw_caption(second, rng)
        texts += {
            "together": [f"{a} and {b}", f"{b} while {a} goes on" if rng.integers(2) else f"{b} together with {a}"],
            "background": [f"{a} with {b} in the background"],
            "sequence": [f"{a} followed by {b}", f"{a}, then {b}"],
        }[how]
    slack = max(0.0, first["seconds"] - second["seconds"])
    offset = float(rng.uniform(0, slack)) if how != "sequence" else 0.0
    spec = {"how": how, "offset": offset, "gap": float(rng.uniform(0, 0.35))}
    spec["gain"] = BACKGROUND if how == "background" else 0.0
    return _line(f"mix-{index}", [first, second], texts[:6], "mixture", "mixture", spec, seed)


def _make(line: dict) -> np.ndarray:
    spec = line["spec"]
    wavs = [read_clip(path) for path in spec["audio"]]
    if spec["how"] == "extend":
        return level(extend(wavs[0], spec["seconds"], np.random.default_rng(spec["seed"])), LEVEL + spec["decibel"])
    if spec["how"] == "sequence":
        wav = sequence(*wavs, spec["gap"])
    elif spec["how"] in ("together", "background"):
        wav = overlay(*wavs, spec["gain"], int(spec["offset"] * RATE))
    else:
        wav = tilt_spectrum(shift_pitch(wavs[0], spec["octaves"]), spec["tilt"])
        wav = repeat(wav, spec["count"], spec["gap"]) if spec["how"] == "repeat" else wav
        wav = level(wav, LEVEL + spec["decibel"])
    return fade(wav[: int(MAX_SECONDS * RATE)], 0.02)


def mixtures(manifests: Sequence[Path], root: Path, count: int = 1200, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """Makes `count` mixtures of two train clips: "A and B", "A with B in the background" or "A followed by B".

    Effects are drawn twice as often as instruments; a clip whose captions contain a phrase ("a dog barking") four times
    as often as one that has only the words of its file name. Raises ValueError if there are no such clips."""
    pool = _train_lines(manifests, {"effect", "instrument"}, 5.5)
    if len(pool) < 2:
        raise ValueError(f"no train clips of effects or instruments in {', '.join(map(str, manifests))}")
    share = {"effect": 2.0, "instrument": 1.0}
    numbers = {kind: sum(line["kind"] == kind for line in pool) for kind in share}
    weights = np.array([share[line["kind"]] / numbers[line["kind"]] for line in pool])
    weights *= [4.0 if any(map(_is_phrase, line["captions"])) else 1.0 for line in pool]
    plan = [_mixture(pool, weights / weights.sum(), index, seed) for index in range(count)]
    return build(root, plan, _make, n_jobs, title="mixtures")


def _copies(line: dict, seed: int) -> list[dict]:
    """Returns the lines of an altered copy and, for a short clip, of a repeated one."""
    rng = rng_for(seed, "augment", line["source"], line["file"])
    stem = Path(line["file"]).stem
    name = "".join(c if c.isalnum() else "_" for c in stem)[:40]
    octaves = float(rng.uniform(0.08, 0.3) * rng.choice([-1, 1]))
    spec = {"how": "copy", "octaves": octaves, "tilt": float(rng.uniform(-1.5, 1.5))}
    spec["decibel"] = float(rng.uniform(-4, 3))
    copy = _line(f"aug-{name}", [line], line["captions"], "augmented", line["kind"], spec, seed)
    copy["caption_sources"] = line["caption_sources"]
    if line["seconds"] >= SHORT_SECONDS:
        return [copy]
    count = int(rng.integers(2, 6))
    spec = {"how": "repeat", "count": count, "octaves": float(rng.uniform(-0.08, 0.08))}
    spec |= {"tilt": float(rng.uniform(-1, 1)), "decibel": float(rng.uniform(-4, 3))}
    spec["gap"] = float(rng.uniform(0.05, 0.6))
    times = "several times" if count > 2 else "twice"
    ends = ("repeatedly", "again and again", times, NUMBERS[count], "over and over", "repeatedly")
    captions = [f"{_draw_caption(line, rng)} {end}" for end in ends]
    again = _line(f"rep-{name}", [line], captions, "repeated", line["kind"], spec, seed)
    return [copy, again | {"role": ""}]


def augmented(manifests: Sequence[Path], root: Path, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """Makes one copy of every train effect, its pitch moved by 0.08 to 0.3 octaves and its spectrum tilted.

    Effects below 1.5 s also get a version that is repeated two to five times ("... repeatedly")."""
    plan = [copy for line in _train_lines(manifests, {"effect"}, 6.5) for copy in _copies(line, seed)]
    return build(root, plan, _make, n_jobs, title="augmented")


def _extended(line: dict, seed: int) -> dict:
    rng = rng_for(seed, "extend", line["source"], line["file"])
    spec = {"how": "extend", "seconds": TEXTURE_SECONDS, "seed": int(rng.integers(2**31))}
    spec["decibel"] = float(rng.uniform(-4, 3))
    name = "".join(c if c.isalnum() else "_" for c in Path(line["file"]).stem)[:40]
    longer = _line(f"ext-{name}", [line], line["captions"], "extended", line["kind"], spec, seed)
    return longer | {"caption_sources": line["caption_sources"]}


def extended(manifests: Sequence[Path], root: Path, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """Makes a longer version of every train texture (role "texture"), so that silence never has to follow it."""
    lines = [line for line in _train_lines(manifests, {"effect"}, TEXTURE_SECONDS) if line.get("role") == "texture"]
    return build(root, [_extended(line, seed) for line in lines], _make, n_jobs, title="extended")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["mixtures", "augmented", "extended"])
    parser.add_argument("--manifests", type=Path, nargs="+", required=True, help="manifest.jsonl of the source corpora")
    parser.add_argument("--root", type=Path, required=True, help="folder of the new corpus")
    parser.add_argument("--count", type=int, default=1200, help="number of mixtures")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.action == "mixtures":
        print_summary(mixtures(args.manifests, args.root, args.count, args.seed, args.jobs))
    elif args.action == "extended":
        print_summary(extended(args.manifests, args.root, args.seed, args.jobs))
    else:
        print_summary(augmented(args.manifests, args.root, args.seed, args.jobs))


if __name__ == "__main__":
    main()
