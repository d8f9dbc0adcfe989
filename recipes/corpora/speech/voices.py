"""Corpora for text to speech: a synthetic voice with exact durations, and the recorded prompts of Debian's Asterisk.

    python -m recipes.corpora.speech.voices synthetic --root data/voice --jobs 16
    python -m recipes.corpora.speech.voices prompts --packages UNPACKED --root data/prompts

Runs on a CPU and continues where it stopped. UNPACKED holds `asterisk-core-sounds-en` and `-en-g722` (dpkg -x;
CC-BY-SA-3.0; needs PyPI `av`). Beside a synthetic clip NAME.flac lies NAME.json: its phonemes, their seconds and F0.
The bundled voices are 10.5 hours of the first (`heart`) and 469 clips, 23 minutes, of the second (`prompts`).
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audiocm.audio.io import resample
from audiocm.data.manifest import split_of
from recipes.corpora.debian.unpack import read_transcripts
from recipes.corpora.manifests import RATE, build, level, print_summary, read_g722
from recipes.corpora.speech.synthesize import corpus_parser, plan

_VOICE: list = []  # of a worker process: voice, root


def _start(root: Path) -> None:
    from recipes.corpora.speech.hibari import ControllableVoice

    _VOICE[:] = [ControllableVoice(), root]


def _make(line: dict) -> np.ndarray:
    from audiocm.text.reading import read_sentences

    phonemes = " ".join(sentence.phonemes for sentence in read_sentences(line["text"]))
    spoken = _VOICE[0](phonemes, line["speed"], line["spec"]["seed"])
    write_annotation(_VOICE[1] / line["file"], phonemes, spoken.seconds, spoken.hertz)
    return level(spoken.wav, line["spec"]["decibel"])


def write_annotation(clip: Path, phonemes: str, seconds: Sequence[float], hertz: np.ndarray) -> None:
    """Writes NAME.json beside a clip; F0 is at any even rate, 0 where unvoiced and nan where free."""
    annotation = {"phonemes": phonemes, "seconds": seconds, "hertz": [round(float(value), 1) for value in hertz]}
    clip.parent.mkdir(parents=True, exist_ok=True)
    clip.with_suffix(".json").write_text(json.dumps(annotation, ensure_ascii=False), encoding="utf-8")


def synthesize_voice(sentences: Path, root: Path, hours: float = 10.0, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """Synthesises about `hours` of the voice "heart" under `root` at its own pace; returns the manifest."""
    lines = [{**line, "voice": "heart", "speed": 1.0} for line in plan(sentences, hours, seed)]
    return build(root, lines, _make, n_jobs, _start, (root,), "voice")


def _make_prompt(line: dict) -> np.ndarray:
    wav = resample(read_g722(Path(line["spec"]["sound"])), 16000, RATE)
    loud = np.flatnonzero(np.abs(wav) > np.abs(wav).max() * 0.01)
    return level(wav[max(loud[0] - 2400, 0) : loud[-1] + 2400], -23.0)


def convert_prompts(packages: Path, root: Path, language: str = "en", n_jobs: int = 1) -> list[dict]:
    """Writes the recorded prompts that have words as clips of the voice "prompts"; returns the manifest.

    Raises ValueError if there are no transcripts or no prompts below `packages`."""
    texts, lines = read_transcripts(packages, language), []
    if not texts:
        raise ValueError(f"no transcript core-sounds-{language}.txt below {packages}")
    for sound in sorted(packages.rglob(f"{language}*/**/*.g722")):
        folder = next(parent for parent in sound.parents if parent.name.startswith(language))
        name = str(sound.relative_to(folder)).removesuffix(".g722")
        if text := texts.get(name):
            line = {
                "file": f"clips/{name}.flac",
                "split": split_of(name),
                "source": f"debian:asterisk-core-sounds-{language}-g722",
                "licence": "CC-BY-SA-3.0",
                "kind": "speech",
                "text": text,
                "voice": "prompts",
                "captions": ["a woman speaking"],
                "caption_sources": ["speech"],
                "group": f"prompt:{name}",
                "spec": {"sound": str(sound)},
            }
            lines.append(line)
    if not lines:
        raise ValueError(f"no G.722 prompt with words below {packages}")
    return build(root, lines, _make_prompt, n_jobs, title="prompts")


def main() -> None:
    parser = corpus_parser(__doc__.splitlines()[0], None, 10.0)
    parser.add_argument("action", choices=["synthetic", "prompts"])
    parser.add_argument("--packages", type=Path, help="prompts: folder of the unpacked packages")
    parser.add_argument("--language", default="en", help="prompts: language of the packages")
    args = parser.parse_args()
    if args.action == "synthetic":
        print_summary(synthesize_voice(args.sentences, args.root, args.hours, args.seed, args.jobs))
    elif args.packages is None:
        parser.error("prompts needs --packages")
    else:
        print_summary(convert_prompts(args.packages, args.root, args.language, args.jobs))


if __name__ == "__main__":
    main()
