"""Timestep samplers: golden numbers of the curricula, and the order of t, r and s."""

import pytest
import torch
from tiny import times

from audiocm.diffusion import paths
from audiocm.distillation import methods, timesteps


def test_ct_curriculum():
    total, steps = 800, (0, 1, 100, 400, 800)
    n = [timesteps.ct_intervals()(k / total).item() + 1 for k in steps]
    mu = [timesteps.ct_target_ema()(k / total).item() for k in steps]
    assert n == [2, 6, 54, 107, 151]
    assert mu == pytest.approx([0.81, 0.958732, 0.996032, 0.998014, 0.998596], abs=1e-6)


def test_ict_curriculum_and_shares():
    stages = [timesteps.ict_intervals()((k + 0.5) / 8).item() for k in range(8)]
    assert stages == [10, 20, 40, 80, 160, 320, 640, 1280]
    shares = timesteps.lognormal_shares(paths.edm.grid(11).flip(0))
    golden = [0.063, 0.182, 0.246, 0.214, 0.142, 0.081, 0.041, 0.020, 0.009, 0.004]
    assert shares.tolist() == pytest.approx(golden, abs=6e-4) and shares.sum().item() == pytest.approx(1)
    torch.manual_seed(0)
    drawn = timesteps.lognormal_neighbours(lambda progress: 10)(paths.edm, torch.zeros(200_000, 1), 0.0)
    grid = timesteps.grid_time(paths.edm, torch.arange(11.0), 10)
    expected = timesteps.lognormal_shares(grid.flip(0)).flip(0)
    counted = torch.stack([(drawn.t == level).float().mean() for level in grid[:-1]])
    torch.testing.assert_close(counted, expected, atol=0.004, rtol=0)


def test_ect_ratios():
    t = times(0.1, 1, 10)
    golden = {0: (0, 0, 0.4998), 1: (0, 0.2121, 0.7499), 3: (0.7, 0.803, 0.9375), 7: (0.9812, 0.9877, 0.9961)}
    for stage, ratios in golden.items():
        assert timesteps.ect_ratio(t, stage).tolist() == pytest.approx(ratios, abs=6e-5)


SAMPLERS = {
    "lognormal": timesteps.lognormal(),
    "latent_times": methods.latent_times,
    "uniform": timesteps.uniform,
    "always_t_max": timesteps.always_t_max,
    "grid_neighbours": timesteps.grid_neighbours(18),
    "grid_neighbours-stride": timesteps.grid_neighbours(20, stride=3),
    "grid_neighbours-ct": timesteps.grid_neighbours(timesteps.ct_intervals()),
    "strides": timesteps.strides(),
    "lognormal_neighbours": timesteps.lognormal_neighbours(timesteps.ict_intervals(10, 40)),
    "ect": timesteps.ect(),
    "grid_triples": timesteps.grid_triples(18, 4),
    "nested_intervals": timesteps.nested_intervals(4),
    "nested_intervals-1": timesteps.nested_intervals(1),
    "with_target_time_equal_t": timesteps.with_target_time_equal_t(timesteps.uniform),
    "dyadic_intervals": timesteps.dyadic_intervals(),
    "random_spans": timesteps.random_spans(0.5),
    "logitnormal_pairs": timesteps.logitnormal_pairs(),
    "random_target_times": timesteps.random_target_times(methods.latent_times),
    "discrete_levels": timesteps.discrete_levels((80.0, 5.0, 0.3)),
}


@pytest.mark.parametrize("path", [paths.edm, paths.rectified, paths.trig], ids=["edm", "rectified", "trig"])
@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS.keys())
def test_times_are_in_order(sampler, path):
    torch.manual_seed(0)
    for progress in (0.0, 0.4, 1.0):
        t, r, s = sampler(path, torch.zeros(2000, 3), progress)
        assert t.shape == (2000,) and t.dtype == torch.float32
        assert (t >= path.t_min * 0.999).all() and (t <= path.t_max * (1 + 1e-6)).all()
        assert (r <= t).all() and (r >= 0).all()
        assert s is None or ((s <= r * (1 + 1e-6)).all() and (s >= 0).all())


def test_lcm_strides():
    t, r, _ = timesteps.strides(50)(paths.ddpm(paths.scaled_linear_betas()), torch.zeros(5000, 1), 0)
    assert sorted(set((t - 1).tolist())) == list(range(19, 1000, 20)) and set((t - r).tolist()) == {20.0}


def test_grids_nest_for_progressive_distillation():
    coarse = set(timesteps.nested_intervals(4)(paths.edm, torch.zeros(500, 1), 0).r.tolist())
    fine = set(timesteps.nested_intervals(8)(paths.edm, torch.zeros(500, 1), 0).t.tolist())
    assert all(min(abs(a - b) / a for b in fine) < 1e-5 for a in coarse)
