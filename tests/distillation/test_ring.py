"""Eight Gaussians on a ring: every method trains one small network from the same initial weights within one budget.

Budget: 400 steps of 256 samples, 800 for the slow ones, Adam with 2e-3. Measured: sliced Wasserstein distance of samples to the data, whose
noise is 0.02; the exact teacher has 0.02 in 35 calls, and 0.88 in one, the distance of the ring's centre.
"""

import copy

import pytest
import torch
from once import made_once
from safetensors.torch import load_file, save_file
from tiny import TinyNet, fit, ring, sliced_distance

from audiocm.diffusion import paths, solvers
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.solvers import ode_times
from audiocm.distillation import get_method, methods
from audiocm.distillation.states import NoisePair, teacher_field
from audiocm.teachers import lora

RING = ring()
STEPS = 400
HEUN = {"times": ode_times(paths.edm, 18), "solver": solvers.heun}
EIGHT = {"times": solvers.student_times(paths.edm, 8), "gamma": 0.0}


def data():
    return RING.sample(256).float()


def distance(net, w=None, **how):
    """The distance of samples from the same noise for all; by default of one call."""
    torch.manual_seed(7)
    real, noise = RING.sample(8000).float(), torch.randn(8000, 2)
    cond = Condition(pooled=torch.zeros(8000, 1))
    cond = cond if w is None else cond.with_guidance(torch.full((8000,), w))
    return sliced_distance(solvers.sample(net, paths.edm, noise, cond, **how), real)


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The network that every method starts from, fitted to the exact teacher."""

    def make(folder):
        torch.manual_seed(0)
        fit_teacher = methods.diffusion(methods.latent_times, field=teacher_field(RING.denoise))
        save_file(fit(fit_teacher, TinyNet(), data, 1000, 0.0).state_dict(), folder / "warm.safetensors")

    net = TinyNet()
    net.load_state_dict(load_file(made_once(tmp_path_factory, "ring", make) / "warm.safetensors"))
    return net


# name: (target EMA or 0, learning rate, limit, how to sample); limits are 1.2 to 4 times the value at seed 1
ONE_CALL = {
    "cd": (0.8, 2e-3, 0.10, {}),
    "ct": (0.8, 2e-3, 0.25, {}),
    "ict": (0, 3e-3, 0.25, {}),
    "ect": (0, 2e-3, 0.25, {}),
    "lcm": (0.8, 2e-3, 0.12, {"w": 2.0}),
    "consistencytta": (0.95, 2e-3, 0.12, {"w": 2.0}),
    "comospeech": (0.8, 2e-3, 0.12, {}),
    "audiolcm": (0.8, 2e-3, 0.12, {"w": 2.0}),
    "ctm": (0.95, 2e-3, 0.18, {}),
    "soundctm": (0.95, 2e-3, 0.18, {"w": 2.0}),
    "tcd": (0.8, 2e-3, 0.20, {"w": 2.0}),
    "shortcut": (0.95, 2e-3, 0.30, {}),  # long jumps have 1/8 of the weight, and their targets are its own half jumps
    "scd": (0, 2e-3, 0.25, {}),
    "sct": (0, 2e-3, 0.25, {}),
    "meanflow": (0, 3e-3, 0.40, {}),
    "add": (0, 2e-3, 0.30, {}),
    "dmd2": (0, 2e-3, 0.15, {}),
    "reflow": (0, 2e-3, 0.13, {}),
    # the plain limit: information moves up from t = 0 in small steps and nothing damps the tangent
    "continuous-cd": (0, 5e-4, 0.40, {}),
    "continuous-ct": (0, 5e-4, 0.40, {}),
}
# methods whose students need more calls
MORE_CALLS = {
    "diffusion": (0, 2e-3, 0.10, HEUN),
    "rectified-flow": (0, 2e-3, 0.10, HEUN),
    "guidance-distillation": (0, 2e-3, 0.05, HEUN | {"w": 2.0}),
    "zipvoice": (0, 2e-3, 0.15, EIGHT | {"w": 2.0}),  # its jumps span at most half of the path
}
ALL = ONE_CALL | MORE_CALLS
SLOW = {"shortcut", "continuous-cd", "continuous-ct"}


def method_for(name, warm):
    """The method of the exact teacher; critics start as the warm network."""
    if name == "add":
        return methods.add(RING.denoise, copy.deepcopy(warm), distillation_weight=0.1)
    if name == "dmd2":
        return methods.dmd2(RING.denoise, copy.deepcopy(warm))
    return get_method(name, RING.denoise)


@pytest.mark.parametrize("name", ALL)
def test_trains_within_the_budget(name, warm):
    target_ema, lr, limit, how = ALL[name]
    steps = STEPS * (2 if name in SLOW else 1)
    torch.manual_seed(1)
    net = fit(method_for(name, warm), copy.deepcopy(warm), data, steps, target_ema, lr)
    reached = distance(net, **how)
    print(f"ring {name}: {reached:.3f} (limit {limit})")
    assert reached < limit


def test_warm_start_needs_many_calls(warm):
    assert distance(RING.denoise, **HEUN) < 0.04
    assert distance(warm, **HEUN) < 0.10
    assert distance(warm) > 0.8


def test_regression_on_stored_trajectories(warm):
    torch.manual_seed(1)
    eps = torch.randn(4096, 2)
    ends = solvers.sample(RING.denoise, paths.edm, eps, None, ode_times(paths.edm, 18), solver=solvers.heun)

    def pairs():
        rows = torch.randint(len(eps), (256,))
        return NoisePair(ends[rows], eps[rows])

    reached = distance(fit(methods.regression(), copy.deepcopy(warm), pairs, STEPS, 0.0))
    print(f"ring regression: {reached:.3f}")
    assert reached < 0.06


def test_progressive_distillation_in_four_stages(warm):
    """8, 4, 2, 1 steps; each stage's student is the next one's teacher. Errors add up over four short stages."""
    torch.manual_seed(1)
    net = copy.deepcopy(warm)
    for steps, budget in ((8, 100), (4, 150), (2, 200), (1, 350)):
        teacher = copy.deepcopy(net).requires_grad_(False)
        net = fit(methods.progressive(teacher, steps), net, data, budget, 0.0)
    reached = distance(net)
    print(f"ring progressive: {reached:.3f}")
    assert reached < 0.45


def test_zipvoice_in_two_stages(warm):
    torch.manual_seed(1)
    net = fit(get_method("zipvoice", RING.denoise), copy.deepcopy(warm), data, STEPS, 0.0)
    net = fit(get_method("zipvoice-self", RING.denoise), net, data, STEPS, 0.95)
    reached = distance(net, w=2.0)
    print(f"ring zipvoice-self: {reached:.3f}")
    assert reached < 0.35


def test_lcm_on_low_rank_parameters(warm):
    """With an EMA target: without one, as in LCM-LoRA, it diverges on the ring at three learning rates."""
    torch.manual_seed(1)
    net = copy.deepcopy(warm)
    trained = lora.add_lora(net, rank=24)
    assert sum(p.numel() for p in trained) < sum(p.numel() for p in warm.parameters())
    before = [p.clone() for p in net.parameters() if not p.requires_grad]
    net = fit(get_method("lcm-lora", RING.denoise), net, data, 2 * STEPS, 0.95, lr=5e-4)
    assert all(
        torch.equal(a, b) for a, b in zip(before, (p for p in net.parameters() if not p.requires_grad), strict=True)
    )
    reached = distance(net)
    lora.merge_lora(net)
    assert distance(net) == pytest.approx(reached, abs=1e-3)
    print(f"ring lcm-lora: {reached:.3f}")
    assert reached < 0.25


def test_every_method_is_trained():
    """A new method has to be put into a test here."""
    assert set(methods.METHODS) == set(ALL) | {"regression", "progressive", "zipvoice-self", "lcm-lora"}
