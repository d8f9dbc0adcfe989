"""Similarity of embeddings: cosines, diversity, retrieval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .score import Score, mean_score


def _unit(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, dtype=np.float64)
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    if (norm == 0).any():
        raise ValueError(f"{int((norm == 0).sum())} embeddings are all zero: a cosine has no meaning there")
    return x / norm


def cosine_similarities(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[item]: cosine of row i of both [item, dim]."""
    return (_unit(first) * _unit(second)).sum(axis=-1)


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


def retrieval_ranks(audio: np.ndarray, text: np.ndarray, tops: Sequence[int] = (1, 5, 10)) -> dict[str, np.ndarray]:
    """{"text→audio R@1": [pair] of 0.0 / 1.0, ...} both ways, embeddings [pair, dim]; equal rows of text are one caption."""
    groups = np.unique(np.round(text, 6), axis=0, return_inverse=True)[1].reshape(-1)
    text, audio = _unit(text), _unit(audio)
    ways = {"text→audio": _group_ranks(text, audio, groups), "audio→text": _group_ranks(audio, text, groups)}
    return {f"{way} R@{top}": (ranks < top).astype(np.float64) for way, ranks in ways.items() for top in tops}


def retrieval(audio: np.ndarray, text: np.ndarray, tops: Sequence[int] = (1, 5, 10)) -> list[Score]:
    """Means of `retrieved`: R@k of text → audio and audio → text."""
    return [mean_score(name, values) for name, values in retrieval_ranks(audio, text, tops).items()]
