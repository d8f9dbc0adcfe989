"""Zero-shot editing with a consistency model (Song et al. 2023, algorithm 4), as a hook of `solvers.sample`.

    hook = editing.keep(reference, unknown, editing.along(matrix, dim=-1))
    x = solvers.sample(net, path, noise, cond, times, hook=hook, start=editing.blank(reference, unknown, ...))

Known coordinates of `reference` in an orthonormal basis stay; the model fills in the `unknown` ones: a time mask in-paints,
a low-pass in a cosine basis extends bandwidth, mid/side over channels makes stereo. Latent edits are exact only where
mask and basis respect the latent's grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Basis:
    """An orthonormal change of coordinates and its inverse."""

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


identity = Basis(lambda x: x, lambda x: x)


def basis_along_axis(matrix: Tensor, dim: int = -1) -> Basis:
    """Coordinates matrix @ x along one axis. ValueError if the matrix [n, n] is not orthonormal."""
    unit = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    if not torch.allclose(matrix @ matrix.T, unit, atol=1e-5):
        raise ValueError("editing needs an orthonormal matrix: rows of length 1, at right angles")

    def times(q: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: (x.movedim(dim, -1) @ q.T.to(x)).movedim(-1, dim)

    return Basis(times(matrix), times(matrix.T))


def cosine_matrix(n: int) -> Tensor:
    """The orthonormal DCT-II [n, n], float64: row k has frequency k / 2n."""
    k = torch.arange(n, dtype=torch.float64)
    matrix = (2 / n) ** 0.5 * torch.cos(math.pi / n * (k + 0.5)[None] * k[:, None])
    matrix[0] /= 2**0.5
    return matrix


def complete_basis(first: Tensor) -> Tensor:
    """An orthonormal matrix [n, n] whose first row is the direction of `first` [n] (luma, a patch mean, mid of mid/side)."""
    columns = torch.eye(len(first), dtype=first.dtype, device=first.device)
    columns[:, 0] = first
    q, r = torch.linalg.qr(columns)
    return (q * torch.sign(torch.diagonal(r))).T


def keep_known(reference: Tensor, unknown: Tensor, basis: Basis = identity) -> Callable[[Tensor, float], Tensor]:
    """The hook: after every jump to 0, known coordinates are the reference's. `unknown`: 1 where the model decides."""

    def hook(x: Tensor, time: float) -> Tensor:
        if time > 0:
            raise ValueError("editing merges clean samples: use gamma = 1, where every jump ends in 0")
        return basis.inverse(torch.where(unknown.bool(), basis.forward(x), basis.forward(reference.to(x))))

    return hook


def fill_unknown(reference: Tensor, unknown: Tensor, basis: Basis = identity) -> Tensor:
    """Where the algorithm starts: the reference with zeros for the unknown."""
    return keep_known(reference, unknown, basis)(torch.zeros_like(reference), 0.0)
