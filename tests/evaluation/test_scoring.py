"""Scoring a folder and comparing two, from Python."""

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ask, noise_folder, toy

from audiocm.evaluation import score
from audiocm.evaluation.preprocessing import Preprocessing
from audiocm.evaluation.scoring import compare, evaluate
from audiocm.evaluation.session import ScoreRequest


def test_the_public_call_returns_scores_items_and_the_card(folders):
    result = score(folders[0], folders[2], embedders=(toy(),), metrics=("fad",))
    assert list(result.scores) == ["FD bands"] and result.scores["FD bands"].low < result.scores["FD bands"].value
    assert result.card["embedders"] == {"bands": {"digest": "1", "sample_rate": RATE}}
    assert result.card["clips"] == {"generated": 40, "reference": 60}
    assert result.card["form"]["resampler"] == "soxr HQ" and {"numpy", "torch"} <= result.card["versions"].keys()
    assert len(result.outliers) == 40 and result.outliers[0]["of"] == "FD bands"
    shares = [one["share"] for one in result.outliers]
    assert sum(shares) == pytest.approx(result.scores["FD bands"].value) and shares == sorted(shares, reverse=True)


def test_every_option_of_the_public_call_reaches_the_request(folders, monkeypatch, tmp_path):
    monkeypatch.setattr("audiocm.evaluation.scoring.evaluate", lambda request: request)
    options = {
        "prompts": tmp_path / "p", "metrics": ("is",), "embedders": (toy(),), "clap": "c", "tagger": "t", "tokenizer": "k",
        "preprocessing": Preprocessing(trim=True), "components": 3, "cache": tmp_path, "workers": 1, "seed": 4,
        "resamples": 50, "max_unusable": 0.2, "device": "cpu",
    }  # fmt: skip
    assert score("a", "b", **options) == ScoreRequest("a", "b", **options)
    assert score("a") == ScoreRequest("a")


def test_compare_is_paired_and_sees_the_better_system(folders):
    a, b, real = folders
    small = noise_folder(real.parent / "small", 40, 3)  # the first 40 of real, by name
    result = compare(ask(a, small, metrics=("fad", "lsd")), ask(b, small, metrics=("fad", "lsd")), resamples=300)
    difference = result.differences["FD bands"]
    assert difference.high < 0 and difference.p < 0.05
    assert result.differences["log-spectral distance dB"].count == 40
    nothing = compare(ask(a, small), ask(a, small)).differences["FD bands"]
    assert nothing.value == 0 and nothing.p == 1
    with pytest.raises(ValueError, match=r"form\.loudness: as_is != peak"):
        compare(ask(a, small), ask(b, small, preprocessing=Preprocessing(loudness="peak")))
    soundfile.write(a / "003.flac", soundfile.read(a / "003.wav")[0], RATE)
    with pytest.raises(ValueError, match=r"003\.flac and .*003\.wav differ only in their suffix"):
        compare(ask(a, small), ask(b, small))


def test_pairs_of_unlike_length_are_refused_before_anything_is_decoded(tmp_path, monkeypatch):
    for name, seconds in (("short", 1.0), ("long", 1.3)):
        (tmp_path / name).mkdir()
        for i in range(4):
            wave = 0.1 * np.sin(np.arange(int(16000 * (seconds if i == 3 else 1.0))) / 9)
            soundfile.write(tmp_path / name / f"{i}.wav", wave, 16000)
    monkeypatch.setattr("audiocm.evaluation.session.decode_clip", None)
    with pytest.raises(ValueError, match=r"lsd: 1 of 4 pairs differ in length by more than a tenth \(first: 3: 1.00 s"):
        evaluate(ScoreRequest(tmp_path / "short", tmp_path / "long", metrics=("lsd",)))
