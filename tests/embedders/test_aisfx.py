"""aiSFX (skipped where the package is not installed)."""

import importlib.util

import numpy as np
import pytest
import torch

from audiocm.embedders.aisfx import Aisfx
from audiocm.embedders.checkpoints import load_without_code, package_file

needs_aisfx = pytest.mark.skipif(
    importlib.util.find_spec("aisfx") is None, reason="aisfx is not installed: pip install --no-deps aisfx==0.1.2"
)


def sine(hertz, seconds, rate):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@needs_aisfx
def test_aisfx_net_equals_the_packages_own():
    spec = importlib.util.find_spec("aisfx")
    path = f"{spec.submodule_search_locations[0]}/models/cnn2d.py"
    source = importlib.util.spec_from_file_location("aisfx_cnn2d", path)
    module = importlib.util.module_from_spec(source)
    source.loader.exec_module(module)
    weights, sets = load_without_code(package_file("aisfx", "models/checkpoint.pth"))
    theirs = module.CrossNet(module.EmbeddingNet("max", 3, 1, 64), sets, "cpu")
    theirs.load_state_dict(weights)
    x = torch.rand(2, 100, 96, generator=torch.Generator().manual_seed(0))
    ours = Aisfx()._net
    with torch.inference_mode():
        assert torch.allclose(ours(x), theirs.eval().get_embedding(x), atol=1e-5)


@needs_aisfx
def test_aisfx_front_end_reads_a_full_scale_sine_as_its_paper_does():
    """A full-scale sine has power (N/2 · 1/2)² at its bin under an unnormalised Hann window of N samples; band weights
    sum to 1, so log10(10⁴ · band + 1) / 9.4578 of a band holding the peak is below that of the peak itself."""
    spectrum = Aisfx().spectrum(sine(5000, 2, 44100) / 0.3)
    ceiling = np.log10(1e4 * (2048 / 4) ** 2 * 1.0 + 1) / 9.457798957824707
    assert 0.85 * ceiling < float(spectrum.max()) <= ceiling
