"""Adapters: diffusers networks start equal to their teacher, learned log-variance, hidden features."""

import math

import pytest
import torch
from tiny_model import tiny_condition, tiny_transformer

from audiocm.diffusion import denoiser, paths
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.paths import broadcast_like
from audiocm.models.adapters import DiffusersDenoiser, HiddenFeatures, LogVarianceDenoiser, sinusoidal_embedding


@pytest.mark.parametrize("extra_conditions", [(), ("guidance",), ("guidance", "target_time")])
def test_diffusers_unet_starts_equal_to_its_teacher(extra_conditions):
    """w and s enter through a projection that starts at zero; t - 1 is the table's timestep."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    config = {
        "sample_size": 8,
        "in_channels": 2,
        "out_channels": 2,
        "layers_per_block": 1,
        "block_out_channels": (8, 8),
        "norm_num_groups": 2,
        "cross_attention_dim": 6,
        "attention_head_dim": 2,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    path = paths.ddpm(paths.scaled_linear_betas())
    unet = UNet2DConditionModel(**config, time_cond_proj_dim=16 if extra_conditions else None).eval()
    net = DiffusersDenoiser(unet, path, denoiser.v_prediction, extra_conditions)
    x, t = torch.randn(2, 2, 8, 8), torch.tensor([20.0, 1000.0])
    cond = Condition(tokens=torch.randn(2, 3, 6), token_mask=torch.ones(2, 3, dtype=torch.bool))
    plain = unet(x, t - 1, cond.tokens, encoder_attention_mask=cond.token_mask).sample
    guided = cond.with_guidance(torch.tensor([2.0, 7.0]))
    with torch.no_grad():
        clean = net(x, t, t / 2, guided)
    wanted = broadcast_like(path.alpha(t), x) * x - broadcast_like(path.sigma(t), x) * plain
    torch.testing.assert_close(clean, wanted.detach(), rtol=1e-4, atol=1e-5)
    if extra_conditions:
        torch.nn.init.normal_(unet.time_embedding.cond_proj.weight)
        with torch.no_grad():
            assert not torch.allclose(net(x, t, t / 2, guided), net(x, t, t / 2, cond.with_guidance(torch.ones(2))))
    with pytest.raises(ValueError, match="time_cond_proj_dim"):
        DiffusersDenoiser(UNet2DConditionModel(**config), path, denoiser.v_prediction, ("guidance",))


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
