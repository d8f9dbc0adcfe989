"""The singing table: how well produced F0 follows requested F0, of corpus, codec round trip, teacher and student.

    python -m recipes.text_to_speech.evaluate_pitch speak --output runs/f0_table [--singing data/singing]
    python -m recipes.text_to_speech.evaluate_pitch score --output runs/f0_table --results samples/f0_scores.json

The requests are the held-out clips of recipes/corpora/speech/singing.py: melodies as notes, one per syllable, and
sentences whose F0 is moved, flattened or exaggerated. A model sings with its own lengths of consonants and speaks with
its own durations, along which the contour is laid symbol by symbol. `speak` continues where it stopped; `score` is
`audiocm score --metrics contour` of each part, and plots. Made samples/f0_scores.json: in one call sung F0 is 9 cents
off (voice 3, codec 7, teacher 10), F0 of bent speech 42 cents (14, 16, 43).
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm.audio.io import read_wave
from audiocm.diffusion import solvers
from audiocm.evaluation.scoring import score
from audiocm.files import read_json_lines
from audiocm.metrics import speech
from audiocm.pipelines.text_to_speech import TextToSpeechPipeline
from audiocm.speech.encoder_net import phoneme_batch
from audiocm.speech.singing import note_pitch
from recipes.corpora.speech.hibari import POINT
from recipes.judges import write_results
from recipes.text_to_speech.evaluate import System, system_parser, systems, write_round_trip

PARTS = ("sung", "contour")


def read_items(root: Path) -> list[dict]:
    """Returns the held-out manifest lines with their annotations and a short `name`. Raises ValueError if none."""
    items = []
    for line in read_json_lines(root / "manifest.jsonl"):
        if line["split"] == "test":
            annotation = json.loads((root / line["file"]).with_suffix(".json").read_text(encoding="utf-8"))
            items.append(line | annotation | {"name": "-".join(Path(line["file"]).with_suffix("").parts[1:])})
    if not items:
        raise ValueError(f"{root}: no held-out clip: make more hours with recipes.corpora.speech.singing")
    return items


def retime_contour(hertz: Sequence[float], seconds: Sequence[float], target: Sequence[float]) -> np.ndarray:
    """Moves a contour over symbols of `seconds` to symbols that last `target` seconds; a value about every POINT."""
    ends, target_ends = np.cumsum([0.0, *seconds]), np.cumsum([0.0, *target])
    count = max(1, round(target_ends[-1] / POINT))
    times = (np.arange(count) + 0.5) * target_ends[-1] / count
    indices = np.interp(times, target_ends, ends) / ends[-1] * len(hertz)
    return np.asarray(hertz, np.float32)[indices.astype(int).clip(max=len(hertz) - 1)]


# --- speak ------------------------------------------------------------------------------------------------------------


def read_requests(folder: Path) -> dict[str, dict]:
    """Returns the lines of a folder's prompts.jsonl by clip; none if it is missing."""
    file = folder / "prompts.jsonl"
    return {Path(line["file"]).stem: line for line in (read_json_lines(file) if file.exists() else ())}


def write_item(folder: Path, item: dict, wav: np.ndarray, rate: int, hertz: Sequence[float]) -> None:
    """Writes a sound in the folder of its part, and the requested text and F0 as a line of prompts.jsonl."""
    folder = folder / item["name"].split("-")[0]
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{item['name']}.flac", wav, rate)
    values = [None if np.isnan(value) else round(float(value), 1) for value in hertz]
    with (folder / "prompts.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"file": f"{item['name']}.flac", "text": item["text"], "f0": values}) + "\n")


def speak_system(system: System, items: Sequence[dict], folder: Path, device: str) -> None:
    """Writes the missing items by one model; those that it cannot speak are printed."""
    done = {name for part in PARTS for name in read_requests(folder / part)}
    todo = [item for item in items if item["name"] not in done]
    if not todo:
        return
    pipe = TextToSpeechPipeline.from_pretrained(system.model, device=device)
    for number, item in enumerate(todo):
        voice = item["voice"] if item["voice"] in pipe.voices else None
        options = {"num_inference_steps": system.steps, "voice": voice}
        options |= {"generator": torch.Generator().manual_seed(number)}
        options |= {"solver": None if pipe.is_student else solvers.euler}
        try:
            if "notes" in item:
                out = pipe(item["text"], notes=item["notes"], **options)
                symbols, seconds = zip(*out.durations[0], strict=True)
                requested = note_pitch(symbols, seconds, item["notes"], POINT)
            else:
                seconds = predict_seconds(pipe, item["phonemes"], voice)
                requested = retime_contour(item["hertz"], item["seconds"], seconds)
                out = pipe(item["text"], pitch=requested, **options)
        except ValueError as error:  # too long, silent or broken
            print(f"{system.name}, {item['name']}: {error}", flush=True)
            continue
        write_item(folder, item, out.audios[0].numpy(), pipe.sample_rate, requested)


def predict_seconds(pipe: TextToSpeechPipeline, phonemes: str, voice: str | None) -> list[float]:
    """Returns the model's durations of the symbols of a line."""
    encoder = pipe.speech_encoder
    batch = phoneme_batch([phonemes], pipe.voices.index(voice) if voice else 0, encoder.config.symbols)
    batch = batch.to(encoder.device)
    with torch.no_grad():
        return (encoder.predict_durations(encoder.states(batch), batch)[0] / pipe.codec.frame_rate).tolist()


def speak(args: argparse.Namespace) -> None:
    """Writes the sounds of all systems."""
    items, out = read_items(args.singing), Path(args.output)
    for system in systems(args):
        folder = out / system.name
        if system.model:
            speak_system(system, items, folder, args.device)
        elif not folder.exists() and system.name == "voice":
            for item in items:
                write_item(folder, item, read_wave(args.singing / item["file"], 24000), 24000, item["hertz"])
        elif not folder.exists():
            for part in (part for part in PARTS if (out / "voice" / part).exists()):
                write_round_trip(args.student, out / "voice" / part, folder / part)
        print(system.name, flush=True)


# --- score ------------------------------------------------------------------------------------------------------------


def score_systems(args: argparse.Namespace) -> None:
    """Writes the results file and its plot. Raises ValueError if there are no sounds."""
    out, rows, cards = Path(args.output), {}, {}
    for system in systems(args):
        scores, clips = {}, 0
        for part in PARTS:
            folder = out / system.name / part
            if requests := read_requests(folder):
                result = score(folder, prompts=folder / "prompts.jsonl", metrics=("contour",))
                scores |= {f"{name} {part}": one.as_dict() for name, one in result.scores.items()}
                cards[f"{system.name} {part}"] = {
                    k: v for k, v in result.card.items() if k != "generated"
                }  # a folder here
                clips += len(requests)
        if scores:
            rows[system.name] = {"clips": clips, "scores": scores}
    if not rows:
        raise ValueError(f"{args.output}: nothing to score: `speak` first")
    results, columns = Path(args.results), list(dict.fromkeys(name for row in rows.values() for name in row["scores"]))
    card = {"requested": "held-out clips of recipes/corpora/speech/singing.py", "cards": cards}
    print(write_results(results, {"card": card, "systems": rows}, columns))
    plot(out, list(rows), results.with_suffix(".png"))


def plot(out: Path, names: Sequence[str], path: Path, count: int = 4) -> None:
    """Plots requested and produced F0 of composed melodies and of tunes; a row for each, a column for each system."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    requests = {system: read_requests(out / system / "sung") for system in names}
    melodies = [name for name in requests[names[0]] if all(name in one for one in requests.values())]
    chosen = melodies[: count // 2] + melodies[count // 2 :][-count // 2 :]  # composed ones come first, tunes last
    if not chosen:
        return
    size = (3.2 * len(names), 1.9 * len(chosen))
    figure, axes = pyplot.subplots(len(chosen), len(names), figsize=size, sharey=True, squeeze=False)
    for row, name in zip(axes, chosen, strict=True):
        for axis, system in zip(row, names, strict=True):
            wav, rate = soundfile.read(out / system / "sung" / f"{name}.flac", dtype="float32")
            requested, produced = speech.pitch_tracks(wav, rate, requests[system][name]["f0"])
            times = (np.arange(len(produced)) + 0.5) * len(wav) / rate / len(produced)
            axis.plot(times, np.where(requested > 0, requested, np.nan), color="0.6", linewidth=4, label="requested")
            axis.plot(times, np.where(produced > 0, produced, np.nan), color="tab:blue", linewidth=1, label="produced")
            axis.set_yscale("log", base=2)
            axis.set_ylim(100, 500)
            axis.set_yticks([110, 220, 440], ["110", "220", "440"])
            axis.set_title(system if name == chosen[0] else "")
        row[0].set_ylabel(f"{name}\nHz", fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("s")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = system_parser(__doc__.splitlines()[0], "runs/f0_table", "samples/f0_scores.json", [1])
    parser.add_argument("--singing", type=Path, default=Path("data/singing"), help="the singing corpus")
    args = parser.parse_args(arguments)
    {"speak": speak, "score": score_systems}[args.action](args)


if __name__ == "__main__":
    main()
