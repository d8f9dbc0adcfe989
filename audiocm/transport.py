"""Optimal transport between Gaussians: the Fréchet distance as something that a generator can descend.

From N(m, S) to N(0, D²) the best map is linear, x -> A (x - m) with A = D (D S D)^-½ D (Dowson & Landau 1982), and the mean
squared move is the Fréchet distance. With A and m held still, the gradient of that move is the gradient of the distance
(envelope theorem), so no gradient has to pass a matrix root (Mathiasen & Hvilshøj 2020 pass it).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def inverse_root(matrix: Tensor, steps: int = 40) -> Tensor:
    """matrix^-½ [dim, dim] of a symmetric positive one, float64, by Newton-Schulz steps (Higham 2008, eq. 6.35).

    Matrix products alone: nothing waits for the device. `steps` are enough for a condition number of 10^12."""
    matrix = matrix.double()
    size = matrix.diagonal().sum()
    eye = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    root, inverse = matrix / size, eye
    for _ in range(steps):
        change = 1.5 * eye - 0.5 * inverse @ root
        root, inverse = root @ change, change @ inverse
    return inverse * size.rsqrt()


class Transport(nn.Module):
    """One feature space: the moments of real features, which stay, and those of made ones, which follow what is made.

    real [clip, dim]: features of real clips. `size`: the principal components of them that count. `decay`: of the made moments
    at each `see`. Distances are relative to the real features' variance, so that spaces can be added.
    Raises ValueError for fewer clips than twice `size`.
    """

    def __init__(self, real: Tensor, size: int, decay: float = 0.98):
        super().__init__()
        if len(real) < 2 * size:
            raise ValueError(f"{len(real)} real clips are too few for {size} components: need {2 * size}")
        real, self.decay = real.double(), decay
        centre = real.mean(0)
        covariance = (real - centre).T @ (real - centre) / len(real)
        total = covariance.diagonal().sum()
        power, axes = torch.linalg.eigh(covariance)
        self.register_buffer("centre", centre.float())
        self.register_buffer("axes", (axes[:, -size:] * total.rsqrt()).float())
        self.register_buffer("spread", (power[-size:].clamp_min(0) / total).sqrt())
        self.register_buffer("first", torch.zeros_like(self.spread))
        self.register_buffer("second", torch.diag(self.spread.square()))

    def place(self, features: Tensor) -> Tensor:
        """Features [clip, dim] in the real ones' principal components [clip, size], centred and scaled."""
        with torch.autocast(features.device.type, enabled=False):
            return (features.float() - self.centre) @ self.axes

    @torch.no_grad()
    def see(self, made: Tensor) -> None:
        """Let the moments follow made features [clip, dim], of all ranks; a batch that is not finite changes nothing."""
        x = self.place(made).double()
        seen = torch.stack([x.mean(0), *(x.T @ x / len(x))])
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(seen)
            seen /= torch.distributed.get_world_size()
        known = torch.stack([self.first, *self.second])
        moved = torch.where(seen.isfinite().all(), known.lerp(seen, 1 - self.decay), known)
        self.first.copy_(moved[0])
        self.second.copy_(moved[1:])

    @torch.no_grad()
    def carried(self, x: Tensor) -> Tensor:
        """Where transport takes made features that were given a place [clip, size]."""
        covariance = self.second - self.first[:, None] * self.first
        inner = self.spread[:, None] * covariance * self.spread
        inner = inner + 1e-9 * inner.diagonal().mean() * torch.eye(len(inner), dtype=inner.dtype, device=inner.device)
        with torch.autocast(x.device.type, enabled=False):
            forward = self.spread[:, None] * inverse_root(inner) * self.spread
            return ((x.double() - self.first) @ forward).to(x.dtype)

    def cost(self, made: Tensor) -> Tensor:
        """Mean squared move of made features [clip, dim]: the Fréchet distance to the real ones in its gradient. Scalar."""
        x = self.place(made)
        return (x - self.carried(x)).square().sum(1).mean()
