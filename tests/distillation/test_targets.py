"""Regression targets: derivatives, and continuous-time targets against the papers' formulas and the discrete limit."""

from dataclasses import replace

import pytest
import torch
from tiny import times
from tiny_states import masked_batch, random_transformer, smooth_net, state_at

from audiocm.diffusion import paths
from audiocm.diffusion.solvers import heun
from audiocm.distillation import methods
from audiocm.distillation.losses import l2
from audiocm.distillation.method import Method
from audiocm.distillation.states import NoisePair, Timesteps, teacher_field
from audiocm.distillation.targets import (
    consistency_target,
    continuous_target,
    exact_derivative,
    finite_difference,
    grid_gain,
    normalize_tangent,
    trig_gain,
)


def cosine_field(x, t, s=None):
    """A field of arbitrary clean estimates."""
    return torch.cos(x) * 0.5


def test_batch_order_does_not_matter():
    """Targets are per sample: permuting a batch permutes the target."""
    x, eps = torch.randn(2, 6, 3, dtype=torch.float64)
    order = torch.randperm(6)
    t, r, s = (torch.linspace(1, 3, 6, dtype=torch.float64) * k for k in (1.0, 0.6, 0.3))
    targets = []
    for rows in (torch.arange(6), order):

        def sampler(*_, rows=rows):
            return Timesteps(t[rows], r[rows], s[rows])

        method = Method(sampler, consistency_target(heun), teacher_field(smooth_net))
        state = method.draw_states(NoisePair(x[rows], eps[rows]), None, 0.0)
        targets.append(method.target(state, method.field(state, smooth_net), smooth_net, None))
    torch.testing.assert_close(targets[0][order], targets[1])


def test_exact_derivative_and_finite_difference_agree():
    torch.manual_seed(0)
    x, t = torch.randn(5, 3, dtype=torch.float64), times(0.1, 0.5, 1, 5, 80)
    dx, dt = torch.randn_like(x), 0.3 * t
    value, tangent = exact_derivative(smooth_net, x, t, dx, dt)
    value_too, difference = finite_difference(1e-3)(smooth_net, x, t, dx, dt)
    torch.testing.assert_close(value, value_too)
    torch.testing.assert_close(difference, tangent, rtol=1e-4, atol=1e-5)


def test_derivative_of_the_transformer_under_autocast():
    """In bf16 autocast the derivative has bf16's precision; finite differences stay in float32."""
    torch.manual_seed(0)
    net = random_transformer()
    x, cond = masked_batch()
    t = torch.tensor([0.2, 1.0, 5.0, 60.0])
    dx, dt = torch.randn_like(x), 0.3 * t

    def call(x, t):
        return net(x, t, None, cond)

    _, exact = exact_derivative(call, x, t, dx, dt)
    _, differences = finite_difference()(call, x, t, dx, dt)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, low = exact_derivative(call, x, t, dx, dt)
    assert (differences - exact).norm() < 0.02 * exact.norm()
    assert (low - exact).norm() < 0.1 * exact.norm()


def scm_target(x, t, f, dfdt, teacher_velocity, r):
    """sCM's F + g in the paper's letters (sigma_data = 1)."""
    cos, sin = t.cos()[:, None], t.sin()[:, None]
    g = -(cos**2) * (f - teacher_velocity) - r * cos * sin * (x + dfdt)
    return f + g


@pytest.mark.parametrize("warm", [0.0, 0.5, 1.0])
def test_continuous_target_on_trig_is_scm(warm):
    """The target, as F, equals the paper's F + g for an arbitrary network and teacher, at every stage of warm-up."""
    t = times(0.1, 0.7, 1.3, 1.55)
    x = torch.randn(4, 3, dtype=torch.float64)
    state = replace(state_at(t, paths.trig, x), progress=warm)
    target = continuous_target(trig_gain, warmup=1.0)(state, cosine_field, smooth_net, None)

    def output(clean, x, t):
        return (t.cos()[:, None] * x - clean) / t.sin()[:, None]

    def net_output(x, t):
        return output(smooth_net(x, t), x, t)

    velocity = paths.trig.velocity(x, t, cosine_field(x, t))
    f, dfdt = torch.func.jvp(net_output, (x, t), (velocity, torch.ones_like(t)))
    torch.testing.assert_close(output(target, x, t), scm_target(x, t, f, dfdt, velocity, warm), rtol=1e-8, atol=1e-8)


def test_continuous_target_on_rectified_is_meanflow():
    """u = v - (t - s) du/dt for an arbitrary network."""
    t, s = times(0.2, 0.5, 0.9), times(0.0, 0.5, 0.3)
    x = torch.randn(3, 2, dtype=torch.float64)
    state = replace(state_at(t, paths.rectified, x), s=s)
    target = methods.meanflow().target(state, cosine_field, smooth_net, None)

    def average_velocity(x, t):
        return (x - smooth_net(x, t, s)) / t[:, None]

    v = paths.rectified.velocity(x, t, cosine_field(x, t))
    _, dudt = torch.func.jvp(average_velocity, (x, t), (v, torch.ones_like(t)))
    torch.testing.assert_close((x - target) / t[:, None], v - (t - s)[:, None] * dudt)


@pytest.mark.parametrize("path", [paths.edm, paths.trig, paths.rectified], ids=["edm", "trig", "rectified"])
def test_continuous_target_is_the_limit_of_the_discrete(path):
    """The consistency target over 1/n of the grid approaches the one with the grid's gain, error O(1/n^2)."""
    x, t = torch.randn(4, 2, dtype=torch.float64), path.grid_time(times(0.1, 0.4, 0.6, 0.9))
    errors = []
    for n in (1000, 2000):
        state = state_at(t, path, x)
        smooth = continuous_target(grid_gain(n))(state, cosine_field, smooth_net, None)
        step = replace(state, r=t - path.grid_spacing(t) / n)
        discrete = consistency_target(heun)(step, cosine_field, smooth_net, None)
        errors.append((smooth - discrete).abs().max().item() / (smooth - smooth_net(x, t)).abs().max().item())
    assert errors[0] < 0.1 and errors[0] / errors[1] == pytest.approx(2, abs=0.2)


def test_tangent_normalisation_uses_valid_frames():
    """|g| becomes |g| / (|g| + c) over valid frames, whatever is in the padding."""
    x, cond = masked_batch()
    t = torch.full((4,), 0.8)
    state = replace(state_at(t, paths.trig, x), cond=cond)
    change = torch.randn(4, 4, 12) * t.sin()[:, None, None]
    for padding in (0.0, 1e4):
        padded = torch.where(cond.mask[:, None], change, padding)
        g = normalize_tangent(0.1)(state, padded) / t.sin()[:, None, None]
        before = l2(change / t.sin()[:, None, None], 0 * change, cond.mask).sqrt()
        torch.testing.assert_close(l2(g, 0 * g, cond.mask).sqrt(), before / (before + 0.1))
