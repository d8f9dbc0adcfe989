"""Averages the weights of models trained from one another (Wortsman et al. 2022), or moves one voice towards another.

    python -m recipes.average_weights models FIRST SECOND [--shares 0.5,0.5] [--temperature 0.92] --output OUT
    python -m recipes.average_weights voices SPEECH_ENCODER --voice prompts --to heart --share 0.2 --output OUT

Takes seconds on a CPU. Shares and temperature are to be chosen on data that no table reports: samples/tts_choice.json has the mean
of the two stages of the bundled `tts` beside the second, which was chosen.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from audiocm.models.transformer import LatentTransformer
from audiocm.speech.encoder import SpeechEncoder


def average_models(nets: Sequence[LatentTransformer], shares: Sequence[float]) -> LatentTransformer:
    """Returns sum_i shares[i] nets[i], written into the first network.

    Raises ValueError if the configs differ, or if `shares` are not one number for each network with the sum 1."""
    if any(net.config != nets[0].config for net in nets):
        raise ValueError("the configs of the networks differ: they must have one shape")
    if len(shares) != len(nets) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares {', '.join(f'{s:g}' for s in shares)}: must be {len(nets)} numbers with the sum 1")
    with torch.no_grad():
        for first, *others in zip(*(net.parameters() for net in nets), strict=True):
            first.mul_(shares[0])
            for share, other in zip(shares[1:], others, strict=True):
                first.add_(other, alpha=share)
    return nets[0]


def move_voice(encoder: SpeechEncoder, voice: str, to: str, share: float) -> SpeechEncoder:
    """Moves a voice's vector by `share` of the way towards another one's, in place; returns the encoder.

    Raises ValueError for an unknown voice and for a share outside [0, 1]."""
    names = list(encoder.config.voices)
    if unknown := [name for name in (voice, to) if name not in names]:
        raise ValueError(f"unknown voice {unknown[0]!r}: must be one of {', '.join(names)}")
    if not 0 <= share <= 1:
        raise ValueError(f"share {share:g}: must lie between 0 and 1")
    with torch.no_grad():
        rows = encoder.voice.weight
        rows[names.index(voice)] = rows[names.index(voice)].lerp(rows[names.index(to)], share)
    return encoder


def write_average(args: argparse.Namespace) -> None:
    """Writes the average model; its bundle.json is the last model's, with `--temperature` if given."""
    shares = args.shares or [1 / len(args.models)] * len(args.models)
    nets = [LatentTransformer.from_pretrained(name) for name in args.models]
    average_models(nets, shares).save_pretrained(args.output, variant="int8")
    bundle = json.loads((Path(args.models[-1]) / "bundle.json").read_text())
    if args.temperature is not None:
        bundle["temperature"] = args.temperature
    (args.output / "bundle.json").write_text(json.dumps(bundle, indent=2) + "\n")


def write_voices(args: argparse.Namespace) -> None:
    """Writes the speech encoder with the moved voice; all other voices are unchanged."""
    encoder = move_voice(SpeechEncoder.from_pretrained(args.encoder), args.voice, args.to, args.share)
    encoder.save_pretrained(args.output, variant="int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(required=True)
    models = actions.add_parser("models", help="average the weights of denoisers")
    models.add_argument("models", nargs="+", help="model folders")
    models.add_argument(
        "--shares",
        type=lambda s: [float(x) for x in s.split(",")],
        help="one number per model, comma-separated, with the sum 1 (default: equal)",
    )
    models.add_argument("--temperature", type=float, help="std of the initial noise (default: the last model's)")
    models.set_defaults(action=write_average)
    voices = actions.add_parser("voices", help="move one voice of a speech encoder towards another")
    voices.add_argument("encoder", help="a speech-encoder folder")
    voices.add_argument("--voice", required=True, help="the voice to move")
    voices.add_argument("--to", required=True, help="the voice to move it towards")
    voices.add_argument("--share", type=float, required=True, help="share of the way, 0 to 1")
    voices.set_defaults(action=write_voices)
    for one in (models, voices):
        one.add_argument("--output", type=Path, required=True, help="folder to write")
    args = parser.parse_args()
    args.action(args)


if __name__ == "__main__":
    main()
