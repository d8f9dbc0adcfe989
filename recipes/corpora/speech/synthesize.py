"""Clean synthetic speech with its text, by PyPI `hibari-tts` (Apache-2.0, one US female voice, numpy and onnxruntime).

    python -m recipes.corpora.speech.synthesize --sentences data/speech/sentences.txt --root data/speech --jobs 16

Runs on a CPU and continues where it stopped; the same sentences (recipes.corpora.speech.sentences) give the same clips
on any machine. The bundled codec was trained on the default of about 3 hours.
"""

import argparse
from pathlib import Path

import numpy as np

from recipes.corpora.manifests import RATE, build, level, print_summary, rng_for
from recipes.corpora.speech.sentences import read_sentences

CHARACTERS_PER_SECOND = 14.5  # of the voice at speed 1, pauses included
LABELS = ["Speech", "Narration, monologue", "Speech synthesizer", "Conversation"]
CAPTIONS = ["a woman speaking", "someone talking", "a woman reading a sentence aloud", "a female voice", "speech"]

_VOICE: list = []  # of a worker process


def plan(sentences: Path, hours: float, seed: int = 0) -> list[dict]:
    """Returns manifest lines of the first sentences, about `hours` of speech; the file starts with valid and test."""
    lines, seconds = [], 0.0
    for index, (split, source, text) in enumerate(read_sentences(sentences)):
        if seconds >= hours * 3600:
            break
        rng = rng_for(seed, "speech", text)
        speed = round(float(rng.uniform(0.85, 1.2)), 3)
        seconds += len(text) / CHARACTERS_PER_SECOND / speed
        name = "".join(letter for letter in source if letter.isalnum())
        line = {
            "file": f"clips/{index // 1000:03d}/{index:06d}-{name}.flac",
            "split": split,
            "source": "pypi:hibari-tts",
            "path": source,
            "licence": "Apache-2.0",
            "kind": "speech",
            "text": text,
            "speed": speed,
            "captions": CAPTIONS,
            "caption_sources": ["speech"] * len(CAPTIONS),
            "labels": LABELS,
            "group": f"speech:{index}",
            "spec": {"decibel": float(rng.uniform(-27, -19)), "seed": int(rng.integers(2**31))},
        }
        lines.append(line)
    return lines


def _start() -> None:
    from hibari import Hibari

    _VOICE[:] = [Hibari(threads=1)]


def _make(line: dict) -> np.ndarray:
    wav = _VOICE[0](line["text"], speed=line["speed"], seed=line["spec"]["seed"])
    if len(wav) < 0.2 * RATE or not np.isfinite(wav).all():
        raise ValueError(f"no speech for {line['text']!r}")
    return level(np.asarray(wav, np.float32), line["spec"]["decibel"])


def synthesize_speech(sentences: Path, root: Path, hours: float = 3.0, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """Synthesises about `hours` of speech under `root` with `n_jobs` processes; returns the manifest."""
    return build(root, plan(sentences, hours, seed), _make, n_jobs, _start, title="speech")


def corpus_parser(description: str, root: Path | None, hours: float) -> argparse.ArgumentParser:
    """Returns a parser of the options that the synthetic speech corpora share; a `root` of None must be given."""
    parser, where = argparse.ArgumentParser(description=description), Path("data/speech/sentences.txt")
    parser.add_argument("--sentences", type=Path, default=where, help="file of recipes.corpora.speech.sentences")
    parser.add_argument("--root", type=Path, default=root, required=root is None, help="folder of the corpus")
    parser.add_argument("--hours", type=float, default=hours, help="length of the corpus, about")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main() -> None:
    args = corpus_parser(__doc__.splitlines()[0], Path("data/speech"), 3.0).parse_args()
    print_summary(synthesize_speech(args.sentences, args.root, args.hours, args.seed, args.jobs))


if __name__ == "__main__":
    main()
