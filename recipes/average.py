"""Weights between two students of which one started from the other: something of both (WiSE-FT, Wortsman et al. 2022).

    python -m recipes.average runs/tta_regression/model runs/tta_matched/model --share 0.5 --output runs/tta_average/model

`--share` of the second, whose settings are kept; choose it on clips that the table does not report (recipes.evaluate_tta plan --split
valid, or --other-than the table's plan), never on those that it does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from audiocm.backbone import LatentTransformer


def averaged(first: LatentTransformer, second: LatentTransformer, share: float) -> LatentTransformer:
    """(1 - share) first + share second, in place of the first. ValueError for nets of different shapes."""
    if first.config != second.config:
        raise ValueError("the two are not of one shape: their configs differ")
    with torch.no_grad():
        for mine, other in zip(first.parameters(), second.parameters(), strict=True):
            mine.lerp_(other, share)
    return first


def main() -> None:
    """Command line; see the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("first")
    parser.add_argument("second")
    parser.add_argument("--share", type=float, required=True, help="of the second, 0 to 1")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--temperature", type=float, help="std of the noise that the mixture starts from, if not the second's"
    )
    args = parser.parse_args()
    nets = [LatentTransformer.from_pretrained(name) for name in (args.first, args.second)]
    averaged(*nets, args.share).save_pretrained(args.output, variant="int8")
    bundle = json.loads((Path(args.second) / "bundle.json").read_text())
    if args.temperature is not None:
        bundle["temperature"] = args.temperature
    (args.output / "bundle.json").write_text(json.dumps(bundle, indent=2) + "\n")


if __name__ == "__main__":
    main()
