"""One number per clip or prompt: what a tagger or an embedder says about it. Means of them carry the intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .score import Score, statistic_score


def top_k_hits(probabilities: np.ndarray, accepted: Sequence[Sequence[int]], top: int = 5) -> np.ndarray:
    """[clip] of 0.0 / 1.0: is any accepted class among the `top` most probable of probabilities [clip, class]?

    Raises ValueError where a clip has no accepted class."""
    if len(probabilities) != len(accepted):
        raise ValueError(f"{len(probabilities)} clips but {len(accepted)} label sets")
    empty = [i for i, labels in enumerate(accepted) if len(labels) == 0]
    if empty:
        raise ValueError(f"{len(empty)} clips have no accepted label (first: number {empty[0]})")
    best = np.argsort(-np.asarray(probabilities), axis=1, kind="stable")[:, :top]
    return np.array([float(np.isin(row, labels).any()) for row, labels in zip(best, accepted, strict=True)])


def kl_divergences(generated: np.ndarray, reference: np.ndarray, floor: float = 1e-6) -> np.ndarray:
    """[clip]: KL(reference ‖ generated) of class distributions [clip, class] that sum to 1, generated floored by
    `floor` before the logarithm, as the text-to-audio papers' evaluator does."""
    p, q = np.asarray(reference, dtype=np.float64), np.asarray(generated, dtype=np.float64)
    if p.shape != q.shape:
        raise ValueError(f"paired clips needed: generated {list(q.shape)}, reference {list(p.shape)}")
    log_p = np.log(np.where(p > 0, p, 1.0))
    return (p * (log_p - np.log(q + floor))).sum(axis=1)


def inception_score(probabilities: np.ndarray, name: str = "inception score", draws: int = 200, seed: int = 0) -> Score:
    """exp of the mean KL(p(y|x) ‖ p(y)) (Salimans et al. 2016) of distributions [clip, class], in one split."""
    p = np.asarray(probabilities, dtype=np.float64)
    entropy = -(p * np.log(np.where(p > 0, p, 1.0))).sum(axis=1)

    def statistic(weight: np.ndarray) -> float:
        marginal = weight @ p / weight.sum()
        of_marginal = -(marginal * np.log(np.where(marginal > 0, marginal, 1.0))).sum()
        return float(np.exp(of_marginal - weight @ entropy / weight.sum()))

    return statistic_score(name, statistic, len(p), draws, seed)
