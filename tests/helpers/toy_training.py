"""A regression with a batch source of its own, to train in milliseconds."""

import json
import math

import torch
from torch import nn

from audiocm.training.run import Run


class Killed(BaseException):
    """Stands for a killed process: nothing in the trainer catches it."""


class NoiseBatches:
    """Resumable batches of noise from a generator of their own; the process is killed after `stop_after` of them."""

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


class LineLoss:
    """Regression to a sum with noise from torch's global generator, and a little to the target network. Calls `bad` give NaN."""

    def __init__(self, bad=()):
        self.calls, self.bad = 0, bad

    def loss(self, student, target, x, cond, progress):
        self.calls += 1
        expected = x.sum(1, keepdim=True) + 0.1 * torch.randn(len(x), 1)
        error = (student(x) - expected).square().mean()
        if target is not None:
            with torch.no_grad():
                goal = target(x)
            error = error + 0.1 * (student(x) - goal).square().mean()
        return error * math.nan if self.calls in self.bad else error


def make_run(stop_after=None, bad=(), seed=0, **changes):
    """A run of 30 steps with `changes` of its settings."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.BatchNorm1d(8), nn.Linear(8, 1))
    settings = {"steps": 30, "lr": 1e-2, "warmup": 5, "ema": 0.9, "save_every": 7, "log_every": 4} | changes
    return Run("test", net, LineLoss(bad), NoiseBatches(stop_after), **settings)


def read_log(folder, timing=("seconds", "steps_per_second", "samples_per_second")):
    """The lines of log.jsonl without what differs from machine to machine."""
    lines = [json.loads(text) for text in (folder / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in timing} for line in lines]


def same_state(a, b):
    """Whether two networks have the same parameters and buffers."""
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)
