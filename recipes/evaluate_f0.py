"""The singing table: how well made F0 follows asked F0, for the corpus itself, its codec round trip, teacher and student.

    python -m recipes.evaluate_f0 speak --out runs/f0_table [--singing data/singing] [--systems student-1]
    python -m recipes.evaluate_f0 score --out runs/f0_table --results samples/f0_scores.json

Asked are the held-out clips of recipes/singing_corpus.py: tunes and made-up melodies as notes, one a syllable, and sentences
as spoken with their F0 moved, flattened or exaggerated. A model sings with its own consonants' lengths, and speaks with its
own durations, along which the contour is laid symbol by symbol. `speak` writes sounds with what was asked beside them and
continues where it stopped; `score` measures F0 (recipes/pitch.py; the first row is what that allows at best) and plots.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch

from audiocm.manifest import read_wave
from audiocm.singing import tune
from audiocm.speech import lines
from recipes.evaluate_tts import System, systems, through_codec, told
from recipes.hibari_voice import POINT
from recipes.pitch import f0_of

CLOSE = 50.0  # cents
COLUMNS = [
    f"{name} {part}" for part in ("sung", "contour") for name in ("F0 error, cents", "within 50 cents %", "voicing %")
]


def items(root: Path) -> list[dict]:
    """The held-out manifest lines with what their NAME.json tells and a short `name`."""
    found, manifest = [], (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    for line in (one for one in map(json.loads, manifest) if one["split"] == "test"):
        told = json.loads((root / line["file"]).with_suffix(".json").read_text(encoding="utf-8"))
        found.append(line | told | {"name": "-".join(Path(line["file"]).with_suffix("").parts[1:])})
    if not found:
        raise ValueError(f"{root}: no held-out clip: make more hours with recipes.singing_corpus")
    return found


def laid(hertz: Sequence[float], seconds: Sequence[float], other: Sequence[float]) -> np.ndarray:
    """A contour over symbols of `seconds`, moved to where the same symbols last `other`; a value about each POINT."""
    ends, wanted = np.cumsum([0.0, *seconds]), np.cumsum([0.0, *other])
    count = max(1, round(wanted[-1] / POINT))
    at = np.interp((np.arange(count) + 0.5) * wanted[-1] / count, wanted, ends) / ends[-1] * len(hertz)
    return np.asarray(hertz, np.float32)[at.astype(int).clip(max=len(hertz) - 1)]


# --- speak ------------------------------------------------------------------------------------------------------------


def reference(items: Sequence[dict], root: Path, folder: Path) -> None:
    """The corpus' own clips and what was told to the voice."""
    for item in items:
        soundfile.write(folder / f"{item['name']}.flac", read_wave(root / item["file"], 24000), 24000)
        write_asked(folder, item["name"], item["hertz"])
    told(folder, {item["name"]: item["text"] for item in items})


def write_asked(folder: Path, name: str, hertz: Sequence[float]) -> None:
    values = [None if np.isnan(value) else round(float(value), 1) for value in hertz]
    (folder / f"{name}.json").write_text(json.dumps(values))


def sing_system(system: System, items: Sequence[dict], folder: Path, device: str) -> None:
    """Every item by one model, as asked; names the ones that it cannot make."""
    from audiocm import solvers
    from audiocm.speaking import TextToSpeechPipeline

    todo = [item for item in items if not (folder / f"{item['name']}.json").exists()]
    if not todo:
        return
    pipe = TextToSpeechPipeline.from_pretrained(system.model, device=device)
    for number, item in enumerate(todo):
        options = {
            "num_inference_steps": system.steps,
            "voice": item["voice"] if item["voice"] in pipe.voices else None,
            "generator": torch.Generator().manual_seed(number),
            "solver": None if pipe.is_student else solvers.euler,
        }
        try:
            if "notes" in item:
                out = pipe(item["text"], notes=item["notes"], **options)
                symbols, seconds = zip(*out.durations[0], strict=True)
                asked = tune(symbols, seconds, item["notes"], POINT)
            else:
                asked = laid(item["hertz"], item["seconds"], own_seconds(pipe, item["phonemes"], options["voice"]))
                out = pipe(item["text"], pitch=asked, **options)
        except ValueError as error:  # too long, silent or broken
            print(f"{system.name}, {item['name']}: {error}", flush=True)
            continue
        soundfile.write(folder / f"{item['name']}.flac", out.audios[0].numpy(), pipe.sample_rate)
        write_asked(folder, item["name"], asked)


def own_seconds(pipe, phonemes: str, voice: str | None) -> list[float]:
    """How long the model takes for each symbol of a line."""
    encoder = pipe.speech_encoder
    spoken = lines([phonemes], pipe.voices.index(voice) if voice else 0, encoder.config.symbols).to(encoder.device)
    with torch.no_grad():
        return (encoder.predicted(encoder.states(spoken), spoken)[0] / pipe.codec.frame_rate).tolist()


def speak(args: argparse.Namespace) -> None:
    told, out = items(Path(args.singing)), Path(args.out)
    for system in systems(args):
        folder = out / system.name
        folder.mkdir(parents=True, exist_ok=True)
        if system.model:
            sing_system(system, told, folder, args.device)
        elif system.name == "voice":
            reference(told, Path(args.singing), folder)
        else:
            through_codec(SimpleNamespace(student=args.student), out / "voice", folder)
            for file in (out / "voice").glob("*-*.json"):
                (folder / file.name).write_bytes(file.read_bytes())
        print(system.name, flush=True)


# --- score ------------------------------------------------------------------------------------------------------------


def followed(wav: np.ndarray, rate: int, asked: np.ndarray) -> dict[str, np.ndarray]:
    """Asked and made F0 of each measured frame (nan: free, 0: unvoiced), and the errors in cents where both are voiced."""
    made = f0_of(wav, rate)
    asked = asked[((np.arange(len(made)) + 0.5) * len(asked) / len(made)).astype(int)]
    both = (made > 0) & (asked > 0)
    return {"asked": asked, "made": made, "cents": np.abs(1200 * np.log2(made[both] / asked[both]))}


def middle(values: np.ndarray, weights: np.ndarray) -> float:
    """The weighted median; `values` in rising order."""
    total = np.cumsum(weights)
    return float(values[np.searchsorted(total, total[-1] / 2)])


def scores(clips: Sequence[dict[str, np.ndarray]], part: str) -> list:
    """Median error, share of voiced frames within 50 cents, and share of asked frames that are voiced or not as asked; of
    all frames together, drawn clip by clip. A frame asked voiced and made unvoiced counts for voicing alone."""
    from audiocm.metrics.intervals import statistic_score

    owner = np.repeat(np.arange(len(clips)), [len(clip["cents"]) for clip in clips])
    cents = np.concatenate([clip["cents"] for clip in clips])
    order = np.argsort(cents)
    known = [~np.isnan(clip["asked"]) for clip in clips]
    right = np.array(
        [((c["asked"] > 0) == (c["made"] > 0))[k].sum() for c, k in zip(clips, known, strict=True)], dtype=float
    )
    frames = np.array([k.sum() for k in known], dtype=float)
    names = [column for column in COLUMNS if column.endswith(part)]
    statistics = (
        lambda w: middle(cents[order], w[owner[order]]),
        lambda w: float(100 * (w[owner] @ (cents < CLOSE)) / max(w[owner].sum(), 1)),
        lambda w: float(100 * (w @ right) / (w @ frames)),
    )
    told = list(zip(names, statistics, strict=True))
    return [statistic_score(name, one, len(clips)) for name, one in (told if len(cents) else told[2:])]


def measured(folder: Path) -> dict[str, dict]:
    found = {}
    for file in sorted(folder.glob("*-*.json")):
        asked = np.array([np.nan if value is None else value for value in json.loads(file.read_text())])
        wav, rate = soundfile.read(file.with_suffix(".flac"), dtype="float32")
        found[file.stem] = followed(wav, rate, asked)
    return found


def score(args: argparse.Namespace) -> None:
    from audiocm.provenance import commit, versions
    from recipes.judging import write_results

    rows, clips = {}, {}
    for system in systems(args):
        if not (found := measured(Path(args.out) / system.name)):
            continue
        parts = {part: [one for name, one in found.items() if name.startswith(part)] for part in ("sung", "contour")}
        told = [one for part, chosen in parts.items() if chosen for one in scores(chosen, part)]
        rows[system.name] = {"clips": len(found), "scores": {one.name: one.as_dict() for one in told}}
        clips[system.name] = found
    if not rows:
        raise ValueError(f"{args.out}: nothing to score: `speak` first")
    card = {"commit": commit(), "versions": versions(("hibari-tts", "librosa", "torch")), "close": CLOSE}
    card |= {"F0": "YIN, recipes/pitch.py", "asked": "held-out clips of recipes/singing_corpus.py"}
    results = Path(args.results)
    print(write_results(results, {"card": card, "systems": rows}, COLUMNS))
    plot(clips, results.with_suffix(".png"))


def plot(clips: dict[str, dict[str, dict]], path: Path, count: int = 4) -> None:
    """Asked and made F0 of the first melodies; a row each, a column a system."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in next(iter(clips.values())) if all(name in found for found in clips.values())]
    melodies = [name for name in names if name.startswith("sung")]
    chosen = melodies[: count // 2] + melodies[count // 2 :][-count // 2 :]  # made-up ones, tunes
    if not chosen:
        return
    figure, axes = pyplot.subplots(
        len(chosen), len(clips), figsize=(3.2 * len(clips), 1.9 * len(chosen)), sharey=True, squeeze=False
    )
    for row, name in zip(axes, chosen, strict=True):
        for axis, (system, found) in zip(row, clips.items(), strict=True):
            one = found[name]
            at = (np.arange(len(one["made"])) + 0.5) * POINT
            axis.plot(at, np.where(one["asked"] > 0, one["asked"], np.nan), color="0.6", linewidth=4, label="asked")
            axis.plot(at, np.where(one["made"] > 0, one["made"], np.nan), color="tab:blue", linewidth=1, label="made")
            axis.set_yscale("log", base=2)
            axis.set_ylim(100, 500)
            axis.set_yticks([110, 220, 440], ["110", "220", "440"])
            axis.set_title(system if name == chosen[0] else "")
    for axis, name in zip(axes[:, 0], chosen, strict=True):
        axis.set_ylabel(f"{name}\nHz", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("s")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["speak", "score"])
    parser.add_argument("--out", default="runs/f0_table")
    parser.add_argument("--results", default="samples/f0_scores.json")
    parser.add_argument("--singing", default="data/singing")
    parser.add_argument("--student", default="tts")
    parser.add_argument("--teacher", default="tts-teacher")
    parser.add_argument("--teacher-steps", type=lambda s: [int(x) for x in s.split(",")], default=[50])
    parser.add_argument("--student-steps", type=lambda s: [int(x) for x in s.split(",")], default=[1])
    parser.add_argument("--systems", type=lambda s: s.split(","), default=[], help="of voice,codec,teacher-N,student-N")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args(arguments)
    {"speak": speak, "score": score}[args.action](args)


if __name__ == "__main__":
    main()
