"""The singing table: how well made F0 follows asked F0, for the corpus itself, its codec round trip, teacher and student.

    python -m recipes.text_to_speech.evaluate_pitch speak --out runs/f0_table [--singing data/singing] [--systems student-1]
    python -m recipes.text_to_speech.evaluate_pitch score --out runs/f0_table --results samples/f0_scores.json

Asked are the held-out clips of recipes/corpora/speech/singing.py: tunes and made-up melodies as notes, one a syllable, and sentences
as spoken with their F0 moved, flattened or exaggerated. A model sings with its own consonants' lengths, and speaks with its
own durations, along which the contour is laid symbol by symbol. `speak` writes sounds with what was asked beside them and
continues where it stopped; `score` is `audiocm score --metrics contour` of each part (the first row is what measuring allows
at best) and plots.
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

from audiocm.audio.io import read_wave
from audiocm.evaluation.scoring import score as scored
from audiocm.metrics import speech
from audiocm.speech.encoder import phoneme_batch
from audiocm.speech.singing import note_pitch
from recipes.corpora.speech.hibari import POINT
from recipes.judges import write_results
from recipes.text_to_speech.evaluate import System, systems, through_codec

PARTS = ("sung", "contour")


def items(root: Path) -> list[dict]:
    """The held-out manifest lines with what their NAME.json tells and a short `name`."""
    found, manifest = [], (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    for line in (one for one in map(json.loads, manifest) if one["split"] == "test"):
        told = json.loads((root / line["file"]).with_suffix(".json").read_text(encoding="utf-8"))
        found.append(line | told | {"name": "-".join(Path(line["file"]).with_suffix("").parts[1:])})
    if not found:
        raise ValueError(f"{root}: no held-out clip: make more hours with recipes.corpora.speech.singing")
    return found


def laid(hertz: Sequence[float], seconds: Sequence[float], other: Sequence[float]) -> np.ndarray:
    """A contour over symbols of `seconds`, moved to where the same symbols last `other`; a value about each POINT."""
    ends, wanted = np.cumsum([0.0, *seconds]), np.cumsum([0.0, *other])
    count = max(1, round(wanted[-1] / POINT))
    at = np.interp((np.arange(count) + 0.5) * wanted[-1] / count, wanted, ends) / ends[-1] * len(hertz)
    return np.asarray(hertz, np.float32)[at.astype(int).clip(max=len(hertz) - 1)]


# --- speak ------------------------------------------------------------------------------------------------------------


def asked_of(folder: Path) -> dict[str, dict]:
    """The lines of a folder's prompts.jsonl by clip."""
    file = folder / "prompts.jsonl"
    told = map(json.loads, file.read_text(encoding="utf-8").splitlines()) if file.exists() else ()
    return {Path(line["file"]).stem: line for line in told}


def keep(folder: Path, item: dict, wav: np.ndarray, rate: int, hertz: Sequence[float]) -> None:
    """A sound, and what was asked of it as a line of prompts.jsonl, in the folder of its part."""
    folder = folder / item["name"].split("-")[0]
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{item['name']}.flac", wav, rate)
    values = [None if np.isnan(value) else round(float(value), 1) for value in hertz]
    with (folder / "prompts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"file": f"{item['name']}.flac", "text": item["text"], "f0": values}) + "\n")


def sing_system(system: System, items: Sequence[dict], folder: Path, device: str) -> None:
    """Every item by one model, as asked; names the ones that it cannot make."""
    from audiocm.diffusion import solvers
    from audiocm.pipelines.text_to_speech import TextToSpeechPipeline

    made = {name for part in PARTS for name in asked_of(folder / part)}
    todo = [item for item in items if item["name"] not in made]
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
                asked = note_pitch(symbols, seconds, item["notes"], POINT)
            else:
                asked = laid(item["hertz"], item["seconds"], own_seconds(pipe, item["phonemes"], options["voice"]))
                out = pipe(item["text"], pitch=asked, **options)
        except ValueError as error:  # too long, silent or broken
            print(f"{system.name}, {item['name']}: {error}", flush=True)
            continue
        keep(folder, item, out.audios[0].numpy(), pipe.sample_rate, asked)


def own_seconds(pipe, phonemes: str, voice: str | None) -> list[float]:
    """How long the model takes for each symbol of a line."""
    encoder = pipe.speech_encoder
    spoken = phoneme_batch([phonemes], pipe.voices.index(voice) if voice else 0, encoder.config.symbols).to(
        encoder.device
    )
    with torch.no_grad():
        return (encoder.predicted(encoder.states(spoken), spoken)[0] / pipe.codec.frame_rate).tolist()


def speak(args: argparse.Namespace) -> None:
    told, out = items(Path(args.singing)), Path(args.out)
    for system in systems(args):
        folder = out / system.name
        if system.model:
            sing_system(system, told, folder, args.device)
        elif not folder.exists() and system.name == "voice":
            for item in told:
                keep(folder, item, read_wave(Path(args.singing) / item["file"], 24000), 24000, item["hertz"])
        elif not folder.exists():
            for part in (part for part in PARTS if (out / "voice" / part).exists()):
                through_codec(SimpleNamespace(student=args.student), out / "voice" / part, folder / part)
        print(system.name, flush=True)


# --- score ------------------------------------------------------------------------------------------------------------


def score(args: argparse.Namespace) -> None:
    out, rows, cards = Path(args.out), {}, {}
    for system in systems(args):
        told = {}
        for part in (part for part in PARTS if asked_of(out / system.name / part)):
            folder = out / system.name / part
            result = scored(folder, prompts=folder / "prompts.jsonl", metrics=("contour",))
            told |= {f"{name} {part}": one for name, one in result["scores"].items()}
            cards[f"{system.name} {part}"] = result["card"]
        if told:
            rows[system.name] = {
                "clips": sum(len(asked_of(out / system.name / part)) for part in PARTS),
                "scores": told,
            }
    if not rows:
        raise ValueError(f"{args.out}: nothing to score: `speak` first")
    results, columns = Path(args.results), list(dict.fromkeys(name for row in rows.values() for name in row["scores"]))
    asked = {"asked": "held-out clips of recipes/corpora/speech/singing.py", "cards": cards}
    print(write_results(results, {"card": asked, "systems": rows}, columns))
    plot(out, list(rows), results.with_suffix(".png"))


def plot(out: Path, names: Sequence[str], path: Path, count: int = 4) -> None:
    """Asked and made F0 of the first melodies; a row each, a column a system."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    asked = {system: asked_of(out / system / "sung") for system in names}
    melodies = [name for name in asked[names[0]] if all(name in one for one in asked.values())]
    chosen = melodies[: count // 2] + melodies[count // 2 :][-count // 2 :]  # made-up ones, tunes
    if not chosen:
        return
    figure, axes = pyplot.subplots(
        len(chosen), len(names), figsize=(3.2 * len(names), 1.9 * len(chosen)), sharey=True, squeeze=False
    )
    for row, name in zip(axes, chosen, strict=True):
        for axis, system in zip(row, names, strict=True):
            wav, rate = soundfile.read(out / system / "sung" / f"{name}.flac", dtype="float32")
            wanted, made = speech.pitch_tracks(wav, rate, asked[system][name]["f0"])
            at = (np.arange(len(made)) + 0.5) * len(wav) / rate / len(made)
            axis.plot(at, np.where(wanted > 0, wanted, np.nan), color="0.6", linewidth=4, label="asked")
            axis.plot(at, np.where(made > 0, made, np.nan), color="tab:blue", linewidth=1, label="made")
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
