"""recipes/tiny.py for real, in a short version: it learns, survives a kill, and runs on two ranks."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from audiocm.diffusion import paths, solvers
from audiocm.training import checkpoint
from audiocm.training.recipe import load_recipe
from audiocm.training.trainer import train
from audiocm.training.trees import tree_tensors

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiny():
    spec = importlib.util.spec_from_file_location("tiny_recipe", ROOT / "recipes" / "tiny.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order everywhere: two processes can be compared bit by bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def started(script: str, *arguments: str, launcher: tuple[str, ...] = (sys.executable,)) -> subprocess.Popen:
    settings = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    path = Path(arguments[0]) / "script.py"
    path.write_text(script)
    return subprocess.Popen(
        [*launcher, str(path), *arguments],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_true_samples_lie_on_the_circle(tiny):
    """The ruler first: data measures 0 and even, silence and noise do not."""
    x, cond = next(tiny.Tones(512, 0, torch.device("cpu")))
    words = cond.pooled.argmax(1)
    assert tiny.off_circle(x, words) < 1e-3 and tiny.phase_gap(x, words) < 0.15
    assert abs(x.square().mean() - 1) < 1e-5
    assert abs(tiny.off_circle(torch.zeros_like(x), words) - 1) < 0.01
    assert tiny.off_circle(x, (words + 1) % tiny.WORDS) > 1
    assert tiny.phase_gap(x[:1].expand(64, -1, -1), words[:1].expand(64)) > 0.99


def test_tiny_student_makes_tones_in_one_call(tiny, tmp_path):
    run = tiny.run(steps=800, teacher_steps=1000, teacher=tmp_path / "teacher")
    teacher_end = json.loads((tmp_path / "teacher" / "log.jsonl").read_text().splitlines()[-1])
    assert teacher_end["valid/off_circle"] < 0.4
    start = tiny.sample_errors(run.net, w=1.0)  # the teacher's weights: one call gives the mean of the circle
    student = train(run, tmp_path / "student").eval()
    assert start["off_circle"] > 0.8
    for w in (1.0, 2.0, 3.0):
        end = tiny.sample_errors(student, w=w)
        assert end["off_circle"] < 0.5 and end["phase_gap"] < 0.2
    saved = checkpoint.load_file(tmp_path / "student" / "model" / "model.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in student.state_dict().items())


def test_guidance_weight_reaches_the_student(tiny, tmp_path):
    """The told w changes one call's result, and nothing does before training."""
    run = tiny.run(steps=40, teacher_steps=40, teacher=tmp_path / "teacher")
    words = torch.arange(8) % tiny.WORDS
    noise = torch.randn(8, tiny.CHANNELS, tiny.FRAMES)

    def change(net):
        with torch.no_grad():
            a, b = (
                solvers.sample(net, paths.edm, noise, tiny.word_condition(words).with_guidance(w)) for w in (1.0, 3.0)
            )
        return (a - b).abs().max()

    assert change(run.net) == 0
    assert change(train(run, tmp_path / "student").eval()) > 0


KILLED = """
import sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
import tiny
from audiocm.training.trainer import train
run = tiny.teacher_run(4000, 32, 0, torch.device("cpu"))
run.save_every, run.log_every, run.validate_every = 15, 10, 40
train(run, sys.argv[1] + "/out")
"""


def test_a_killed_process_resumes_bit_for_bit(tiny, tmp_path):
    process = started(KILLED, str(tmp_path), str(ROOT / "recipes"))
    folder, waited = tmp_path / "out" / "checkpoints", time.monotonic()
    while checkpoint.newest_checkpoint(folder) is None or checkpoint.newest_checkpoint(folder).name < "step-00000045":
        assert process.poll() is None and time.monotonic() - waited < 120, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = int(checkpoint.newest_checkpoint(folder).name[5:])
    assert 45 <= reached < 4000

    def finish(output):
        run = tiny.teacher_run(4000, 32, 0, torch.device("cpu"))
        run.save_every, run.log_every, run.validate_every, run.max_wall_seconds = 15, 10, 40, None
        # the schedule is 4000 steps long; both stop soon after the kill
        run.batches = Until(run.batches, reached + 60)
        with pytest.raises(StopIteration):
            train(run, output)
        lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
        return checkpoint.read(checkpoint.newest_checkpoint(output / "checkpoints")), [
            {k: v for k, v in line.items() if "second" not in k} for line in lines
        ]

    (a, state_a), log_a = finish(tmp_path / "out")
    (b, state_b), log_b = finish(tmp_path / "whole")
    assert state_a["step"] == state_b["step"] > reached
    assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    assert all(
        torch.equal(x, y) for x, y in zip(*(tree_tensors(one["ranks"]) for one in (state_a, state_b)), strict=True)
    )
    assert log_a == log_b


class Until:
    """Batches that end."""

    def __init__(self, batches, last):
        self.batches, self.last = batches, last
        self.state_dict, self.load_state_dict = batches.state_dict, batches.load_state_dict

    def __next__(self):
        if self.batches.step >= self.last:
            raise StopIteration
        return next(self.batches)


RANKS = """
import os, sys, torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[2])
import tiny
from accelerate.utils import gather_object
from audiocm.training.trainer import train

def make(steps):
    torch.manual_seed(torch.distributed.get_rank() if torch.distributed.is_initialized() else 0)
    run = tiny.teacher_run(steps, 16, 0, torch.device("cpu"))
    run.net, run.save_every, run.log_every, run.validate_every, run.decay = tiny.ToneNet(32), 5, 5, 10, lambda p: 1.0
    return run

train(make(5), sys.argv[1] + "/out")
run = make(10)
net = train(run, sys.argv[1] + "/out")
parts = gather_object([(run.batches.rank, run.batches.step, [p.detach().clone() for p in net.parameters()], next(run.batches)[0])])
(rank_a, step_a, net_a, x_a), (rank_b, step_b, net_b, x_b) = parts
assert (rank_a, rank_b) == (0, 1) and step_a == step_b == 11 or step_a == step_b == 10, (rank_a, rank_b, step_a, step_b)
assert all(torch.equal(p, q) for p, q in zip(net_a, net_b)), "ranks drifted apart"
assert not torch.equal(x_a, x_b), "ranks see the same data"
print("both agree", flush=True)
torch.distributed.barrier()
os._exit(0)  # gloo's threads sometimes abort the shutdown of a finished process
"""


def test_two_ranks_stay_equal_on_different_data_and_resume(tmp_path):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    process = started(RANKS, str(tmp_path), str(ROOT / "recipes"), launcher=launcher)
    output = process.communicate(timeout=180)[0].decode()
    assert process.returncode == 0 and output.count("both agree") == 2, output[-3000:]
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [5, 10]
    with pytest.raises(ValueError, match="written by 2 ranks, now 1"):
        resume_alone(tmp_path / "out")


def resume_alone(output):
    make = load_recipe(ROOT / "recipes" / "tiny.py")
    module = sys.modules[make.__module__]
    run = module.teacher_run(20, 16, 0, torch.device("cpu"))
    run.net = module.ToneNet(32)
    train(run, output)
