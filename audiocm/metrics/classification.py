"""Metrics of class probabilities: top-k hits, KL divergence and the inception score."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from scipy.special import entr, rel_entr

from ..checks import check_array, check_number, check_whole, checked
from .score import RESAMPLING, Score, statistic_score


def _probabilities(name: str, value: np.ndarray) -> np.ndarray:
    """Returns class probabilities [clip, class] in float64. Raises ValueError for others."""
    value = check_array(name, value, ("clip", "class"))
    if (value < 0).any() or (value > 1).any():
        raise ValueError(f"{name} must be probabilities, from 0 to 1, not {value.min():g} to {value.max():g}")
    return value


@checked(top=partial(check_whole, least=1))
def top_k_hits(probabilities: np.ndarray, accepted: Sequence[Sequence[int]], top: int = 5) -> np.ndarray:
    """Returns 1.0 for each clip with an accepted class among the `top` most probable of [clip, class], else 0.0.

    Raises ValueError if a clip has no accepted class."""
    probabilities = _probabilities("probabilities", probabilities)
    sets = [np.asarray(labels) for labels in accepted] if isinstance(accepted, Sequence) else [np.asarray(None)]
    if any(labels.ndim != 1 or (labels.size and labels.dtype.kind not in "iu") for labels in sets):
        raise ValueError("accepted must be a list of the class numbers of each clip")
    if len(probabilities) != len(accepted):
        raise ValueError(f"{len(probabilities)} clips but {len(accepted)} label sets")
    empty = [i for i, labels in enumerate(accepted) if len(labels) == 0]
    if empty:
        raise ValueError(f"{len(empty)} clips have no accepted label (first: clip {empty[0]})")
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    return np.array([float(np.isin(row, labels).any()) for row, labels in zip(best, accepted, strict=True)])


@checked(floor=partial(check_number, least=0))
def kl_divergences(generated: np.ndarray, reference: np.ndarray, floor: float = 1e-6) -> np.ndarray:
    """Computes KL(reference ‖ generated) of paired class distributions [clip, class]: [clip].

    `floor` is added to the generated probabilities before the logarithm, as AudioLDM's evaluation code does.
    Raises ValueError if the shapes differ."""
    p, q = _probabilities("reference", reference), _probabilities("generated", generated)
    if p.shape != q.shape:
        raise ValueError(f"paired clips needed: generated {list(q.shape)}, reference {list(p.shape)}")
    return rel_entr(p, q + floor).sum(axis=1)


@checked(**RESAMPLING)
def inception_score(probabilities: np.ndarray, name: str = "inception score", draws: int = 200, seed: int = 0) -> Score:
    """Computes the inception score exp(E KL(p(y|x) ‖ p(y))), Salimans et al. 2016, of [clip, class] in one split."""
    p = _probabilities("probabilities", probabilities)
    entropy = entr(p).sum(axis=1)

    def statistic(weight: np.ndarray) -> float:
        weight = weight / weight.sum()
        return float(np.exp(entr(weight @ p).sum() - weight @ entropy))

    return statistic_score(name, statistic, len(p), draws, seed, within=(1.0, float(p.shape[1])))
