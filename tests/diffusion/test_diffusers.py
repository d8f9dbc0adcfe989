"""The same samples as diffusers' schedulers, from the same noise and an arbitrary net, to 1e-5."""

import math

import diffusers
import pytest
import torch

from audiocm.diffusion import denoiser, paths, solvers
from audiocm.diffusion.paths import broadcast_like

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
TABLE = paths.ddpm(paths.scaled_linear_betas())


def arbitrary(x, c):
    """Any smooth function of the net's input and of its time."""
    return torch.sin(1.3 * x + 0.2) * 0.8 + 0.1 * x.flip(1) * torch.cos(c.reshape(-1, 1) / 300)


def start(seed=0):
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator():
    return torch.Generator().manual_seed(5)


def eps_net(x_t, t, s=None, cond=None):
    return denoiser.noise_prediction.to_clean(TABLE, x_t, t, arbitrary(x_t, t - 1))


def run(scheduler, x, **extra):
    """diffusers' loop around the arbitrary eps-net."""
    for t in scheduler.timesteps:
        x = scheduler.step(arbitrary(scheduler.scale_model_input(x, t), t.double()), t, x, **extra).prev_sample
    return x


def ours(noise, timesteps, solver, end=0.0, **extra):
    """`sample` from x = noise (schedulers of tables start from unit variance, not from sigma_T)."""
    falling = [float(t) + 1 for t in timesteps] + [end]
    noise = noise / TABLE.sigma(torch.tensor(falling[0], dtype=torch.float64))
    return solvers.sample(eps_net, TABLE, noise, None, falling, solver=solver, **extra)


def assert_close(a, b):
    torch.testing.assert_close(a.double(), b.double(), rtol=1e-5, atol=1e-5)


def test_edm_euler():
    scheduler = diffusers.EDMEulerScheduler()
    scheduler.set_timesteps(18)

    def net(x_t, t, s=None, cond=None):
        c_skip, c_out, c_in, c_noise = (broadcast_like(c, x_t) for c in denoiser.edm_scalings(t, 0.5))
        return c_skip * x_t + c_out * arbitrary(c_in * x_t, c_noise)

    noise = start() * scheduler.init_noise_sigma / 80
    x = 80 * noise
    for t in scheduler.timesteps:
        x = scheduler.step(arbitrary(scheduler.scale_model_input(x, t), t), t, x).prev_sample
    falling = solvers.ode_times(paths.edm, 18)
    torch.testing.assert_close(scheduler.sigmas.double(), torch.tensor(falling, dtype=torch.float64), rtol=1e-5, atol=0)
    assert_close(solvers.sample(net, paths.edm, noise, None, falling, solver=solvers.euler), x)


def test_edm_heun():
    """HeunDiscreteScheduler runs EDM's algorithm on a table's noise levels."""
    scheduler = diffusers.HeunDiscreteScheduler(**BETAS)
    scheduler.set_timesteps(12)
    levels = torch.cat([scheduler.sigmas[:1], scheduler.sigmas[1:-1:2], scheduler.sigmas[-1:]]).double()
    times = dict(zip(scheduler.sigmas.tolist(), scheduler.timesteps.double().tolist(), strict=False))

    def net(x_t, t, s=None, cond=None):
        level = float(t[0])
        n = times[min(times, key=lambda known: abs(known - level))]
        return x_t - broadcast_like(t, x_t) * arbitrary(x_t / (level**2 + 1) ** 0.5, torch.tensor(n))

    noise = start()
    theirs = run(scheduler, noise * scheduler.init_noise_sigma)
    noise = noise * scheduler.init_noise_sigma / levels[0]
    assert_close(solvers.sample(net, paths.EDM(t_max=100.0), noise, None, levels, solver=solvers.heun), theirs)


@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim(eta):
    scheduler = diffusers.DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=True)
    scheduler.set_timesteps(10)
    theirs = run(scheduler, start(), eta=eta, generator=generator())
    assert_close(
        ours(start(), scheduler.timesteps, solvers.ddim(eta) if eta else solvers.euler, generator=generator()), theirs
    )


@pytest.mark.parametrize("steps", [8, 25])
def test_dpmpp_2m(steps):
    scheduler = diffusers.DPMSolverMultistepScheduler(**BETAS, algorithm_type="dpmsolver++", solver_order=2)
    scheduler.set_timesteps(steps)
    assert_close(ours(start(), scheduler.timesteps, solvers.dpmpp_2m), run(scheduler, start()))


@pytest.mark.parametrize("steps", [1, 4, 8])
def test_lcm(steps):
    scheduler = diffusers.LCMScheduler(**BETAS)
    scheduler.set_timesteps(steps, original_inference_steps=50)
    expected = {4: [999, 759, 499, 259], 8: [999, 879, 759, 639, 499, 379, 259, 139]}
    if steps in expected:
        assert scheduler.timesteps.tolist() == expected[steps]
    theirs = run(scheduler, start(), generator=generator())
    assert_close(ours(start(), scheduler.timesteps, solvers.student_step, gamma=1.0, generator=generator()), theirs)


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_tcd(eta):
    """Their last step ends at table entry 0 (our t = 1), and they floor the landing to an integer."""
    scheduler = diffusers.TCDScheduler(**BETAS)
    scheduler.set_timesteps(4, original_inference_steps=50)
    theirs = run(scheduler, start(), eta=eta, generator=generator())

    def landing(path, t_next, gamma):
        return math.floor((1 - gamma) * (t_next - 1)) + 1

    extra = {"gamma": eta, "landing": landing, "generator": generator()}
    assert_close(ours(start(), scheduler.timesteps, solvers.student_step, end=1.0, **extra), theirs)


def consistency_scalings(sigma, sigma_min=0.002, sigma_data=0.5):
    """Song et al. 2023, appendix C: EDM's scalings with f(x, sigma_min) = x; c_noise is 250 ln sigma."""
    shifted, total = sigma - sigma_min, sigma**2 + sigma_data**2
    c_skip = sigma_data**2 / (shifted**2 + sigma_data**2)
    return c_skip, shifted * sigma_data * total.rsqrt(), total.rsqrt(), sigma.log() * 250


def test_consistency_model():
    """Their networks have the boundary at t_min, so jumps end at t_min and not at 0."""
    scheduler = diffusers.CMStochasticIterativeScheduler()
    scheduler.set_timesteps(timesteps=[39, 22, 10, 0])

    def net(x_t, t, s=None, cond=None):
        c_skip, c_out, c_in, c_noise = (broadcast_like(c, x_t) for c in consistency_scalings(t))
        output = c_skip * x_t + c_out * arbitrary(c_in * x_t, c_noise)
        return paths.edm.invert_step(x_t, t, s, output)

    noise, levels = start(), scheduler.sigmas.double().tolist()
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(arbitrary(scheduler.scale_model_input(x, t), t.double()), t, x, generator()).prev_sample

    def same_noise(like):
        return torch.randn(like.shape, generator=generator(), dtype=like.dtype)

    extra = {"gamma": 1.0, "draw_noise": same_noise, "landing": lambda *_: 0.002}
    assert_close(solvers.sample(net, paths.edm, noise, None, [*levels[:-1], 0.002], **extra), x)
