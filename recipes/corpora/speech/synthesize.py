"""Clean synthetic speech with its text, by PyPI `hibari-tts` (Apache-2.0, one US female voice, numpy + onnxruntime).

    python -m recipes.corpora.speech.synthesize --sentences data/speech/sentences.txt --root data/speech [--hours 3] [--jobs 16]

Sentences come from `recipes.corpora.speech.sentences`; the same file gives the same clips anywhere. Continues where it stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from recipes.corpora.manifests import RATE, build, level, rng_for

CHARACTERS_PER_SECOND = 14.5  # of the voice at speed 1, pauses included: how many sentences an hour takes
LABELS = ["Speech", "Narration, monologue", "Speech synthesizer", "Conversation"]
CAPTIONS = ["a woman speaking", "someone talking", "a woman reading a sentence aloud", "a female voice", "speech"]

_VOICE: list = []


def plan(sentences: Path, hours: float, seed: int = 0) -> list[dict]:
    """Manifest lines for the first sentences that make about `hours` of speech (the file starts with valid and test)."""
    lines, seconds = [], 0.0
    for index, row in enumerate(sentences.read_text(encoding="utf-8").splitlines()):
        if seconds >= hours * 3600:
            break
        split, source, text = row.split("\t")
        rng = rng_for(seed, "speech", text)
        speed = round(float(rng.uniform(0.85, 1.2)), 3)
        seconds += len(text) / CHARACTERS_PER_SECOND / speed
        name = "".join(letter for letter in source if letter.isalnum())
        lines.append({
            "file": f"clips/{index // 1000:03d}/{index:06d}-{name}.flac", "split": split, "source": "pypi:hibari-tts",
            "path": source, "licence": "Apache-2.0", "kind": "speech", "text": text, "speed": speed, "captions": CAPTIONS,
            "caption_sources": ["speech"] * len(CAPTIONS), "labels": LABELS, "group": f"speech:{index}",
            "spec": {"decibel": float(rng.uniform(-27, -19)), "seed": int(rng.integers(2**31))},
        })  # fmt: skip
    return lines


def _start() -> None:
    from hibari import Hibari

    _VOICE[:] = [Hibari(threads=1)]


def _make(line: dict) -> np.ndarray:
    wav = _VOICE[0](line["text"], speed=line["speed"], seed=line["spec"]["seed"])
    if len(wav) < 0.2 * RATE or not np.isfinite(wav).all():
        raise ValueError(f"no speech for {line['text']!r}")
    return level(np.asarray(wav, np.float32), line["spec"]["decibel"])


def speech(sentences: Path, root: Path, hours: float = 3.0, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """Synthesise about `hours` of speech under root with n_jobs processes; returns the manifest."""
    if not sentences.is_file():
        raise FileNotFoundError(f"no sentences at {sentences}: make them with recipes.corpora.speech.sentences")
    return build(root, plan(sentences, hours, seed), _make, n_jobs, _start, (), "speech")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sentences", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path("data/speech"))
    parser.add_argument("--hours", type=float, default=3.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lines = speech(args.sentences, args.root, args.hours, args.seed, args.jobs)
    print(f"{len(lines)} clips, {sum(line['seconds'] for line in lines) / 3600:.2f} h")
