"""Weights between students that came from one another: something of each (WiSE-FT and model soups, Wortsman et al. 2022).

    python -m recipes.average_weights runs/tta_regression/model runs/tta_matched/model --output runs/tta_average/model
    python -m recipes.average_weights runs/a/model runs/b/model runs/c/model --shares 0.2,0.3,0.5 --temperature 0.9 --output runs/tta/model

The last one's settings are kept. Choose shares and temperature on clips that the table does not report (recipes.text_to_audio.evaluate plan
--other-than), never on those that it does.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from audiocm.models.transformer import LatentTransformer


def averaged(nets: Sequence[LatentTransformer], shares: Sequence[float]) -> LatentTransformer:
    """sum_i shares_i nets_i, in place of the first. ValueError for nets of different shapes and shares that are not one each with sum 1."""
    if any(net.config != nets[0].config for net in nets):
        raise ValueError("the nets are not of one shape: their configs differ")
    if len(shares) != len(nets) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares {', '.join(f'{s:g}' for s in shares)}: must be {len(nets)} numbers with the sum 1")
    with torch.no_grad():
        for first, *others in zip(*(net.parameters() for net in nets), strict=True):
            first.mul_(shares[0])
            for share, other in zip(shares[1:], others, strict=True):
                first.add_(other, alpha=share)
    return nets[0]


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help="folders")
    parser.add_argument("--shares", help="one number a model with the sum 1, by commas (default: equal)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--temperature", type=float, help="std of the noise that the mixture starts from, if not the last one's"
    )
    args = parser.parse_args()
    count = len(args.models)
    shares = [float(s) for s in args.shares.split(",")] if args.shares else [1 / count] * count
    nets = [LatentTransformer.from_pretrained(name) for name in args.models]
    averaged(nets, shares).save_pretrained(args.output, variant="int8")
    bundle = json.loads((Path(args.models[-1]) / "bundle.json").read_text())
    if args.temperature is not None:
        bundle["temperature"] = args.temperature
    (args.output / "bundle.json").write_text(json.dumps(bundle, indent=2) + "\n")


if __name__ == "__main__":
    main()
