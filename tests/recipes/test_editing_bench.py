"""What recipes/text_to_audio/editing.py measures, on signals of which the answer is known."""

import json

import numpy as np
import pytest
import soundfile

from recipes.text_to_audio import editing_recordings, seam_classifier
from recipes.text_to_audio.editing_measures import flux_at_joint
from recipes.text_to_audio.editing_recordings import FIRST, RATE, SECONDS, STOP, WIDTH


def noise(seed: int, seconds: float = SECONDS) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.2, 0.2, round(seconds * RATE)).astype(np.float32)


def test_area_under_the_curve_counts_pairs_in_order():
    positive, negative = np.array([3.0, 1.0]), np.array([2.0, 1.0, 0.0])
    assert seam_classifier.auc(positive, negative) == pytest.approx((3 + 1.5) / 6)
    assert seam_classifier.auc(negative, negative) == 0.5


def test_the_classifier_finds_seams_and_is_at_chance_without_any(monkeypatch):
    time = np.arange(SECONDS * RATE) / RATE
    rising = [(0.2 * np.sin(2 * np.pi * (300 + 20 * i) * time * (1 + time))).astype(np.float32) for i in range(40)]
    wavs = [wav + 0.05 * noise(i) for i, wav in enumerate(rising)]
    seams = seam_classifier.SeamClassifier(wavs, seed=0)
    assert seams.cross_validated > 0.9 and seams.patches == 240
    monkeypatch.setattr(seam_classifier, "splice", lambda sound, *_: sound)
    assert seam_classifier.SeamClassifier(wavs, seed=0).cross_validated == 0.5


def test_a_loop_of_the_neighbours_keeps_the_rest():
    wav = noise(0)
    made = editing_recordings.looped(wav)
    np.testing.assert_array_equal(editing_recordings.kept(made), editing_recordings.kept(wav))
    assert len(editing_recordings.kept(wav)) == len(wav) - (STOP - FIRST) - 2 * WIDTH
    assert editing_recordings.level(made[FIRST:STOP]) == pytest.approx(editing_recordings.level(wav), rel=0.05)


def test_the_flux_of_a_hard_joint_is_above_that_inside():
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    rising = np.linspace(0.01, 1, 2 * RATE, dtype=np.float32)
    assert flux_at_joint(tone * rising[::-1].copy()) > 0.95
    assert flux_at_joint(tone) < 0.95


def test_recordings_are_one_of_each_group_and_not_silent(tmp_path):
    lines = []
    for i, (group, wav) in enumerate([("a", noise(0)), ("a", noise(1)), ("b", noise(2)), ("c", 0 * noise(3))]):
        soundfile.write(tmp_path / f"{i}.flac", wav, RATE)
        about = {"split": "test", "seconds": 4.0, "kind": "effect", "captions": ["rain"], "group": group}
        lines.append(json.dumps(about | {"file": f"{i}.flac"}))
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    assert {e["group"] for e in editing_recordings.recordings([tmp_path], "test", 9)} == {"a", "b"}
    with pytest.raises(ValueError, match="fewer than two recordings of the split 'valid'"):
        editing_recordings.recordings([tmp_path], "valid", 9)
