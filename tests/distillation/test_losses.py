"""Distances, masks, weights and the learned uncertainty."""

import pytest
import torch
from tiny import times
from tiny_states import state_at

from audiocm.diffusion import paths
from audiocm.distillation.losses import adaptive_l2, huber, l2, snr, truncated_snr, uncertainty_weighted_error
from audiocm.models.adapters import LogVarianceDenoiser


def test_huber_constant_of_ict():
    """c = 0.00054 sqrt(d) on the norm is c = 0.00054 on the RMS, times sqrt(d)."""
    d = 3072
    assert 0.00054 * d**0.5 == pytest.approx(0.02992984, abs=1e-8)
    a, b = torch.randn(2, 4, d, dtype=torch.float64)
    theirs = ((a - b).square().sum(1) + 0.00054**2 * d).sqrt() - 0.00054 * d**0.5
    torch.testing.assert_close(huber()(a, b, None) * d**0.5, theirs)
    error = torch.full((1, d), 3.0, dtype=torch.float64)
    assert huber(1e-4)(error, 0 * error, None).item() == pytest.approx(3.0, rel=1e-4)
    assert huber(1e4)(error, 0 * error, None).item() == pytest.approx(9 / 2e4, rel=1e-4)


@pytest.mark.parametrize("distance", [l2, huber(0.03), adaptive_l2()], ids=["l2", "huber", "adaptive_l2"])
def test_padding_does_not_count(distance):
    """The distance equals that of the cut sample, whatever is in the padding; each sample counts on its own."""
    a, b = torch.randn(2, 3, 4, 10)
    mask = torch.arange(10)[None] < torch.tensor([10, 6, 3])[:, None]
    batch = distance(a, b, mask)
    for row, length in enumerate((10, 6, 3)):
        alone = distance(a[row : row + 1, :, :length], b[row : row + 1, :, :length], None)
        torch.testing.assert_close(batch[row : row + 1], alone)
    torch.testing.assert_close(distance(a + 1e3 * ~mask[:, None], b, mask), batch)


def test_adaptive_gradient():
    """S / sg(S + c)^p has the gradient 2 e / (S + c)^p."""
    e = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(adaptive_l2(0.75, 0.01)(e, torch.zeros_like(e), None).sum(), e)[0]
    error = e.detach().square().mean(1, keepdim=True)
    torch.testing.assert_close(gradient, 2 * e.detach() / 5 / (error + 0.01) ** 0.75)


def test_weights():
    state = state_at(times(0.5, 2.0, 80.0))
    assert snr(state).tolist() == pytest.approx([4, 0.25, 1.5625e-4])
    assert truncated_snr(state).tolist() == pytest.approx([4, 1, 1])


def test_learned_log_variance_approaches_the_error():
    """error / e^u + u is least at u = ln E[error]."""
    net = LogVarianceDenoiser(lambda x, t, s=None, cond=None: x, paths.edm)
    optimizer = torch.optim.Adam(net.head.parameters(), 0.03)
    t = torch.linspace(-3, 3, 64).exp()
    error = 0.5 + t.log() ** 2
    for _ in range(600):
        optimizer.zero_grad()
        uncertainty_weighted_error(state_at(t), net, error).mean().backward()
        optimizer.step()
    assert (net.log_variance(t) - error.log()).abs().mean() < 0.1


def test_errors_stay_without_log_variance():
    error = torch.rand(3)
    assert uncertainty_weighted_error(state_at(times(0.5, 2.0, 80.0)), lambda *_: None, error) is error
