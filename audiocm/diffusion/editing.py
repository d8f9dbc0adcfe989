"""Zero-shot editing with a consistency model (Song et al. 2023, algorithm 4), as a hook of `solvers.sample`.

    hook = editing.keep_known(reference, unknown, editing.basis_along_axis(matrix))
    start = editing.fill_unknown(reference, unknown, editing.basis_along_axis(matrix))
    x = solvers.sample(net, path, noise, cond, times, gamma=1.0, hook=hook, start=start)

The known coordinates of `reference` in an orthonormal basis are kept, and the model fills in the unknown ones: a mask
in time in-paints, a low-pass in a cosine basis extends bandwidth, mid/side over channels makes stereo. Edits of latents
are exact only where mask and basis respect the latent's grid.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ..checks import check_instance, check_tensor, check_whole, checked
from .paths import Path


@dataclass(frozen=True)
class Basis:
    """An orthonormal change of coordinates and its inverse."""

    forward: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


identity = Basis(lambda x: x, lambda x: x)


def basis_along_axis(matrix: Tensor, dim: int = -1) -> Basis:
    """Returns the coordinates matrix @ x along one axis. Raises ValueError if the matrix [n, n] is not orthonormal."""
    check_tensor("matrix", matrix, (len(matrix) if isinstance(matrix, Tensor) and matrix.ndim else "n",) * 2)
    unit = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    if not torch.allclose(matrix @ matrix.T, unit, atol=1e-5):
        raise ValueError("matrix must be orthonormal: rows of length 1, at right angles to each other")

    def multiply_by(q: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: (x.movedim(dim, -1) @ q.T.to(x)).movedim(-1, dim)

    return Basis(multiply_by(matrix), multiply_by(matrix.T))


@checked(n=partial(check_whole, least=1))
def cosine_matrix(n: int) -> Tensor:
    """Returns the orthonormal DCT-II [n, n] in float64; row k has frequency k / 2n."""
    k = torch.arange(n, dtype=torch.float64)
    matrix = (2 / n) ** 0.5 * torch.cos(math.pi / n * (k + 0.5)[None] * k[:, None])
    matrix[0] /= 2**0.5
    return matrix


@checked(first=partial(check_tensor, shape=("n",)))
def complete_basis(first: Tensor) -> Tensor:
    """Returns an orthonormal matrix [n, n] whose first row is the direction of `first` [n], such as mid of mid/side."""
    columns = torch.eye(len(first), dtype=first.dtype, device=first.device)
    columns[:, 0] = first
    q, r = torch.linalg.qr(columns)
    return (q * torch.sign(torch.diagonal(r))).T


@checked(
    reference=check_tensor, unknown=partial(check_instance, kind=Tensor), basis=partial(check_instance, kind=Basis)
)
def keep_known(reference: Tensor, unknown: Tensor, basis: Basis = identity) -> Callable[[Tensor, float], Tensor]:
    """Returns a hook that, after every jump to 0, sets the known coordinates to those of the reference.

    `unknown` is 1 for coordinates that the model fills in. The hook raises ValueError at other times than 0."""

    def hook(x: Tensor, time: float) -> Tensor:
        if time > 0:
            raise ValueError("editing merges clean samples: sample with gamma = 1, so that every jump ends at time 0")
        return basis.inverse(torch.where(unknown.bool(), basis.forward(x), basis.forward(reference.to(x))))

    return hook


@checked(
    reference=check_tensor, unknown=partial(check_instance, kind=Tensor), basis=partial(check_instance, kind=Basis)
)
def fill_unknown(reference: Tensor, unknown: Tensor, basis: Basis = identity) -> Tensor:
    """Returns the sample to start from: the reference, with 0 for the unknown coordinates."""
    return keep_known(reference, unknown, basis)(torch.zeros_like(reference), 0.0)


def replace_known(
    path: Path, reference: Tensor, unknown: Tensor, draw_noise: Callable[[], Tensor]
) -> Callable[[Tensor, float], Tensor]:
    """Returns a hook for a teacher's many steps: it sets the known coordinates to those of the reference at the noise
    of the time (Song et al. 2021, appendix I.2; with `sample`'s gamma over 0, that goes back a little after every step,
    the harmonisation of RePaint, Lugmayr et al. 2022)."""

    def hook(x: Tensor, time: float) -> Tensor:
        times = torch.full((len(x),), time, device=x.device)
        noised = path.add_noise(reference.to(x), draw_noise().to(x), times) if time > 0 else reference.to(x)
        return torch.where(unknown.bool(), x, noised)

    return hook
