"""recipes/benchmarks/distillation.py on small networks: what it compares is the same training."""

import argparse
import json
import warnings

import pytest
import torch

from audiocm.diffusion.guidance import guided_net
from audiocm.distillation.states import teacher_field
from recipes.benchmarks.distillation import MODELS, Benchmark, W, guided_in_two_calls


def benchmark(name, folder):
    return Benchmark(name, argparse.Namespace(tiny=True, batch=None, limit=100.0, results=folder / "r.json"))


@pytest.mark.parametrize("name", MODELS)
def test_both_loops_have_one_loss(name, tmp_path):
    """Guidance in one call and in two is the same teacher, and so is the loss at the same draws."""
    one = benchmark(name, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        teacher, student, method = one.networks()
    x, cond = one.batch(2)
    t = (
        torch.full((2,), 0.5 * one.schedule.path.t_max).round()
        if one.schedule.path.t_max > 1
        else torch.full((2,), 0.5)
    )
    told = cond.with_guidance(torch.tensor(W))
    expected, got = guided_net(teacher)(x, t, None, told), guided_in_two_calls(teacher)(x, t, None, told)
    assert torch.allclose(got, expected, atol=1e-4 * expected.abs().max()) and expected.std() > 0
    losses = []
    for net in (guided_net(teacher), guided_in_two_calls(teacher)):
        torch.manual_seed(0)
        changed = method.__class__(**{**vars(method), "field": teacher_field(net)})
        losses.append(changed.loss(student, None, x, cond, torch.zeros(())).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_results_are_written_as_they_come(tmp_path):
    one = benchmark("stable-audio", tmp_path)
    script, plain = one.measure("script", 2, half=True), one.measure("audiocm", 2, half=True)
    one.summarize(script, plain)
    one.latency()
    stored = json.loads((tmp_path / "r.json").read_text())["stable-audio"]
    assert [row["variant"] for row in stored["rows"]] == ["script", "audiocm", "latency"]
    assert (
        stored["card"]["tiny"] is True and stored["summary"]["batch"] == 2 and "ratio_at_best" not in stored["summary"]
    )
    assert stored["summary"]["ratio_at_equal_batch"] == pytest.approx(
        stored["rows"][1]["samples_per_second"] / stored["rows"][0]["samples_per_second"], rel=0.01
    )
    assert script["largest_batch"] == 4 and plain["estimated_gib"] > 0
    assert stored["rows"][2]["call_and_decoding_eager_ms"] > stored["rows"][2]["decoding_eager_ms"] * 0.5
