"""The settings of a run: ranges, learning-rate schedules, export."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from toy_training import make_run

from audiocm.training.run import ResumableBatches, cosine_decay, save_net


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1 and at most 1,000,000,000, not 0"),
        ({"steps": "10"}, "steps must be a whole number of at least 1 and at most 1,000,000,000, not '10'"),
        ({"steps": float("nan")}, "steps must be a whole number of at least 1 and at most 1,000,000,000, not nan"),
        ({"warmup": -10}, "warmup must be a whole number of at least 0, not -10"),
        ({"lr": float("nan")}, "lr must be a number of at least 0, not nan"),
        ({"lr": "a"}, "lr must be a number of at least 0, not 'a'"),
        ({"weight_decay": float("inf")}, "weight_decay must be a number of at least 0, not inf"),
        ({"max_grad_norm": 0}, "max_grad_norm must be a number above 0, not 0"),
        ({"train_seconds": -1.0}, "train_seconds must be a number above 0, not -1.0"),
        ({"betas": (0.9,)}, "betas must be two numbers"),
        ({"betas": (0.9, 1.0)}, "betas must be a number of at least 0 and below 1, not 1.0"),
        ({"decay": 5}, "decay must be a function, not 5"),
        ({"export": None}, "export must be a function, not None"),
        ({"precision": "fp16"}, "precision must be one of no, bf16, not 'fp16'"),
        ({"ema": 1.0}, "ema must be a number of at least 0 and below 1, not 1.0"),
        ({"keep_best": "a"}, "keep_best='a' needs a validate function"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        make_run(**change)


def test_learning_rate_factors():
    assert [cosine_decay(p) for p in (0.0, 0.5, 1.0, 2.0)] == pytest.approx([1, 0.5, 0, 0])


def test_a_network_that_is_no_diffusers_model_is_saved_as_safetensors(tmp_path):
    net = nn.Linear(3, 2)
    save_net(net, tmp_path / "a" / "model")
    saved = load_file(tmp_path / "a" / "model" / "model.safetensors")
    assert all(torch.equal(saved[name], value) for name, value in net.state_dict().items())


def test_batches_with_a_state_are_resumable():
    assert isinstance(make_run().batches, ResumableBatches) and not isinstance(iter([1]), ResumableBatches)
