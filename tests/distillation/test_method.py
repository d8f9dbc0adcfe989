"""Method and Mix on tiny transformers: every method of the catalogue, dropout, validation, and building by name."""

import copy
import functools
import math

import pytest
import torch
from tiny import Gaussian, TinyNet, ring
from tiny_states import STUDENT, masked_batch, random_transformer

from audiocm.diffusion import paths
from audiocm.diffusion.denoiser import Condition
from audiocm.distillation import get_method, methods
from audiocm.distillation.losses import Comparison, jump_end, jump_end_at_zero
from audiocm.distillation.states import NoisePair
from audiocm.models.adapters import HiddenFeatures
from audiocm.training.compile import compile_blocks


@pytest.fixture(scope="module")
def transformers():
    """A teacher, a student and a target network."""
    torch.manual_seed(0)
    teacher = random_transformer().eval().requires_grad_(False)
    return teacher, random_transformer(**STUDENT), random_transformer(**STUDENT).requires_grad_(False)


@pytest.mark.parametrize("name", sorted(methods.METHODS))
def test_every_method_trains_the_transformer_and_ignores_padding(name, transformers):
    """Loss and gradients are finite and do not depend on x in the padding; no gradient reaches target and teacher."""
    teacher, student, target = transformers
    method = get_method(name, teacher)
    x, cond = masked_batch()
    results = []
    for padding in (0.0, 50.0):
        padded = torch.where(cond.mask[:, None], x, padding)
        pairs = NoisePair(padded, torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
        torch.manual_seed(5)
        student.zero_grad()
        loss = method.loss(student, target, pairs if name == "regression" else padded, cond, 0.5)
        loss.backward()
        norm = torch.stack([p.grad.norm() for p in student.parameters() if p.grad is not None]).norm()
        results.append((loss.item(), norm.item()))
    assert all(math.isfinite(value) for result in results for value in result)
    assert results[0][1] > 0 or name == "dmd2"  # fake score and teacher are equal at the start
    assert results[1] == pytest.approx(results[0], rel=1e-4, abs=1e-6)
    assert all(p.grad is None for p in (*target.parameters(), *teacher.parameters()))


CAPTURED = ["diffusion", "guidance-distillation", "cd", "ct", "ect", "consistencytta", "lcm", "ctm", "tcd", "shortcut"]


@pytest.mark.parametrize("name", [*CAPTURED, "regression"])
def test_a_step_never_waits_for_the_device(name):
    """The loss traces into one graph with progress as a tensor: no .item(), no branch on a value."""
    torch._dynamo.reset()
    net, target = TinyNet(2), TinyNet(2).requires_grad_(False)
    x = torch.randn(8, 2)
    batch = NoisePair(x, x.flip(0)) if name == "regression" else x
    cond = Condition(pooled=torch.zeros(8, 1))

    def teacher(x_t, t, s=None, cond=None):
        return x_t / (1 + t[:, None] ** 2)

    method = get_method(name, teacher)

    def loss(progress):
        return method.loss(net, target, batch, cond, progress)

    value = torch.compile(loss, backend="eager", fullgraph=True)(torch.tensor(0.4))
    assert torch.isfinite(value)


@pytest.mark.parametrize("name", ["continuous-cd", "scd", "meanflow"])
def test_derivatives_go_through_compiled_blocks(name, monkeypatch):
    """The loss of compiled teacher and student equals that of the plain ones."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    x, cond = masked_batch()
    losses = []
    for prepare in (lambda net: None, compile_blocks):
        torch.manual_seed(0)
        teacher, student = random_transformer().requires_grad_(False), random_transformer(**STUDENT)
        for net in (teacher, student):
            prepare(net)
        torch.manual_seed(1)
        losses.append(get_method(name, teacher).loss(student, None, x, cond, 0.5))
    assert losses[1].item() == pytest.approx(losses[0].item(), rel=1e-4)


def test_soundctm_in_the_hidden_layers_of_the_teacher(transformers):
    """Features are the outputs of both blocks, per frame; the student learns through them; padding does not count."""
    teacher, student, target = transformers
    blocks = [m for m in teacher.modules() if type(m).__name__ == "Block"]
    hidden = HiddenFeatures(teacher, blocks)
    x, cond = masked_batch()
    features = hidden(x, torch.full((4,), 0.5), cond)
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


# --- dropout and calls ------------------------------------------------------------------------------------------------


class DropoutNet(torch.nn.Module):
    """Records the dropout mask of each call."""

    def __init__(self):
        super().__init__()
        self.drop, self.masks = torch.nn.Dropout(0.5), []

    def forward(self, x, t, s=None, cond=None):
        self.masks.append(self.drop(torch.ones_like(x)))
        return x / (1 + t[:, None])


def test_student_and_target_share_dropout_masks():
    net = DropoutNet().train()
    x = torch.randn(16, 8)
    methods.ect().loss(net, None, x, None, 0.5)
    assert torch.equal(net.masks[0], net.masks[1])
    methods.ect().loss(net, None, x, None, 0.5)
    assert not torch.equal(net.masks[2], net.masks[0])  # the next step has other masks
    net.eval()
    methods.ect().loss(net, None, x, None, 0.5)


def test_training_without_a_target_network_leaves_the_random_state_alone(monkeypatch):
    """Reading the random state waits for the device, which no captured step may do."""
    monkeypatch.setattr(torch, "get_rng_state", lambda: pytest.fail("the random state was read"))
    methods.diffusion().loss(DropoutNet().train(), None, torch.randn(16, 8), None, 0.5)


def test_heun_with_guidance_is_two_teacher_calls():
    calls = []

    def teacher(x, t, s=None, cond=None):
        calls.append(len(x))
        return x * 0

    def student(x, t, s=None, cond=None):
        return x * 0

    cond = Condition(pooled=torch.zeros(6, 1))
    methods.consistencytta(teacher).loss(student, None, torch.randn(6, 2), cond, 0.1)
    assert calls == [12, 12]


# --- validation -------------------------------------------------------------------------------------------------------


def test_unsuitable_students_raise_with_the_remedy(transformers):
    teacher, student, target = transformers
    x, cond = masked_batch()
    plain = random_transformer()
    for method, remedy in (
        (methods.ctm(teacher), "target_time=True"),
        (methods.tcd(teacher, guidance=None), "target_time=True"),
        (methods.meanflow(), "target_time=True"),
        (methods.consistencytta(teacher), "guidance_range"),
    ):
        with pytest.raises(ValueError, match=remedy):
            method.loss(plain, target, x, cond, 0.5)
    with pytest.raises(ValueError, match=r"cond\.guidance"):
        methods.consistencytta(teacher, guidance=None).loss(plain, None, x, cond, 0.5)
    with pytest.raises(ValueError, match="target_ema"):
        methods.ctm(teacher).loss(student, None, x, cond, 0.5)


def test_the_need_for_a_target_network_is_a_field_of_the_comparison(transformers):
    teacher, student, _ = transformers
    x, cond = masked_batch()
    other = Comparison(lambda *arguments: jump_end_at_zero.transform(*arguments), uses_target_net=True)
    with pytest.raises(ValueError, match="target_ema"):
        methods.ctm(teacher, compare_at=other).loss(student, None, x, cond, 0.5)
    assert torch.isfinite(methods.ctm(teacher, compare_at=jump_end).loss(student, None, x, cond, 0.5))


def test_derivatives_of_discrete_networks_raise_with_the_discrete_method():
    table = paths.ddpm(paths.scaled_linear_betas())
    net = ring(table).denoise
    for name, discrete in (("scd", "cd"), ("meanflow", "shortcut"), ("continuous-cd", "cd")):
        with pytest.raises(ValueError, match=discrete):
            get_method(name, net, path=table).loss(net, None, torch.randn(4, 2), None, 0.5)


@pytest.mark.parametrize("name", ["diffusion", "cd", "lcm", "tcd", "ctm", "progressive", "reflow", "ect"])
def test_methods_train_networks_of_a_table(name):
    """The same catalogue on a DDPM network: net_path is its table."""
    table = paths.ddpm(paths.scaled_linear_betas())
    truth = ring(table)
    bias = torch.zeros((), requires_grad=True)

    def student(x, t, s=None, cond=None):
        return truth.denoise(x, t) + bias

    method = get_method(name, truth.denoise, path=table)
    loss = method.loss(student, truth.denoise, torch.randn(32, 2), Condition(pooled=torch.zeros(32, 1)), 0.9)
    loss.backward()
    assert math.isfinite(loss.item()) and math.isfinite(bias.grad.item())


# --- by name ----------------------------------------------------------------------------------------------------------


def test_one_method_is_built_alone_and_copies_no_teacher(monkeypatch):
    """The teacher is copied by the methods alone whose critic starts as a copy."""
    copies, built = [], []
    monkeypatch.setattr(methods.copy, "deepcopy", lambda net: copies.append(net) or copy.copy(net))
    for function in ("cd", "lcm", "ctm", "add", "dmd2"):
        original = getattr(methods, function)
        monkeypatch.setattr(methods, function, lambda *a, f=original, **k: built.append(f.__name__) or f(*a, **k))
    teacher = TinyNet()
    get_method("cd", teacher)
    assert built == ["cd"] and copies == []
    get_method("dmd2", teacher)
    assert built == ["cd", "dmd2"] and copies == [teacher]


def test_methods_by_name_take_changes_and_a_range_of_guidance():
    teacher = Gaussian(paths.edm).denoise
    assert get_method("cd", teacher, compare_at=jump_end).compare_at is jump_end
    w = methods.METHODS["lcm"](teacher, w=(2.0, 3.0)).guidance(torch.zeros(100, 1))
    assert w.min() >= 2 and w.max() <= 3
    with pytest.raises(ValueError, match="unknown method 'magic': must be one of diffusion, "):
        get_method("magic", teacher)
