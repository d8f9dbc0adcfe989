"""Scores: embeddings in, numbers with intervals out. What they were computed with stands in their card (provenance)."""

from __future__ import annotations

from .draws import set_difference
from .frechet import (
    Projection,
    RunningMoments,
    frechet_contributions,
    frechet_distance,
    frechet_infinity,
    frechet_infinity_score,
    frechet_score,
)
from .intervals import Score, mean_score, paired_difference
from .judgements import (
    cosines,
    hits,
    inception_score,
    kl_divergences,
    retrieval,
    retrieved,
    seed_diversity,
    set_diversity,
)
from .kernels import density_coverage, kernel_distance, kernel_score, median_bandwidth, precision_recall

__all__ = [
    "ClapScorer",
    "Projection",
    "RunningMoments",
    "Score",
    "cosines",
    "density_coverage",
    "frechet_contributions",
    "frechet_distance",
    "frechet_infinity",
    "frechet_infinity_score",
    "frechet_score",
    "hits",
    "inception_score",
    "kernel_distance",
    "kernel_score",
    "kl_divergences",
    "mean_score",
    "median_bandwidth",
    "paired_difference",
    "precision_recall",
    "retrieval",
    "retrieved",
    "score",
    "seed_diversity",
    "set_difference",
    "set_diversity",
]


def __getattr__(name: str):
    """`score` and `ClapScorer` live in modules that import this one."""
    if name == "score":
        from ..scoring import score

        return score
    if name == "ClapScorer":
        from ..clap import ClapScorer

        return ClapScorer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
