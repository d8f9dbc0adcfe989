"""The pieces: schedules, distances, masks, dropout, tangents, critics, editing, refusals."""

import math
from dataclasses import replace

import pytest
import torch
from tiny import Gaussian, TinyNet, ring, times

from audiocm.diffusion import editing, paths, solvers
from audiocm.diffusion.denoiser import Condition
from audiocm.diffusion.solvers import heun
from audiocm.distillation import lora, methods
from audiocm.distillation import timesteps as schedules
from audiocm.distillation.adversarial import Discriminator, FakeScore, StudentSamples
from audiocm.distillation.losses import (
    adaptive_l2,
    huber,
    l1,
    l2,
    min_snr,
    snr,
    truncated_snr,
    uncertainty_weighted_error,
)
from audiocm.distillation.method import Method, Mix
from audiocm.distillation.states import (
    NoisePair,
    Timesteps,
    TrainingState,
    backward_simulation,
    pure_noise_at_t_max,
    teacher_field,
)
from audiocm.distillation.targets import (
    consistency_target,
    continuous_target,
    exact_derivative,
    finite_difference,
    grid_gain,
    normalize_tangent,
    regression_target,
    trig_gain,
)
from audiocm.models.adapters import HiddenFeatures, LogVarianceDenoiser
from audiocm.models.transformer import LatentTransformer


def anything(x, t, s=None, cond=None):
    """A smooth net with a say in t and s."""
    s = torch.zeros_like(t) if s is None else s
    return torch.sin(x / (1 + t[:, None]) + 0.3 * torch.log1p(t)[:, None] + 0.1 * s[:, None]) * 1.2


# --- schedules: golden numbers ----------------------------------------------------------------------------------------


def test_ct_curriculum():
    total, at = 800, (0, 1, 100, 400, 800)
    n = [schedules.ct_intervals()(k / total).item() + 1 for k in at]
    mu = [schedules.ct_target_ema()(k / total).item() for k in at]
    assert n == [2, 6, 54, 107, 151]
    assert mu == pytest.approx([0.81, 0.958732, 0.996032, 0.998014, 0.998596], abs=1e-6)


def test_ict_curriculum_and_shares():
    stages = [schedules.ict_intervals()((k + 0.5) / 8).item() for k in range(8)]
    assert stages == [10, 20, 40, 80, 160, 320, 640, 1280]
    shares = schedules.lognormal_shares(paths.edm.grid(11).flip(0))
    golden = [0.063, 0.182, 0.246, 0.214, 0.142, 0.081, 0.041, 0.020, 0.009, 0.004]
    assert shares.tolist() == pytest.approx(golden, abs=6e-4) and shares.sum().item() == pytest.approx(1)
    torch.manual_seed(0)
    drawn = schedules.lognormal_neighbours(lambda p: 10)(paths.edm, torch.zeros(200_000, 1), 0.0)
    grid = schedules.grid_time(paths.edm, torch.arange(11.0), 10)
    wanted = schedules.lognormal_shares(grid.flip(0)).flip(0)
    counted = torch.stack([(drawn.t == level).float().mean() for level in grid[:-1]])
    torch.testing.assert_close(counted, wanted, atol=0.004, rtol=0)


def test_ect_ratios():
    t = times(0.1, 1, 10)
    golden = {0: (0, 0, 0.4998), 1: (0, 0.2121, 0.7499), 3: (0.7, 0.803, 0.9375), 7: (0.9812, 0.9877, 0.9961)}
    for stage, ratios in golden.items():
        assert schedules.ect_ratio(t, stage).tolist() == pytest.approx(ratios, abs=6e-5)


def test_huber_constant_of_ict():
    """c = .00054 sqrt(d) on the norm is c = .00054 on the RMS, times sqrt(d)."""
    d = 3072
    assert 0.00054 * d**0.5 == pytest.approx(0.02992984, abs=1e-8)
    a, b = torch.randn(2, 4, d, dtype=torch.float64)
    theirs = ((a - b).square().sum(1) + 0.00054**2 * d).sqrt() - 0.00054 * d**0.5
    torch.testing.assert_close(huber()(a, b, None) * d**0.5, theirs)
    error = torch.full((1, d), 3.0, dtype=torch.float64)
    assert huber(1e-4)(error, 0 * error, None).item() == pytest.approx(3.0, rel=1e-4)
    assert huber(1e4)(error, 0 * error, None).item() == pytest.approx(9 / 2e4, rel=1e-4)


PROPOSALS = {
    "lognormal": schedules.lognormal(),
    "latent": methods.latent_times,
    "uniform": schedules.uniform,
    "top": schedules.always_t_max,
    "neighbours": schedules.grid_neighbours(18),
    "strided": schedules.grid_neighbours(20, stride=3),
    "strides": schedules.strides(),
    "curriculum": schedules.grid_neighbours(schedules.ct_intervals()),
    "ict": schedules.lognormal_neighbours(schedules.ict_intervals(10, 40)),
    "ect": schedules.ect(),
    "triples": schedules.grid_triples(18, 4),
    "halves": schedules.nested_intervals(4),
    "one": schedules.nested_intervals(1),
    "itself": schedules.with_target_time_equal_t(schedules.uniform),
    "dyadic": schedules.dyadic_intervals(),
    "spans": schedules.random_spans(0.5),
    "meanflow": schedules.logitnormal_pairs(),
    "jumps": schedules.random_target_times(methods.latent_times),
    "among": schedules.discrete_levels((80.0, 5.0, 0.3)),
}


@pytest.mark.parametrize("path", [paths.edm, paths.rectified, paths.trig], ids=["edm", "rectified", "trig"])
@pytest.mark.parametrize("proposal", PROPOSALS.values(), ids=PROPOSALS.keys())
def test_times_are_in_order(proposal, path):
    torch.manual_seed(0)
    for progress in (0.0, 0.4, 1.0):
        t, r, s = proposal(path, torch.zeros(2000, 3), progress)
        assert t.shape == (2000,) and t.dtype == torch.float32
        assert (t >= path.t_min * 0.999).all() and (t <= path.t_max * (1 + 1e-6)).all()
        assert (r <= t).all() and (r >= 0).all()
        assert s is None or ((s <= r * (1 + 1e-6)).all() and (s >= 0).all())


def test_lcm_strides():
    t, r, _ = schedules.strides(50)(paths.ddpm(paths.scaled_linear_betas()), torch.zeros(5000, 1), 0)
    assert sorted(set((t - 1).tolist())) == list(range(19, 1000, 20)) and set((t - r).tolist()) == {20.0}


def test_grids_nest_for_progressive_distillation():
    coarse = set(schedules.nested_intervals(4)(paths.edm, torch.zeros(500, 1), 0).r.tolist())
    fine = set(schedules.nested_intervals(8)(paths.edm, torch.zeros(500, 1), 0).t.tolist())
    assert all(min(abs(a - b) / a for b in fine) < 1e-5 for a in coarse)


# --- distances, weights, masks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [l2, l1, huber(0.03), adaptive_l2()], ids=["l2", "l1", "huber", "adaptive"])
def test_padding_does_not_count(distance):
    """Same value as on the cut sample, whatever is in the padding; each sample on its own."""
    a, b = torch.randn(2, 3, 4, 10)
    mask = torch.arange(10)[None] < torch.tensor([10, 6, 3])[:, None]
    whole = distance(a, b, mask)
    for row, length in enumerate((10, 6, 3)):
        alone = distance(a[row : row + 1, :, :length], b[row : row + 1, :, :length], None)
        torch.testing.assert_close(whole[row : row + 1], alone)
    torch.testing.assert_close(distance(a + 1e3 * ~mask[:, None], b, mask), whole)


def test_adaptive_gradient():
    """S / sg(S + c)^p has the gradient 2 e / (S + c)^p."""
    e = torch.randn(2, 5, dtype=torch.float64, requires_grad=True)
    gradient = torch.autograd.grad(adaptive_l2(0.75, 0.01)(e, torch.zeros_like(e), None).sum(), e)[0]
    error = e.detach().square().mean(1, keepdim=True)
    torch.testing.assert_close(gradient, 2 * e.detach() / 5 / (error + 0.01) ** 0.75)


def draw_at(t, path=paths.edm, x=None):
    x = torch.zeros(len(t), 1, dtype=t.dtype) if x is None else x
    return TrainingState(path, path, x, x, x, t, t, None, None, 0.0)


def test_weights():
    d = draw_at(times(0.5, 2.0, 80.0))
    assert snr(d).tolist() == pytest.approx([4, 0.25, 1.5625e-4])
    assert truncated_snr(d).tolist() == pytest.approx([4, 1, 1])
    assert min_snr(3)(d).tolist() == pytest.approx([3, 0.25, 1.5625e-4])


TINY = {"channels": 4, "width": 16, "depth": 1, "heads": 2, "token_width": 6, "pooled_width": 6, "max_frames": 16}


def backbone(**extra):
    net = LatentTransformer(**TINY, **extra)
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(std=0.2)
    return net


def masked_batch():
    torch.manual_seed(3)
    cond = Condition(
        tokens=torch.randn(4, 3, 6),
        token_mask=torch.ones(4, 3, dtype=torch.bool),
        pooled=torch.randn(4, 6),
        mask=torch.arange(12)[None] < torch.tensor([12, 8, 5, 12])[:, None],
        null=torch.tensor([False, False, False, True]),
    )
    return torch.randn(4, 4, 12), cond


@pytest.fixture(scope="module")
def backbones():
    torch.manual_seed(0)
    told = {"guidance_range": (0.0, 6.0), "target_time": True}
    return backbone().eval().requires_grad_(False), backbone(**told), backbone(**told).requires_grad_(False)


NAMES = sorted(methods.family(Gaussian(paths.edm).denoise))


@pytest.mark.parametrize("name", NAMES)
def test_every_method_trains_the_backbone_and_ignores_padding(name, backbones):
    """Finite loss and gradients; nothing reaches the target; what is in x's padding changes neither."""
    teacher, student, target = backbones
    method = methods.family(teacher)[name]
    x, cond = masked_batch()
    results = []
    for padding in (0.0, 50.0):
        filled = torch.where(cond.mask[:, None], x, padding)
        batch = NoisePair(filled, torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
        torch.manual_seed(5)
        student.zero_grad()
        loss = method.loss(student, target, batch if name == "regression" else filled, cond, 0.5)
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in student.parameters() if p.grad is not None]).norm()
        results.append((loss.item(), norm.item()))
    assert all(math.isfinite(value) for result in results for value in result)
    assert results[0][1] > 0 or name == "dmd2"  # fake and teacher agree at the start
    assert results[1] == pytest.approx(results[0], rel=1e-4, abs=1e-6)
    assert all(p.grad is None for p in (*target.parameters(), *teacher.parameters()))


GRAPHED = ["diffusion", "guidance-distillation", "cd", "ct", "ect", "consistencytta", "lcm", "ctm", "tcd", "shortcut"]


@pytest.mark.parametrize("name", [*GRAPHED, "regression"])
def test_a_step_never_waits_for_the_device(name):
    """The loss traces into one graph with progress as a tensor: no .item(), no branch on a value."""
    torch._dynamo.reset()
    truth = Gaussian(paths.edm)
    method = methods.family(truth.denoise)[name]
    net, target = TinyNet(2), TinyNet(2).requires_grad_(False)
    x = torch.randn(8, 2)
    batch = NoisePair(x, x.flip(0)) if name == "regression" else x
    cond = Condition(pooled=torch.zeros(8, 1))
    teacher = lambda x_t, t, s=None, cond=None: x_t / (1 + t[:, None] ** 2)  # noqa: E731
    method = methods.family(teacher)[name]

    def loss(progress):
        return method.loss(net, target, batch, cond, progress)

    value = torch.compile(loss, backend="eager", fullgraph=True)(torch.tensor(0.4))
    assert torch.isfinite(value)


def test_soundctm_in_the_teachers_hidden_layers(backbones):
    """Features of both blocks' outputs, per frame; the student learns through them; padding stays out."""
    teacher, student, target = backbones
    blocks = [m for m in teacher.modules() if type(m).__name__ == "Block"]
    hidden = HiddenFeatures(teacher, blocks)
    x, cond = masked_batch()
    t = torch.full((4,), 0.5)
    features = hidden(x, t, cond)
    assert features.shape == (4, 16 * len(blocks), 12)
    assert features.square().mean(1)[cond.mask].mean().item() == pytest.approx(1, rel=1e-3)
    method = methods.soundctm(teacher, hidden)
    losses = []
    for padding in (0.0, 9.0):
        torch.manual_seed(0)
        losses.append(method.loss(student, target, torch.where(cond.mask[:, None], x, padding), cond, 0.5))
    student.zero_grad()
    losses[0].backward()
    assert any(p.grad is not None and p.grad.norm() > 0 for p in student.parameters())
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    assert not any(block._forward_hooks for block in blocks)


# --- the method's own promises ----------------------------------------------------------------------------------------


def test_both_sides_of_a_pair_see_one_dropout_mask():
    class Dropped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.drop, self.seen = torch.nn.Dropout(0.5), []

        def forward(self, x, t, s=None, cond=None):
            self.seen.append(self.drop(torch.ones_like(x)))
            return x / (1 + t[:, None])

    net = Dropped().train()
    x = torch.randn(16, 8)
    methods.ect().loss(net, None, x, None, 0.5)
    assert torch.equal(net.seen[0], net.seen[1])
    before = [net.seen[0]]
    methods.ect().loss(net, None, x, None, 0.5)
    assert not torch.equal(net.seen[2], before[0])  # and the next step another one
    net.eval()
    methods.ect().loss(net, None, x, None, 0.5)


def test_training_without_pairs_leaves_the_random_state_alone(monkeypatch):
    """Reading it waits for the device, which no recorded step may: a teacher with dropout has no pair to keep alike."""
    monkeypatch.setattr(torch, "get_rng_state", lambda: pytest.fail("the random state was read"))
    net = Wrapped(torch.nn.Dropout(0.5)).train()
    methods.diffusion().loss(net, None, torch.randn(16, 8), None, 0.5)


class Wrapped(torch.nn.Module):
    """A contract net around a plain one."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x_t, t, s=None, cond=None):
        return self.net(x_t)


def test_pure_noise_at_the_top():
    x, eps, t = torch.ones(2, 3), torch.ones(2, 3), torch.tensor([80.0, 2.0])
    assert pure_noise_at_t_max(paths.edm, x, eps, t).tolist() == [[80.0] * 3, [3.0] * 3]


def test_heun_with_guidance_is_two_teacher_calls():
    calls = []

    def teacher(x, t, s=None, cond=None):
        calls.append(len(x))
        return x * 0

    method = methods.consistencytta(teacher)
    method.loss(
        lambda x, t, s=None, cond=None: x * 0, None, torch.randn(6, 2), Condition(pooled=torch.zeros(6, 1)), 0.1
    )
    assert calls == [12, 12]


def test_batch_order_does_not_matter():
    """Goals are per sample: permuting a batch permutes the goal."""
    x, eps = torch.randn(2, 6, 3, dtype=torch.float64)
    order = torch.randperm(6)
    t, r, s = (torch.linspace(1, 3, 6, dtype=torch.float64) * k for k in (1.0, 0.6, 0.3))
    goals = []
    for rows in (torch.arange(6), order):
        method = Method(
            lambda *_, rows=rows: Timesteps(t[rows], r[rows], s[rows]),
            consistency_target(heun),
            teacher_field(anything),
        )
        draw = method.draw(NoisePair(x[rows], eps[rows]), None, 0.0)
        goals.append(method.goal(draw, method.field(draw, anything), anything, None))
    torch.testing.assert_close(goals[0][order], goals[1])


def test_learned_log_variance_finds_the_error():
    """error / e^u + u is least at u = ln E[error]."""
    net = LogVarianceDenoiser(lambda x, t, s=None, cond=None: x, paths.edm)
    optimizer = torch.optim.Adam(net.head.parameters(), 0.03)
    t = torch.linspace(-3, 3, 64).exp()
    error = 0.5 + t.log() ** 2
    for _ in range(600):
        optimizer.zero_grad()
        uncertainty_weighted_error(draw_at(t), net, error).mean().backward()
        optimizer.step()
    assert (net.log_variance(t) - error.log()).abs().mean() < 0.1


def test_rollout_visits_the_students_own_states():
    """Backward simulation with the true student keeps the marginals: each state has the spread of its level."""
    torch.manual_seed(0)
    truth = Gaussian(paths.edm, mu=0.0, s=1.0)
    x = torch.randn(20_000, 1, dtype=torch.float64)
    draw = methods.diffusion().draw(x, None, 0.0)
    for top in (None, 0.6):
        rolled = backward_simulation((80.0, 2.0, 0.5), top)(draw, truth.student)
        shares = [(rolled.t == level).double().mean().item() for level in (80.0, 2.0, 0.5)]
        assert shares == pytest.approx([0.6, 0.2, 0.2] if top else [1 / 3] * 3, abs=0.02)
    for level in (80.0, 2.0, 0.5):
        rows = rolled.t == level
        assert rolled.x_t[rows].std().item() == pytest.approx((1 + level**2) ** 0.5, rel=0.03)


# --- tangents ---------------------------------------------------------------------------------------------------------


def test_jvp_and_differences_agree():
    torch.manual_seed(0)
    x, t = torch.randn(5, 3, dtype=torch.float64), times(0.1, 0.5, 1, 5, 80)
    dx, dt = torch.randn_like(x), 0.3 * t
    here, moved = exact_derivative(anything, x, t, dx, dt)
    there, differences = finite_difference(1e-3)(anything, x, t, dx, dt)
    torch.testing.assert_close(here, there)
    torch.testing.assert_close(differences, moved, rtol=1e-4, atol=1e-5)


def test_jvp_through_the_backbone_under_autocast():
    """bf16 autocast: the derivative is that of float32 to bf16's precision; differences fall back to float32."""
    torch.manual_seed(0)
    net = backbone()
    x, cond = masked_batch()
    t = torch.tensor([0.2, 1.0, 5.0, 60.0])
    call = lambda x, t: net(x, t, None, cond)  # noqa: E731
    dx, dt = torch.randn_like(x), 0.3 * t
    _, plain = exact_derivative(call, x, t, dx, dt)
    _, differences = finite_difference()(call, x, t, dx, dt)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, low = exact_derivative(call, x, t, dx, dt)
    assert (differences - plain).norm() < 0.02 * plain.norm()
    assert (low - plain).norm() < 0.1 * plain.norm()


def scm_goal(x, t, f, dfdt, teacher_velocity, r):
    """sCM's F + g in the paper's letters (sigma_data = 1)."""
    cos, sin = t.cos()[:, None], t.sin()[:, None]
    g = -(cos**2) * (f - teacher_velocity) - r * cos * sin * (x + dfdt)
    return f + g


@pytest.mark.parametrize("warm", [0.0, 0.5, 1.0])
def test_trig_goal_is_scm(warm):
    """Our goal, as F, equals the paper's F + g for an arbitrary net and teacher, at every stage of warm-up."""
    t = times(0.1, 0.7, 1.3, 1.55)
    x = torch.randn(4, 3, dtype=torch.float64)
    teacher = lambda x, t: torch.cos(x) * 0.5  # noqa: E731  (a clean estimate)
    draw = replace(draw_at(t, paths.trig, x), progress=warm)
    goal = continuous_target(trig_gain, warmup=1.0)(draw, teacher, anything, None)
    output = lambda clean, x, t: (t.cos()[:, None] * x - clean) / t.sin()[:, None]  # noqa: E731
    velocity = paths.trig.velocity(x, t, teacher(x, t))
    net_output = lambda x, t: output(anything(x, t), x, t)  # noqa: E731
    f, dfdt = torch.func.jvp(net_output, (x, t), (velocity, torch.ones_like(t)))
    torch.testing.assert_close(output(goal, x, t), scm_goal(x, t, f, dfdt, velocity, warm), rtol=1e-8, atol=1e-8)


def test_rectified_goal_is_meanflow():
    """u = v - (t - s) du/dt for an arbitrary net."""
    t, s = times(0.2, 0.5, 0.9), times(0.0, 0.5, 0.3)
    x = torch.randn(3, 2, dtype=torch.float64)
    teacher = lambda x, t: torch.cos(x) * 0.5  # noqa: E731
    draw = replace(draw_at(t, paths.rectified, x), s=s)
    goal = methods.meanflow().goal(draw, teacher, anything, None)
    v = paths.rectified.velocity(x, t, teacher(x, t))
    average = lambda x, t: (x - anything(x, t, s)) / t[:, None]  # noqa: E731
    _, dudt = torch.func.jvp(average, (x, t), (v, torch.ones_like(t)))
    torch.testing.assert_close((x - goal) / t[:, None], v - (t - s)[:, None] * dudt)


@pytest.mark.parametrize("path", [paths.edm, paths.trig, paths.rectified], ids=["edm", "trig", "rectified"])
def test_continuous_goal_is_the_limit_of_the_discrete(path):
    """agree() over 1/n of the grid -> stand_still with the grid's spacing, error O(1/n^2) in the goal."""
    x, t = torch.randn(4, 2, dtype=torch.float64), path.grid_time(times(0.1, 0.4, 0.6, 0.9))
    teacher, errors = (lambda x, t, s=None: torch.cos(x) * 0.5), []
    for n in (1000, 2000):
        draw = draw_at(t, path, x)
        smooth = continuous_target(grid_gain(n))(draw, teacher, anything, None)
        stepped = consistency_target(heun)(replace(draw, r=t - path.grid_spacing(t) / n), teacher, anything, None)
        errors.append((smooth - stepped).abs().max().item() / (smooth - anything(x, t)).abs().max().item())
    assert errors[0] < 0.1 and errors[0] / errors[1] == pytest.approx(2, abs=0.2)


def test_tangent_normalisation_honours_masks_and_scale():
    """|g| becomes |g| / (|g| + c) over valid frames, whatever the padding holds."""
    x, cond = masked_batch()
    t = torch.full((4,), 0.8)
    draw = replace(draw_at(t, paths.trig, x), cond=cond)
    change = torch.randn(4, 4, 12) * t.sin()[:, None, None]
    for padding in (0.0, 1e4):
        filled = torch.where(cond.mask[:, None], change, padding)
        g = normalize_tangent(0.1)(draw, filled) / t.sin()[:, None, None]
        before = l2(change / t.sin()[:, None, None], 0 * change, cond.mask).sqrt()
        torch.testing.assert_close(l2(g, 0 * g, cond.mask).sqrt(), before / (before + 0.1))


# --- critics ----------------------------------------------------------------------------------------------------------


def test_fake_score_learns_the_students_samples():
    """Trained on a student that always says 1, the fake score says 1; its gradients stop at the student."""
    torch.manual_seed(0)
    method = Method(schedules.always_t_max, regression_target)
    fake = FakeScore(TinyNet(2, 32), StudentSamples(method))
    student = lambda x, t, s=None, cond=None: torch.ones_like(x)  # noqa: E731
    optimizer = torch.optim.Adam(fake.parameters(), 5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        fake.loss(student, None, torch.zeros(128, 2), None, 0.0).backward()
        optimizer.step()
    t = torch.full((64,), 3.0)
    assert (fake(1 + 3 * torch.randn(64, 2), t) - 1).abs().mean() < 0.1


def test_dmd2_tells_each_row_its_guidance():
    """The guided teacher of a Gaussian is the Gaussian around w's mean: nothing to do where the fake is told w, else something."""
    truth = Gaussian(paths.edm, mu_null=-0.2)

    class Fake(torch.nn.Module):
        def forward(self, x_t, t, s=None, cond=None):
            return truth.denoise(x_t, t, s, cond)

    told = methods.dmd2(truth.denoise, Fake(), w=(0.0, 6.0))
    baked = methods.dmd2(truth.denoise, Fake(), w=3.0)
    x, cond = torch.zeros(64, 2, dtype=torch.float64), Condition(null=torch.arange(64) % 4 == 0)
    assert told.loss(truth.student, None, x, cond, 0.0) < 1e-20 < 1e-2 < baked.loss(truth.student, None, x, cond, 0.0)


def test_dmd2_with_its_adversary_trains_two_critics_and_gives_the_student_both_gradients():
    torch.manual_seed(0)
    truth, fake, trunk, student = Gaussian(paths.edm), TinyNet(2, 8), TinyNet(2, 8), TinyNet(2, 8)
    with_it, without = (methods.dmd2(truth.denoise, fake, trunk=one, share=0.5) for one in (trunk, None))
    assert {id(p) for p in with_it.critic.parameters()} == {id(p) for p in (*fake.parameters(), *trunk.parameters())}
    x, gradients = torch.randn(64, 2), []
    with_it.critic.loss(student, None, x, None, 0.0).backward()
    assert all(any(p.grad is not None and p.grad.any() for p in net.parameters()) for net in (fake, trunk))
    assert all(p.grad is None for p in student.parameters())
    for method in (with_it, without):
        torch.manual_seed(1)
        loss = method.loss(student, None, x, None, 0.0)
        gradients.append(torch.autograd.grad(loss, student.last.weight)[0])
    assert gradients[1].any() and (gradients[0] - gradients[1]).abs().max() > 1e-6


def test_one_sample_is_made_once_and_judged_by_all():
    """Both parts and both critics see one and the same estimate: a step of two levels is one roll-out and one call."""
    truth, calls = Gaussian(paths.edm), []

    def student(x_t, t, s=None, cond=None):
        calls.append(len(x_t))
        return truth.denoise(x_t, t, s, cond) + 0.1

    fake, trunk = (TinyNet(2, 8).double() for _ in range(2))
    method = methods.dmd2(truth.denoise, fake, (80.0, 5.0), trunk=trunk, share=0.5)
    x = torch.randn(64, 2, dtype=torch.float64)
    for part in (method, method.critic):
        calls.clear()
        part.loss(student, None, x, None, 0.0)
        assert calls == [64, 64]
    (half, matching), (_, adversary) = method.parts
    alone, other = replace(method, parts=((half, matching),)), Mix(((half, matching),))
    values = []
    for one in (alone, other):
        torch.manual_seed(3)
        values.append(one.loss(student, None, x, None, 0.0))
    assert values[0] == values[1]
    draw = matching.started(student, x, None, 0.0)
    torch.manual_seed(4)
    judged = adversary.compare(student, None, draw, x)
    torch.manual_seed(4)
    assert judged == -adversary.judge.logits(x, None, 0.0).mean()


def test_judge_tells_real_from_made_and_its_gradient_points_home():
    torch.manual_seed(0)
    generated = StudentSamples(Method(schedules.always_t_max, regression_target))
    judge = Discriminator(TinyNet(2, 32), generated, schedules.lognormal(-1, 0.5), smooth=1e-3)
    student = lambda x, t, s=None, cond=None: torch.full_like(x, -1.0) + 0 * x  # noqa: E731
    optimizer = torch.optim.Adam(judge.parameters(), 5e-3)
    for _ in range(200):
        optimizer.zero_grad()
        judge.loss(student, None, torch.ones(128, 2), None, 0.0).backward()
        optimizer.step()
    real, made = (judge.logits(torch.full((256, 2), v), None, 0.0).mean() for v in (1.0, -1.0))
    assert real > 0.5 > -0.5 > made
    where = torch.zeros(256, 2, requires_grad=True)
    (-judge.logits(where, None, 0.0).mean()).backward()
    assert (where.grad.mean(0) < 0).all()  # the student's descent leads towards the real ones


# --- editing ----------------------------------------------------------------------------------------------------------

BASES = {
    "inpainting": (editing.identity, torch.tensor([0, 0, 1, 1.0])),
    "bandwidth": (editing.basis_along_axis(editing.cosine_matrix(4)), torch.tensor([0, 1, 1, 1.0])),
    "mid-side": (editing.basis_along_axis(editing.complete_basis(torch.tensor([1.0, 1.0, 0, 0], dtype=torch.float64))), torch.tensor([0, 1, 1, 1.0])),
    "channels": (editing.basis_along_axis(torch.tensor([[1, 1], [1, -1.0]], dtype=torch.float64) / 2**0.5, dim=1), torch.tensor([[0], [1.0]])),
}  # fmt: skip


@pytest.mark.parametrize(("basis", "unknown"), BASES.values(), ids=BASES.keys())
def test_editing_keeps_what_is_known(basis, unknown):
    torch.manual_seed(0)
    truth, reference = Gaussian(paths.edm), torch.randn(3, 2, 4, dtype=torch.float64)
    torch.testing.assert_close(basis.inverse(basis.forward(reference)), reference)
    hook = editing.keep_known(reference, unknown, basis)
    torch.testing.assert_close(
        hook(hook(torch.zeros_like(reference), 0.0), 0.0), hook(torch.zeros_like(reference), 0.0)
    )
    start = editing.fill_unknown(reference, unknown, basis)
    x = solvers.sample(
        truth.student, paths.edm, torch.randn_like(reference), None, [80, 5, 1, 0], hook=hook, start=start
    )
    kept = (1 - unknown).expand_as(reference).bool()
    torch.testing.assert_close(basis.forward(x)[kept], basis.forward(reference)[kept], atol=1e-6, rtol=0)
    assert (basis.forward(x)[~kept] - basis.forward(reference)[~kept]).abs().min() > 1e-6


def test_editing_fills_in_what_fits():
    """Two correlated coordinates, one known: the other follows it (a mixture on the diagonal)."""
    from tiny import Mixture

    torch.manual_seed(0)
    truth = Mixture(paths.edm, [0.5, 0.5], [[-1.0, -1.0], [1.0, 1.0]], [0.1, 0.1])
    walk = lambda x, t, s=None, cond=None: solvers.sample(  # noqa: E731
        truth.denoise, replace(paths.edm, t_max=float(t[0])), x / float(t[0]), None,
        [float(t[0]), *torch.logspace(math.log10(float(t[0])) - 0.1, -2, 25).tolist(), 0.0], solver=heun,
    )  # fmt: skip
    reference = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64).repeat(20, 1)
    unknown = torch.tensor([0.0, 1.0])
    x = solvers.sample(
        walk, paths.edm, torch.randn_like(reference), None, [80, 10, 5, 2, 1, 0.7, 0.5, 0.3, 0],
        hook=editing.keep_known(reference, unknown), start=editing.fill_unknown(reference, unknown),
    )  # fmt: skip
    assert (x[:, 1].sign() == reference[:, 0]).double().mean() > 0.9


# --- low rank ---------------------------------------------------------------------------------------------------------


def test_low_rank_starts_at_nothing_and_merges():
    torch.manual_seed(0)
    net, x, t = TinyNet(), torch.randn(4, 2), torch.ones(4)
    torch.nn.init.normal_(net.last.weight)
    before = net(x, t)
    trained = lora.add_lora(net, 4, 4.0)
    assert torch.equal(net(x, t), before) and all(p.requires_grad for p in trained)
    torch.nn.init.normal_(trained[-1])
    changed = net(x, t)
    assert not torch.allclose(changed, before)
    lora.merge_lora(net)
    torch.testing.assert_close(net(x, t), changed)
    assert {type(m) for m in net.modules()} == {type(m) for m in TinyNet().modules()}


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_wrong_combinations_are_refused_with_advice(backbones):
    teacher = backbones[0]
    x, cond = masked_batch()
    deaf = backbone()
    for method, advice in (
        (methods.ctm(teacher), "target_time=True"),
        (methods.tcd(teacher, guidance=None), "target_time=True"),
        (methods.meanflow(), "target_time=True"),
        (methods.consistencytta(teacher), "guidance_range"),
    ):
        with pytest.raises(ValueError, match=advice):
            method.loss(deaf, backbones[2], x, cond, 0.5)
    with pytest.raises(ValueError, match="target_ema"):
        methods.ctm(teacher).loss(backbones[1], None, x, cond, 0.5)
    table = paths.ddpm(paths.scaled_linear_betas())
    for name, sibling in (("scd", "cd"), ("meanflow", "shortcut"), ("continuous-cd", "cd")):
        with pytest.raises(ValueError, match=sibling):
            methods.family(anything, path=table)[name].loss(anything, None, torch.randn(4, 2), None, 0.5)
    with pytest.raises(ValueError, match="guidance"):
        methods.consistencytta(teacher, guidance=None).loss(deaf, None, x, cond, 0.5)
    with pytest.raises(ValueError, match="gamma"):
        editing.keep_known(x, torch.ones(12))(x, 0.5)
    with pytest.raises(ValueError, match="orthonormal"):
        editing.basis_along_axis(torch.ones(2, 2))


@pytest.mark.parametrize("name", ["diffusion", "cd", "lcm", "tcd", "ctm", "progressive", "reflow", "ect"])
def test_methods_train_nets_of_a_table(name):
    """The same catalogue on a DDPM net: native path = its table."""
    table = paths.ddpm(paths.scaled_linear_betas())
    truth = ring(table)
    nudge = torch.zeros((), requires_grad=True)
    student = lambda x, t, s=None, cond=None: truth.denoise(x, t) + nudge  # noqa: E731
    method = methods.family(truth.denoise, path=table)[name]
    loss = method.loss(student, truth.denoise, torch.randn(32, 2), Condition(pooled=torch.zeros(32, 1)), 0.9)
    loss.backward()
    assert math.isfinite(loss.item()) and math.isfinite(nudge.grad.item())
