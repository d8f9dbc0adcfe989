"""Corpora for text to speech: a synthetic voice with exact durations, and the real recorded prompts of Debian's Asterisk.

    python -m recipes.corpora.speech.voices synthetic --sentences data/speech/sentences.txt --root data/voice [--hours 10] [--jobs 16]
    python -m recipes.corpora.speech.voices prompts --packages UNPACKED --root data/prompts [--language en]

UNPACKED holds `asterisk-core-sounds-en` and `asterisk-core-sounds-en-g722` (dpkg -x; CC-BY-SA-3.0; needs PyPI `av`).
Beside a synthetic clip lies what `said` reads: NAME.json with phonemes, seconds and F0. Continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from recipes.corpora.manifests import build, level, split_of
from recipes.corpora.speech.synthesize import plan

_VOICE: list = []


def _start(root: Path) -> None:
    from recipes.corpora.speech.hibari import TellingVoice

    _VOICE[:] = [TellingVoice(), root]


def _make(line: dict) -> np.ndarray:
    from audiocm.speech.phonemes import sentences

    phonemes = " ".join(one.phonemes for one in sentences(line["text"]))
    made = _VOICE[0](phonemes, line["speed"], line["spec"]["seed"])
    tell(_VOICE[1] / line["file"], phonemes, made.seconds, made.hertz)
    return level(made.wav, line["spec"]["decibel"])


def tell(clip: Path, phonemes: str, seconds: Sequence[float], hertz: np.ndarray) -> None:
    """Write beside a clip what `tts_data.said` reads: F0 at any even rate, 0 where unvoiced, nan where free."""
    told = {"phonemes": phonemes, "seconds": seconds, "hertz": [round(float(value), 1) for value in hertz]}
    clip.parent.mkdir(parents=True, exist_ok=True)
    clip.with_suffix(".json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")


def synthetic(sentences: Path, root: Path, hours: float = 10.0, seed: int = 0, n_jobs: int = 1) -> list[dict]:
    """About `hours` of the voice "heart" under root; returns the manifest. All at the voice's own pace: speed is a knob."""
    lines = [{**line, "voice": "heart", "speed": 1.0} for line in plan(sentences, hours, seed)]
    return build(root, lines, _make, n_jobs, _start, (root,), "voice")


def transcripts(packages: Path, language: str) -> dict[str, str]:
    """Prompt name -> words, from the package's `name: words` list; sounds, tones and stage directions are left out."""
    found = {}
    for path in sorted(packages.rglob(f"core-sounds-{language}.txt*")):
        import gzip

        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for line in data.decode("utf-8", "replace").splitlines():
            name, colon, words = line.partition(":")
            words = " ".join(re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>", " ", words).split())
            if colon and not name.startswith(";") and re.search(r"[A-Za-z]{2}|\d", words):
                found[name.strip()] = words
    if not found:
        raise ValueError(f"no transcript core-sounds-{language}.txt below {packages}")
    return found


def decode_g722(path: Path) -> np.ndarray:
    """A raw G.722 file (16 kHz wideband) as float32 [sample] at 24 kHz."""
    import av
    import soxr

    with av.open(str(path), format="g722") as file:
        parts = [frame.to_ndarray().reshape(-1) for frame in file.decode(audio=0)]
    return soxr.resample(np.concatenate(parts).astype(np.float32) / 32768, 16000, 24000)


def _prompt(line: dict) -> np.ndarray:
    wav = decode_g722(Path(line["spec"]["sound"]))
    loud = np.flatnonzero(np.abs(wav) > np.abs(wav).max() * 0.01)
    return level(wav[max(loud[0] - 2400, 0) : loud[-1] + 2400], -23.0)


def prompts(packages: Path, root: Path, language: str = "en", n_jobs: int = 1) -> list[dict]:
    """The recorded prompts that have words, as 24 kHz clips of the voice "prompts"."""
    words, lines = transcripts(packages, language), []
    for sound in sorted(packages.rglob(f"{language}*/**/*.g722")):
        name = str(sound.relative_to(next(p for p in sound.parents if p.name.startswith(language)))).removesuffix(
            ".g722"
        )
        if text := words.get(name):
            lines.append({
                "file": f"clips/{name}.flac", "split": split_of(name), "source": f"debian:asterisk-core-sounds-{language}-g722",
                "licence": "CC-BY-SA-3.0", "kind": "speech", "text": text, "voice": "prompts", "captions": ["a woman speaking"],
                "caption_sources": ["speech"], "group": f"prompt:{name}", "spec": {"sound": str(sound)},
            })  # fmt: skip
    if not lines:
        raise ValueError(f"no G.722 prompt with words below {packages}")
    return build(root, lines, _prompt, n_jobs, title="prompts")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=["synthetic", "prompts"])
    parser.add_argument("--sentences", type=Path, default=Path("data/speech/sentences.txt"))
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--language", default="en")
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.action == "synthetic":
        made = synthetic(args.sentences, args.root, args.hours, args.seed, args.jobs)
    else:
        made = prompts(args.packages, args.root, args.language, args.jobs)
    print(f"{len(made)} clips, {sum(line['seconds'] for line in made) / 3600:.2f} h")
