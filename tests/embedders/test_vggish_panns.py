"""VGGish and Cnn14 against numbers that the original implementations gave on the same made-up weights and sound.

torchvggish (github.com/harritaylor/torchvggish) and panns_inference 0.1.1, weights by `patterned`, sound by `sound`.
"""

import numpy as np
import pytest
import torch
from reference_weights import patterned

from audiocm.embedders.layers import magnitude_frames
from audiocm.embedders.panns import Panns, _Cnn14
from audiocm.embedders.vggish import Vggish, _VggishNet


def sound(rate):
    at = np.arange(2 * rate) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * at * (1 + at)) * np.exp(-at)).astype(np.float32)


VGGISH = [[-21.66402816772461, -5.538471221923828, 12.658210754394531, -2.1008143424987793],
          [-18.352787017822266, -6.466252326965332, 10.648011207580566, -3.6512537002563477]]  # fmt: skip
PANNS = [0.0, 421.1336364746094, 729.504150390625, 0.0, 0.0, 0.0], 148.15771484375, 244.5255584716797


@pytest.fixture(scope="module")
def vggish_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "vggish.pth"
    torch.save(patterned(_VggishNet().state_dict()), file)
    return file


@pytest.fixture(scope="module")
def panns_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "cnn14.pth"
    state = patterned(_Cnn14().state_dict()) | {"spectrogram_extractor.stft.conv_real.weight": torch.zeros(257, 1, 512)}
    torch.save({"model": state}, file)
    return file


def test_vggish_equals_torchvggish(vggish_file):
    vggish = Vggish(vggish_file)
    found = vggish.features([sound(16000), sound(16000)[:4000]])
    assert found["frames"][0].shape == (2, 128) and found["frames"][1].shape == (1, 128)
    assert found["frames"][0][:, :4] == pytest.approx(np.array(VGGISH), rel=1e-5)
    assert found["embedding"][0] == pytest.approx(found["frames"][0].mean(axis=0))


def test_cnn14_equals_panns_inference(panns_file):
    panns = Panns(panns_file)
    assert panns.sample_rate == 16000
    found = panns.features([sound(16000), sound(16000)[:3000], sound(16000)])
    first, mean, std = PANNS
    assert found["embedding"][0][:6] == pytest.approx(np.array(first), rel=1e-4, abs=1e-3)
    assert found["embedding"][0].mean() == pytest.approx(mean, rel=1e-4)
    assert found["embedding"][0].std(ddof=1) == pytest.approx(std, rel=1e-4)
    assert np.array_equal(found["embedding"][0], found["embedding"][2])
    assert found["distribution"].sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_wrong_weight_files_are_named(tmp_path, vggish_file, panns_file):
    with pytest.raises(ValueError, match="no such weight file"):
        Vggish(tmp_path / "missing.pth")
    with pytest.raises(ValueError, match="not this network's weights"):
        Vggish(panns_file)
    with pytest.raises(ValueError, match="not a Cnn14 checkpoint"):
        Panns(vggish_file)
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(ValueError, match="not readable as weights without running code: damaged, or no weights at all"):
        Vggish(tmp_path / "junk.pth")


def test_frames_of_a_tone_peak_at_its_bin():
    tone = torch.sin(2 * np.pi * 1000 * torch.arange(16000) / 16000)
    spectrum = magnitude_frames(tone, 512, 160, torch.hann_window(400), False)
    assert int(spectrum.mean(dim=0).argmax()) == 32
    assert magnitude_frames(tone[:50], 512, 160, torch.hann_window(400), False).shape[0] == 1
