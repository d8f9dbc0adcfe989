"""The optimizer: AdamW with clipping on flat parameters, and what it refuses."""

import math

import pytest
import torch
from torch import nn

from audiocm.training.optimizer import FlatParameters, Optimizer


def test_flat_step_is_adamw_with_clipping():
    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last), nn.Flatten(), nn.Linear(16, 3))

    ours, theirs = net(), net()
    flat = FlatParameters(ours.parameters())
    optimiser = Optimizer(flat, (0.9, 0.99), 0.1, 1.0)
    optimiser.lr.fill_(1e-2)
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.99))
    for _ in range(10):
        x = 10 * torch.randn(5, 2, 4, 4)
        flat.grads.zero_()
        ours(x).square().sum().backward()
        reference.zero_grad()
        theirs(x).square().sum().backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        reference.step()
        norm, finite = optimiser.step(torch.tensor(1.0))
        assert finite and torch.allclose(norm, expected)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6) and p.stride() == q.stride() == p.grad.stride()


@pytest.mark.parametrize("loss, gradient", [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_a_step_without_finite_numbers_changes_nothing(loss, gradient):
    flat = FlatParameters(nn.Linear(4, 4).parameters())
    optimiser = Optimizer(flat, (0.9, 0.99), 0.1, 1.0)
    optimiser.lr.fill_(0.1)
    flat.grads.fill_(1.0)
    optimiser.step(torch.tensor(1.0))
    before = {name: value.clone() for name, value in optimiser.tensors("a").items()}
    flat.grads.fill_(gradient)
    _, finite = optimiser.step(torch.tensor(loss))
    assert not finite
    assert all(torch.equal(before[name], value) for name, value in optimiser.tensors("a").items())


def test_flat_refuses_what_it_cannot_train():
    with pytest.raises(ValueError, match="float32"):
        FlatParameters(nn.Linear(2, 2).half().parameters())
    with pytest.raises(ValueError, match="nothing to train"):
        FlatParameters([])
