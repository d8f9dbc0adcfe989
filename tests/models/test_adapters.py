"""Learned log-variance, hidden features, the embedding of numbers."""

import math

import pytest
import torch
from tiny_model import tiny_condition, tiny_transformer

from audiocm.diffusion import paths
from audiocm.models.adapters import HiddenFeatures, LogVarianceDenoiser, sinusoidal_embedding


def test_lcm_embedding():
    """Sine and cosine of 1000 w times frequencies 1 ... 1e-4, as diffusers' get_guidance_scale_embedding."""
    features = sinusoidal_embedding(torch.tensor([2.5]), 6)[0]
    rate = [10000 ** (-k / 2) for k in range(3)]
    wanted = [math.sin(2500 * r) for r in rate] + [math.cos(2500 * r) for r in rate]
    assert features.tolist() == pytest.approx(wanted, abs=2e-3)


def test_log_variance_is_zero_before_training():
    net = LogVarianceDenoiser(tiny_transformer(), paths.edm)
    x, t, cond = torch.randn(2, 4, 9), torch.tensor([0.0, 80.0]), tiny_condition(2, 9)
    assert torch.equal(net(x, t, None, cond), net.net(x, t, None, cond))
    assert net.log_variance(t).tolist() == [0.0, 0.0]
    torch.nn.init.ones_(net.head.weight)
    assert net.log_variance(t).isfinite().all() and net.log_variance(t)[0] != net.log_variance(t)[1]


def test_hidden_features_are_normalized_frames_of_every_layer():
    net = tiny_transformer()
    features = HiddenFeatures(net, net.blocks)(torch.randn(2, 4, 9), torch.ones(2), tiny_condition(2, 9))
    assert features.shape == (2, 2 * 32, 9)
    torch.testing.assert_close(features.square().unflatten(1, (2, 32)).mean(2), torch.ones(2, 2, 9), atol=1e-3, rtol=0)
    assert not any(block._forward_hooks for block in net.blocks)
