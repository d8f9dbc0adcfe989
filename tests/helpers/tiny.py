"""Closed forms and tiny networks for the tests of diffusion and distillation, in float64 on the CPU."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from audiocm.diffusion import paths
from audiocm.diffusion.denoiser import Condition, edm_scalings
from audiocm.diffusion.paths import Path, broadcast_like


class Gaussian:
    """The posterior mean and the flow map of data N(mu, s^2 I) on any path, in closed form.

    The mean is mu, mu_null where the condition is dropped, and mu_null + w (mu - mu_null) at guidance weight w.
    """

    def __init__(self, path: Path, mu: float = 0.7, s: float = 1.3, mu_null: float | None = None):
        self.path, self.mu, self.s = path, mu, s
        self.mu_null = mu if mu_null is None else mu_null

    def mean(self, x: Tensor, cond=None) -> Tensor:
        """Returns the mean of the data for each row, broadcastable against x."""
        w = torch.ones(len(x), dtype=torch.float64)
        if getattr(cond, "guidance", None) is not None:
            w = cond.guidance.double()
        if getattr(cond, "null", None) is not None:
            w = torch.where(cond.null, 0.0, w)
        return broadcast_like(self.mu_null + w * (self.mu - self.mu_null), x).to(x.dtype)

    def spread(self, t: Tensor) -> Tensor:
        """Returns the standard deviation of x_t."""
        return ((self.path.alpha(t) * self.s) ** 2 + self.path.sigma(t) ** 2).sqrt()

    def flow(self, x: Tensor, t: Tensor, u: Tensor, cond=None) -> Tensor:
        """Returns the end of the ODE from x at t, at time u."""
        alpha, mu = self.path.alpha, self.mean(x, cond)
        scale = broadcast_like(self.spread(u) / self.spread(t), x)
        return broadcast_like(alpha(u), x) * mu + scale * (x - broadcast_like(alpha(t), x) * mu)

    def denoise(self, x: Tensor, t: Tensor, s=None, cond=None) -> Tensor:
        """Returns E[x_0 | x_t]: a perfect teacher."""
        alpha, mu = broadcast_like(self.path.alpha(t), x), self.mean(x, cond)
        return mu + alpha * self.s**2 / broadcast_like(self.spread(t), x) ** 2 * (x - alpha * mu)

    def student(self, x: Tensor, t: Tensor, s: Tensor | None = None, cond=None) -> Tensor:
        """Returns the clean estimate whose step to s is exact: a perfect student. At s = t it is the teacher."""
        s = torch.zeros_like(t) if s is None else s
        same = s > t * (1 - 1e-9)
        s = torch.where(same, t / 2, s)
        clean = self.path.invert_step(x, t, s, self.flow(x, t, s, cond))
        return torch.where(broadcast_like(same, x), self.denoise(x, t, None, cond), clean)


class Mixture:
    """An isotropic Gaussian mixture with weights [k], means [k, dim] and spreads [k]."""

    def __init__(self, path: Path, weights, means, spreads):
        self.path = path
        self.weights, self.means, self.spreads = (
            torch.as_tensor(v, dtype=torch.float64) for v in (weights, means, spreads)
        )

    def denoise(self, x: Tensor, t: Tensor, s=None, cond=None) -> Tensor:
        """Returns E[x_0 | x_t] of x [batch, dim]."""
        alpha, sigma = self.path.alpha(t)[:, None], self.path.sigma(t)[:, None]
        means, spreads = self.means.to(x.dtype), self.spreads.to(x.dtype)
        variance = (alpha * spreads) ** 2 + sigma**2
        offset = x[:, None] - alpha[..., None] * means
        log_share = (
            self.weights.to(x.dtype).log() - x.shape[1] / 2 * variance.log() - offset.square().sum(-1) / 2 / variance
        )
        share = log_share.softmax(-1)
        posterior_means = means + (alpha * spreads**2 / variance)[..., None] * offset
        return (share[..., None] * posterior_means).sum(1)

    def sample(self, n: int) -> Tensor:
        """Draws n samples [n, dim]."""
        which = torch.multinomial(self.weights, n, replacement=True)
        return self.means[which] + self.spreads[which, None] * torch.randn(n, self.means.shape[1], dtype=torch.float64)


def ring(path: Path = paths.edm, radius: float = math.sqrt(2), spread: float = 0.12) -> Mixture:
    """Returns eight Gaussians on a circle, with about unit variance in each coordinate."""
    angle = torch.arange(8) * (2 * math.pi / 8)
    means = radius * torch.stack([angle.cos(), angle.sin()], 1)
    return Mixture(path, torch.full((8,), 1 / 8), means, torch.full((8,), spread))


class TinyNet(nn.Module):
    """A network for x [batch, dim] on the EDM path with inputs t, s and w; sines of x help to fit eight sharp modes."""

    def __init__(self, dim: int = 2, width: int = 128):
        super().__init__()
        self.register_buffer("rate", 2.0 ** torch.arange(-3, 2))
        self.first = nn.Linear(5 * dim + 20, width)
        self.guidance = nn.Linear(1, width, bias=False)
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.last = nn.Linear(width, dim)
        for layer in (self.guidance, self.last):
            nn.init.zeros_(layer.weight)

    def _waves(self, level: Tensor) -> Tensor:
        angles = level[:, None] * self.rate
        return torch.cat([angles.sin(), angles.cos()], 1)

    def forward(self, x_t, t, s=None, cond=None):
        c_skip, c_out, c_in, c_noise = (broadcast_like(c, x_t) for c in edm_scalings(t))
        s, x = torch.zeros_like(t) if s is None else s, c_in * x_t
        features = [x, (2 * x).sin(), (2 * x).cos(), (4 * x).sin(), (4 * x).cos()]
        h = self.first(torch.cat([*features, self._waves(4 * c_noise[:, 0]), self._waves((s + 0.01).log())], 1))
        if getattr(cond, "guidance", None) is not None:
            h = h + self.guidance(cond.guidance[:, None].to(h.dtype))
        return c_skip * x_t + c_out * self.last(self.rest(h))


def times(*values: float) -> Tensor:
    """Returns numbers as a tensor in float64."""
    return torch.tensor(values, dtype=torch.float64)


def sliced_distance(a: Tensor, b: Tensor, directions: int = 64) -> float:
    """Returns the sliced Wasserstein-1 distance of two sets of samples [n, 2]."""
    generator = torch.Generator().manual_seed(0)
    d = nn.functional.normalize(torch.randn(2, directions, generator=generator), dim=0)
    return ((a @ d).sort(0).values - (b @ d).sort(0).values).abs().mean().item()


def fit(method, net: nn.Module, batch, steps: int, target_ema: float, lr: float = 2e-3) -> nn.Module:
    """Trains a network with Adam, warm-up and decay, a target copy and a critic; returns the slow average.

    batch() returns x or `NoisePair` of 256 samples; target_ema 0: the method uses the network itself.
    """
    target, slow = copy.deepcopy(net).requires_grad_(False), copy.deepcopy(net)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr, betas=(0.9, 0.99), fused=True)
    critic = getattr(method, "critic", None)
    critic_optimizer = critic and torch.optim.Adam(critic.parameters(), lr, betas=(0.5, 0.99), fused=True)
    for step in range(steps):
        progress = step / steps
        optimizer.param_groups[0]["lr"] = lr * min(1, 4 * (1 - progress), step / 50)
        x, cond = batch(), Condition(pooled=torch.zeros(256, 1))
        if critic is not None:
            critic_optimizer.zero_grad()
            critic.loss(net, target, x, cond, progress).backward()
            critic_optimizer.step()
        optimizer.zero_grad()
        method.loss(net, target if target_ema else None, x, cond, progress).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for copied, decay in ((target, target_ema), (slow, 0.99)):
                torch._foreach_lerp_(list(copied.parameters()), list(net.parameters()), 1 - decay)
    return slow
