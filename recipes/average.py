"""Weights between two students of which one started from the other: something of both (WiSE-FT, Wortsman et al. 2022).

    python -m recipes.average runs/tta_regression/model runs/tta_matched/model --share 0.5 --output runs/tta_average/model

`--share` of the second, whose settings are kept; choose it on validation clips (recipes.evaluate_tta plan --split valid), never on
test clips.
"""

from __future__ import annotations

import argparse
import shutil
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
    args = parser.parse_args()
    nets = [LatentTransformer.from_pretrained(name) for name in (args.first, args.second)]
    averaged(*nets, args.share).save_pretrained(args.output, variant="int8")
    shutil.copy(Path(args.second) / "bundle.json", args.output)


if __name__ == "__main__":
    main()
