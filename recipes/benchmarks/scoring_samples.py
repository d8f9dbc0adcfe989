"""Two small folders to try `audiocm score` on: held-out sounds of free licences, and the same through a codec.

python -m recipes.benchmarks.scoring_samples --corpora data/corpus,data/rendered --codec runs/codec_linear --output samples/scoring
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiocm.audio.io import read_wave
from audiocm.codec.codec import Codec
from audiocm.codec.vae import MelVAE
from audiocm.codec.vocoder import Vocoder
from recipes.judges import corpus_entries

FREE = ("CC0", "MIT", "CC0, MIT")


def chosen(corpora: list[Path], count: int, seconds: float, seed: int) -> list[dict]:
    """Up to `count` captioned test clips of free licences, each caption once, half of them rendered instruments."""
    entries = [e for e in corpus_entries(corpora) if e["split"] == "test" and e["captions"] and e["labels"]]
    free = [e for e in entries if e["licence"] in FREE and 0.3 < e["seconds"] <= seconds]
    order = np.random.default_rng(seed).permutation(len(free))
    found: dict[str, dict] = {}
    kinds: dict[str, int] = {}
    for i in order:
        entry = free[i]
        if entry["captions"][0] in found or kinds.get(entry["kind"], 0) >= count // 2:
            continue
        kinds[entry["kind"]] = kinds.get(entry["kind"], 0) + 1
        found[entry["captions"][0]] = entry
    return sorted(found.values(), key=lambda e: e["file"])


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--corpora", type=lambda s: [Path(p) for p in s.split(",")], required=True)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("samples/scoring"))
    parser.add_argument("--count", type=int, default=48)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    codec = Codec(MelVAE.from_pretrained(args.codec / "vae"), Vocoder.from_pretrained(args.codec / "vocoder"))
    for name in ("real", "codec"):
        (args.output / name).mkdir(parents=True, exist_ok=True)
    lines = []
    for i, entry in enumerate(chosen(args.corpora, args.count, args.seconds, args.seed)):
        wav = read_wave(Path(entry["file"]), codec.sample_rate)
        coded = codec.decode(codec.encode(torch.from_numpy(wav)[None]))[0, : len(wav)].clamp(-1, 1).numpy()
        for name, sound in (("real", wav), ("codec", coded)):
            soundfile.write(args.output / name / f"{i:02d}.flac", sound, codec.sample_rate, subtype="PCM_16")
        kept = {key: entry[key] for key in ("licence", "source", "labels")}
        lines.append({"file": f"{i:02d}.flac", "prompt": entry["captions"][0], **kept})
    (args.output / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    print(f"{len(lines)} pairs in {args.output}")


if __name__ == "__main__":
    main()
