"""Conditions, preconditioning, predictions, and networks adapted to other paths."""

import pytest
import torch
from tiny import Gaussian, times

from audiocm.diffusion import denoiser, paths
from audiocm.diffusion.denoiser import Condition, adapt, edm_scalings
from audiocm.diffusion.paths import broadcast_like

PATHS = {
    "edm": paths.edm,
    "rectified": paths.rectified,
    "trig": paths.trig,
    "cosine": paths.cosine,
    "ddpm": paths.ddpm(paths.scaled_linear_betas()),
}


def states(path, n=6):
    generator = torch.Generator().manual_seed(0)
    t = path.t_max * torch.linspace(0.11, 0.93, n, dtype=torch.float64)
    return torch.randn(n, 3, generator=generator, dtype=torch.float64), t


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_predictions_have_their_definitions(path):
    """eps, v = alpha eps - sigma x (variance-preserving), flow = eps - x, from the true pair."""
    clean, t = states(path)
    eps = torch.randn_like(clean)
    x_t = path.add_noise(clean, eps, t)
    alpha, sigma = broadcast_like(path.alpha(t), clean), broadcast_like(path.sigma(t), clean)
    outputs = {
        denoiser.clean_prediction: clean,
        denoiser.noise_prediction: eps,
        denoiser.flow_prediction: eps - clean,
        denoiser.v_prediction: alpha * eps - sigma * clean,
    }
    for prediction, output in outputs.items():
        torch.testing.assert_close(prediction.to_clean(path, x_t, t, output), clean, rtol=1e-9, atol=1e-9)


def test_rectified_flow_is_its_velocity():
    truth, (x_t, t) = Gaussian(paths.rectified), states(paths.rectified)
    clean = truth.denoise(x_t, t)
    velocity = paths.rectified.velocity(x_t, t, clean)
    torch.testing.assert_close(denoiser.flow_prediction.to_clean(paths.rectified, x_t, t, velocity), clean)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
@pytest.mark.parametrize("native", PATHS.values(), ids=PATHS.keys())
def test_a_perfect_network_stays_perfect_on_every_path(native, path):
    """Adapting a perfect teacher or student of one path gives that of the other."""
    x_t, t = states(path)
    level = path.noise_level(t)
    low, high = native.noise_level(times(native.t_min)), native.noise_level(times(native.t_max * 0.999))
    inside = (level < high) & (level > low)
    x_t, t = x_t[inside], t[inside]
    s = 0.5 * t
    on_path, on_native = Gaussian(path), Gaussian(native)
    clean = adapt(on_native.denoise, native, path)(x_t, t)
    torch.testing.assert_close(clean, on_path.denoise(x_t, t), rtol=1e-7, atol=1e-9)
    clean = adapt(on_native.student, native, path)(x_t, t, s)
    torch.testing.assert_close(clean, on_path.student(x_t, t, s), rtol=1e-6, atol=1e-8)


def test_trigflow_from_other_predictions():
    """F_trig = v (VP) = -F_edm = ((cos - sin) x + u) / (cos + sin) with u the flow."""
    t, clean = times(0.3, 1.0, 1.4), torch.randn(3, 2, dtype=torch.float64)
    x = torch.randn(3, 2, dtype=torch.float64)
    cos, sin = broadcast_like(t.cos(), x), broadcast_like(t.sin(), x)
    f = (cos * x - clean) / sin
    torch.testing.assert_close(denoiser.v_prediction.to_clean(paths.trig, x, t, f), clean)
    c_skip, c_out, _, _ = (broadcast_like(c, x) for c in edm_scalings(t.tan(), 1.0))
    torch.testing.assert_close(f, -(clean - c_skip * x / cos) / c_out)
    flow = (cos + sin) * f - (cos - sin) * x
    u, t_flow = x / (sin + cos), t.sin() / (t.sin() + t.cos())
    torch.testing.assert_close(denoiser.flow_prediction.to_clean(paths.rectified, u, t_flow, flow), clean)


def test_edm_scalings_keep_unit_variance():
    sigma = times(0.002, 0.5, 3.0, 80.0)
    c_skip, c_out, c_in, c_noise = edm_scalings(sigma, 0.5)
    torch.testing.assert_close(c_in**2 * (sigma**2 + 0.25), torch.ones(4, dtype=torch.float64))
    target_variance = (1 - c_skip) ** 2 * 0.25 + (c_skip * sigma) ** 2
    torch.testing.assert_close(target_variance, c_out**2)
    torch.testing.assert_close(c_noise, sigma.log() / 4)


def condition(n=4):
    return Condition(
        tokens=torch.randn(n, 3, 2),
        token_mask=torch.ones(n, 3, dtype=torch.bool),
        pooled=torch.randn(n, 5),
        mask=torch.arange(6)[None] < torch.arange(3, 3 + n)[:, None],
    )


def test_condition_rows():
    cond = condition()
    assert cond.batch_size == 4 and cond[1:3].batch_size == 2 and Condition().batch_size == 0
    torch.testing.assert_close(cond[torch.tensor([2, 0])].pooled, cond.pooled[[2, 0]])
    torch.testing.assert_close(cond.repeat_interleave(2).tokens[2:4], cond.tokens[[1, 1]])
    half = cond.to("cpu", torch.float16)
    assert half.tokens.dtype == torch.float16 and half.mask.dtype == torch.bool


def test_condition_guidance_and_null():
    cond = condition().with_guidance(3.0)
    assert cond.guidance.tolist() == [3.0] * 4
    null = cond.as_null()
    assert null.null.all() and null.guidance is None and torch.equal(null.mask, cond.mask)
    both = Condition.cat([cond.with_guidance(None), null])
    assert both.null.tolist() == [False] * 4 + [True] * 4 and both.batch_size == 8
    guided = Condition().with_guidance(torch.ones(2))
    assert guided.batch_size == 2 and guided.as_null().null.tolist() == [True, True]


def test_condition_errors():
    with pytest.raises(ValueError, match="tensor"):
        Condition().with_guidance(2.0)
    cond = condition()
    with pytest.raises(ValueError, match="pooled"):
        Condition.cat([cond, Condition(tokens=cond.tokens, token_mask=cond.token_mask, mask=cond.mask)])
