"""The benchmark of foreign students, as tiny networks."""

import argparse

import pytest
import torch

from recipes.benchmarks.foreign_latency import snr, time_student


def test_signal_to_noise_ratio():
    wav = torch.ones(1, 100)
    assert snr(1.1 * wav, wav) == pytest.approx(20, abs=1e-4)
    assert snr(wav, wav) == 200


@pytest.mark.parametrize("name", ["tango", "stable-audio"])
def test_a_student_is_timed_and_its_recorded_call_makes_the_same_sound(name):
    row = time_student(name, argparse.Namespace(tiny=True, repeats=1), torch.device("cpu"))
    assert row["snr_db, seed 0"] > 60 and row["snr_db, seed 1"] > 60 and not row["failures"]
    assert row["text_ms"] > 0 and row["recorded_ms"] > 0 and ("pipeline_ms" in row) == (name != "tango")
    assert not row["is_recorded"]
