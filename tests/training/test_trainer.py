"""The trainer: what an optimizer step does, what a resumed run repeats bit for bit, and what it says when it cannot go on."""

import contextlib
import json
import math
import operator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from audiocm.diffusion.denoiser import Condition
from audiocm.distillation.states import NoisePair
from audiocm.training import checkpoint
from audiocm.training.compile import CUDAGraphStep, clone_tree, tree_signature, tree_tensors
from audiocm.training.optimizer import FlatParameters, Optimizer
from audiocm.training.recipe import parse_fields, train_recipe
from audiocm.training.run import Run, constant_rate, cosine_decay
from audiocm.training.trainer import train


class Killed(BaseException):
    """Stands for a kill: nothing in the trainer catches it."""


class Noise:
    """Batches from a generator of their own, as resumable as they must be."""

    def __init__(self, stop_after=None):
        self.generator, self.count, self.stop_after = torch.Generator().manual_seed(5), 0, stop_after

    def __next__(self):
        if self.count == self.stop_after:
            raise Killed
        self.count += 1
        return torch.randn(16, 3, generator=self.generator), None

    def state_dict(self):
        return {"generator": self.generator.get_state(), "count": self.count}

    def load_state_dict(self, state):
        self.generator.set_state(state["generator"])
        self.count = state["count"]


class Regress:
    """Student towards a noisy line, and a little towards its target net: uses torch's own generator and both nets."""

    def __init__(self, bad=()):
        self.calls, self.bad = 0, bad

    def loss(self, student, target, x, cond, progress):
        self.calls += 1
        wanted = x.sum(1, keepdim=True) + 0.1 * torch.randn(len(x), 1)
        error = (student(x) - wanted).square().mean()
        if target is not None:
            with torch.no_grad():
                held = target(x)
            error = error + 0.1 * (student(x) - held).square().mean()
        return error * math.nan if self.calls in self.bad else error


def make(stop_after=None, bad=(), seed=0, **changes):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 1))
    settings = {"steps": 30, "lr": 1e-2, "warmup": 5, "ema": 0.9, "save_every": 7, "log_every": 4} | changes
    return Run("test", net, Regress(bad), Noise(stop_after), **settings)


def log_of(folder, timing=("seconds", "steps_per_second", "samples_per_second")):
    lines = [json.loads(text) for text in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in timing} for line in lines]


def same(a, b):
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


# --- one step ---------------------------------------------------------------------------------------------------------


def test_flat_step_is_adamw_with_clipping():
    def net():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(2, 4, 3).to(memory_format=torch.channels_last), nn.Flatten(), nn.Linear(16, 3))

    ours, theirs = net(), net()
    flat = FlatParameters(ours.parameters())
    optimiser = Optimizer(flat, (0.9, 0.99), 0.1, 1.0)
    optimiser.lr.fill_(1e-2)
    matrices = [p for p in theirs.parameters() if p.ndim > 1]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    reference = torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.99))
    for _ in range(10):
        x = 10 * torch.randn(5, 2, 4, 4)
        flat.grads.zero_()
        ours(x).square().sum().backward()
        reference.zero_grad()
        theirs(x).square().sum().backward()
        expected = nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        reference.step()
        norm, finite = optimiser.step(torch.tensor(1.0))
        assert finite and torch.allclose(norm, expected)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(p, q, atol=1e-6) and p.stride() == q.stride() == p.grad.stride()


@pytest.mark.parametrize("loss, gradient", [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_a_step_without_finite_numbers_changes_nothing(loss, gradient):
    flat = FlatParameters(nn.Linear(4, 4).parameters())
    optimiser = Optimizer(flat, (0.9, 0.99), 0.1, 1.0)
    optimiser.lr.fill_(0.1)
    flat.grads.fill_(1.0)
    optimiser.step(torch.tensor(1.0))
    before = {name: value.clone() for name, value in optimiser.tensors("a").items()}
    flat.grads.fill_(gradient)
    _, finite = optimiser.step(torch.tensor(loss))
    assert not finite
    assert all(torch.equal(before[name], value) for name, value in optimiser.tensors("a").items())


def test_flat_refuses_what_it_cannot_train():
    with pytest.raises(ValueError, match="float32"):
        FlatParameters(nn.Linear(2, 2).half().parameters())
    with pytest.raises(ValueError, match="nothing to train"):
        FlatParameters([])


def test_averages_follow_their_formulas(tmp_path):
    seen = []

    class Watch(Regress):
        def loss(self, student, target, x, cond, progress):
            seen.append((flat_values(student), flat_values(target), progress.item()))
            return super().loss(student, target, x, cond, progress)

    def flat_values(net):
        return torch.cat([p.detach().flatten().double() for p in net.parameters()])

    run = make(steps=20, target_ema=0.8)
    run.method = Watch()
    final = flat_values(train(run, tmp_path))
    students = [student for student, _, _ in seen] + [flat_values(run.net)]
    ema = target = students[0]
    for k in range(20):
        assert torch.allclose(seen[k][1], target, atol=1e-6)
        assert seen[k][2] == pytest.approx(k / 20)
        decay = min(0.9, (1 + k) / (10 + k))
        ema = decay * ema + (1 - decay) * students[k + 1]
        target = 0.8 * target + 0.2 * students[k + 1]
    assert torch.allclose(final, ema, atol=1e-6)


def test_learning_rate_rises_then_falls(tmp_path):
    train(make(steps=40, warmup=10, log_every=1), tmp_path)
    rates = [line["lr"] for line in log_of(tmp_path)]
    assert rates[:10] == pytest.approx([1e-2 * (k + 1) / 10 * cosine_decay(k / 40) for k in range(10)])
    assert rates[10:] == pytest.approx([1e-2 * cosine_decay(k / 40) for k in range(10, 40)])
    train(make(steps=3, warmup=0, log_every=1, decay=constant_rate), tmp_path / "b")
    assert [line["lr"] for line in log_of(tmp_path / "b")] == [1e-2] * 3


class Critic(nn.Module):
    """Learns to tell the student's output from 3."""

    def __init__(self, order):
        super().__init__()
        self.value, self.order = nn.Linear(1, 1), order

    def loss(self, student, target, x, cond, progress):
        self.order.append("critic")
        with torch.no_grad():
            fake = student(x)
        return (
            self.value(fake).mean() - self.value(torch.full_like(fake, 3.0)).mean() + self.value.weight.square().sum()
        )


class Fool:
    def __init__(self, critic):
        self.critic = critic

    def loss(self, student, target, x, cond, progress):
        self.critic.order.append("student")
        assert not any(p.requires_grad for p in self.critic.parameters())
        return -self.critic.value(student(x)).mean()


def test_critic_steps_first_and_pulls_the_student(tmp_path):
    torch.manual_seed(0)
    critic = Critic(order := [])
    net = nn.Linear(3, 1)
    run = Run(
        "gan",
        net,
        Fool(critic),
        Noise(),
        steps=400,
        lr=2e-2,
        warmup=0,
        ema=0.95,
        critic=critic,
        critic_lr=5e-2,
        log_every=50,
    )
    average = train(run, tmp_path)
    assert order == ["critic", "student"] * 400
    assert abs(average.bias.item() - 3) < 0.5 and all(p.requires_grad for p in critic.parameters()) is False
    assert "critic_loss" in log_of(tmp_path)[0]


def test_what_a_critic_counts_without_a_gradient_is_resumed_too(tmp_path):
    """A running statistic of a critic is a buffer: a run of 3 and then 5 steps has counted what a run of 5 has."""

    class Counting(Critic):
        def __init__(self):
            super().__init__([])
            self.register_buffer("seen", torch.zeros(()))

        def loss(self, student, target, x, cond, progress):
            self.seen += x.sum()
            return super().loss(student, target, x, cond, progress)

    def run(steps):
        critic = Counting()
        net = nn.Linear(3, 1)
        return critic, Run("gan", net, Fool(critic), Noise(), steps=steps, lr=1e-2, critic=critic, save_every=100)

    (first, whole), (second, part), (third, rest) = run(5), run(3), run(5)
    train(whole, tmp_path / "a")
    train(part, tmp_path / "b")
    train(rest, tmp_path / "b")
    assert third.seen == first.seen != second.seen


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_bad_steps_are_skipped_and_counted(tmp_path):
    run = make(bad=(3, 4, 9), steps=12)
    net = train(run, tmp_path)
    assert all(p.isfinite().all() for p in net.parameters())
    lines = log_of(tmp_path)
    assert lines[-1]["skipped"] == 3 and all(math.isfinite(line["loss"]) for line in lines)


def test_too_many_bad_steps_in_a_row_end_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"5 steps in a row .* step 16"):
        train(make(bad=range(12, 100), bad_steps=5), tmp_path)
    assert checkpoint.newest_checkpoint(tmp_path / "checkpoints").name == "step-00000014"


@pytest.mark.parametrize(
    "change, says",
    [
        ({"steps": 0}, "steps 0"),
        ({"precision": "fp16"}, "no, bf16"),
        ({"ema": 1.0}, "ema 1.0"),
        ({"keep_best": "a"}, "validate"),
    ],
)
def test_bad_settings(change, says):
    with pytest.raises(ValueError, match=says):
        make(**change)


# --- resume -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_after", [7, 8, 17, 29])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, stop_after):
    draws = {"validate": lambda net: {"a": torch.randn(()).item()}, "validate_every": 6}
    whole = make(target_ema=0.8, **draws)
    average = train(whole, tmp_path / "a")
    with pytest.raises(Killed):
        train(make(stop_after, target_ema=0.8, **draws), tmp_path / "b")
    again = make(seed=9, target_ema=0.8, **draws)  # other first weights: all must come from the checkpoint
    assert same(train(again, tmp_path / "b"), average) and same(again.net, whole.net)
    assert log_of(tmp_path / "a") == log_of(tmp_path / "b")


def test_validation_does_not_disturb_training(tmp_path):
    plain = train(make(), tmp_path / "a")
    watched = make(validate=lambda net: {"a": torch.randn(5).sum().item()}, validate_every=3)
    assert same(train(watched, tmp_path / "b"), plain)


def test_a_finished_run_only_exports_again(tmp_path):
    first = train(make(), tmp_path)
    run = make()
    assert same(train(run, tmp_path), first) and run.method.calls == 0


def test_seconds_end_a_call_with_a_checkpoint_and_budget_ends_the_run(tmp_path):
    train(make(steps=10**6, seconds=0.7), tmp_path)
    step = json.loads((checkpoint.newest_checkpoint(tmp_path / "checkpoints") / "state.json").read_text())["step"]
    assert 10 < step < 10**6
    run = make(steps=10**6, seconds=0.3)
    train(run, tmp_path)
    assert run.batches.count > step
    train(make(steps=10**6, budget=0.5, decay=cosine_decay), tmp_path / "b")
    assert log_of(tmp_path / "b")[-1]["lr"] < 1e-3  # the schedule came to its end in time


def test_checkpoint_of_something_else_is_refused(tmp_path):
    train(make(steps=3), tmp_path)
    other = make(steps=3)
    other.name = "other"
    with pytest.raises(ValueError, match="of run 'test', not 'other'"):
        train(other, tmp_path)
    with pytest.raises(ValueError, match=r"does not fit .*target\.values"):
        train(make(target_ema=0.5), tmp_path)


def test_leftovers_of_a_kill_while_writing_are_ignored(tmp_path):
    with pytest.raises(Killed):
        train(make(10), tmp_path)
    left = tmp_path / "checkpoints" / ".partial-00000014"
    left.mkdir()
    (left / "tensors-00000.safetensors").write_bytes(b"half")
    (tmp_path / "log.jsonl").open("a").write('{"step": 12, "lo')
    assert same(train(make(), tmp_path), train(make(), tmp_path.parent / "whole"))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000030"]


def test_kill_at_any_moment_of_writing_leaves_a_checkpoint(tmp_path, monkeypatch):
    """Each file operation of a save in turn is the last one."""
    tensors = [{"a": torch.full((1000,), float(step))} for step in range(2)]
    calls = {"left": 0}

    def failing(function):
        def call(*args, **kwargs):
            calls["left"] -= 1
            if calls["left"] < 0:
                raise Killed
            return function(*args, **kwargs)

        return call

    for owner, name in (
        (checkpoint, "save_file"),
        (checkpoint, "put_json"),
        (checkpoint, "sync_folder"),
        (Path, "rename"),
    ):
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    monkeypatch.setattr(checkpoint.shutil, "rmtree", failing(checkpoint.shutil.rmtree))
    completed = 0
    for allowed in range(20):
        folder = tmp_path / str(allowed)
        calls["left"] = 10**6
        checkpoint.write(folder, 1, tensors[0], {}, None)
        calls["left"] = allowed
        try:
            checkpoint.write(folder, 2, tensors[1], {}, None)
            completed += 1
        except Killed:
            pass
        calls["left"] = 10**6
        found, state = checkpoint.read(checkpoint.newest_checkpoint(folder))
        assert torch.equal(found["a"], tensors[state["step"] - 1]["a"])
    assert 0 < completed < 20


# --- files ------------------------------------------------------------------------------------------------------------


def test_shards_stay_under_their_size_and_damage_is_named(tmp_path):
    tensors = {"a": torch.randn(300, 500), "b": torch.arange(7), "c": torch.tensor(3.5), "d": torch.empty(0, 4)}
    path = checkpoint.write(tmp_path, 1, tensors, {"x": [1, None]}, shard_mb=0.2)
    files = sorted(path.glob("*.safetensors"))
    assert len(files) > 3 and max(file.stat().st_size for file in files) <= 200_000
    back, state = checkpoint.read(path)
    assert state["x"] == [1, None]
    assert all(torch.equal(back[name], tensors[name]) and back[name].dtype == tensors[name].dtype for name in tensors)
    files[1].write_bytes(files[1].read_bytes()[:-9])
    with pytest.raises(ValueError, match=files[1].name):
        checkpoint.read(path)
    (path / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state\.json"):
        checkpoint.read(path)


def test_best_validated_average_is_exported(tmp_path):
    scores = {10: 2.0, 20: 1.0, 30: 3.0}
    kept = {}

    def validate(net):
        step = 10 * (len(kept) + 1)
        kept[step] = {name: value.clone() for name, value in net.state_dict().items()}
        return {"score": scores[step]}

    net = train(make(validate=validate, validate_every=10, keep_best="score"), tmp_path / "a")
    assert all(torch.equal(value, kept[20][name]) for name, value in net.state_dict().items())
    saved = checkpoint.load_file(tmp_path / "a" / "model" / "model.safetensors")
    assert torch.equal(saved["0.weight"], kept[20]["0.weight"])
    kept.clear()
    net = train(make(validate=validate, validate_every=10, keep_best="score", better=operator.gt), tmp_path / "b")
    assert all(torch.equal(value, kept[30][name]) for name, value in net.state_dict().items())


def test_samples_are_written(tmp_path):
    train(make(sample=lambda net, folder: (folder / "x.txt").write_text("hm"), sample_every=15), tmp_path)
    assert [p.name for p in sorted((tmp_path / "samples").iterdir())] == ["step-00000015", "step-00000030"]


# --- batches of any make, graphs --------------------------------------------------------------------------------------


def test_batches_are_copied_and_told_apart():
    cond = Condition(tokens=torch.ones(2, 3, 4), null=torch.tensor([True, False]))
    batch = (NoisePair(torch.zeros(2, 5), torch.ones(2, 5)), cond)
    mine = clone_tree(batch)
    assert type(mine[0]) is NoisePair and type(mine[1]) is Condition and mine[1].mask is None
    assert len(tree_tensors(mine)) == 4 and tree_signature(mine) == tree_signature(batch)
    for a, b in zip(tree_tensors(mine), tree_tensors(batch), strict=True):
        assert torch.equal(a, b) and a.data_ptr() != b.data_ptr()
    assert tree_signature((batch[0], cond.nulled())) == tree_signature(batch)
    assert tree_signature((batch[0], cond.with_guidance(1.0))) != tree_signature(batch)
    assert tree_signature((batch[0], Condition(pooled=cond.tokens, null=cond.null))) != tree_signature(batch)


class Recorder:
    """Stands for torch.cuda.graph: while recording, nothing is executed; a replay runs the recorded call on its tensors."""

    def __init__(self, step):
        self.step, self.recording, self.graphs = step, False, []

    def __call__(self, *batch):
        if self.recording:
            self.graphs[-1].replay = lambda: self.step(*batch)
        else:
            self.step(*batch)

    @contextlib.contextmanager
    def record(self, graph, **_):
        self.graphs.append(graph)
        self.recording = True
        yield
        self.recording = False


def test_replays_do_what_eager_steps_did(monkeypatch):
    total, seen = torch.zeros(3), []

    def step(x, cond):
        seen.append(x.data_ptr())
        total.add_(x.sum(0) * cond.null.float().sum())

    recorder = Recorder(step)
    fakes = {
        "graph": recorder.record,
        "CUDAGraph": SimpleNamespace,
        "graph_pool_handle": object,
        "current_stream": object,
    }
    for name, value in fakes.items():
        monkeypatch.setattr(torch.cuda, name, value)
    replayed, expected = CUDAGraphStep(recorder, eager=2), torch.zeros(3)
    for k in range(14):
        x = torch.randn(4 if k % 2 else 5, 3)
        cond = Condition(null=torch.rand(len(x)) < 0.5)
        expected += x.sum(0) * cond.null.float().sum()
        replayed(x, cond)
        assert torch.allclose(total, expected, atol=1e-6)
    assert len(recorder.graphs) == 2 and len(set(seen[4:])) == 2  # one graph a shape, each on its own fixed memory


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_recorded_steps_equal_eager_ones(tmp_path):
    def smooth(**changes):
        run = make(steps=50, target_ema=0.8, **changes)
        run.batches = OnDevice()
        return run

    class OnDevice(Noise):
        def __next__(self):
            x, _ = super().__next__()
            return x.cuda(), None

    class Quiet(Regress):
        def loss(self, student, target, x, cond, progress):
            return (student(x) - x.sum(1, keepdim=True)).square().mean() + 0.1 * (
                student(x) - target(x).detach()
            ).square().mean()

    eager, recorded = smooth(), smooth(cuda_graph=True)
    eager.method = recorded.method = Quiet()
    a, b = train(eager, tmp_path / "a"), train(recorded, tmp_path / "b")
    assert all(torch.allclose(p, q, atol=1e-5) for p, q in zip(a.parameters(), b.parameters(), strict=True))


# --- recipes ----------------------------------------------------------------------------------------------------------

RECIPE = """
from pathlib import Path
import torch
import neighbour
from audiocm.training.run import Run

class Batches:
    def __next__(self):
        return torch.randn(4, 2), None

class Loss:
    def loss(self, student, target, x, cond, progress):
        return student(x).square().mean()

def run(steps: int = 2, lr: float = 1e-3, quick: bool = False, name: str = "r", limit: float | None = 3.0) -> Run:
    assert quick is True and limit is None and steps == 3
    return Run(name, torch.nn.Linear(2, 2), Loss(), Batches(), steps=steps, lr=lr)
"""


def test_recipe_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(RECIPE)
    (tmp_path / "neighbour.py").write_text("")
    out = tmp_path / "out"
    train_recipe(str(tmp_path / "mine.py"), ["--steps", "3", "--quick=true", "--limit", "none"], str(out))
    assert (out / "model" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    "fields, says",
    [
        (["--stepz", "3"], r"unknown field '--stepz'; this recipe takes: --steps, --name"),
        (["3"], "unknown field '3'"),
        (["--steps", "many"], "'many' is not int"),
        (["--steps"], "--steps needs a value"),
        ([], "needs: --steps"),
    ],
)
def test_bad_fields_name_the_allowed_ones(fields, says):
    def recipe(steps: int, name: str = "a") -> Run: ...

    with pytest.raises(ValueError, match=says):
        parse_fields(recipe, fields)


def test_what_is_no_recipe(tmp_path):
    with pytest.raises(ValueError, match="no such file"):
        train_recipe(tmp_path / "none.py", [], tmp_path)
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="defines no run"):
        train_recipe(tmp_path / "empty.py", [], tmp_path)
