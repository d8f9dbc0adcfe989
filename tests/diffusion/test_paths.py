"""Paths: golden numbers, derivatives by finite differences, inverses, variance, and the Gaussian flow map."""

import math

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from tiny import Gaussian, times

from audiocm.diffusion import paths

TABLE = paths.ddpm(paths.scaled_linear_betas())
ALL = {
    "edm": paths.edm,
    "rectified": paths.rectified,
    "trig": paths.trig,
    "trig-half": paths.Trig(t_max=math.atan(160), sigma_data=0.5),
    "cosine": paths.cosine,
    "ddpm": TABLE,
    "zero-snr": paths.ddpm(rescale_zero_terminal_snr(paths.scaled_linear_betas())),
}
every_path = pytest.mark.parametrize("path", ALL.values(), ids=ALL.keys())


def inside(path, n=7):
    """Times strictly inside the path's range, off the entries of tables."""
    return path.t_min + (path.t_max - path.t_min) * torch.linspace(0.0137, 0.9871, n, dtype=torch.float64)


@every_path
def test_slopes_are_derivatives(path):
    t, h = inside(path), 1e-6 * path.t_max
    for value, slope in zip((path.alpha, path.sigma), path.slopes(t), strict=True):
        torch.testing.assert_close((value(t + h) - value(t - h)) / (2 * h), slope, rtol=1e-5, atol=1e-8)


@every_path
def test_grid_spacing_is_the_slope_of_the_grid(path):
    u, h = torch.linspace(0.05, 0.95, 7, dtype=torch.float64), 1e-6
    slope = (path.grid_time(u - h) - path.grid_time(u + h)) / (2 * h)
    torch.testing.assert_close(path.grid_spacing(path.grid_time(u)), slope, rtol=1e-6, atol=0)


@every_path
def test_noise_level_and_time_are_inverse(path):
    t = torch.cat([inside(path), times(path.t_min)])
    torch.testing.assert_close(path.time_of_noise_level(path.noise_level(t)), t, rtol=1e-9, atol=1e-12)
    assert (path.noise_level(t).sort().values == path.noise_level(t.sort().values)).all()


@every_path
def test_invert_step_inverts_step_and_zero_is_clean(path):
    t = inside(path)
    x, clean = torch.randn(2, len(t), 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    s = 0.4 * t
    torch.testing.assert_close(path.invert_step(x, t, s, path.step(x, t, s, clean)), clean, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(path.step(x, t, torch.zeros_like(t), clean), clean)
    torch.testing.assert_close(path.step(x, t, t, clean), x)
    zero = torch.zeros_like(t)
    assert (path.step(x, zero, zero, clean) == x).all()  # the boundary: a step from 0 to 0 changes nothing


@every_path
def test_step_keeps_its_own_line(path):
    """A step along the true (x, eps) is the path itself, and its derivative the velocity."""
    generator = torch.Generator().manual_seed(1)
    t = inside(path)
    clean, eps = torch.randn(2, len(t), 4, dtype=torch.float64, generator=generator)
    x_t, s = path.add_noise(clean, eps, t), 0.7 * t
    torch.testing.assert_close(path.step(x_t, t, s, clean), path.add_noise(clean, eps, s))
    torch.testing.assert_close(path.predicted_noise(x_t, t, clean), eps)
    h = 1e-6 * path.t_max
    slope = (path.add_noise(clean, eps, t + h) - path.add_noise(clean, eps, t - h)) / (2 * h)
    torch.testing.assert_close(path.velocity(x_t, t, clean), slope, rtol=1e-5, atol=1e-7)


@every_path
def test_renoise_keeps_marginals(path):
    """Var(x_t) after renoising x_s of unit-variance data; and t = s adds nothing."""
    t, s = inside(path), 0.6 * inside(path)
    scale = path.alpha(t) / path.alpha(s)
    added = path.renoise(torch.zeros(len(t), 1, dtype=t.dtype), s, t, torch.ones(len(t), 1, dtype=t.dtype))[:, 0]
    torch.testing.assert_close((scale * path.sigma(s)) ** 2 + added**2, path.sigma(t) ** 2)
    x = torch.ones(len(t), 1, dtype=t.dtype)
    torch.testing.assert_close(path.renoise(x, t, t, x), x)


@every_path
def test_gaussian_flow_solves_the_ode(path):
    truth, t = Gaussian(path), inside(path)
    x = torch.linspace(-2, 3, len(t), dtype=torch.float64)[:, None]
    h = 1e-6 * path.t_max
    slope = (truth.flow(x, t, t + h) - truth.flow(x, t, t - h)) / (2 * h)
    torch.testing.assert_close(slope, path.velocity(x, t, truth.denoise(x, t)), rtol=1e-4, atol=1e-7)


def test_golden_edm():
    grid = paths.edm.grid(18)
    torch.testing.assert_close(
        grid[[0, 1, 11, 16, 17]], times(80, 57.5859847, 0.585348, 0.00752802, 0.002), rtol=1e-6, atol=0
    )
    truth = Gaussian(paths.edm)
    x, t = times(2)[:, None], times(1.5)
    assert truth.denoise(x, t).item() == pytest.approx(1.2576142132, abs=1e-9)
    assert truth.flow(x, t, times(0.002)).item() == pytest.approx(1.5514107075, abs=1e-9)
    assert truth.flow(x, t, times(0.5)).item() == pytest.approx(1.6122126834, abs=1e-9)


def test_golden_trig():
    path = ALL["trig-half"]
    truth, x, t = Gaussian(path), times(1)[:, None], times(1)
    clean, end = truth.denoise(x, t), truth.flow(x, t, times(0))

    def f_net(clean):
        return ((math.cos(1) * x - clean) / (0.5 * math.sin(1))).item()

    assert clean.item() == pytest.approx(1.5469324818, abs=1e-9)
    assert f_net(clean) == pytest.approx(-2.3925487488, abs=1e-9)
    assert end.item() == pytest.approx(1.6872503289, abs=1e-9)
    assert f_net(end) == pytest.approx(-2.7260548343, abs=1e-9)
    assert path.t_max == pytest.approx(1.5645464, abs=1e-7)
    assert path.noise_level(times(1.1)).item() == pytest.approx(0.9823799, abs=1e-7)
    assert path.time_of_noise_level(times(0.821)).item() == pytest.approx(1.0237757, abs=1e-7)


def test_golden_rectified():
    truth, x, t = Gaussian(paths.rectified), times(1)[:, None], times(0.8)
    assert paths.rectified.velocity(x, t, truth.denoise(x, t)).item() == pytest.approx(-0.1384963256, abs=1e-9)
    assert ((x - truth.flow(x, t, times(0.3))) / 0.5).item() == pytest.approx(-0.9392034121, abs=1e-9)
    assert truth.flow(x, t, times(0)).item() == pytest.approx(2.0290701111, abs=1e-9)


def test_golden_tables():
    bar = TABLE.alpha(times(1, 20, 500, 1000)) ** 2  # t = n + 1
    torch.testing.assert_close(bar, times(0.99915, 0.98224399, 0.27766965, 0.0046601), rtol=2e-6, atol=0)
    assert TABLE.noise_level(times(1000)).item() == pytest.approx(14.6146, abs=1e-4)
    linear = paths.ddpm(torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)).alpha(times(1, 500, 1000)) ** 2
    torch.testing.assert_close(linear, times(0.9999, 0.07858724, 4.0358e-5), rtol=2e-5, atol=0)
    assert ALL["zero-snr"].alpha(times(1000)).item() == pytest.approx(2**-12)


def test_invalid_betas_raise():
    with pytest.raises(ValueError, match="betas"):
        paths.ddpm([0.0, 0.1])


def test_tables_stay_float32_on_request():
    t = torch.tensor([0.0, 0.5, 1.0, 500.5, 1000.0])
    assert TABLE.alpha(t).dtype == torch.float32
    assert torch.isfinite(TABLE.noise_level(t)).all() and TABLE.sigma(t)[0] == 0
