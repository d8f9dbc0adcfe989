"""Batches as trees: nested tuples, lists, dicts and dataclasses with tensors as leaves."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def tree_tensors(tree: Any) -> list[Tensor]:
    """Returns all tensors of a batch of nested tuples, lists, dicts and dataclasses; other leaves are skipped."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for child in _children(tree).values() for leaf in tree_tensors(child)]


def clone_tree(tree: Any) -> Any:
    """Returns a copy of a batch whose tensors have memory of their own."""
    return map_tensors(tree, lambda tensor: tensor.clone(memory_format=torch.contiguous_format))


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Returns a batch of the same structure with all tensors changed."""
    if isinstance(tree, Tensor):
        return change(tree)
    children = {key: map_tensors(child, change) for key, child in _children(tree).items()}
    if dataclasses.is_dataclass(tree):
        return dataclasses.replace(tree, **children)
    if isinstance(tree, (tuple, list)):
        return type(tree)(*children.values()) if hasattr(tree, "_fields") else type(tree)(children.values())
    return children if isinstance(tree, dict) else tree


def _children(tree: Any) -> dict[Any, Any]:
    if dataclasses.is_dataclass(tree):
        return {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
    if isinstance(tree, dict):
        return tree
    return dict(enumerate(tree)) if isinstance(tree, (tuple, list)) else {}


def tree_signature(tree: Any) -> tuple:
    """Returns the structure, shapes and dtypes of a batch; batches with equal signatures can run through one CUDA
    graph."""
    if isinstance(tree, Tensor):
        return (tuple(tree.shape), tree.dtype)
    return (type(tree).__name__, *(tree_signature(child) for child in _children(tree).values()))
