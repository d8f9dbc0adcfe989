"""Conditions, preconditioning, what nets may predict, nets of other paths, and diffusers nets."""

import math

import pytest
import torch
from tiny import Gaussian, times

from audiocm.diffusion import denoiser, paths
from audiocm.diffusion.denoiser import Condition, adapt, edm_scalings
from audiocm.diffusion.paths import broadcast_like
from audiocm.models import adapters

PREDICTIONS = {
    "clean": denoiser.as_clean,
    "eps": denoiser.as_eps,
    "v": denoiser.as_v,
    "flow": denoiser.as_flow,
    "edm": denoiser.as_edm(0.5),
    "trig": denoiser.as_trig(),
}
PATHS = {
    "edm": paths.edm,
    "rectified": paths.rectified,
    "trig": paths.trig,
    "cosine": paths.cosine,
    "vp": paths.vp,
    "ddpm": paths.ddpm(paths.scaled_linear_betas()),
}


def states(path, n=6):
    generator = torch.Generator().manual_seed(0)
    t = path.t_max * torch.linspace(0.11, 0.93, n, dtype=torch.float64)
    return torch.randn(n, 3, generator=generator, dtype=torch.float64), t


@pytest.mark.parametrize("prediction", PREDICTIONS.values(), ids=PREDICTIONS.keys())
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_predictions_go_round(path, prediction):
    x_t, t = states(path)
    clean = torch.randn_like(x_t)
    there = prediction.from_clean(path, x_t, t, clean)
    torch.testing.assert_close(prediction.to_clean(path, x_t, t, there), clean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_predictions_are_what_they_are_called(path):
    """eps, v = alpha eps - sigma x (VP), flow = eps - x, from the true pair."""
    clean, t = states(path)
    eps = torch.randn_like(clean)
    x_t, alpha, sigma = (
        path.add_noise(clean, eps, t),
        broadcast_like(path.alpha(t), clean),
        broadcast_like(path.sigma(t), clean),
    )
    torch.testing.assert_close(denoiser.as_eps.from_clean(path, x_t, t, clean), eps)
    torch.testing.assert_close(denoiser.as_flow.from_clean(path, x_t, t, clean), eps - clean)
    torch.testing.assert_close(denoiser.as_v.from_clean(path, x_t, t, clean), alpha * eps - sigma * clean)


def test_rectified_flow_is_its_velocity():
    truth, (x_t, t) = Gaussian(paths.rectified), states(paths.rectified)
    clean = truth.denoise(x_t, t)
    flow = denoiser.as_flow.from_clean(paths.rectified, x_t, t, clean)
    torch.testing.assert_close(flow, paths.rectified.velocity(x_t, t, clean))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("native", PATHS.values(), ids=PATHS.keys())
def test_a_true_net_is_true_on_every_path(native, path):
    """Adapting a perfect teacher or student of one path gives that of the other."""
    x_t, t = states(path)
    level = path.noise_level(t)
    inside = (level < native.noise_level(times(native.t_max * 0.999))) & (
        level > native.noise_level(times(native.t_min))
    )
    x_t, t = x_t[inside], t[inside]
    here, there = Gaussian(path), Gaussian(native)
    torch.testing.assert_close(adapt(there.denoise, native, path)(x_t, t), here.denoise(x_t, t), rtol=1e-7, atol=1e-9)
    s = 0.5 * t
    torch.testing.assert_close(
        adapt(there.student, native, path)(x_t, t, s), here.student(x_t, t, s), rtol=1e-6, atol=1e-8
    )


def test_trigflow_shortcuts():
    """F_trig = -F_edm; = v (VP); = ((cos - sin) x + u) / (cos + sin) from a flow net. methods.md, section 8."""
    t, clean = times(0.3, 1.0, 1.4), torch.randn(3, 2, dtype=torch.float64)
    x = torch.randn(3, 2, dtype=torch.float64)
    f = denoiser.as_trig().from_clean(paths.trig, x, t, clean)
    cos, sin = broadcast_like(t.cos(), x), broadcast_like(t.sin(), x)
    torch.testing.assert_close(f, (cos * x - clean) / sin)
    torch.testing.assert_close(f, denoiser.as_v.from_clean(paths.trig, x, t, clean))
    torch.testing.assert_close(f, -denoiser.as_edm(1.0).from_clean(paths.edm, x / cos, t.tan(), clean))
    flow = denoiser.as_flow.from_clean(paths.rectified, x / (sin + cos), t.sin() / (t.sin() + t.cos()), clean)
    torch.testing.assert_close(f, ((cos - sin) * x + flow) / (cos + sin))


def test_scalings():
    """EDM's keep unit variance; the CM shift keeps f(x, sigma_min) = x to the bit."""
    sigma = times(0.002, 0.5, 3.0, 80.0)
    c_skip, c_out, c_in, c_noise = edm_scalings(sigma, 0.5)
    torch.testing.assert_close(c_in**2 * (sigma**2 + 0.25), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(
        (1 - c_skip) ** 2 * 0.25 + (c_skip * sigma) ** 2, c_out**2
    )  # the target of F has variance 1
    torch.testing.assert_close(c_noise, sigma.log() / 4)
    c_skip, c_out, *_ = denoiser.cm_scalings(times(0.002))
    assert c_skip.item() == 1 and c_out.item() == 0


def condition(n=4):
    return Condition(
        tokens=torch.randn(n, 3, 2),
        token_mask=torch.ones(n, 3, dtype=torch.bool),
        pooled=torch.randn(n, 5),
        mask=torch.arange(6)[None] < torch.arange(3, 3 + n)[:, None],
    )


def test_condition_rows():
    cond = condition()
    assert len(cond) == 4 and len(cond[1:3]) == 2 and len(Condition()) == 0
    torch.testing.assert_close(cond[torch.tensor([2, 0])].pooled, cond.pooled[[2, 0]])
    torch.testing.assert_close(cond.repeat_interleave(2).tokens[2:4], cond.tokens[[1, 1]])
    half = cond.to("cpu", torch.float16)
    assert half.tokens.dtype == torch.float16 and half.mask.dtype == torch.bool


def test_condition_guidance_and_null():
    cond = condition().with_guidance(3.0)
    assert cond.guidance.tolist() == [3.0] * 4
    null = cond.nulled()
    assert null.null.all() and null.guidance is None and torch.equal(null.mask, cond.mask)
    both = Condition.cat([cond.with_guidance(None), null])
    assert both.null.tolist() == [False] * 4 + [True] * 4 and len(both) == 8
    told = Condition().with_guidance(torch.ones(2))
    assert len(told) == 2 and told.nulled().null.tolist() == [True, True]


def test_condition_refusals():
    with pytest.raises(ValueError, match="tensor"):
        Condition().with_guidance(2.0)
    with pytest.raises(ValueError, match="pooled"):
        Condition.cat(
            [
                condition(),
                Condition(tokens=torch.randn(4, 3, 2), token_mask=condition().token_mask, mask=condition().mask),
            ]
        )


@pytest.mark.parametrize("told", [(), ("guidance",), ("guidance", "target_time")])
def test_diffusers_unet_starts_equal_to_its_teacher(told):
    """w and s enter through a projection that starts at zero; t - 1 is the table's timestep."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    config = {
        "sample_size": 8, "in_channels": 2, "out_channels": 2, "layers_per_block": 1, "block_out_channels": (8, 8),
        "norm_num_groups": 2, "cross_attention_dim": 6, "attention_head_dim": 2,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }  # fmt: skip
    path = paths.ddpm(paths.scaled_linear_betas())
    unet = UNet2DConditionModel(**config, time_cond_proj_dim=16 if told else None).eval()
    net = adapters.DiffusersDenoiser(unet, path, denoiser.as_v, told)
    x, t = torch.randn(2, 2, 8, 8), torch.tensor([20.0, 1000.0])
    cond = Condition(tokens=torch.randn(2, 3, 6), token_mask=torch.ones(2, 3, dtype=torch.bool))
    plain = unet(x, t - 1, cond.tokens, encoder_attention_mask=cond.token_mask).sample
    told_cond = cond.with_guidance(torch.tensor([2.0, 7.0]))
    with torch.no_grad():
        clean = net(x, t, t / 2, told_cond)
    wanted = broadcast_like(path.alpha(t), x) * x - broadcast_like(path.sigma(t), x) * plain
    torch.testing.assert_close(clean, wanted.detach(), rtol=1e-4, atol=1e-5)
    if told:
        torch.nn.init.normal_(unet.time_embedding.cond_proj.weight)
        with torch.no_grad():
            assert not torch.allclose(net(x, t, t / 2, told_cond), net(x, t, t / 2, cond.with_guidance(torch.ones(2))))
    with pytest.raises(ValueError, match="time_cond_proj_dim"):
        adapters.DiffusersDenoiser(UNet2DConditionModel(**config), path, denoiser.as_v, ("guidance",))


def test_lcm_embedding():
    """fourier(w): sin and cos of 1000 w times frequencies 1 ... 1e-4, as diffusers' get_guidance_scale_embedding."""
    features = adapters.sinusoidal_embedding(torch.tensor([2.5]), 6)[0]
    rate = [10000 ** (-k / 2) for k in range(3)]
    wanted = [math.sin(2500 * r) for r in rate] + [math.cos(2500 * r) for r in rate]
    assert features.tolist() == pytest.approx(wanted, abs=2e-3)
