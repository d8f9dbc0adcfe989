"""recipes/benchmarks/distillation.py on small networks: what it compares is the same training."""

import argparse
import json
import warnings

import pytest
import torch

from audiocm.diffusion.guidance import guided_net
from audiocm.distillation.states import teacher_field
from recipes.benchmarks.distillation import Benchmark
from recipes.benchmarks.distillation_measurements import W
from recipes.benchmarks.distillation_steps import guided_in_two_calls
from recipes.benchmarks.published_sizes import MODELS


def benchmark(name, folder):
    return Benchmark(
        name, argparse.Namespace(tiny=True, batch=None, limit=100.0, parts=None, results=folder / "r.json")
    )


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


def quick(one, monkeypatch):
    """Leaves out what takes long on a CPU: compiling."""
    original = one.measure

    def measure(variant, rows, half=False):
        if variant == "compiled":
            raise RuntimeError("no compiler here\nat all")
        return original(variant, rows, half)

    monkeypatch.setattr(one, "measure", measure)
    return one


def test_a_failing_part_leaves_the_others(tmp_path, monkeypatch):
    """All parts are in the file, each with its result or the reason why there is none, and so is what follows of them."""
    one = quick(benchmark("tango", tmp_path), monkeypatch)
    one.args.batch = 1
    one.run()
    stored = json.loads((tmp_path / "r.json").read_text())["tango"]
    rows, summary = {(row["variant"], row.get("batch")): row for row in stored["rows"]}, stored["summary"]
    assert list(rows) == [
        ("script", 1),
        ("audiocm", 1),
        ("latency", 1),
        ("lora", 2),
        ("compiled", None),
        ("script", 2),
        ("audiocm", 2),
        ("decoding", 1),
    ]
    assert rows["compiled", None]["failed"] == "RuntimeError: no compiler here"
    assert stored["card"]["tiny"] is True and summary["batch"] == 1
    speed = {key: row.get("samples_per_second") for key, row in rows.items()}
    assert summary["ratio_at_equal_batch"] == pytest.approx(speed["audiocm", 1] / speed["script", 1], rel=0.01)
    best = max(speed["audiocm", 1], speed["audiocm", 2]) / max(speed["script", 1], speed["script", 2])
    assert summary["ratio_at_best"] == pytest.approx(best, rel=0.01)
    latency = rows["latency", 1]
    assert latency["teacher_seconds"] == pytest.approx(0.2 * latency["query_eager_ms"], rel=1e-3)
    faster = 1e3 * latency["teacher_and_decoding_seconds"] / latency["call_and_decoding_eager_ms"]
    assert summary["times_faster_with_decoding"] == pytest.approx(faster, rel=0.01)
    assert 0 < rows["lora", 2]["million_trained"] < summary["million_parameters"]
    assert rows["decoding", 1]["float32_eager_ms"] > 0
    assert rows["audiocm", 1]["estimated_gib"] > 0 and "first_compiled_step_seconds" not in summary
    # the same command measures what is missing only
    known = json.loads((tmp_path / "r.json").read_text())
    known["tango"]["rows"][2] = {"variant": "latency", "part": "latency", "call": 1, "not_run": "no time"}
    (tmp_path / "r.json").write_text(json.dumps(known))
    again, measured = benchmark("tango", tmp_path), []
    again.args.batch = 1
    again.resume()
    monkeypatch.setattr(
        again, "latency", lambda: measured.append(1) or again.record(variant="latency", batch=1, **of(latency))
    )
    again.run()
    after = json.loads((tmp_path / "r.json").read_text())["tango"]
    assert measured == [1] and [row["call"] for row in after["rows"]] == [1, 1, 1, 1, 1, 1, 1, 2]
    assert after["summary"] == summary


def of(row):
    return {key: value for key, value in row.items() if key.endswith(("_ms", "_seconds", "decoding", "faster"))}


def test_parts_without_time_are_marked_as_not_run(tmp_path, monkeypatch):
    one = quick(benchmark("tango", tmp_path), monkeypatch)
    one.args.tiny, one.args.limit = False, 25.0  # a true run asks how much time is left
    monkeypatch.setattr(
        one, "fitting", lambda variant, *_, **__: one.record(variant=variant, samples_per_second=1.0, batch=1)
    )
    one.run()
    rows = {row["variant"]: row for row in json.loads((tmp_path / "r.json").read_text())["tango"]["rows"]}
    left_out = ["latency", "lora", "compiled", "script, largest batch", "audiocm, largest batch", "decoding"]
    assert [name for name, row in rows.items() if "not_run" in row] == left_out
    assert "s are left, it may take 30 s" in rows["latency"]["not_run"]


def test_the_end_of_time_is_written(tmp_path):
    one = benchmark("tango", tmp_path)
    one.waiting = ["latency", "lora"]
    one.end()
    rows = json.loads((tmp_path / "r.json").read_text())["tango"]["rows"]
    assert [row["not_run"] for row in rows] == ["time was over while it ran", "time was over before it"]


def test_a_batch_that_does_not_fit_is_halved(tmp_path, monkeypatch):
    one, tried = benchmark("tango", tmp_path), []

    def measure(variant, rows, half=False):
        tried.append(rows)
        if rows > 4:
            raise torch.OutOfMemoryError("full")
        return {"batch": rows}

    monkeypatch.setattr(one, "measure", measure)
    assert one.fitting("script", 16, (1.0, 0.5, 0.25)) == {"batch": 4} and tried == [16, 8, 4]
    with pytest.raises(torch.OutOfMemoryError, match="no batch down to 8 fits"):
        one.fitting("script", 32, (1.0, 0.5, 0.25))
