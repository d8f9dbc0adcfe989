"""Every method against closed forms: stationary at the true flow map of Gaussian data, and exact fixed points."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tiny import Gaussian

from audiocm.diffusion import paths, solvers
from audiocm.diffusion.denoiser import Condition, adapt
from audiocm.diffusion.guidance import guided_net
from audiocm.diffusion.paths import broadcast_like
from audiocm.diffusion.solvers import euler, heun, with_substeps
from audiocm.distillation import methods, timesteps
from audiocm.distillation.losses import l2
from audiocm.distillation.method import Method, Mix
from audiocm.distillation.states import NoisePair, Timesteps, data_field
from audiocm.distillation.targets import (
    consistency_target,
    continuous_target,
    distribution_matching_target,
    score_distillation_target,
    trajectory_target,
    trig_gain,
)

WIDE = paths.EDM(t_max=1e7)  # with a time for nearly every noise level of the rectified path
TRUTH = Gaussian(paths.edm, mu=0.5, s=0.8, mu_null=-0.3)
BATCH, DIM = 3000, 64


def pairs_of_edm(teacher, steps):
    """Reflow on pairs from sigma = 80, for networks of WIDE."""
    return replace(methods.reflow(teacher, steps), net_path=WIDE)


def batch():
    torch.manual_seed(0)
    x = TRUTH.mu + TRUTH.s * torch.randn(BATCH, DIM, dtype=torch.float64)
    return x, Condition(pooled=torch.zeros(BATCH, 1, dtype=torch.float64))


class Nudged:
    """A true network plus small changes, c_out(t) (theta_0 + theta_1 x_in + theta_2 ln t + theta_3 s/t)."""

    def __init__(self, net, size=0.0):
        self.net, self.theta = net, torch.full((4,), size, dtype=torch.float64, requires_grad=True)

    def __call__(self, x, t, s=None, cond=None):
        c_in = broadcast_like((1 + t**2).rsqrt(), x)
        share = torch.zeros_like(t) if s is None else s / t
        basis = (torch.ones_like(x), c_in * x, broadcast_like(t.log(), x) + 0 * x, broadcast_like(share, x) + 0 * x)
        change = sum(a * b for a, b in zip(self.theta, basis, strict=True))
        return self.net(x, t, s, cond) + broadcast_like(t, x) * c_in * change


def relative_gradient(method, net, target=None, x=None):
    """|gradient| at `net` over |gradient| at nets nudged by +-0.05: 0 where the method is stationary."""
    x_data, cond = batch()
    sizes = []
    for size in (0.0, 0.05, -0.05):
        student = Nudged(net, size)
        torch.manual_seed(1)
        loss = method.loss(student, target or net, x_data if x is None else x, cond, 0.999)
        sizes.append(torch.autograd.grad(loss, student.theta)[0].norm().item())
    return sizes[0] / max(sizes[1:])


student, teacher = TRUTH.student, TRUTH.denoise
wide_student, wide_teacher = (getattr(Gaussian(WIDE, 0.5, 0.8, -0.3), name) for name in ("student", "denoise"))
WIDELY = {"net_path": WIDE}


def squared(method):
    """The method with squared error; pseudo-Huber's gradient shrinks with the error only below c."""
    if isinstance(method, Mix):
        return replace(method, parts=tuple((share, squared(part)) for share, part in method.parts))
    return replace(method, distance=l2)


def student_of(w):
    """The true student of one fixed guidance weight, which is no input."""
    return lambda x, t, s=None, cond=None: student(x, t, s, cond.with_guidance(torch.full((len(x),), float(w))))


def reflowed(x, t, s=None, cond=None):
    """Reflow's optimum for pairs x_0 = mu' + s' eps of this teacher from sigma = 80: constant along every path."""
    k = TRUTH.s / (TRUTH.s**2 + 80.0**2) ** 0.5
    mu, spread = TRUTH.mu * (1 - k), 80 * k
    return mu + spread * (x - mu) / (spread + broadcast_like(t, x))


# name -> (method whose solver is refined k times, its optimum, limit of the relative gradient at k = 1, least gain from
# k = 1 to 4). The relative gradient falls with the solver's order, by about 4 or 16. Limits are 1.1 to 5 times the
# value at these seeds.
SOLVED = {
    "cd": (lambda k: methods.cd(teacher, solver=with_substeps(k, heun)), student, 0.006, 12),
    "cd-euler": (lambda k: methods.cd(teacher, solver=with_substeps(k, euler)), student, 0.02, 3.5),
    "lcm": (lambda k: methods.lcm(teacher, target=consistency_target(with_substeps(k, euler))), student, 0.01, 3.5),
    "lcm-lora": (
        lambda k: methods.lcm_lora(teacher, 3.0, target=consistency_target(with_substeps(k, euler))),
        student_of(3),
        0.01,
        3.5,
    ),
    "consistencytta": (
        lambda k: methods.consistencytta(teacher, target=consistency_target(with_substeps(k, heun))),
        student,
        0.006,
        12,
    ),
    "comospeech": (
        lambda k: methods.comospeech(teacher, target=consistency_target(with_substeps(k, euler))),
        student,
        0.002,
        3.5,
    ),
    "audiolcm": (lambda k: methods.audiolcm(teacher, substeps=2 * k), student, 0.005, 3.5),
    "ctm": (lambda k: methods.ctm(teacher, substeps=2 * k, denoising=0.0), student, 0.1, 12),
    "soundctm": (lambda k: methods.soundctm(teacher, substeps=2 * k, denoising=0.0), student, 0.12, 12),
    "tcd": (lambda k: methods.tcd(teacher, target=consistency_target(with_substeps(k, euler))), student, 0.01, 3.5),
    "progressive": (
        lambda k: methods.progressive(teacher, 8, target=trajectory_target(with_substeps(k, euler))),
        student,
        0.08,
        3.5,
    ),
    "zipvoice": (
        lambda k: methods.zipvoice(wide_teacher, target=trajectory_target(with_substeps(k, euler)), **WIDELY),
        wide_student,
        0.6,
        3,
    ),
    "reflow": (lambda k: pairs_of_edm(teacher, 18 * k), reflowed, 0.25, 12),
    "ct": (lambda k: methods.ct(last=20 * k), student, 0.02, 3.5),  # here the grid is refined: the field is the data
    "ict": (lambda k: methods.ict(last=20 * k), student, 0.3, 3.5),
    "ect": (lambda k: methods.ect(stages=4 + 2 * k), student, 0.004, 12),
}


@pytest.mark.parametrize(("refined", "optimum", "limit", "gain"), SOLVED.values(), ids=SOLVED.keys())
def test_the_truth_is_stationary_up_to_the_solver(refined, optimum, limit, gain):
    coarse, fine = (relative_gradient(squared(refined(k)), optimum) for k in (1, 4))
    assert coarse < limit
    assert fine < coarse / gain


# Nothing is discretised: stationary exactly with a teacher, and up to the noise of the batch with data (1.5 to
# 10 times the value at these seeds).
EXACT = {
    "diffusion": (methods.diffusion(), teacher, 0.1),
    "guidance-distillation": (methods.guidance_distillation(teacher), teacher, 1e-9),
    "rectified-flow": (methods.rectified_flow(**WIDELY), wide_teacher, 0.02),
    "shortcut": (methods.shortcut(**WIDELY), wide_student, 0.01),
    "zipvoice-self": (methods.zipvoice_self(**WIDELY), wide_student, 1e-9),
    "meanflow": (methods.meanflow(**WIDELY), wide_student, 0.03),
    "continuous-cd": (methods.continuous_cd(teacher), student, 1e-9),
    "continuous-ct": (methods.continuous_ct(), student, 0.005),
    "scd": (methods.scd(teacher), student, 1e-9),
    "scd-guided": (methods.scd(guided_net(teacher, 3.0)), student_of(3), 1e-9),
    "sct": (methods.sct(), student, 0.1),
}


@pytest.mark.parametrize(("method", "optimum", "limit"), EXACT.values(), ids=EXACT.keys())
def test_the_truth_is_stationary(method, optimum, limit):
    assert relative_gradient(method, optimum) < limit


def test_regression_is_stationary_on_its_pairs():
    eps = torch.randn(BATCH, DIM, dtype=torch.float64)
    top = torch.full((BATCH,), 80.0, dtype=torch.float64)
    pairs = NoisePair(TRUTH.flow(80 * eps, top, torch.zeros_like(top)), eps)
    assert relative_gradient(methods.regression(), student, x=pairs) < 1e-9


def test_every_method_is_tested():
    """A new method has to be put into a test here."""
    assert set(methods.METHODS) <= {*SOLVED, *EXACT, "regression", "add", "dmd2"}


def test_wrong_methods_are_not_stationary():
    """The tests above can fail: at the diffusion estimate, for a swapped sign, and for a swapped end."""
    assert relative_gradient(methods.cd(teacher), teacher) > 0.05
    backwards = continuous_target(lambda path, t: -trig_gain(path, t))
    assert relative_gradient(methods.scd(teacher, target=backwards), teacher) > 0.1

    def swapped(path, x, progress):
        t, r, _ = timesteps.grid_neighbours(18)(path, x, progress)
        return Timesteps(t, r, r)

    def jump_to_zero(x, t, s=None, cond=None):
        return student(x, t)

    assert relative_gradient(methods.cd(teacher, timesteps=swapped), jump_to_zero) > 0.1


def test_short_jumps_of_shortcut_models_are_tied_to_the_data():
    """A network with the true velocity at s = t whose jumps are those of another law is not at rest."""
    other = Gaussian(WIDE, -0.4, 0.5).student

    def jumps_of_another_law(x, t, s=None, cond=None):
        at_t = broadcast_like(s > t * (1 - 1e-9), x)
        return torch.where(at_t, wide_teacher(x, t, s, cond), other(x, t, s, cond))

    halving = methods.shortcut(**WIDELY).parts[1][1]
    assert relative_gradient(halving, jumps_of_another_law) > 20 * relative_gradient(halving, wide_student)


# --- fixed points -----------------------------------------------------------------------------------------------------


def euler_chain(levels, s):
    """a_n of f_n(x) = mu + a_n (x - mu): what n Euler steps from each level to the last do to Gaussian data."""
    slopes = [1.0]
    for low, high in pairwise(reversed(levels)):
        slopes.append(slopes[-1] * (1 - (high - low) * high / (s**2 + high**2)))
    return slopes


def test_consistency_training_ends_at_the_euler_chain():
    """CT by exact least squares, one grid time after the other: f_n(x) = mu + a_n (x - mu) with the chain's a_n.

    The batch is whitened so that sample moments are the true ones, and the regression has no noise.
    """
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(2, 4000, generator=generator, dtype=torch.float64)
    raw -= raw.mean(1, keepdim=True)
    white = torch.linalg.solve(torch.linalg.cholesky(raw @ raw.T / 4000), raw)
    x, eps = (0.7 + 1.3 * white[0])[:, None], white[1][:, None]
    levels = [80.0, *paths.edm.grid(11)[1:].tolist(), 0.0]
    fitted = {}

    def net(x_t, t, s=None, cond=None):
        intercept, slope = fitted[round(float(t[0]), 9)]
        return intercept + slope * x_t

    for low, high in pairwise(reversed(levels)):
        t, r = (torch.full((4000,), level, dtype=torch.float64) for level in (high, low))
        method = Method(lambda path, x, progress, t=t, r=r: Timesteps(t, r), consistency_target(euler))
        state = method.draw_states(NoisePair(x, eps), None, 0.0)
        fitted.setdefault(round(paths.edm.t_min, 9), (0.0, 1.0))  # called, and then not used, by the step to 0
        target = method.target(state, data_field(state, net), net, None)
        design = torch.cat([torch.ones_like(x), state.x_t], 1)
        solution = torch.linalg.lstsq(design, target).solution[:, 0]
        fitted[round(high, 9)] = tuple(solution.tolist())
    slopes = [fitted[round(level, 9)][1] for level in reversed(levels[:-1])]
    assert slopes == pytest.approx(euler_chain(levels, 1.3)[1:], rel=1e-9)
    assert euler_chain(paths.edm.grid(11).tolist(), 1.3)[-1] == pytest.approx(0.012684, abs=1e-6)
    assert euler_chain(paths.edm.grid(18).tolist(), 1.3)[-1] == pytest.approx(0.01404, abs=1e-5)


def test_progressive_distillation_composes():
    """Three exact halvings, 8 -> 1: the last student's one step is the first teacher's eight Euler steps."""
    net = teacher
    x = torch.linspace(-200, 200, 5, dtype=torch.float64)[:, None]
    for steps in (4, 2, 1):
        net = _next_student(net, steps)
    top = torch.full((5,), 80.0, dtype=torch.float64)
    one = paths.edm.step(x, top, torch.zeros_like(top), net(x, top, torch.zeros_like(top)))
    chain = solvers.sample(teacher, paths.edm, x / 80, None, solvers.student_times(paths.edm, 8), solver=euler)
    torch.testing.assert_close(one, chain, rtol=1e-9, atol=1e-9)


def _next_student(previous, steps):
    """The target of `progressive`, evaluated at any of its times (each t of the grid has one s)."""
    method = methods.progressive(previous, steps)
    grid = [80.0, *paths.edm.grid(2 * steps + 1)[1:-1].tolist(), 0.0]

    def net(x, t, s=None, cond=None):
        place = min(range(len(grid)), key=lambda i: abs(grid[i] - float(t[0])))
        ends = Timesteps(t, *(torch.full_like(t, grid[place + k]) for k in (1, 2)))
        state = replace(method, timesteps=lambda *_: ends).draw_states(x, cond, 0.0)
        state = replace(state, x_t=x)
        return method.target(state, method.field(state, None), None, None)

    return net


def test_one_step_is_exact_after_reflow():
    noise = torch.linspace(-2, 2, 7, dtype=torch.float64)[:, None]
    top = torch.full((7,), 80.0, dtype=torch.float64)
    exact = TRUTH.flow(80 * noise, top, torch.zeros_like(top))
    straight = adapt(reflowed, WIDE, paths.rectified)
    one = solvers.sample(straight, paths.rectified, noise, times=[1 - 1e-9, 0.0], solver=euler)
    torch.testing.assert_close(one, exact, rtol=1e-6, atol=1e-6)


def test_guided_gaussian():
    """Guidance w turns N(mu, s^2) and N(mu_null, s^2) into N(mu_null + w (mu - mu_null), s^2), exactly; in one call."""
    calls = []

    def counted(x, t, s=None, cond=None):
        calls.append(len(x))
        return teacher(x, t, s, cond)

    x, cond = torch.randn(6, 3, dtype=torch.float64), Condition(pooled=torch.zeros(6, 1))
    t, w = torch.full((6,), 1.5, dtype=torch.float64), torch.linspace(0, 5, 6)
    field = guided_net(counted)(x, t, None, cond.with_guidance(w))
    assert calls == [12]
    torch.testing.assert_close(field, teacher(x, t, None, cond.with_guidance(w)))
    torch.testing.assert_close(guided_net(teacher, 1.0)(x, t, None, cond), teacher(x, t, None, cond))
    lcm = teacher(x, t, None, cond) + 2 * (teacher(x, t, None, cond) - teacher(x, t, None, cond.as_null()))
    torch.testing.assert_close(guided_net(teacher, 3.0)(x, t, None, cond), lcm)
    t = torch.tensor([0.5, 1.0, 1.5, 2.0, 2.5, 3.0], dtype=torch.float64)
    limited = guided_net(teacher, 3.0, interval=(1.0, 2.0))(x, t, None, cond)
    inside = torch.tensor([False, False, True, True, False, False])[:, None]
    everywhere = guided_net(teacher, 3.0)(x, t, None, cond)
    torch.testing.assert_close(limited, torch.where(inside, everywhere, teacher(x, t, None, cond)))


def test_meanflow_guidance_is_w_over_one_less_share():
    """MeanFlow's omega, kappa: the fixed point is the field guided with w = omega / (1 - kappa)."""
    omega, kappa = 1.5, 0.4
    optimum = student_of(omega / (1 - kappa))

    def net(x, t, s=None, cond=None):  # the guided field for conditional rows, the plain one for null rows
        return teacher(x, t, s, cond) if cond.null is not None else optimum(x, t, t if s is None else s, cond)

    changes = {"timesteps": timesteps.with_target_time_equal_t(timesteps.uniform), "distance": l2}
    method = methods.meanflow(scale=omega, share=kappa, net_path=paths.edm, **changes)
    assert relative_gradient(method, net, target=_both(net)) < 0.02


def _both(net):
    """`net` for a batch whose second half is null."""

    def split(x, t, s=None, cond=None):
        if cond.null is None:
            return net(x, t, s, cond)
        half = len(x) // 2
        plain = Condition(pooled=cond.pooled[:half])
        return torch.cat([net(x[:half], t[:half], s[:half], plain), teacher(x[half:], t[half:], None, plain.as_null())])

    return split


def test_score_distillation_shrinks_as_the_posterior_does():
    """ADD's second term alone is not stationary: its target is mu + k (x - mu), k = E s^2/(s^2 + sigma^2)."""
    target = score_distillation_target(lambda path, x, p: Timesteps(torch.full((len(x),), 0.6).double(), None))
    x, cond = batch()
    state = methods.diffusion().draw_states(x, cond, 0.0)
    k = TRUTH.s**2 / (TRUTH.s**2 + 0.6**2)
    expected = TRUTH.mu + k * (x - TRUTH.mu)
    assert (target(state, lambda x, t: teacher(x, t, None, cond), None, x) - expected).mean().abs() < 2e-3


@pytest.mark.parametrize("shift", [0.5, -0.5])
def test_distribution_matching_moves_samples_towards_the_data(shift):
    """DMD2's sign: a student whose samples are off by `shift`, with the fake score of its samples, moves back."""
    off = Gaussian(paths.edm, TRUTH.mu + shift, TRUTH.s).denoise
    target = distribution_matching_target(timesteps.lognormal(-0.4, 1.6), off)
    x, cond = batch()
    state = methods.diffusion().draw_states(x, cond, 0.0)

    def real(x, t):
        return teacher(x, t, None, cond)

    change = target(state, real, None, x + shift) - (x + shift)
    assert (change.mean() * shift).item() < 0
    unchanged = distribution_matching_target(timesteps.lognormal(-0.4, 1.6), teacher)(state, real, None, x)
    torch.testing.assert_close(unchanged, x)
