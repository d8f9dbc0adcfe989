"""One number per clip or prompt: what a tagger or an embedder says about it. Means of them carry the intervals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .intervals import Score, mean_score, statistic_score


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    if (norm == 0).any():
        raise ValueError(f"{int((norm == 0).sum())} embeddings are all zero: a cosine has no meaning there")
    return x / norm


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[item]: cosine of row i of both [item, dim]."""
    return (_unit(first) * _unit(second)).sum(axis=-1)


def hits(probabilities: np.ndarray, accepted: Sequence[Sequence[int]], top: int = 5) -> np.ndarray:
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


def seed_diversity(embeddings: np.ndarray) -> np.ndarray:
    """[prompt]: mean of 1 − cosine over all pairs of takes of one prompt, from embeddings [prompt, take, dim].

    Conditional diversity: what changes when only the seed does. Centre the embeddings first (by the reference's mean)
    where an embedder's cosines are all near 1."""
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 3 or embeddings.shape[1] < 2:
        raise ValueError(f"need [prompt, take >= 2, dim], got {list(embeddings.shape)}")
    unit = _unit(embeddings)
    takes = unit.shape[1]
    total = np.square(unit.sum(axis=1)).sum(axis=-1)  # sum of all cosines, `takes` of them with themselves
    return 1.0 - (total - takes) / (takes * (takes - 1))


def set_diversity(embeddings: np.ndarray) -> float:
    """Mean of 1 − cosine over all pairs of clips of one set [clip, dim]."""
    return float(seed_diversity(np.asarray(embeddings)[None])[0])


def ranks(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """[query]: how many items that are not relevant (bool [query, item]) are at least as similar as the best one that
    is; all of them where none is."""
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    return (~relevant & (similarity >= best)).sum(axis=1)


def recalls(similarity: np.ndarray, relevant: np.ndarray, top: int) -> np.ndarray:
    """[query] of 0.0 / 1.0: is a relevant item (bool [query, item]) among the `top` most similar ones?"""
    return ((ranks(similarity, relevant) < top) & relevant.any(axis=1)).astype(np.float64)


def _group_ranks(queries: np.ndarray, items: np.ndarray, groups: np.ndarray, rows: int = 1000) -> np.ndarray:
    """`ranks` by cosine where items of the query's own group are relevant, some queries at a time."""
    parts = [slice(i, i + rows) for i in range(0, len(queries), rows)]
    return np.concatenate([ranks(queries[p] @ items.T, groups[p, None] == groups) for p in parts])


def retrieved(audio: np.ndarray, text: np.ndarray, tops: Sequence[int] = (1, 5, 10)) -> dict[str, np.ndarray]:
    """{"text→audio R@1": [pair] of 0.0 / 1.0, ...} both ways, embeddings [pair, dim]; equal rows of text are one caption."""
    groups = np.unique(np.round(text, 6), axis=0, return_inverse=True)[1].reshape(-1)
    text, audio = _unit(text), _unit(audio)
    ways = {"text→audio": _group_ranks(text, audio, groups), "audio→text": _group_ranks(audio, text, groups)}
    return {f"{way} R@{top}": (ranks < top).astype(np.float64) for way, ranks in ways.items() for top in tops}


def retrieval(audio: np.ndarray, text: np.ndarray, tops: Sequence[int] = (1, 5, 10)) -> list[Score]:
    """Means of `retrieved`: R@k of text → audio and audio → text."""
    return [mean_score(name, values) for name, values in retrieved(audio, text, tops).items()]
