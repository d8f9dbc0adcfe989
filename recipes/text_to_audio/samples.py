"""The sounds of samples/tta: twenty prompts by the bundled student in one call and by its teacher, with the tags found.

    python -m recipes.text_to_audio.samples [--corpora data/corpus,data/rendered,data/mixtures,data/augmented]

Prompts are every fifth of prompts.jsonl, the seed is the same for both. With `--corpora`, a prompt that is a caption of
a training clip is refused. On two CPU cores a sound takes the student 0.3 s and the teacher 4 s. What the tagger heard
is in samples/tta/table.md.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm import TextToAudioPipeline
from audiocm.audio.spectral import LogMel
from audiocm.evaluation.features import collect_features
from audiocm.evaluation.preprocessing import LoadReport
from audiocm.files import read_json_lines, write_json, write_json_lines
from recipes.judges import PREPROCESSING, corpus_entries, embedders, score_sounds, table_card

HERE = Path(__file__).parent
SYSTEMS = (("student", "tta", 1), ("teacher", "tta-teacher", 18))


def choose_prompts(corpora: list[Path]) -> list[dict]:
    """Returns the prompts. Raises ValueError if one of them is also a caption of the corpora."""
    prompts = read_json_lines(HERE / "prompts.jsonl")[::5]
    captions = {words.lower() for entry in corpus_entries(corpora) for words in entry["captions"]}
    known = [p["prompt"] for p in prompts if p["prompt"].lower() in captions]
    if known:
        raise ValueError(f"prompts that are captions of training clips: {', '.join(known)}")
    return prompts


def draw_spectrograms(folder: Path, prompts: list[dict], count: int = 6) -> None:
    """Draws log-mel spectrograms of some prompts, the student's above the teacher's."""
    from matplotlib import pyplot

    shown = np.linspace(0, len(prompts) - 1, count).round().astype(int)
    figure, axes = pyplot.subplots(2, count, figsize=(2.4 * count, 4), sharex=True, sharey=True)
    for column, i in enumerate(shown):
        for row, (name, _, steps) in enumerate(SYSTEMS):
            wav, rate = soundfile.read(folder / name / f"{i:02d}.ogg", dtype="float32")
            picture = LogMel(sample_rate=rate)(torch.from_numpy(wav)[None, : len(wav) // 1024 * 1024])[0]
            extent = (0, len(wav) / rate, 0, 100)
            axes[row, column].imshow(picture, origin="lower", aspect="auto", vmin=-11, vmax=1, extent=extent)
            if column == 0:
                axes[row, 0].set_ylabel(f"{name}, {steps} step{'s' * (steps > 1)}\nmel bin")
        axes[0, column].set_title(prompts[i]["prompt"], fontsize=7)
        axes[1, column].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(folder / "spectrograms.png", dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("samples/tta"))
    parser.add_argument("--corpora", type=lambda s: [Path(p) for p in s.split(",") if p], default=[])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--guidance", type=float, default=None, help="default: each model's own")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    prompts, tagger = choose_prompts(args.corpora), embedders()[0]
    words, scores = [p["prompt"] for p in prompts], {}
    rows = [{"prompt": p} for p in words]
    names = [f"{i:02d}" for i in range(len(words))]
    lines = [{"file": name, **p} for name, p in zip(names, prompts, strict=True)]
    write_json_lines(args.output / "prompts.jsonl", lines)
    for name, model, steps in SYSTEMS:
        pipe = TextToAudioPipeline.from_pretrained(model)
        seed = torch.Generator().manual_seed(args.seed)
        sounds = pipe(words, args.seconds, steps, args.guidance, generator=seed).audios
        paths = [args.output / name / f"{stem}.ogg" for stem in names]
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path, wav in zip(paths, sounds, strict=True):
            soundfile.write(path, wav.numpy(), pipe.sample_rate, format="OGG", subtype="VORBIS")
        options = {"prompts": args.output / "prompts.jsonl", "metrics": "hits", "seed": args.seed, "max_unusable": 0.99}
        result = score_sounds(args.output / name, **options)
        hits, scores[name] = result.items["top-5 hits yamnet"], result.scores["top-5 hits yamnet"].as_dict()
        tagged = collect_features(paths, tagger, PREPROCESSING, LoadReport())
        probabilities = dict(zip(tagged.paths, tagged.features["probabilities"], strict=True))
        for row, path in zip(rows, paths, strict=True):
            top = np.argsort(-probabilities[path])[:5] if path in probabilities else []
            tags = [tagger.classes[k] for k in top]
            row[name] = {"file": f"{name}/{path.name}", "hit": bool(hits[path.stem]), "tags": tags}
    card = table_card(
        result, guidance=args.guidance or "each model's own", audio_length_in_s=args.seconds, device="cpu"
    )
    write_json(args.output / "table.json", {"card": card, "scores": scores, "rows": rows})
    lines = ["| prompt | student, one call: first five tags | hit | teacher, 18 Heun steps | hit |", "|---" * 5 + "|"]
    for row in rows:
        cells = [f"{', '.join(row[name]['tags'])} | {'yes' if row[name]['hit'] else 'no'}" for name, *_ in SYSTEMS]
        lines.append(f"| {row['prompt']} | {' | '.join(cells)} |")
    args.output.joinpath("table.md").write_text("\n".join(lines) + "\n")
    draw_spectrograms(args.output, prompts)
    print("\n".join(lines), json.dumps(scores, indent=1), sep="\n")


if __name__ == "__main__":
    main()
