"""What an export costs and gains against torch: alignment and distances of sounds, words of speech, CPU time and memory.

    audiocm export tta -o runs/tta-int8 && audiocm export tts -o runs/tts-int8
    python -m recipes.benchmarks.export sounds runs/tta-int8 --count 100
    python -m recipes.benchmarks.export words runs/tts-int8 --count 100
    python -m recipes.benchmarks.export time runs/tta-int8 runs/tts-int8

Each adds its part to samples/export_scores.json and .md. The two systems get the same prompts and seeds, so that differences
are of pairs. `time` takes them in turn and counts CPU seconds, which others on the machine do not change much.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from audiocm import TextToAudioPipeline, TextToSpeechPipeline
from audiocm.files import read_json_lines, write_json
from audiocm.metrics.frechet import frechet_score
from audiocm.metrics.score import mean_score, paired_difference
from audiocm.metrics.similarity import cosine_similarities
from audiocm.runtime import OnnxTextToAudio, OnnxTextToSpeech

RECIPES = Path(__file__).parents[1]
RESULTS = RECIPES.parent / "samples" / "export_scores"


def sounds(folder: str, count: int, seconds: float) -> dict:
    """Scores sounds of free prompts under small-CLAP, and their Fréchet distance to torch's sounds.

    Another seed of torch gives the distance that chance alone makes."""
    from audiocm.embedders.registry import load_embedder

    pipe, model = TextToAudioPipeline.from_pretrained("tta"), OnnxTextToAudio.from_pretrained(folder)
    rows = read_json_lines(RECIPES / "text_to_audio" / "prompts.jsonl")
    prompts = [row["prompt"] for row in rows[:: max(1, len(rows) // count)][:count]]

    def by_torch(seed: int) -> list[np.ndarray]:
        seeds = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
        made = [pipe(one, seconds, generator=g, on_failure="return") for one, g in zip(prompts, seeds, strict=True)]
        return [one.audios[0].numpy() for one in made]

    embedder = load_embedder("small-clap")
    exported = [model(one, seconds, seed=i, on_failure="return").audios[0] for i, one in enumerate(prompts)]
    systems = {"torch": by_torch(0), "torch, other seeds": by_torch(10_000), "exported": exported}
    embeddings = {name: embedder.features(wavs)["embedding"] for name, wavs in systems.items()}
    aligned = {name: embedder.text_scores(one, prompts) for name, one in embeddings.items()}
    scores = {f"alignment, {name}": mean_score("alignment", one).as_dict() for name, one in aligned.items()}
    difference = paired_difference("alignment", aligned["exported"], aligned["torch"])
    scores["alignment, exported minus torch"] = difference.as_dict()
    same = cosine_similarities(embeddings["exported"], embeddings["torch"])
    scores["similarity to torch's sound of the seed"] = mean_score("similarity", same).as_dict()
    other = cosine_similarities(embeddings["torch, other seeds"], embeddings["torch"])
    scores["similarity of torch's sounds of two seeds"] = mean_score("similarity", other).as_dict()
    for name in ("exported", "torch, other seeds"):
        scores[f"Frechet distance to torch, {name}"] = frechet_score(
            "frechet", embeddings[name], embeddings["torch"]
        ).as_dict()
    return {"precision": model.settings["precision"], "seconds": seconds, "scores": scores}


def words(folder: str, count: int) -> dict:
    """Word error rates of speech under Whisper tiny.en, the mean over sentences, and how many differ."""
    import jiwer

    from audiocm.audio.io import resample
    from audiocm.embedders.speech import Transcriber

    pipe, model, hear = (
        TextToSpeechPipeline.from_pretrained("tts"),
        OnnxTextToSpeech.from_pretrained(folder),
        Transcriber(),
    )
    lines = (RECIPES / "text_to_speech" / "sentences.txt").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[-1] for line in lines if line.startswith("prose")][:count]

    def errors(text: str, wav: np.ndarray) -> float:
        plain = [
            " ".join("".join(c if c.isalnum() or c == "'" else " " for c in one.lower()).split())
            for one in (text, hear(resample(wav, 24000, 16000)))
        ]
        return jiwer.wer(*plain)

    rates: dict[str, list[float]] = {"torch": [], "exported": []}
    for i, text in enumerate(texts):
        rates["torch"].append(errors(text, pipe(text, generator=torch.Generator().manual_seed(i)).audios[0].numpy()))
        rates["exported"].append(errors(text, model(text, seed=i).audios[0]))
    values = {name: np.array(one) for name, one in rates.items()}
    scores = {f"word error rate, {name}": mean_score("wer", one).as_dict() for name, one in values.items()}
    scores["word error rate, exported minus torch"] = paired_difference(
        "wer", values["exported"], values["torch"]
    ).as_dict()
    return {"precision": model.settings["precision"], "scores": scores}


def times(sound_folder: str, speech_folder: str, threads: int, repeats: int) -> dict:
    """CPU and wall seconds of loaded models, in turn, and the medians of their ratios pair by pair."""
    torch.set_num_threads(threads)
    pipe, model = TextToAudioPipeline.from_pretrained("tta"), OnnxTextToAudio.from_pretrained(sound_folder, threads)
    speech, spoken = (
        TextToSpeechPipeline.from_pretrained("tts"),
        OnnxTextToSpeech.from_pretrained(speech_folder, threads),
    )
    text = "The ferry turned slowly in the harbor while gulls fought over a crust of bread."
    pairs = {
        "10 s of sound": (lambda: pipe("a dog barks", 10.0), lambda: model("a dog barks", 10.0)),
        "a sentence of speech": (lambda: speech(text), lambda: spoken(text)),
    }
    results = {}
    for name, systems in pairs.items():
        rows = [[_spent(one) for one in systems] for _ in range(repeats + 1)][1:]
        ratios = [[b / a for a, b in zip(*row, strict=True)] for row in rows]
        results[name] = {
            "torch_cpu": statistics.median(row[0][0] for row in rows),
            "exported_cpu": statistics.median(row[1][0] for row in rows),
            "cpu_ratio": statistics.median(one[0] for one in ratios),
            "wall_ratio": statistics.median(one[1] for one in ratios),
            "repeats": repeats,
        }
    return {"precision": model.settings["precision"], "threads": threads, "times": results}


def _spent(action) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    action()
    return time.process_time() - cpu, time.perf_counter() - wall


def write(part: str, result: dict) -> None:
    """Adds a part to the results, and writes the tables anew."""
    file = RESULTS.with_suffix(".json")
    stored = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    stored[part] = result
    write_json(file, stored)
    lines = [
        "# Exported students against torch",
        "",
        "Values with 95 % bootstrap intervals; `recipes/benchmarks/export.py`.",
        "",
    ]
    for name, one in stored.items():
        lines += [f"## {name}, {one['precision']}", "", "| what | value | n |", "|---|---|--:|"]
        for what, score in one.get("scores", {}).items():
            lines.append(
                f"| {what} | {score['value']:.4g} [{score['low']:.4g}, {score['high']:.4g}] | {score['count']} |"
            )
        for what, row in one.get("times", {}).items():
            ratio = f"CPU {row['cpu_ratio']:.2f}, wall {row['wall_ratio']:.2f} of torch"
            spent = f"{row['exported_cpu']:.3f} CPU s, torch {row['torch_cpu']:.3f}"
            lines.append(f"| {what}, {one['threads']} threads | {ratio} ({spent}) | {row['repeats']} |")
        lines.append("")
    RESULTS.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Runs a part of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("sounds", "words", "time"))
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    if args.part == "time":
        result = times(*args.folders, args.threads, args.repeats)
    elif args.part == "sounds":
        result = sounds(args.folders[0], args.count, args.seconds)
    else:
        result = words(args.folders[0], args.count)
    write(args.part, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
