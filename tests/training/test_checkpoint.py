"""Checkpoints: intact after a kill at any moment, of limited size, and clear about damage."""

import json
import random

import numpy as np
import pytest
import torch
from toy_training import Killed

from audiocm import files
from audiocm.training import checkpoint


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

    operations = ((checkpoint, "save_file"), (files.os, "fsync"), (files.os, "replace"), (files.shutil, "rmtree"))
    for owner, name in operations:
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
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
        tensors_read, state = checkpoint.read(checkpoint.newest_checkpoint(folder))
        assert torch.equal(tensors_read["a"], tensors[state["step"] - 1]["a"])
    assert 0 < completed < 20


def test_shards_stay_under_their_size_and_damage_is_named(tmp_path):
    tensors = {"a": torch.randn(300, 500), "b": torch.arange(7), "c": torch.tensor(3.5), "d": torch.empty(0, 4)}
    path = checkpoint.write(tmp_path, 1, tensors, {"x": [1, None]}, shard_mb=0.2)
    shards = sorted(path.glob("*.safetensors"))
    assert len(shards) > 3 and max(file.stat().st_size for file in shards) <= 200_000
    back, state = checkpoint.read(path)
    assert state["x"] == [1, None]
    assert all(torch.equal(back[name], tensors[name]) and back[name].dtype == tensors[name].dtype for name in tensors)
    shards[1].write_bytes(shards[1].read_bytes()[:-9])
    with pytest.raises(ValueError, match=shards[1].name):
        checkpoint.read(path)
    (path / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state\.json"):
        checkpoint.read(path)


def test_tensors_in_a_nested_state_are_stored_and_restored(tmp_path):
    state = {"a": [torch.ones(2), {"b": 3}], "c": (torch.zeros(1), None)}
    path = checkpoint.write(tmp_path, 5, {"net": torch.ones(3)}, state, None)
    plain = json.loads((path / "state.json").read_text())
    assert plain["a"] == [{"__tensor__": "state.1"}, {"b": 3}] and plain["c"] == [{"__tensor__": "state.2"}, None]
    tensors, back = checkpoint.read(path)
    assert tensors.keys() == {"net"} and back.keys() == {"step", "a", "c"} and back["step"] == 5
    assert torch.equal(back["a"][0], state["a"][0]) and back["a"][1] == {"b": 3}
    assert torch.equal(back["c"][0], state["c"][0]) and back["c"][1] is None


def test_generators_are_restored():
    cpu = torch.device("cpu")
    state = checkpoint.get_rng(cpu)
    first = torch.rand(3), np.random.rand(3), random.random(), random.gauss(0, 1)
    checkpoint.set_rng(state, cpu)
    second = torch.rand(3), np.random.rand(3), random.random(), random.gauss(0, 1)
    assert torch.equal(first[0], second[0]) and (first[1] == second[1]).all() and first[2:] == second[2:]
