"""Training states: noise at t_max, and states by backward simulation."""

import pytest
import torch
from tiny import Gaussian

from audiocm.diffusion import paths
from audiocm.distillation import methods
from audiocm.distillation.states import backward_simulation, pure_noise_at_t_max


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
