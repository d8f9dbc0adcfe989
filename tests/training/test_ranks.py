"""Several ranks, with and without shards: the same curve as one rank, and checkpoints that any number of them reads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy_ranks
from torch import nn
from toy_ranks import losses, make_run, weights

from audiocm.training.run import Run
from audiocm.training.trainer import train

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one rank and then two ranks have trained."""
    folder = tmp_path_factory.mktemp("ranks")
    train(make_run(), folder / "one")
    train(make_run(steps=3), folder / "by-one")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    settings = {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(
        [*launcher, toy_ranks.__file__, str(folder)], env={**os.environ, **settings}, capture_output=True, timeout=240
    )
    output = (process.stdout + process.stderr).decode()
    assert process.returncode == 0 and output.count("done") == 2, output[-4000:]
    return folder


def saved(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")


@pytest.mark.parametrize("name", ["data-parallel", "sharded", "sharded-checkpointed", "accumulated"])
def test_two_ranks_train_as_one_with_the_doubled_batch(folder, name):
    expected, got = losses(folder / "one"), losses(folder / name)
    assert got.keys() == expected.keys() == set(range(1, toy_ranks.STEPS + 1))
    for step, (loss, norm) in expected.items():
        assert got[step] == pytest.approx((loss, norm), rel=1e-5, abs=1e-6)
    theirs = saved(folder / name)
    assert all(torch.allclose(theirs[key], value, atol=1e-6) for key, value in saved(folder / "one").items())


def test_accumulated_batches_are_one_larger_batch(folder, tmp_path):
    train(make_run(accumulate=4), tmp_path)
    expected = losses(folder / "one")
    assert all(one == pytest.approx(expected[step], rel=1e-5) for step, one in losses(tmp_path).items())


def test_gradient_checkpointing_changes_no_step(folder, tmp_path):
    net = train(make_run(gradient_checkpointing=True), tmp_path)
    assert losses(tmp_path) == losses(folder / "one")
    expected = saved(folder / "one")
    assert all(torch.equal(p, expected[name]) for name, p in net.named_parameters())


@pytest.mark.parametrize("name", ["by-two", "by-shards", "by-one"])
def test_checkpoints_go_on_with_another_number_of_ranks(folder, name):
    """By two ranks or shards and then by one, which has other first weights; or by one and then by two shards."""
    if name != "by-one":
        train(make_run(seed=7), folder / name)
    expected, got = losses(folder / "one"), losses(folder / name)
    assert got.keys() == expected.keys()
    assert all(got[step] == pytest.approx(one, rel=1e-5, abs=1e-6) for step, one in expected.items())
    theirs = saved(folder / name)
    assert all(torch.allclose(theirs[key], value, atol=1e-6) for key, value in saved(folder / "one").items())


def test_what_cannot_be_done_is_said(tmp_path):
    with pytest.raises(ValueError, match="shard needs several ranks"):
        train(make_run(shard=True), tmp_path)
    with pytest.raises(ValueError, match="shard does not go with compile"):
        make_run(shard=True, compile=True)
    with pytest.raises(ValueError, match="accumulate must be a whole number of at least 1"):
        Run("a", nn.Linear(1, 1), None, None, 1, accumulate=0)
    run = make_run(gradient_checkpointing=True)
    run.net = nn.Linear(6, 6)
    with pytest.raises(ValueError, match="names no `_repeated_blocks`"):
        train(run, tmp_path)
    assert weights(run.net).isfinite().all()


def test_ranks_of_the_command_line_know_of_each_other(tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "audiocm"]
    recipe = ["train", str(ROOT / "recipes" / "tiny.py"), "--steps", "3", "--teacher_steps", "3"]
    recipe += ["-o", str(tmp_path / "run")]
    env = {name: value for name, value in os.environ.items() if name != "ACCELERATE_USE_CPU"}
    env |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    process = subprocess.run([*launcher, *recipe], env=env, cwd=tmp_path, capture_output=True, timeout=240)
    assert process.returncode == 0, process.stderr.decode()[-4000:]
    state = json.loads(next((tmp_path / "run" / "checkpoints").glob("*/state.json")).read_text())
    assert state["step"] == 3 and len(state["ranks"]) == 2


def test_ranks_that_would_train_alone_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="ACCELERATE_USE_CPU"):
        train(make_run(), tmp_path)
