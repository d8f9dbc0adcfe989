"""Batches as trees of tensors, and CUDA graphs of steps."""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from toy_training import LineLoss, NoiseBatches, make_run

from audiocm.diffusion.denoiser import Condition
from audiocm.distillation.states import NoisePair
from audiocm.training.graphed_step import CUDAGraphStep
from audiocm.training.trainer import train
from audiocm.training.trees import clone_tree, tree_signature, tree_tensors


def test_batches_are_copied_and_told_apart():
    cond = Condition(tokens=torch.ones(2, 3, 4), null=torch.tensor([True, False]))
    batch = (NoisePair(torch.zeros(2, 5), torch.ones(2, 5)), cond)
    mine = clone_tree(batch)
    assert type(mine[0]) is NoisePair and type(mine[1]) is Condition and mine[1].mask is None
    assert len(tree_tensors(mine)) == 4 and tree_signature(mine) == tree_signature(batch)
    for a, b in zip(tree_tensors(mine), tree_tensors(batch), strict=True):
        assert torch.equal(a, b) and a.data_ptr() != b.data_ptr()
    assert tree_signature((batch[0], cond.as_null())) == tree_signature(batch)
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_recorded_steps_equal_eager_ones(tmp_path):
    def smooth(**changes):
        run = make_run(steps=50, target_ema=0.8, **changes)
        run.batches = OnDevice()
        return run

    class OnDevice(NoiseBatches):
        def __next__(self):
            x, _ = super().__next__()
            return x.cuda(), None

    class Quiet(LineLoss):
        def loss(self, student, target, x, cond, progress):
            return (student(x) - x.sum(1, keepdim=True)).square().mean() + 0.1 * (
                student(x) - target(x).detach()
            ).square().mean()

    eager, recorded = smooth(), smooth(cuda_graph=True)
    eager.method = recorded.method = Quiet()
    a, b = train(eager, tmp_path / "a"), train(recorded, tmp_path / "b")
    assert all(torch.allclose(p, q, atol=1e-5) for p, q in zip(a.parameters(), b.parameters(), strict=True))
