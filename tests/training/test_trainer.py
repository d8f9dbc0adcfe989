"""The trainer: averages, schedules, critics, and what a resumed run repeats bit for bit."""

import json
import math
import operator
import signal

import pytest
import torch
from torch import nn
from toy_training import Killed, LineLoss, NoiseBatches, make_run, read_log, same_state

from audiocm.training import checkpoint
from audiocm.training.run import Run, cosine_decay
from audiocm.training.trainer import train


def test_averages_follow_their_formulas(tmp_path):
    seen = []

    class Watch(LineLoss):
        def loss(self, student, target, x, cond, progress):
            seen.append((flat_values(student), flat_values(target), progress.item()))
            return super().loss(student, target, x, cond, progress)

    def flat_values(net):
        return torch.cat([p.detach().flatten().double() for p in net.parameters()])

    run = make_run(steps=20, target_ema=0.8)
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
    train(make_run(steps=40, warmup=10, log_every=1), tmp_path)
    rates = [line["lr"] for line in read_log(tmp_path)]
    assert rates[:10] == pytest.approx([1e-2 * (k + 1) / 10 * cosine_decay(k / 40) for k in range(10)])
    assert rates[10:] == pytest.approx([1e-2 * cosine_decay(k / 40) for k in range(10, 40)])
    train(make_run(steps=3, warmup=0, log_every=1, decay=lambda progress: 1.0), tmp_path / "b")
    assert [line["lr"] for line in read_log(tmp_path / "b")] == [1e-2] * 3


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
        NoiseBatches(),
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
    assert "critic_loss" in read_log(tmp_path)[0]


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
        return critic, Run(
            "gan", net, Fool(critic), NoiseBatches(), steps=steps, lr=1e-2, critic=critic, save_every=100
        )

    (first, whole), (second, part), (third, rest) = run(5), run(3), run(5)
    train(whole, tmp_path / "a")
    train(part, tmp_path / "b")
    train(rest, tmp_path / "b")
    assert third.seen == first.seen != second.seen


def test_bad_steps_are_skipped_and_counted(tmp_path):
    run = make_run(bad=(3, 4, 9), steps=12)
    net = train(run, tmp_path)
    assert all(p.isfinite().all() for p in net.parameters())
    lines = read_log(tmp_path)
    assert lines[-1]["skipped"] == 3 and all(math.isfinite(line["loss"]) for line in lines)


def test_too_many_bad_steps_in_a_row_end_the_run(tmp_path):
    with pytest.raises(FloatingPointError, match=r"5 steps in a row .* step 16"):
        train(make_run(bad=range(12, 100), bad_steps=5), tmp_path)
    assert checkpoint.newest_checkpoint(tmp_path / "checkpoints").name == "step-00000014"


@pytest.mark.parametrize("stop_after", [7, 8, 17, 29])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, stop_after):
    draws = {"validate": lambda net: {"a": torch.randn(()).item()}, "validate_every": 6}
    whole = make_run(target_ema=0.8, **draws)
    average = train(whole, tmp_path / "a")
    with pytest.raises(Killed):
        train(make_run(stop_after, target_ema=0.8, **draws), tmp_path / "b")
    again = make_run(seed=9, target_ema=0.8, **draws)  # other first weights: all must come from the checkpoint
    assert same_state(train(again, tmp_path / "b"), average) and same_state(again.net, whole.net)
    assert read_log(tmp_path / "a") == read_log(tmp_path / "b")


def test_validation_does_not_disturb_training(tmp_path):
    plain = train(make_run(), tmp_path / "a")
    watched = make_run(validate=lambda net: {"a": torch.randn(5).sum().item()}, validate_every=3)
    assert same_state(train(watched, tmp_path / "b"), plain)


def test_a_finished_run_only_exports_again(tmp_path):
    first = train(make_run(), tmp_path)
    run = make_run()
    assert same_state(train(run, tmp_path), first) and run.method.calls == 0


def test_max_wall_seconds_end_a_call_and_train_seconds_end_the_run(tmp_path):
    train(make_run(steps=10**6, max_wall_seconds=0.7), tmp_path)
    step = json.loads((checkpoint.newest_checkpoint(tmp_path / "checkpoints") / "state.json").read_text())["step"]
    assert 10 < step < 10**6
    run = make_run(steps=10**6, max_wall_seconds=0.3)
    train(run, tmp_path)
    assert run.batches.count > step
    train(make_run(steps=10**6, train_seconds=0.5, decay=cosine_decay), tmp_path / "b")
    assert read_log(tmp_path / "b")[-1]["lr"] < 1e-3  # the schedule came to its end in time


def test_checkpoint_of_something_else_is_refused(tmp_path):
    train(make_run(steps=3), tmp_path)
    other = make_run(steps=3)
    other.name = "other"
    with pytest.raises(ValueError, match="of run 'test', not 'other'"):
        train(other, tmp_path)
    with pytest.raises(ValueError, match=r"does not fit .*target\.values"):
        train(make_run(target_ema=0.5), tmp_path)


def test_leftovers_of_a_kill_while_writing_are_ignored(tmp_path):
    with pytest.raises(Killed):
        train(make_run(10), tmp_path)
    left = tmp_path / "checkpoints" / ".step-00000014.1.partial"
    left.mkdir()
    (left / "tensors-00000.safetensors").write_bytes(b"half")
    (tmp_path / "log.jsonl").open("a").write('{"step": 12, "lo')
    assert same_state(train(make_run(), tmp_path), train(make_run(), tmp_path.parent / "whole"))
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000028", "step-00000030"]


def test_a_flipped_bit_is_told_and_the_checkpoint_before_is_taken(tmp_path):
    with pytest.raises(Killed):
        train(make_run(20), tmp_path)
    newest, _ = checkpoint.checkpoints(tmp_path / "checkpoints")
    file = newest / "tensors-00000.safetensors"
    content = bytearray(file.read_bytes())
    content[-9] ^= 4
    file.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        checkpoint.read(newest)
    with pytest.warns(UserWarning, match="is damaged: its checksum differs: the one before is taken"):
        resumed = train(make_run(), tmp_path)
    assert same_state(resumed, train(make_run(), tmp_path.parent / "whole2"))


@pytest.mark.parametrize("text", ["[]", "{}", '{"step": "a"}', "[" * 100_000, "nul\0"])
def test_a_damaged_state_file_is_named(tmp_path, text):
    (tmp_path / "step-00000001").mkdir()
    (tmp_path / "step-00000001" / "state.json").write_text(text)
    with pytest.raises(ValueError, match=r"state\.json is damaged"):
        checkpoint.read_newest(tmp_path)


def test_two_runs_do_not_share_a_folder(tmp_path):
    inner = make_run()

    def validate(net):
        with pytest.raises(ValueError, match="another process trains into"):
            train(inner, tmp_path)
        return {"a": 0.0}

    train(make_run(validate=validate, validate_every=30), tmp_path)
    assert not (tmp_path / "inner").exists()


def test_weights_that_are_not_finite_are_not_exported(tmp_path):
    run = make_run(ema=None, bad_steps=1000)
    with torch.no_grad():
        run.net[0].weight[0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"not finite are not exported: 0\.weight"):
        train(run, tmp_path)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("number", "error", "code"), [(signal.SIGTERM, SystemExit, 143), (signal.SIGINT, KeyboardInterrupt, None)]
)
def test_a_signal_saves_and_exports_nothing(tmp_path, number, error, code):
    def validate(net):
        signal.raise_signal(number)
        return {"a": 0.0}

    with pytest.raises(error) as ended:
        train(make_run(validate=validate, validate_every=10), tmp_path)
    assert getattr(ended.value, "code", None) == code and not (tmp_path / "model").exists()
    assert checkpoint.newest_checkpoint(tmp_path / "checkpoints").name == "step-00000010"
    assert same_state(train(make_run(), tmp_path), train(make_run(), tmp_path.parent / f"whole{int(number)}"))
    assert (tmp_path / "model").exists()


def test_best_validated_average_is_exported(tmp_path):
    scores = {10: 2.0, 20: 1.0, 30: 3.0}
    kept = {}

    def validate(net):
        step = 10 * (len(kept) + 1)
        kept[step] = {name: value.clone() for name, value in net.state_dict().items()}
        return {"score": scores[step]}

    net = train(make_run(validate=validate, validate_every=10, keep_best="score"), tmp_path / "a")
    assert all(torch.equal(value, kept[20][name]) for name, value in net.state_dict().items())
    saved = checkpoint.load_file(tmp_path / "a" / "model" / "model.safetensors")
    assert torch.equal(saved["0.weight"], kept[20]["0.weight"])
    kept.clear()
    net = train(
        make_run(validate=validate, validate_every=10, keep_best="score", is_better=operator.gt), tmp_path / "b"
    )
    assert all(torch.equal(value, kept[30][name]) for name, value in net.state_dict().items())


def test_samples_are_written(tmp_path):
    train(make_run(sample=lambda net, folder: (folder / "x.txt").write_text("hm"), sample_every=15), tmp_path)
    assert [p.name for p in sorted((tmp_path / "samples").iterdir())] == ["step-00000015", "step-00000030"]
