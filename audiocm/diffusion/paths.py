"""Noise paths x_t = alpha(t) x + sigma(t) eps, and the moves along them: step, inverse step, re-noising, velocity.

Times are tensors [batch], states [batch, ...]. On every path t = 0 is the clean sample, so "jump to 0" always has the
same meaning. The file is long because all paths stand side by side.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from ..checks import check_array, check_number, check_whole, checked


def broadcast_like(t: Tensor, x: Tensor) -> Tensor:
    """Reshapes numbers [batch] so that they broadcast against x [batch, ...]."""
    return t.reshape(-1, *(1,) * (x.ndim - 1))


@dataclass(frozen=True)
class Path:
    """A noise path x_t = alpha(t) x + sigma(t) eps for t in [0, t_max]; networks are never called below t_min.

    Subclasses define alpha, sigma, slopes and time_of_noise_level; the other methods may be overridden."""

    t_min: float
    t_max: float

    def __post_init__(self) -> None:
        for name in ("rho", "sigma_data"):
            check_number(name, getattr(self, name, 1.0), above=0)
        check_number("t_max", self.t_max, above=check_number("t_min", self.t_min, least=0))

    discrete: ClassVar[bool] = False  # True: networks of this path were trained on integer timesteps only

    def alpha(self, t: Tensor) -> Tensor:
        """Returns the factor of the clean sample."""
        raise NotImplementedError

    def sigma(self, t: Tensor) -> Tensor:
        """Returns the factor of the noise."""
        raise NotImplementedError

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (d alpha/dt, d sigma/dt)."""
        raise NotImplementedError

    def noise_level(self, t: Tensor) -> Tensor:
        """Returns EDM's noise level sigma/alpha, by which times of two paths correspond."""
        return self.sigma(t) / self.alpha(t)

    def time_of_noise_level(self, noise_level: Tensor) -> Tensor:
        """Returns the time of a noise level (inverse of `noise_level`), at most t_max where the path ends there."""
        raise NotImplementedError

    def slope_coordinate(self, t: Tensor) -> Tensor:
        """Returns the coordinate in which Heun's method averages slopes.

        `step` is an Euler step in sigma/alpha and also in sigma/(alpha + sigma)."""
        return self.noise_level(t)

    def interpolate(self, t: Tensor, s: Tensor, u: Tensor | float) -> Tensor:
        """Returns the time at fraction u from t to s, evenly spaced in the path's grid coordinate (here t itself)."""
        return t + u * (s - t)

    def grid_time(self, u: Tensor) -> Tensor:
        """Returns the time at fraction u of the path's default grid: t_max for u = 0, t_min for u = 1."""
        return self.interpolate(torch.full_like(u, self.t_max), torch.full_like(u, self.t_min), u)

    def grid_spacing(self, t: Tensor) -> Tensor:
        """Returns -dt/du of `grid_time` at t: the spacing of the grid there, times the number of its intervals."""
        return torch.full_like(t, self.t_max - self.t_min)

    def grid(self, n: int) -> Tensor:
        """Returns the n default times (float64) from t_max down to t_min; a sampler appends 0."""
        return self.grid_time(torch.linspace(0, 1, n, dtype=torch.float64))

    def add_noise(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """Returns x_t = alpha x + sigma eps."""
        return broadcast_like(self.alpha(t), x) * x + broadcast_like(self.sigma(t), x) * eps

    def step_coefficients(self, t: Tensor, s: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the coefficients (a, b) of a step x_s = a x_t + b clean; (1, 0) where t = s = 0."""
        sigma_t, sigma_s = self.sigma(t), self.sigma(s)
        ratio = torch.where(sigma_t > 0, sigma_s / sigma_t, torch.ones_like(sigma_s))
        return broadcast_like(ratio, x), broadcast_like(self.alpha(s) - self.alpha(t) * ratio, x)

    def step(self, x_t: Tensor, t: Tensor, s: Tensor, clean: Tensor) -> Tensor:
        """Moves to time s along the line towards `clean`: the DDIM, EDM Euler and rectified-flow Euler step at once.

        x_s = alpha_s clean + sigma_s (x_t - alpha_t clean) / sigma_t."""
        a, b = self.step_coefficients(t, s, x_t)
        return a * x_t + b * clean

    def invert_step(self, x_t: Tensor, t: Tensor, s: Tensor, x_s: Tensor) -> Tensor:
        """Returns the clean estimate whose step from t ends at x_s (inverse of `step`; needs s < t)."""
        a, b = self.step_coefficients(t, s, x_t)
        return (x_s - a * x_t) / b

    def predicted_noise(self, x_t: Tensor, t: Tensor, clean: Tensor) -> Tensor:
        """Returns the noise estimate that belongs to a clean estimate."""
        return (x_t - broadcast_like(self.alpha(t), x_t) * clean) / broadcast_like(self.sigma(t), x_t)

    def velocity(self, x_t: Tensor, t: Tensor, clean: Tensor) -> Tensor:
        """Returns dx/dt = alpha' clean + sigma' eps of the probability-flow ODE."""
        d_alpha, d_sigma = self.slopes(t)
        return broadcast_like(d_alpha, x_t) * clean + broadcast_like(d_sigma, x_t) * self.predicted_noise(x_t, t, clean)

    def renoise(self, x_s: Tensor, s: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Moves from time s up to t > s with fresh noise, which keeps the marginals of the path."""
        scale = self.alpha(t) / self.alpha(s)
        added = (self.sigma(t) ** 2 - (scale * self.sigma(s)) ** 2).clamp_min(0).sqrt()
        return broadcast_like(scale, x_s) * x_s + broadcast_like(added, x_s) * eps


@dataclass(frozen=True)
class EDM(Path):
    """x_t = x + t eps with the rho-grid. Karras et al. 2022, eq. 5."""

    t_min: float = 0.002
    t_max: float = 80.0
    rho: float = 7.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)

    def time_of_noise_level(self, noise_level: Tensor) -> Tensor:
        return noise_level

    def interpolate(self, t: Tensor, s: Tensor, u: Tensor | float) -> Tensor:
        top, bottom = t ** (1 / self.rho), s ** (1 / self.rho)
        return (top + u * (bottom - top)) ** self.rho

    def grid_spacing(self, t: Tensor) -> Tensor:
        span = self.t_max ** (1 / self.rho) - self.t_min ** (1 / self.rho)
        return self.rho * span * t ** (1 - 1 / self.rho)


@dataclass(frozen=True)
class Rectified(Path):
    """x_t = (1 - t) x + t eps. Liu et al. 2022; Lipman et al. 2022 (their time runs from noise to data)."""

    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.ones_like(t), torch.ones_like(t)

    def time_of_noise_level(self, noise_level: Tensor) -> Tensor:
        finite = noise_level / (1 + noise_level)
        return torch.where(torch.isinf(noise_level), torch.ones_like(noise_level), finite).clamp_max(self.t_max)

    def slope_coordinate(self, t: Tensor) -> Tensor:
        return t


@dataclass(frozen=True)
class Trig(Path):
    """x_t = cos(t) x + sigma_data sin(t) eps, TrigFlow. Lu & Song 2024, eq. 5; the grid is EDM's rho-grid."""

    t_min: float = math.atan(0.002)
    t_max: float = math.atan(80.0)
    sigma_data: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.sigma_data * torch.sin(t)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -torch.sin(t), self.sigma_data * torch.cos(t)

    def time_of_noise_level(self, noise_level: Tensor) -> Tensor:
        return torch.atan(noise_level / self.sigma_data).clamp_max(self.t_max)

    def interpolate(self, t: Tensor, s: Tensor, u: Tensor | float) -> Tensor:
        return self.time_of_noise_level(edm.interpolate(self.noise_level(t), self.noise_level(s), u))

    def grid_spacing(self, t: Tensor) -> Tensor:
        ends = EDM(math.tan(self.t_min) * self.sigma_data, math.tan(self.t_max) * self.sigma_data)
        return ends.grid_spacing(self.noise_level(t)) * torch.cos(t) ** 2 / self.sigma_data


@dataclass(frozen=True)
class Cosine(Path):
    """x_t = cos(pi t / 2) x + sin(pi t / 2) eps: v-diffusion. Salimans & Ho 2022."""

    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.cos(t * (math.pi / 2))

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sin(t * (math.pi / 2))

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return -math.pi / 2 * self.sigma(t), math.pi / 2 * self.alpha(t)

    def time_of_noise_level(self, noise_level: Tensor) -> Tensor:
        return (torch.atan(noise_level) * (2 / math.pi)).clamp_max(self.t_max)

    def slope_coordinate(self, t: Tensor) -> Tensor:
        return self.sigma(t) / (self.alpha(t) + self.sigma(t))


@dataclass(frozen=True, eq=False)
class DDPM(Path):
    """A table of noise levels made continuous: the log noise level is linear in t between entries (see `ddpm`).

    Variance-preserving: alpha = 1/sqrt(1 + k^2) and sigma = k alpha at noise level k. **t = n + 1** for a network's
    integer timestep n, so that t = 0 is the clean sample; below the first entry the noise level is linear in t."""

    log_noise_levels: Tensor = field(default=None, repr=False)  # [steps]
    discrete: ClassVar[bool] = True

    def _table(self, t: Tensor) -> Tensor:
        return _table_on(self.log_noise_levels, t.device, t.dtype)

    def _entry(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the log noise level of the entry at or below t, the slope to the next, and the position between."""
        table = self._table(t)
        position = (t - 1).clamp(0, len(table) - 1)
        index = position.floor().long().clamp_max(len(table) - 2)
        return table[index], table[index + 1] - table[index], position - index

    def alpha(self, t: Tensor) -> Tensor:
        return torch.rsqrt(1 + self.noise_level(t) ** 2)

    def sigma(self, t: Tensor) -> Tensor:
        level = self.noise_level(t)
        return level * torch.rsqrt(1 + level**2)

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        level, (_, log_slope, _) = self.noise_level(t), self._entry(t)
        level_slope = torch.where(t < 1, self._table(t)[0].exp(), log_slope * level)
        d_sigma = level_slope * self.alpha(t) ** 3
        return -level * d_sigma, d_sigma

    def noise_level(self, t: Tensor) -> Tensor:
        base, slope, part = self._entry(t)
        return (base + slope * part).exp() * t.clamp(0, 1)

    def time_of_noise_level(self, noise_level: Tensor) -> Tensor:
        table, log_level = self._table(noise_level), noise_level.log()
        index = torch.searchsorted(table, log_level.contiguous()).clamp(1, len(table) - 1) - 1
        inside = index + 1 + (log_level - table[index]) / (table[index + 1] - table[index])
        return torch.where(log_level < table[0], noise_level / table[0].exp(), inside).clamp_max(self.t_max)


@functools.cache
def _table_on(table: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Copies a table to a device, once: a copy from the host cannot be captured in a CUDA graph."""
    return table.to(device, dtype)


edm = EDM()
rectified = Rectified()
trig = Trig()
cosine = Cosine()


@checked(betas=partial(check_array, shape=("step",)))
def ddpm(betas: Sequence[float] | Tensor) -> DDPM:
    """Builds the path of a DDPM noise schedule betas [steps], with t in [0, steps] (see `DDPM` for t = n + 1).

    Raises ValueError unless the noise grows at every step."""
    alphas_bar = torch.cumprod(1 - torch.as_tensor(betas, dtype=torch.float64), 0)
    alphas_bar[-1:].clamp_(min=min(2.0**-24, float(alphas_bar[-2:][0]) / 2))  # zero terminal SNR, but finite levels
    if len(alphas_bar) < 2 or not bool((alphas_bar.diff(prepend=alphas_bar.new_ones(1)) < 0).all()):
        raise ValueError("betas must be two or more numbers in (0, 1), so that the noise grows at every step")
    return DDPM(1.0, float(len(alphas_bar)), ((1 - alphas_bar) / alphas_bar).log() / 2)


@checked(
    steps=partial(check_whole, least=2),
    first=partial(check_number, above=0, below=1),
    last=partial(check_number, above=0, below=1),
)
def scaled_linear_betas(steps: int = 1000, first: float = 0.00085, last: float = 0.012) -> Tensor:
    """Returns latent diffusion's betas [steps], linear in sqrt(beta). AudioLDM uses (0.0015, 0.0195)."""
    return torch.linspace(first**0.5, last**0.5, steps, dtype=torch.float64) ** 2
