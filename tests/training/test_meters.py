"""Meters: means over the good steps, counts of the bad ones."""

import math

import torch

from audiocm.training.meters import Meters


def feed(meters, *losses):
    for loss in losses:
        value = torch.tensor(loss)
        meters.update(value, 2 * value, 3 * value, value.isfinite())


def test_means_leave_bad_steps_out_and_start_anew():
    meters = Meters(torch.device("cpu"))
    feed(meters, 1.0, math.nan, 3.0, math.inf, math.nan)
    assert meters.longest == meters.in_a_row == 2
    assert meters.read() == {"loss": 2, "critic_loss": 4, "grad_norm": 6, "skipped": 3}
    feed(meters, math.nan)
    assert meters.longest == 3  # the row goes on
    values = meters.read()
    assert math.isnan(values["loss"]) and values["skipped"] == 4
    feed(meters, 5.0)
    assert meters.in_a_row == 0 and meters.longest == 3
    assert meters.read()["loss"] == 5 and meters.longest == 0


def test_the_state_is_one_tensor():
    a, b = Meters(torch.device("cpu")), Meters(torch.device("cpu"))
    feed(a, 1.0, math.nan)
    b.values.copy_(a.values)
    assert b.in_a_row == 1 and b.read() == a.read()
