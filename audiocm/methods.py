"""The catalogue: each published method as a composition, with its paper and what is done differently here.

Numbers are the papers'; for latents of unit variance pass others. Everything trains nets of `native` (default EDM).
"""

from __future__ import annotations

from dataclasses import replace

from . import times
from .denoiser import Net
from .distill import (
    Method,
    agree,
    edm_weight,
    even,
    follow,
    guided,
    heavier_top,
    huber,
    of,
    pure_at_top,
    uniform_guidance,
)
from .solvers import heun

latent_times = times.either(0.88, times.lognormal(0.2, 1.3), times.loguniform(0.002, 80.0))


def diffusion(sampled=None, sigma_data: float = 1.0, **changes) -> Method:
    """EDM teacher training. Karras et al. 2022. `sampled=latent_times` suits text-conditioned unit-variance latents."""
    method = Method(times=sampled or times.lognormal(-1.2, 1.2), goal=follow, weight=edm_weight(sigma_data))
    return replace(method, **changes)


def guidance_distillation(teacher: Net, w=(0.0, 6.0), sampled=latent_times, weight=None, **changes) -> Method:
    """The student, told w, equals the guided teacher. Meng et al. 2022, stage 1; ConsistencyTTA, stage 1.

    Deviation from ConsistencyTTA: EDM's weight; theirs, min(SNR, 5)/(SNR + 1) on v, is `min_snr()` on clean estimates.
    """
    method = Method(
        times=sampled,
        goal=follow,
        field=of(guided(teacher)),
        guidance=uniform_guidance(*w),
        weight=weight or edm_weight(),
    )
    return replace(method, **changes)


def cd(teacher: Net, intervals: int = 18, solver=heun, **changes) -> Method:
    """Consistency distillation. Song et al. 2023, algorithm 2.

    Deviations: the boundary is at 0 and not at t_min; squared error or pseudo-Huber and not LPIPS.
    """
    method = Method(times=times.neighbours(intervals), goal=agree(solver), field=of(teacher))
    return replace(method, **changes)


def consistencytta(teacher: Net, w=(0.0, 6.0), intervals: int = 18, top_weight: float = 0.0, guide=guided, **changes):
    """ConsistencyTTA, stage 2. Bai et al. 2023: CD of the guided teacher, told w, from pure noise at the top.

    `guide`: how the teacher takes w: `guided` calls it with and without the condition; a teacher from
    `guidance_distillation` is told w itself: pass `guide=lambda net: net`.
    Deviations: the EDM grid, on which their min(SNR, 5) would vanish at the top; pseudo-Huber of the RMS instead.
    """
    method = cd(
        guide(teacher),
        intervals,
        guidance=uniform_guidance(*w),
        noising=pure_at_top,
        distance=huber(0.03),
        weight=heavier_top(top_weight) if top_weight else even,
    )
    return replace(method, **changes)


def regression(distance=huber(0.03), **changes) -> Method:  # noqa: B008
    """One call equals the teacher's end point: knowledge distillation (Luhman & Luhman 2021) on stored `Coupled` pairs.

    The pairs' conditions must name the w that they were made with.
    """
    return replace(Method(times=times.top, goal=follow, noising=pure_at_top, distance=distance), **changes)
