"""Wav against wav in closed form, speech measures where their packages are, alignment, and growing damage."""

import itertools
import json

import numpy as np
import pytest

from audiocm.audio import io
from audiocm.embedders.tag_alignment import TagAlignment
from audiocm.metrics import frechet_distance, kernel_distance, signal, speech
from recipes.benchmarks.metric_sensitivity import DAMAGE
from recipes.clap.evaluate import chance, retrieval, zero_shot
from recipes.judges import earlier_rows, markdown

RATE = 24000


def noise(seconds=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


def voiced(hertz, seconds=1.0):
    at = np.arange(int(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * hertz * k * at) / k for k in range(1, 9)).astype(np.float32) * 0.1


def test_spectral_distances_of_a_scaled_wav_are_known():
    x = noise()
    assert signal.multi_resolution_stft(x, x) == 0 and signal.log_spectral_distance(x, x) == 0
    assert signal.multi_resolution_stft(x, 0.5 * x) == pytest.approx(0.5 + np.log(2), abs=2e-3)
    assert signal.log_spectral_distance(x, x * 10 ** (6 / 20)) == pytest.approx(6, abs=1e-3)
    assert signal.log_mel_l1(x, x * np.e) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="differ in length"):
        signal.log_spectral_distance(x, x[: len(x) // 2])


def test_resampling_keeps_a_tone_and_its_level():
    tone = voiced(440)
    there = io.resample(tone, RATE, 16000)
    back = io.resample(there, 16000, RATE)
    assert len(there) == 16000 and np.abs(back - tone)[1000:-1000].max() < 5e-3


def test_pesq_and_stoi_know_the_clean_clip():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    x = voiced(150, 3) * (np.sin(2 * np.pi * 3 * np.arange(3 * RATE) / RATE) > 0)
    assert signal.pesq_wideband(x, x, RATE) > 4.5 > signal.pesq_wideband(x, x + noise(3) * 0.3, RATE)
    assert signal.stoi(x, x, RATE) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ValueError, match="PESQ"):
        signal.pesq_wideband(x * 0, x * 0, RATE)


def test_dnsmos_is_a_mean_opinion_score():
    pytest.importorskip("speechmos")
    found = speech.dnsmos(noise(2), RATE)
    assert set(found) == {"overall", "signal", "background", "p808"} and all(0.5 < v < 5 for v in found.values())


def test_word_errors_ignore_case_and_punctuation():
    pytest.importorskip("jiwer")
    assert speech.word_errors("The cat, sat.", "the cat sat") == {"WER": (0, 3), "CER": (0, len("the cat sat"))}
    assert speech.word_errors("a b c d", "a b x d")["WER"] == (1, 4)
    with pytest.raises(ValueError, match="empty"):
        speech.word_errors("...", "a")


def test_pitch_errors_are_cents():
    found = speech.pitch_errors(voiced(200), voiced(200 * 2 ** (1 / 12)), RATE)
    assert found["f0_rmse_cents"] == pytest.approx(100, abs=15)
    with pytest.raises(ValueError, match="no frame is voiced"):
        speech.pitch_errors(noise(), noise(seed=1), RATE)


def test_tag_alignment_prefers_the_prompt_of_the_tag():
    directions = dict(zip(("dog", "rain", "piano"), np.eye(3), strict=True))

    def encoder(texts):
        return np.stack([directions[text.split()[-1]] for text in texts])

    encoder.name = "toy"
    judge = TagAlignment(encoder, ["dog", "rain", "piano"])
    heard = np.array([[0.9, 0.1, 0.0], [0.0, 0.0, 0.7]])
    matched, crossed = judge(heard, ["a dog", "a piano"]), judge(heard, ["the rain", "a dog"])
    assert matched == pytest.approx([0.9 / np.hypot(0.9, 0.1), 1]) and crossed == pytest.approx(
        [0.1 / np.hypot(0.9, 0.1), 0]
    )


@pytest.mark.parametrize("name", list(DAMAGE))
def test_growing_damage_grows_the_distance(name):
    """Plucked notes under eight band energies: every kind of damage, at growing strength, is a growing distance."""
    rng = np.random.default_rng(0)
    at = np.arange(RATE // 2) / RATE

    def pluck():
        return (voiced(rng.uniform(100, 900), 0.5) * np.exp(-at * rng.uniform(2, 12))).astype(np.float32)

    def embedded(wavs):
        power = [np.square(np.abs(np.fft.rfft(w * np.hanning(len(w))))) for w in wavs]
        return np.array([[np.log(part.sum() + 1e-4) for part in np.array_split(p, 8)] for p in power])

    reference, clean = ([pluck() for _ in range(120)] for _ in range(2))
    change, strengths, _ = DAMAGE[name]
    sets = [embedded(clean), *(embedded([change(w, s) for w in clean]) for s in strengths[::2])]
    for distance in (frechet_distance, kernel_distance):
        values = [distance(x, embedded(reference)) for x in sets]
        assert all(b > a - 0.02 * values[-1] for a, b in itertools.pairwise(values)), values
        assert values[-1] > 3 * max(values[0], 0.1)


def test_retrieval_zero_shot_and_chance_agree_with_a_draw():
    truth = np.array([0, 0, 1, 2])
    perfect = {s.name: s.value for s in retrieval(np.eye(3)[:, truth], truth)}
    assert set(perfect.values()) == {1.0}
    rng = np.random.default_rng(0)
    clips, captions = 40, 12
    truth = np.concatenate([np.arange(captions), rng.integers(0, captions, clips - captions)])
    labels = [[str(t)] for t in truth]
    known = {s.name: s.value for s in chance(clips, captions, truth, [str(i) for i in range(captions)], labels)}
    drawn = [{s.name: s.value for s in retrieval(rng.random((captions, clips)), truth)} for _ in range(50)]
    for name in drawn[0]:
        assert np.mean([d[name] for d in drawn]) == pytest.approx(known[name], abs=0.05)
    assert zero_shot(np.eye(3)[:, [0, 1]], ["a", "b", "c"], [["a"], ["c", "x"]]).value == 0.5
    assert known["zero-shot accuracy"] == pytest.approx(1 / captions)


def test_markdown_shows_what_is_known_and_dashes_the_rest():
    rows = {
        "real": {"clips": "3", "scores": {"FD a pca9 vs x": {"value": 1.234, "low": 1, "high": 2}}},
        "one": {"clips": "3", "scores": {}},
    }
    lines = markdown(rows, ["FD a pca* vs x", "unknown"]).splitlines()
    assert lines[0] == "| system | clips | FD a pca9 vs x |"
    assert lines[2] == "| real | 3 | 1.23 [1, 2] |" and lines[3] == "| one | 3 | — |"
    rows["one"]["scores"] = {"FD a pca8 vs x": {"value": 2, "low": 1, "high": 3}}  # other components, the same column
    assert markdown(rows, ["FD a pca* vs x"]).splitlines()[0] == "| system | clips | FD a pca vs x |"


def test_earlier_rows_join_only_where_the_anchor_scores_the_same(tmp_path):
    def row(value: float) -> dict:
        return {"scores": {"FD": {"value": value, "low": value, "high": value}}}

    old = tmp_path / "old.json"
    old.write_text(
        json.dumps({"card": {"commit": "abc"}, "systems": {"real": row(1), "codec": row(2), "teacher": row(3)}})
    )
    rows = {"chance": row(9), "codec": row(2.00001), "student": row(4)}
    both = earlier_rows(str(old), rows, "codec", ["codec", "teacher", "student"])
    assert list(both) == ["chance", "codec", "teacher", "student"] and both["student"] == row(4)
    assert both["teacher"] == row(3) | {"scored_at": "abc"} and "scored_at" not in both["codec"]
    with pytest.raises(ValueError, match=r"has other scores \(FD\)"):
        earlier_rows(str(old), {"codec": row(2.1)}, "codec", ["codec", "teacher"])
