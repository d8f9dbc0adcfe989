"""Two small folders to try `audiocm score` on: held-out sounds of free licences, and the same through the codec.

    python -m recipes.benchmarks.scoring_samples --corpora data/corpus,data/rendered
    python -m recipes.benchmarks.scoring_samples

The first command chooses the sounds and writes samples/scoring/real and prompts.jsonl; without `--corpora` the sounds
that are there are kept. Both encode and decode them with the bundled codec into samples/scoring/codec: 33 sounds of at
most 3 s, in less than a minute on a CPU.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm.audio.io import read_wave
from audiocm.files import write_json_lines
from recipes.judges import corpus_entries
from recipes.text_to_audio.data import CODEC, load_codec

FREE = ("CC0", "MIT", "CC0, MIT")


def choose_clips(corpora: list[str], count: int, seconds: float, seed: int) -> list[dict]:
    """Returns up to `count` captioned test clips of free licences, each caption once, at most half of one kind."""
    entries = [e for e in corpus_entries(corpora) if e["split"] == "test" and e["captions"] and e["labels"]]
    free = [e for e in entries if e["licence"] in FREE and 0.3 < e["seconds"] <= seconds]
    order = np.random.default_rng(seed).permutation(len(free))
    chosen: dict[str, dict] = {}
    kinds: dict[str, int] = {}
    for i in order:
        entry = free[i]
        if entry["captions"][0] in chosen or kinds.get(entry["kind"], 0) >= count // 2:
            continue
        kinds[entry["kind"]] = kinds.get(entry["kind"], 0) + 1
        chosen[entry["captions"][0]] = entry
    return sorted(chosen.values(), key=lambda e: e["file"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpora", type=lambda s: s.split(","), default=[])
    parser.add_argument("--codec", default=CODEC)
    parser.add_argument("--output", type=Path, default=Path("samples/scoring"))
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    codec, lines = load_codec(f"{args.codec}/vae", f"{args.codec}/vocoder", torch.device("cpu")), []
    real, coded = args.output / "real", args.output / "codec"
    for folder in (real, coded):
        folder.mkdir(parents=True, exist_ok=True)
    chosen = choose_clips(args.corpora, args.count, args.seconds, args.seed) if args.corpora else []
    for i, entry in enumerate(chosen):
        wav = read_wave(Path(entry["file"]), codec.sample_rate)
        soundfile.write(real / f"{i:02d}.flac", wav, codec.sample_rate, subtype="PCM_16")
        kept = {key: entry[key] for key in ("licence", "source", "labels")}
        lines.append({"file": f"{i:02d}.flac", "prompt": entry["captions"][0], **kept})
    if lines:
        write_json_lines(args.output / "prompts.jsonl", lines)
    files = sorted(real.glob("*.flac"))
    for file in files:
        wav = torch.from_numpy(read_wave(file, codec.sample_rate))
        with torch.no_grad():
            decoded = codec.decode(codec.encode(wav[None]))[0, : len(wav)].clamp(-1, 1).numpy()
        soundfile.write(coded / file.name, decoded, codec.sample_rate, subtype="PCM_16")
    print(f"{len(files)} pairs in {args.output}")


if __name__ == "__main__":
    main()
