"""A voice of few recordings, moved part of the way towards one of many: it reads better and may even sound more like itself.

    python -m recipes.nearer audiocm/pretrained/speech-encoder --voice prompts --to heart --share 0.2 --output runs/nearer/speech-encoder

Only the voice's vector changes, every other voice stays exactly as it is. Choose the share on sentences that no table reports.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from audiocm.speech.encoder import SpeechEncoder


def nearer(encoder: SpeechEncoder, voice: str, to: str, share: float) -> SpeechEncoder:
    """The encoder with (1 - share) of `voice`'s vector and share of the other's, in place. ValueError for an unknown voice."""
    names = list(encoder.config.voices)
    if unknown := [name for name in (voice, to) if name not in names]:
        raise ValueError(f"unknown voice {unknown[0]!r}: the encoder knows {', '.join(names)}")
    if not 0 <= share <= 1:
        raise ValueError(f"--share must lie between 0 and 1, not {share:g}")
    with torch.no_grad():
        rows = encoder.voice.weight
        rows[names.index(voice)] = rows[names.index(voice)].lerp(rows[names.index(to)], share)
    return encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("encoder", help="a speech-encoder folder")
    parser.add_argument("--voice", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--share", type=float, required=True, help="0 to 1")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    moved = nearer(SpeechEncoder.from_pretrained(args.encoder), args.voice, args.to, args.share)
    moved.save_pretrained(args.output, variant="int8")


if __name__ == "__main__":
    main()
