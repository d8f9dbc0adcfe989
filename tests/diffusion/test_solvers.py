"""Solvers: measured orders, exact factors on Gaussian data, moments of the stochastic ones; the sampling loop."""

import functools
import math
from itertools import pairwise

import pytest
import torch
from tiny import Gaussian, Mixture, times

from audiocm.diffusion import paths, solvers
from audiocm.diffusion.paths import broadcast_like
from audiocm.diffusion.solvers import ODEState

VP = paths.ddpm(paths.scaled_linear_betas())  # variance-preserving


def bumps(path):
    return Mixture(path, [0.35, 0.65], [[-1.0], [1.5]], [0.6, 0.4])


def solve(solver, path, field, x, n, top, bottom):
    """n steps, even in log-SNR, from noise level `top` to `bottom`."""
    levels = torch.linspace(math.log(top), math.log(bottom), n + 1, dtype=torch.float64).exp()
    ode = ODEState(path, field)
    ones = torch.ones(len(x), dtype=x.dtype)
    for a, b in pairwise(levels):
        x = solver(ode, x, path.time_of_noise_level(a * ones), path.time_of_noise_level(b * ones))
    return x


@functools.cache
def start_and_end(path):
    """Points on two bumps at noise level 5 and where 2,000 steps of Heun's method take them."""
    x = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None] * 5 * path.alpha(path.time_of_noise_level(times(5.0)))
    return x, solve(solvers.heun, path, bumps(path).denoise, x, 2000, 5.0, 0.3)


@pytest.mark.parametrize("path", [paths.edm, VP], ids=["edm", "vp"])
@pytest.mark.parametrize(
    ("solver", "order"),
    [(solvers.euler, 1), (solvers.heun, 2), (solvers.dpmpp_2m, 2)],
    ids=["euler", "heun", "dpmpp_2m"],
)
def test_order(path, solver, order):
    """Error of n steps on a two-bump mixture, from n = 64 to 256: the slope is the order."""
    denoise, (x, exact) = bumps(path).denoise, start_and_end(path)
    coarse, fine = ((solve(solver, path, denoise, x, n, 5.0, 0.3) - exact).abs().max().item() for n in (64, 256))
    assert math.log(coarse / fine) / math.log(4) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("path", [paths.edm, paths.trig, VP, paths.rectified], ids=["edm", "trig", "vp", "rectified"])
def test_euler_factor_on_gaussian(path):
    """One Euler step multiplies x/alpha - mu by 1 + (k' - k) k / (s^2 + k^2), k the noise level."""
    truth = Gaussian(path)
    t, s = path.time_of_noise_level(times(3.0)), path.time_of_noise_level(times(1.0))
    x = times(2.5)[:, None]
    k, k_next = 3.0, 1.0
    factor = 1 + (k_next - k) * k / (truth.s**2 + k**2)
    moved = solvers.euler(ODEState(path, truth.denoise), x, t, s) / path.alpha(s)
    assert (moved - truth.mu).item() == pytest.approx(factor * (x / path.alpha(t) - truth.mu).item(), rel=1e-9)


@pytest.mark.parametrize(
    "path", [paths.edm, paths.rectified, paths.trig, paths.cosine, VP], ids=lambda p: type(p).__name__
)
def test_samples_of_every_path_reach_the_flow_map(path):
    """From pure noise, ODE sampling of Gaussian data ends at the closed form; one jump of the true student too."""
    truth = Gaussian(path)
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    top = times(path.t_max).expand(9)
    exact = truth.flow(broadcast_like(path.sigma(top), noise) * noise, top, torch.zeros_like(top))
    ode = solvers.sample(truth.denoise, path, noise, None, solvers.ode_times(path, 200), solver=solvers.heun)
    torch.testing.assert_close(ode, exact, atol=3e-3, rtol=3e-3)
    torch.testing.assert_close(solvers.sample(truth.student, path, noise), exact, atol=1e-9, rtol=1e-9)
    two = solvers.sample(truth.student, path, noise, times=solvers.student_times(path, 5), gamma=0.0)
    torch.testing.assert_close(two, exact, atol=1e-9, rtol=1e-9)  # jumps compose
    for solver in (solvers.dpmpp_2m, solvers.with_substeps(2)):
        end = solvers.sample(truth.denoise, path, noise, None, solvers.ode_times(path, 60)[1:], solver=solver)
        assert torch.isfinite(end).all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("landing", [solvers.ctm_landing, solvers.tcd_landing])
@pytest.mark.parametrize("path", [paths.edm, paths.rectified, paths.trig], ids=["edm", "rectified", "trig"])
def test_jumps_and_renoising_keep_the_marginals(path, landing, gamma):
    """The variance after every step equals the path's for any gamma: consistency sampling, CTM, TCD."""
    truth, seen = Gaussian(path, mu=0.0), []
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(40_000, 1, generator=generator, dtype=torch.float64)
    falling = [path.t_max, *path.time_of_noise_level(times(5, 1, 0.4)).tolist(), 0.0]
    noise *= (truth.spread(times(path.t_max)) / path.sigma(times(path.t_max))).item()

    def hook(x, s):
        seen.append((s, x.std().item()))
        return x

    solvers.sample(
        truth.student, path, noise, None, falling, gamma=gamma, generator=generator, hook=hook, landing=landing
    )
    assert len(seen) == 4
    for s, std in seen:
        assert std == pytest.approx(truth.spread(times(s)).item(), rel=0.02)


@pytest.mark.parametrize("solver", [solvers.ddim(1.0), solvers.ddim(0.5)], ids=["ddim-1", "ddim-half"])
@pytest.mark.parametrize("path", [paths.edm, VP], ids=["edm", "vp"])
def test_stochastic_solvers_have_the_right_moments(path, solver):
    truth = Gaussian(path, mu=0.7, s=0.5)
    torch.manual_seed(0)
    t = path.time_of_noise_level(times(3.0))
    x = path.alpha(t) * 0.7 + truth.spread(t) * torch.randn(40_000, 1, dtype=torch.float64)
    end = solve(solver, path, truth.denoise, x, 200, 3.0, 0.1)  # ddim's noise is of first order
    s = path.time_of_noise_level(times(0.1))
    assert end.mean().item() == pytest.approx((path.alpha(s) * 0.7).item(), abs=0.015)
    assert end.std().item() == pytest.approx(truth.spread(s).item(), rel=0.02)


def test_churn_keeps_moments_and_zero_churn_is_the_solver():
    path = paths.edm
    truth = Gaussian(path, mu=0.7, s=0.5)
    torch.manual_seed(0)
    noise = torch.randn(40_000, 1, dtype=torch.float64)
    falling = solvers.ode_times(path, 120)
    churned = solvers.sample(
        truth.denoise, path, noise, None, falling, solver=solvers.with_churn(solvers.heun, 40, 120, 0.05)
    )
    assert churned.std().item() == pytest.approx(0.5, rel=0.03)
    still = solvers.sample(truth.denoise, path, noise, None, falling, solver=solvers.with_churn(solvers.heun, 0, 120))
    plain = solvers.sample(truth.denoise, path, noise, None, falling, solver=solvers.heun)
    torch.testing.assert_close(still, plain)


def test_ddim_without_noise_is_euler():
    truth, x = bumps(VP), torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    ends = [solve(solver, VP, truth.denoise, x, 7, 5.0, 0.2) for solver in (solvers.ddim(0.0), solvers.euler)]
    torch.testing.assert_close(*ends)


def test_solvers_agree_between_paths():
    """The same ODE on another path, by matching sigma/alpha: same end point."""
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None] * 5
    for solver in (solvers.euler, solvers.heun, solvers.dpmpp_2m):
        ends = []
        for path in (paths.edm, VP, paths.trig):
            alpha = path.alpha(path.time_of_noise_level(times(5.0, 0.2)))
            ends.append(solve(solver, path, bumps(path).denoise, x * alpha[0], 9, 5.0, 0.2) / alpha[1])
        torch.testing.assert_close(ends[1], ends[0], rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(ends[2], ends[0], rtol=1e-7, atol=1e-9)


def test_quantile_map_golden():
    """In one dimension the flow map is quantile matching: an exact non-linear answer."""
    path = paths.edm
    x = times(-4, -2, 0, 2, 4)[:, None]
    end = solve(solvers.heun, path, bumps(path).denoise, x, 4000, 5.0, 0.05)[:, 0]
    torch.testing.assert_close(
        end, times(-0.95611857, -0.31625476, 1.09199789, 1.3887454, 1.60687643), atol=2e-7, rtol=0
    )


def test_fixed_noise_refines_one_sample():
    """With `fixed_noise`, more jumps stay near the one-jump sample; with fresh noise they do not."""
    path = paths.edm
    truth = Mixture(path, [0.5, 0.5], [[-1.0], [1.0]], [0.1, 0.1])

    def student(x, t, s=None, cond=None):
        return solve(solvers.heun, path, truth.denoise, x, 40, float(t[0]), 0.002)

    noise = torch.linspace(-2, 2, 21, dtype=torch.float64)[:, None]
    one = solvers.sample(student, path, noise)
    falling = [80.0, 2.5, 0.6, 0.0]
    kept = solvers.sample(student, path, noise, times=falling, gamma=1.0, draw_noise=solvers.fixed_noise(noise))
    fresh = solvers.sample(student, path, noise, times=falling, gamma=1.0, generator=torch.Generator().manual_seed(0))
    assert ((kept > 0) == (one > 0)).double().mean() >= 0.95
    assert ((fresh > 0) == (one > 0)).double().mean() < 0.9


def test_fresh_noise_depends_on_the_generator_alone():
    truth, noise = bumps(paths.edm), torch.zeros(4, 1, dtype=torch.float64)

    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return solvers.sample(truth.denoise, paths.edm, noise, times=[80, 2, 0], gamma=1.0, generator=generator)

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_noise_is_added_by_gamma_and_not_by_the_solver():
    """Any function that moves like `student_step` samples like it; without gamma no noise is drawn."""
    truth, noise = Gaussian(paths.edm), torch.randn(4, 1, dtype=torch.float64)

    def renamed(ode, x, t, s):
        return solvers.student_step(ode, x, t, s)

    def run(solver, gamma):
        generator, falling = torch.Generator().manual_seed(0), [80, 5, 1, 0]
        return solvers.sample(truth.denoise, paths.edm, noise, None, falling, solver, gamma, generator)

    for gamma in (0.0, 0.5, 1.0):
        assert torch.equal(run(renamed, gamma), run(solvers.student_step, gamma))
    assert not torch.equal(run(renamed, 1.0), run(renamed, 0.0))
    fail = {"draw_noise": lambda like: pytest.fail("noise was drawn")}
    solvers.sample(truth.student, paths.edm, noise, times=[80, 5, 1, 0], **fail)


def test_the_step_to_zero_is_one_jump():
    """Solvers in log-SNR are not called with s = 0, where their step is infinite."""
    calls = []

    def solver(ode, x, t, s):
        calls.append((t[0].item(), s[0].item()))
        return solvers.euler(ode, x, t, s)

    truth, noise = Gaussian(paths.edm), torch.randn(4, 1)
    solvers.sample(truth.denoise, paths.edm, noise, times=[80, 5, 0], solver=solver)
    assert calls == [(80.0, 5.0)]


def test_times_must_fall():
    with pytest.raises(ValueError, match="fall"):
        solvers.sample(bumps(paths.edm).denoise, paths.edm, torch.zeros(1, 1), times=[1.0, 2.0])


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 18])
def test_few_heun_steps_do_not_blow_up_errors_of_the_network(steps):
    """The estimates of this network lie in [-1, 1] and have nothing to do with each other; so must the sample."""

    def careless(x, t, s=None, cond=None):
        return torch.sin(1e4 * x)

    noise = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    x = solvers.sample(careless, paths.edm, noise, None, solvers.ode_times(paths.edm, steps), solver=solvers.heun)
    assert x.isfinite().all() and x.abs().max() <= 1
