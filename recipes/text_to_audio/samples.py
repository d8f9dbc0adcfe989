"""The sounds of samples/tta: twenty prompts by the shipped student in one call and by its teacher, same seed, with what a tagger hears.

python -m recipes.text_to_audio.samples --output samples/tta [--corpora data/corpus,data/rendered,data/mixtures,data/augmented]

Prompts are every fifth of recipes/text_to_audio/prompts.jsonl. With `--corpora`, one that is a caption of a training clip is refused.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm import TextToAudioPipeline, metrics
from audiocm.audio.spectral import LogMel
from recipes.judges import Judges, corpus_entries, hit_items
from recipes.text_to_audio.generate import prompts_of

HERE = Path(__file__).parent
SYSTEMS = (("student", "tta", 1), ("teacher", "tta-teacher", 18))


def chosen(corpora: list[Path]) -> list[dict]:
    """The prompts; ValueError names one that is also a caption."""
    prompts = prompts_of(HERE / "prompts.jsonl")[::5]
    captions = {words.lower() for entry in corpus_entries(corpora) for words in entry["captions"]}
    known = [p["prompt"] for p in prompts if p["prompt"].lower() in captions]
    if known:
        raise ValueError(f"also captions of training clips: {', '.join(known)}")
    return prompts


def draw(folder: Path, prompts: list[dict], count: int = 6) -> None:
    """Log-mel pictures of the first kinds of prompts: student above teacher."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = np.linspace(0, len(prompts) - 1, count).round().astype(int)
    figure, axes = pyplot.subplots(2, count, figsize=(2.4 * count, 4), sharex=True, sharey=True)
    for column, i in enumerate(shown):
        for row, (name, _, steps) in enumerate(SYSTEMS):
            wav, rate = soundfile.read(folder / name / f"{i:02d}.ogg", dtype="float32")
            picture = LogMel(sample_rate=rate)(torch.from_numpy(wav)[None, : len(wav) // 1024 * 1024])[0]
            axes[row, column].imshow(
                picture, origin="lower", aspect="auto", vmin=-11, vmax=1, extent=(0, len(wav) / rate, 0, 100)
            )
            if column == 0:
                axes[row, 0].set_ylabel(f"{name}, {steps} step{'s' * (steps > 1)}\nmel bin")
        axes[0, column].set_title(prompts[i]["prompt"], fontsize=7)
        axes[1, column].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(folder / "spectrograms.png", dpi=80)


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("samples/tta"))
    parser.add_argument("--corpora", type=lambda s: [Path(p) for p in s.split(",") if p], default=[])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    prompts, judges = chosen(args.corpora), Judges()
    words, labels = [p["prompt"] for p in prompts], [p["labels"] for p in prompts]
    rows = [{"prompt": p} for p in words]
    scores = {}
    for name, model, steps in SYSTEMS:
        pipe = TextToAudioPipeline.from_pretrained(model)
        made = pipe(
            words, args.seconds, steps, args.guidance, generator=torch.Generator().manual_seed(args.seed)
        ).audios
        paths = [args.output / name / f"{i:02d}.ogg" for i in range(len(words))]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, wav in zip(paths, made, strict=True):
            soundfile.write(path, wav.numpy(), pipe.sample_rate, format="OGG", subtype="VORBIS")
        heard = judges.hear(paths)
        hits = hit_items(judges, heard, labels, 5)
        scores[name] = metrics.mean_score("top-5 hits", hits).as_dict()
        for i, row in enumerate(rows):
            at = np.flatnonzero(heard.index == i)
            top = np.argsort(-heard.probabilities[at[0]])[:5] if len(at) else []
            row[name] = {
                "file": f"{name}/{i:02d}.ogg",
                "hit": bool(hits[i]),
                "tags": [judges.yamnet.classes[k] for k in top],
            }
    card = judges.card(args.seed, guidance=args.guidance, audio_length_in_s=args.seconds, device="cpu")
    args.output.joinpath("table.json").write_text(
        json.dumps({"card": card, "scores": scores, "rows": rows}, indent=1) + "\n"
    )
    lines = [
        "| prompt | student, one call: the tagger's first five | | teacher, 18 Heun steps | |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [f"{', '.join(row[name]['tags'])} | {'yes' if row[name]['hit'] else 'no'}" for name, *_ in SYSTEMS]
        lines.append(f"| {row['prompt']} | {' | '.join(cells)} |")
    args.output.joinpath("table.md").write_text("\n".join(lines) + "\n")
    draw(args.output, prompts)
    print("\n".join(lines), json.dumps(scores, indent=1), sep="\n")


if __name__ == "__main__":
    main()
