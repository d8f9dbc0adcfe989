"""Paths from data to noise, x_t = alpha(t) x + sigma(t) eps, and the few moves that they allow.

Everything here knows only t, alpha and sigma. Times are tensors [batch]; states are [batch, ...]. t = 0 is the clean
sample on every path, so "jump to 0" means the same thing everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


def broadcast_like(t: Tensor, x: Tensor) -> Tensor:
    """Numbers [batch] in a shape that broadcasts against x [batch, ...]."""
    return t.reshape(-1, *(1,) * (x.ndim - 1))


@dataclass(frozen=True)
class Path:
    """x_t = alpha(t) x + sigma(t) eps for t in [0, t_max]; nets are never asked below t_min."""

    t_min: float
    t_max: float

    def alpha(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def sigma(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """(d alpha/dt, d sigma/dt)."""
        raise NotImplementedError

    def noise_level(self, t: Tensor) -> Tensor:
        """EDM's noise level sigma/alpha: what two paths have in common."""
        return self.sigma(t) / self.alpha(t)

    def time_of_noise_level(self, kappa: Tensor) -> Tensor:
        """The time whose noise level is kappa (inverse of `kappa`); not beyond t_max where the path ends there."""
        raise NotImplementedError

    def slope_coordinate(self, t: Tensor) -> Tensor:
        """The coordinate in which Heun averages slopes. `step` is the Euler step of kappa and of sigma/(alpha+sigma) alike."""
        return self.noise_level(t)

    def interpolate(self, t: Tensor, s: Tensor, u: Tensor | float) -> Tensor:
        """The time at fraction u of the way from t to s, evenly spaced in the path's grid coordinate (here t itself)."""
        return t + u * (s - t)

    def grid_time(self, u: Tensor) -> Tensor:
        """Time at fraction u of the path's default grid: u = 0 is t_max, u = 1 is t_min."""
        return self.interpolate(torch.full_like(u, self.t_max), torch.full_like(u, self.t_min), u)

    def grid_spacing(self, t: Tensor) -> Tensor:
        """-dt/du of `level` at t: how far apart the grid is there, times the number of intervals."""
        return torch.full_like(t, self.t_max - self.t_min)

    def grid(self, n: int) -> Tensor:
        """n default times (float64) from t_max down to t_min; a sampler appends 0."""
        return self.grid_time(torch.linspace(0, 1, n, dtype=torch.float64))

    def add_noise(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha x + sigma eps."""
        return broadcast_like(self.alpha(t), x) * x + broadcast_like(self.sigma(t), x) * eps

    def step_coefficients(self, t: Tensor, s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """x_s = a x_t + b clean: the coefficients (a, b) of a step; (1, 0) where t = s = 0."""
        sigma_t, sigma_s = self.sigma(t), self.sigma(s)
        ratio = torch.where(sigma_t > 0, sigma_s / sigma_t, torch.ones_like(sigma_s))
        return broadcast_like(ratio, x), broadcast_like(self.alpha(s) - self.alpha(t) * ratio, x)

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, clean: Tensor) -> Tensor:
        """Move to time s along a straight line to `clean`: the DDIM, EDM-Euler and rectified-flow-Euler step at once.

        x_s = alpha_s clean + sigma_s (x_t - alpha_t clean) / sigma_t.
        """
        a, b = self.step_coefficients(t, s, x_t)
        return a * x_t + b * clean

    def invert_step(self, x_t: Tensor, t: Tensor, s: Tensor, x_s: Tensor) -> Tensor:
        """The clean estimate whose step from t lands on x_s (inverse of `step`; needs s < t)."""
        a, b = self.step_coefficients(t, s, x_t)
        return (x_s - a * x_t) / b

    def predicted_noise(self, x_t: Tensor, t: Tensor, clean: Tensor) -> Tensor:
        """The noise that goes with a clean estimate."""
        return (x_t - broadcast_like(self.alpha(t), x_t) * clean) / broadcast_like(self.sigma(t), x_t)

    def velocity(self, x_t: Tensor, t: Tensor, clean: Tensor) -> Tensor:
        """dx/dt = alpha' clean + sigma' eps, the probability-flow ODE."""
        d_alpha, d_sigma = self.slopes(t)
        return broadcast_like(d_alpha, x_t) * clean + broadcast_like(d_sigma, x_t) * self.predicted_noise(x_t, t, clean)

    def renoise(self, x_s: Tensor, s: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """From time s up to t > s with fresh noise: keeps the marginals of the path."""
        scale = self.alpha(t) / self.alpha(s)
        added = (self.sigma(t) ** 2 - (scale * self.sigma(s)) ** 2).clamp_min(0).sqrt()
        return broadcast_like(scale, x_s) * x_s + broadcast_like(added, x_s) * eps


@dataclass(frozen=True)
class EDM(Path):
    """x_t = x + t eps with the rho-grid. Karras et al. 2022, eq. 5."""

    t_min: float = 0.002
    t_max: float = 80.0
    rho: float = 7.0

    def alpha(self, t):
        return torch.ones_like(t)

    def sigma(self, t):
        return t

    def slopes(self, t):
        return torch.zeros_like(t), torch.ones_like(t)

    def time_of_noise_level(self, kappa):
        return kappa

    def interpolate(self, t, s, u):
        top, bottom = t ** (1 / self.rho), s ** (1 / self.rho)
        return (top + u * (bottom - top)) ** self.rho

    def grid_spacing(self, t):
        span = self.t_max ** (1 / self.rho) - self.t_min ** (1 / self.rho)
        return self.rho * span * t ** (1 - 1 / self.rho)


@dataclass(frozen=True)
class Rectified(Path):
    """x_t = (1 - t) x + t eps. Liu et al. 2022; Lipman et al. 2022 (their time runs the other way)."""

    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha(self, t):
        return 1 - t

    def sigma(self, t):
        return t

    def slopes(self, t):
        return -torch.ones_like(t), torch.ones_like(t)

    def time_of_noise_level(self, kappa):
        return torch.where(torch.isinf(kappa), torch.ones_like(kappa), kappa / (1 + kappa)).clamp_max(self.t_max)

    def slope_coordinate(self, t):
        return t


@dataclass(frozen=True)
class Trig(Path):
    """x_t = cos(t) x + sigma_data sin(t) eps, TrigFlow. Lu & Song 2024, eq. 5; the grid is EDM's rho-grid."""

    t_min: float = math.atan(0.002)
    t_max: float = math.atan(80.0)
    sigma_data: float = 1.0

    def alpha(self, t):
        return torch.cos(t)

    def sigma(self, t):
        return self.sigma_data * torch.sin(t)

    def slopes(self, t):
        return -torch.sin(t), self.sigma_data * torch.cos(t)

    def time_of_noise_level(self, kappa):
        return torch.atan(kappa / self.sigma_data).clamp_max(self.t_max)

    def interpolate(self, t, s, u):
        return self.time_of_noise_level(edm.interpolate(self.noise_level(t), self.noise_level(s), u))

    def grid_spacing(self, t):
        ends = EDM(math.tan(self.t_min) * self.sigma_data, math.tan(self.t_max) * self.sigma_data)
        return ends.grid_spacing(self.noise_level(t)) * torch.cos(t) ** 2 / self.sigma_data


@dataclass(frozen=True)
class Cosine(Path):
    """x_t = cos(pi t / 2) x + sin(pi t / 2) eps: v-diffusion. Salimans & Ho 2022."""

    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha(self, t):
        return torch.cos(t * (math.pi / 2))

    def sigma(self, t):
        return torch.sin(t * (math.pi / 2))

    def slopes(self, t):
        return -math.pi / 2 * self.sigma(t), math.pi / 2 * self.alpha(t)

    def time_of_noise_level(self, kappa):
        return (torch.atan(kappa) * (2 / math.pi)).clamp_max(self.t_max)

    def slope_coordinate(self, t):
        return self.sigma(t) / (self.alpha(t) + self.sigma(t))


@dataclass(frozen=True)
class VariancePreserving(Path):
    """A variance-preserving path given by its noise level: alpha = 1/sqrt(1 + kappa^2), sigma = kappa alpha."""

    def noise_level_slope(self, t: Tensor) -> Tensor:
        raise NotImplementedError

    def alpha(self, t):
        return torch.rsqrt(1 + self.noise_level(t) ** 2)

    def sigma(self, t):
        kappa = self.noise_level(t)
        return kappa * torch.rsqrt(1 + kappa**2)

    def slopes(self, t):
        kappa, slope = self.noise_level(t), self.noise_level_slope(t) * self.alpha(t) ** 3
        return -kappa * slope, slope


@dataclass(frozen=True)
class VP(VariancePreserving):
    """Continuous DDPM, kappa(t)^2 = exp(t^2 (b1 - b0)/2 + b0 t) - 1. Song et al. 2021, eq. 33."""

    t_min: float = 1e-3
    t_max: float = 1.0
    beta_min: float = 0.1
    beta_max: float = 20.0

    def _exponent(self, t):
        return 0.5 * (self.beta_max - self.beta_min) * t**2 + self.beta_min * t

    def noise_level(self, t):
        return torch.expm1(self._exponent(t)).sqrt()

    def noise_level_slope(self, t):
        rate = (self.beta_max - self.beta_min) * t + self.beta_min
        return rate * torch.exp(self._exponent(t)) / (2 * self.noise_level(t))

    def time_of_noise_level(self, kappa):
        spread, exponent = self.beta_max - self.beta_min, torch.log1p(kappa**2)
        root = (self.beta_min**2 + 2 * spread * exponent).sqrt()
        return (2 * exponent / (root + self.beta_min)).clamp_max(self.t_max)


@dataclass(frozen=True, eq=False)
class DDPM(VariancePreserving):
    """A table of noise levels made continuous: log kappa is linear in t between entries.

    **t = n + 1** for a net's integer timestep n, so that t = 0 is the clean sample; below the first entry kappa is
    linear in t. Jvp of a net that was trained on integers is meaningless between them, hence `discrete`.
    """

    log_kappa: Tensor = field(default=None, repr=False)
    discrete: bool = True
    _copies: dict = field(default_factory=dict, repr=False)

    def _table(self, t: Tensor) -> Tensor:
        """The table where t lives. Kept, because a copy from the host cannot be captured in a CUDA graph."""
        key = (t.device, t.dtype)
        if key not in self._copies:
            self._copies[key] = self.log_kappa.to(*key)
        return self._copies[key]

    def _entry(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(log kappa at floor, slope, position between the two entries)."""
        table = self._table(t)
        position = (t - 1).clamp(0, len(table) - 1)
        index = position.floor().long().clamp_max(len(table) - 2)
        return table[index], table[index + 1] - table[index], position - index

    def noise_level(self, t):
        base, slope, part = self._entry(t)
        return (base + slope * part).exp() * t.clamp(0, 1)

    def noise_level_slope(self, t):
        _, slope, _ = self._entry(t)
        return torch.where(t < 1, self._table(t)[0].exp(), slope * self.noise_level(t))

    def time_of_noise_level(self, kappa):
        table = self._table(kappa)
        log_kappa = kappa.log()
        index = torch.searchsorted(table, log_kappa.contiguous()).clamp(1, len(table) - 1) - 1
        inside = index + 1 + (log_kappa - table[index]) / (table[index + 1] - table[index])
        return torch.where(log_kappa < table[0], kappa / table[0].exp(), inside).clamp_max(self.t_max)


edm = EDM()
rectified = Rectified()
trig = Trig()
cosine = Cosine()
vp = VP()


def ddpm(betas: Sequence[float] | Tensor) -> DDPM:
    """The path of a DDPM noise schedule betas [steps]; t in [0, steps] (see `DDPM` for t = n + 1)."""
    alphas_bar = torch.cumprod(1 - torch.as_tensor(betas, dtype=torch.float64), 0).clamp_min(2.0**-24)
    if len(alphas_bar) < 2 or not bool((alphas_bar.diff(prepend=alphas_bar.new_ones(1)) < 0).all()):
        raise ValueError("betas must be two or more numbers in (0, 1): the noise has to grow at every step")
    return DDPM(1.0, float(len(alphas_bar)), ((1 - alphas_bar) / alphas_bar).log() / 2)


def linear_betas(steps: int = 1000, first: float = 1e-4, last: float = 2e-2) -> Tensor:
    """Ho et al. 2020."""
    return torch.linspace(first, last, steps, dtype=torch.float64)


def scaled_linear_betas(steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Tensor:
    """Latent diffusion: linear in sqrt(beta). AudioLDM uses (.0015, .0195)."""
    return torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64) ** 2


def cosine_betas(steps: int = 1000, shift: float = 0.008) -> Tensor:
    """Nichol & Dhariwal 2021: ratios of cos^2, clipped at .999."""
    bar: Callable[[Tensor], Tensor] = lambda u: torch.cos((u + shift) / (1 + shift) * math.pi / 2) ** 2  # noqa: E731
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    return (1 - bar(u[1:]) / bar(u[:-1])).clamp_max(0.999)


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Lin et al. 2023, algorithm 1: shift and scale sqrt(alphas_bar) so that the last step has no signal."""
    root = torch.cumprod(1 - betas, 0).sqrt()
    bar = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    return 1 - torch.cat([bar[:1], bar[1:] / bar[:-1]])
