"""Training states: noise at t_max, and states by backward simulation."""

import pytest
import torch
from tiny import Gaussian

from audiocm.diffusion import paths
from audiocm.distillation import methods
from audiocm.distillation.states import backward_simulation, one_call_simulation, pure_noise_at_t_max


def test_pure_noise_at_t_max():
    x, eps, t = torch.ones(2, 3), torch.ones(2, 3), torch.tensor([80.0, 2.0])
    assert pure_noise_at_t_max(paths.edm, x, eps, t).tolist() == [[80.0] * 3, [3.0] * 3]


def test_backward_simulation_keeps_the_marginals():
    """With the true student, each state has the spread of its noise level."""
    torch.manual_seed(0)
    truth = Gaussian(paths.edm, mu=0.0, s=1.0)
    x = torch.randn(20_000, 1, dtype=torch.float64)
    state = methods.diffusion().draw_states(x, None, 0.0)
    for first_share in (None, 0.6):
        simulated = backward_simulation((80.0, 2.0, 0.5), first_share)(state, truth.student)
        shares = [(simulated.t == level).double().mean().item() for level in (80.0, 2.0, 0.5)]
        assert shares == pytest.approx([0.6, 0.2, 0.2] if first_share else [1 / 3] * 3, abs=0.02)
    for level in (80.0, 2.0, 0.5):
        rows = simulated.t == level
        assert simulated.x_t[rows].std().item() == pytest.approx((1 + level**2) ** 0.5, rel=0.03)


def test_one_call_simulation_keeps_the_marginals():
    """With the true student, the spread of each state is that of its time, which lies at t_max or in the places asked
    for."""
    torch.manual_seed(0)
    truth = Gaussian(paths.edm, mu=0.0, s=1.0)
    state = methods.diffusion().draw_states(torch.randn(40_000, 1, dtype=torch.float64), None, 0.0)
    simulated = one_call_simulation((0.25, 0.75), 0.6)(state, truth.student)
    first = simulated.t == 80
    assert first.double().mean().item() == pytest.approx(0.6, abs=0.02)
    ends = paths.edm.grid_time(torch.tensor([0.75, 0.25]))
    assert bool(((simulated.t[~first] >= ends[0]) & (simulated.t[~first] <= ends[1])).all())
    standard = simulated.x_t[:, 0] / (torch.where(first, 0, 1) + simulated.t**2).sqrt()
    for rows in (first, ~first & (simulated.t < 1), ~first & (simulated.t > 4)):
        assert standard[rows].std().item() == pytest.approx(1, rel=0.03)
