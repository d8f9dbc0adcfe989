"""What an export costs against torch: alignment and distances of sounds, words of speech; and what a browser makes.

    audiocm export tta -o runs/tta-int8 && audiocm export tts -o runs/tts-int8
    python -m recipes.benchmarks.export sounds runs/tta-int8 --count 100
    python -m recipes.benchmarks.export words runs/tts-int8 --count 100
    python -m recipes.benchmarks.export browser runs/tta-int8 --seconds 10    # Chromium; npm install in recipes/browser

Each adds its part to samples/export_scores.json and .md. The two systems get the same prompts and seeds, so that differences
are of pairs. Times and memory are measured by `speed.py`.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from audiocm import TextToAudioPipeline, TextToSpeechPipeline
from audiocm.evaluation.provenance import commit
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


def in_browser(folder: str, runtime: Path, seconds: float) -> dict:
    """What the page of `recipes/browser` makes in headless Chromium, in WebAssembly, beside `audiocm.runtime`: seconds to
    load, to make a sound, and to make it again with another guidance weight, and what YAMNet hears.

    Raises RuntimeError if there is no Chromium, or if its console has an error."""
    from audiocm.audio.io import resample
    from audiocm.embedders.registry import load_embedder
    from audiocm.export.onnx_files import signal_to_noise
    from recipes.browser.chromium import CHROMIUM, MADE, open_browser, served_page

    if CHROMIUM is None:
        raise RuntimeError("there is no chromium here")
    model, tagger, rows = OnnxTextToAudio.from_pretrained(folder), load_embedder("yamnet"), {}
    with (
        tempfile.TemporaryDirectory() as site,
        served_page(Path(site) / "site", runtime, Path(folder)) as (address, _),
        open_browser() as page,
    ):
        start = time.perf_counter()
        page.open(address)
        page.wait_for(MADE, 300)
        loading = time.perf_counter() - start
        for prompt in ("a dog barks", "rain on a tin roof", "church bells ring"):
            spent = []
            for weight in (3.0, 2.0):
                wanted = {"seconds": seconds, "prompt": prompt, "guidance": weight}
                begun = time.perf_counter()
                page.evaluate(
                    f"""globalThis.lastWav = null;
                    for (const [id, value] of Object.entries({json.dumps(wanted)})) document.getElementById(id).value = value;
                    document.getElementById("make").click()"""
                )
                page.wait_for(MADE, 300)
                spent.append(time.perf_counter() - begun)
            wav = np.array(page.evaluate("Array.from(globalThis.lastWav)"), np.float32)
            same = model(prompt, seconds, 2.0, max_retries=0, on_failure="return").audios[0]
            power = np.square(np.abs(np.fft.rfft(wav)))
            hertz = np.fft.rfftfreq(len(wav), 1 / model.sample_rate)
            heard = tagger.features([resample(wav, model.sample_rate, tagger.sample_rate)])["probabilities"][0]
            rows[prompt] = {
                "seconds to make": spent[0],
                "seconds after guidance was moved": spent[1],
                "level, dB of full scale": float(10 * np.log10(np.square(wav).mean())),
                "centre of the spectrum, Hz": float((power * hertz).sum() / power.sum()),
                "dB to the runtime": signal_to_noise(wav, same),
                "YAMNet": [tagger.classes[i] for i in heard.argsort()[::-1][:5]],
            }
        if page.errors:
            raise RuntimeError(f"errors in the console: {page.errors}")
    return {
        "precision": model.settings["precision"],
        "seconds": seconds,
        "seconds to load and make 4 s": loading,
        "pages": rows,
    }


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
        for prompt, row in one.get("pages", {}).items():
            made = f"{row['seconds to make']:.1f} s, {row['dB to the runtime']:.0f} dB to the runtime"
            lines.append(f"| {prompt}, {one['seconds']:g} s | {made}; {', '.join(row['YAMNet'])} | 1 |")
        lines.append("")
    RESULTS.with_suffix(".md").write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Runs a part of the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("sounds", "words", "browser"))
    parser.add_argument("folder")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0)
    runtime = RECIPES / "browser" / "node_modules" / "onnxruntime-web"
    parser.add_argument("--runtime", type=Path, default=runtime, help="folder of onnxruntime-web")
    args = parser.parse_args()
    if args.part == "browser":
        result = in_browser(args.folder, args.runtime, args.seconds)
    elif args.part == "sounds":
        result = sounds(args.folder, args.count, args.seconds)
    else:
        result = words(args.folder, args.count)
    result["commit"] = commit()
    write(args.part, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
