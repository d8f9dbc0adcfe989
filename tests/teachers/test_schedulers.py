"""What a scheduler's configuration says: paths, predictions and times against diffusers' own steps; contradictions."""

from __future__ import annotations

import math

import diffusers
import pytest
import torch

from audiocm.diffusion import paths, solvers
from audiocm.teachers.schedulers import one_call_scheduler, read_scheduler
from recipes.teachers.tiny_forms import AUDIOLDM_BETAS

pytestmark = pytest.mark.filterwarnings("ignore")


def network(x, timestep):
    """Any smooth function of the network's input and of the number that it is told."""
    return torch.sin(1.3 * x + 0.2) * 0.8 + 0.1 * x.flip(1) * torch.cos(3 * timestep.reshape(-1, 1) / 1000)


def noise():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def net_of(schedule):
    def net(x_t, t, s=None, cond=None):
        return schedule.prediction.to_clean(schedule.path, x_t, t, network(x_t, schedule.timestep(t)))

    return net


def assert_same_samples(scheduler, times, start, scale, tolerance=1e-5):
    """Their loop from `start * init_noise_sigma` and Euler steps on our path at the same noise levels."""
    schedule, x = read_scheduler(scheduler), start * scheduler.init_noise_sigma
    for n in scheduler.timesteps:
        told = torch.full((3,), float(n), dtype=torch.float64)
        x = scheduler.step(network(scheduler.scale_model_input(x, n), told), n, x).prev_sample
    got = solvers.sample(net_of(schedule), schedule.path, scale * start, None, times, solvers.euler)
    torch.testing.assert_close(got, x.double(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_tables(prediction):
    settings = {"clip_sample": False, "prediction_type": prediction}
    scheduler = diffusers.DDIMScheduler(**AUDIOLDM_BETAS, **settings)
    scheduler.set_timesteps(10)
    times = [float(n) + 1 for n in scheduler.timesteps] + [0.0]
    path = read_scheduler(scheduler).path
    assert_same_samples(scheduler, times, noise(), 1 / float(path.sigma(torch.tensor(times[0]))))


@pytest.mark.parametrize("prediction", ["v_prediction", "sample"])
def test_tables_that_end_in_pure_noise(prediction):
    """Zero terminal SNR (Lin et al. 2023): alpha is small instead of 0 at t_max, where noise levels must be finite."""
    settings = {"clip_sample": False, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    scheduler = diffusers.DDIMScheduler(**AUDIOLDM_BETAS, **settings, prediction_type=prediction)
    scheduler.set_timesteps(10)
    times = [float(n) + 1 for n in scheduler.timesteps] + [0.0]
    assert times[0] == read_scheduler(scheduler).path.t_max
    assert_same_samples(scheduler, times, noise(), 1.0, tolerance=5e-4)


def test_times_between_the_entries_of_a_table():
    """The log noise level is linear in between, as diffusers' Euler scheduler has it on Karras' grid."""
    scheduler = diffusers.EulerDiscreteScheduler(**AUDIOLDM_BETAS, use_karras_sigmas=True)
    scheduler.set_timesteps(11)
    schedule = read_scheduler(scheduler)
    t = schedule.path.time_of_noise_level(scheduler.sigmas[:-1].double())
    torch.testing.assert_close(schedule.timestep(t), scheduler.timesteps.double(), atol=2e-2, rtol=0)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flows(shift):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(8)
    assert_same_samples_of_flow(scheduler, read_scheduler(scheduler))


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_flows_of_dynamic_shift(kind):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type=kind)
    schedule = read_scheduler(scheduler, tokens=1000)
    mu = 0.5 + (1000 - 256) / (4096 - 256) * (1.15 - 0.5)
    assert schedule.path.shift == pytest.approx(math.exp(mu) if kind == "exponential" else mu)
    scheduler.set_timesteps(8, mu=mu)
    assert_same_samples_of_flow(scheduler, schedule)


def assert_same_samples_of_flow(scheduler, schedule):
    x, start = noise(), noise()
    for n in scheduler.timesteps:
        x = scheduler.step(network(x, torch.full((3,), float(n), dtype=torch.float64)), n, x).prev_sample
    got = solvers.sample(net_of(schedule), schedule.path, start, None, scheduler.sigmas.tolist(), solvers.euler)
    torch.testing.assert_close(got, x.double(), atol=1e-5, rtol=1e-5)


def test_the_grid_of_a_shifted_flow():
    """The times u -> shift u / (1 + (shift - 1) u) of even u, and their spacing."""
    path = read_scheduler(diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)).path
    even = torch.linspace(1, float(path._unshifted(torch.tensor(path.t_min))), 9, dtype=torch.float64)
    torch.testing.assert_close(path.grid(9), 3 * even / (1 + 2 * even))
    u = torch.tensor([0.3], dtype=torch.float64)
    slope = (path.grid_time(u + 1e-6) - path.grid_time(u - 1e-6)) / 2e-6
    torch.testing.assert_close(path.grid_spacing(path.grid_time(u)), -slope, atol=1e-6, rtol=1e-6)


def test_flow_sigmas_of_a_multistep_scheduler():
    settings = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 2.0, "solver_order": 1}
    scheduler = diffusers.DPMSolverMultistepScheduler(**settings)
    scheduler.set_timesteps(6)
    schedule = read_scheduler(scheduler)
    assert schedule.path.shift == 2.0
    x = noise()
    for n, sigma in zip(scheduler.timesteps, scheduler.sigmas, strict=False):
        x = scheduler.step(network(x, torch.full((3,), 1000.0 * float(sigma), dtype=torch.float64)), n, x).prev_sample
    times = scheduler.sigmas.double().tolist()
    got = solvers.sample(net_of(schedule), schedule.path, noise() / times[0], None, times, solvers.euler)
    torch.testing.assert_close(got, x.double(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_edm_schedulers(prediction):
    """Told ln(sigma) / 4, their preconditioned output is one on the cosine path."""
    scheduler = diffusers.EDMEulerScheduler(sigma_data=1.0, prediction_type=prediction)
    scheduler.set_timesteps(9)
    path = read_scheduler(scheduler).path
    levels = scheduler.sigmas.double()
    times = [*path.time_of_noise_level(levels[:-1]).tolist(), 0.0]
    top = float(path.sigma(torch.tensor(path.t_max)))
    assert_same_samples(scheduler, times, noise(), 1 / top, tolerance=2e-5)


def test_cosine_schedulers_are_told_the_time_of_the_path():
    scheduler = diffusers.CosineDPMSolverMultistepScheduler()
    schedule = read_scheduler(scheduler)
    scheduler.set_timesteps(7)
    t = schedule.path.time_of_noise_level(scheduler.sigmas[:-1].double())
    torch.testing.assert_close(schedule.timestep(t), scheduler.timesteps.double(), atol=1e-6, rtol=1e-6)
    assert schedule.path.t_max == pytest.approx(2 / math.pi * math.atan(500))


TABLE = {**AUDIOLDM_BETAS, "clip_sample": False}
REFUSED = [
    (lambda: diffusers.DDIMScheduler(**TABLE, prediction_type="x0"), "prediction type 'x0'"),
    (lambda: diffusers.DDIMScheduler(**TABLE, prediction_type="flow_prediction"), "does not go with a table"),
    (lambda: diffusers.DDIMScheduler(**TABLE, rescale_betas_zero_snr=True), "zero terminal SNR"),
    (lambda: diffusers.DDIMScheduler(**AUDIOLDM_BETAS), "clips the clean sample"),
    (lambda: diffusers.DDPMScheduler(**TABLE, thresholding=True), "clips the clean sample"),
    (lambda: diffusers.DDPMScheduler(**TABLE, variance_type="learned_range"), "predicts a variance"),
    (lambda: diffusers.DDIMScheduler(clip_sample=False, trained_betas=[0.1, 0.2]), "num_train_timesteps=1000"),
    (lambda: diffusers.DPMSolverMultistepScheduler(use_flow_sigmas=True), "it uses flow sigmas"),
    (lambda: diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction"), "does not go with a table"),
    (lambda: diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=True), "inverted sigmas"),
    (lambda: diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), "number of latent tokens"),
    (lambda: diffusers.EDMEulerScheduler(), "sigma_data is 0.5"),
    (lambda: diffusers.CosineDPMSolverMultistepScheduler(prediction_type="sample"), "does not go with EDM"),
    (lambda: diffusers.ScoreSdeVeScheduler(), "its noise schedule is not known"),
    (lambda: diffusers.CMStochasticIterativeScheduler(), "sigma_data is 0.5"),
]


@pytest.mark.parametrize(("build", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_refusals(build, reason):
    with pytest.raises(ValueError, match=reason) as error:
        read_scheduler(build())
    assert "\n" not in str(error.value)


def test_betas_that_do_not_add_noise_are_refused():
    with pytest.raises(ValueError, match="noise grows at every step"):
        read_scheduler(diffusers.DDIMScheduler(clip_sample=False, trained_betas=[0.0] * 1000))


@pytest.mark.parametrize(
    "scheduler",
    [
        diffusers.DDIMScheduler(**TABLE),
        diffusers.DDPMScheduler(**TABLE, num_train_timesteps=90, prediction_type="v_prediction"),
        diffusers.PNDMScheduler(**AUDIOLDM_BETAS, prediction_type="v_prediction"),
        diffusers.DDIMScheduler(**TABLE, rescale_betas_zero_snr=True, prediction_type="v_prediction"),
        diffusers.CosineDPMSolverMultistepScheduler(),
        diffusers.EDMEulerScheduler(sigma_data=1.0),
        diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, stochastic_sampling=True),
        diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0),
    ],
    ids=lambda scheduler: type(scheduler).__name__,
)
def test_the_single_step_is_the_jump_of_a_student(scheduler):
    schedule, one = read_scheduler(scheduler), one_call_scheduler(scheduler)
    one.set_timesteps(1)
    start = noise().float()
    x = start * float(getattr(one, "init_noise_sigma", 1.0))
    (n,) = one.timesteps
    scaled = one.scale_model_input(x, n) if hasattr(one, "scale_model_input") else x
    told = torch.full((3,), float(n))
    got = one.step(network(scaled, told), n, x).prev_sample
    expected = net_of(schedule)(start, torch.full((3,), schedule.path.t_max))
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=1e-3)
    assert isinstance(schedule.path, paths.Path)
