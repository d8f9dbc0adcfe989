"""Similarity of embeddings: cosine similarities, diversity and retrieval."""

from collections.abc import Sequence

import numpy as np

from ..checks import check_array, check_instance, check_whole
from .score import validate_vectors


def _unit(name: str, x: np.ndarray) -> np.ndarray:
    x = check_array(name, x, ("item", "dim"))
    x = x / max(np.abs(x).max(), 1e-300)  # so that no square overflows
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    if (norm == 0).any():
        raise ValueError(f"{name}: {int((norm == 0).sum())} embeddings are all zero, and their cosine is undefined")
    return x / norm


def cosine_similarities(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the cosine similarity of rows i of two arrays [item, dim]: [item]."""
    first, second = _unit("first", first), _unit("second", second)
    if first.shape != second.shape:
        raise ValueError(f"first and second must have the same shape, not {list(first.shape)} and {list(second.shape)}")
    return (first * second).sum(axis=-1)


def set_diversity(embeddings: np.ndarray) -> float:
    """Returns the mean of 1 − cosine over all pairs of clips of one set [clip, dim].

    Subtract the reference's mean first if an embedder's cosines are all near 1. Raises ValueError for a single clip."""
    unit = _unit("embeddings", validate_vectors(embeddings, "embeddings"))
    total, count = np.square(unit.sum(axis=0)).sum(), len(unit)  # sum of all cosines, `count` of a clip with itself
    return float(1.0 - (total - count) / (count * (count - 1)))


def ranks(similarity: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Returns the rank of each query's best relevant item, int [query], 0 being first.

    `relevant` is bool [query, item]. Ties count against the query, and a query without a relevant item is ranked
    last."""
    best = np.where(relevant, similarity, -np.inf).max(axis=1, keepdims=True)
    return (~relevant & (similarity >= best)).sum(axis=1)


def recalls(similarity: np.ndarray, relevant: np.ndarray, top: int) -> np.ndarray:
    """Returns 1.0 for each query with a relevant item (bool [query, item]) among the `top` most similar ones, else
    0.0."""
    return ((ranks(similarity, relevant) < top) & relevant.any(axis=1)).astype(np.float64)


def _group_ranks(queries: np.ndarray, items: np.ndarray, groups: np.ndarray, rows: int = 1000) -> np.ndarray:
    """Computes `ranks` by cosine where items of the query's group are relevant, in blocks of `rows` queries."""
    parts = [slice(i, i + rows) for i in range(0, len(queries), rows)]
    return np.concatenate([ranks(queries[p] @ items.T, groups[p, None] == groups) for p in parts])


def retrieval_ranks(audio: np.ndarray, text: np.ndarray, tops: Sequence[int] = (1, 5, 10)) -> dict[str, np.ndarray]:
    """Returns recall at each of `tops` in both directions as {"text→audio R@1": [pair] of 0.0 or 1.0, ...}.

    `audio` and `text` are embeddings [pair, dim]; equal rows of `text` count as one caption."""
    text, audio = check_array("text", text, ("pair", "dim")), check_array("audio", audio, ("pair", "dim"))
    if text.shape != audio.shape:
        raise ValueError(f"audio and text must have the same shape, not {list(audio.shape)} and {list(text.shape)}")
    for top in check_instance("tops", tops, list | tuple, "a list of ranks"):
        check_whole("tops", top, least=1)
    groups = np.unique(np.round(text, 6), axis=0, return_inverse=True)[1].reshape(-1)
    text, audio = _unit("text", text), _unit("audio", audio)
    ways = {"text→audio": _group_ranks(text, audio, groups), "audio→text": _group_ranks(audio, text, groups)}
    return {f"{way} R@{top}": (ranks < top).astype(np.float64) for way, ranks in ways.items() for top in tops}
