"""Results on disk: what `audiocm score --json` writes, and files of earlier versions."""

import json

import pytest
from toy_scoring import ask, noise_folder

from audiocm.cli.score import format_scores
from audiocm.evaluation.result import ScoreResult
from audiocm.evaluation.scoring import compare_files, evaluate

EARLIER = {  # of version 0.1.0, shortened
    "card": {
        "embedders": {"bands": {"digest": "1", "sample_rate": 8000}},
        "form": {"loudness": "as_is", "ends": "untrimmed", "longest_seconds": 30.0, "band_limit_rate": None},
        "seed": 0,
        "versions": {"numpy": "2.4.6"},
        "python": "3.11.7",
        "commit": "cd594c975337",
        "device": "x86_64, 2 CPU cores",
        "clips": {"generated": 3, "reference": 3},
        "reference": "f00",
        "caption_policy": None,
        "prompts": None,
        "draws": 200,
        "generated": "a",
        "left_out": {"generated": {"silent": 1}, "reference": {}},
        "cut": {"generated": 0, "reference": 0},
    },
    "scores": {
        "multi-resolution STFT": {"name": "multi-resolution STFT", "value": 1.5, "low": 1, "high": 2, "count": 3}
    },
    "items": {"multi-resolution STFT": {"0": 1.0, "1": 1.5, "2": 2.0}},
    "intake": {"generated": {"used": 3, "cut": 0, "left_out": {}, "rates": {"8000": 3}, "channels": {"1": 3}}},
    "warnings": ["generated: 1 silent left out (first: a/x.wav)"],
    "outliers": [],
}


def test_a_result_survives_its_file(folders, tmp_path):
    result = evaluate(ask(folders[0], noise_folder(tmp_path / "small", 40, 3), metrics=("fad", "lsd")))
    (tmp_path / "result.json").write_text(json.dumps(result.to_dict()))
    loaded = ScoreResult.load(tmp_path / "result.json")
    assert loaded.to_dict() == result.to_dict() and loaded.scores == result.scores
    assert set(result.to_dict()) == {"card", "scores", "items", "intake", "warnings", "outliers"}
    assert result.statistics and not loaded.statistics
    assert format_scores(loaded) == format_scores(result)


def test_results_of_earlier_versions_are_compared(tmp_path):
    files = [tmp_path / "one.json", tmp_path / "two.json"]
    other = {"items": {"multi-resolution STFT": {"0": 2.0, "1": 2.5, "2": 3.5}}}
    for file, content in zip(files, (EARLIER, EARLIER | other), strict=True):
        file.write_text(json.dumps(content))
    difference = compare_files(*files).differences["multi-resolution STFT"]
    assert difference.value == pytest.approx(-3.5 / 3) and difference.count == 3
    text = format_scores(ScoreResult.load(files[0]))
    assert "multi-resolution STFT  1.5 [1, 2] (n=3)" in text and "generated 3 used, 1 silent" in text


def test_stored_results_without_what_a_comparison_needs_are_refused_in_one_line(folders, tmp_path):
    files = [tmp_path / f"{name}.json" for name in ("fad", "lsd", "bare", "list")]
    small = noise_folder(tmp_path / "small", 40, 3)
    for file, metric in zip(files, ("fad", "lsd"), strict=False):
        file.write_text(json.dumps(evaluate(ask(folders[0], small, metrics=metric)).to_dict()))
    files[2].write_text('{"card": {"generated": "a", "clips": {}}, "scores": {}}')
    files[3].write_text("[]")
    with pytest.raises(ValueError, match="share no score: FD bands against log-spectral distance dB"):
        compare_files(files[0], files[1], ignore_cards=True)
    with pytest.raises(ValueError, match=r"bare\.json: not a result of audiocm score \(items is missing\)"):
        compare_files(files[0], files[2], ignore_cards=True)
    with pytest.raises(ValueError, match=r"list\.json: not a result of audiocm score"):
        compare_files(files[0], files[3], ignore_cards=True)
    with pytest.raises(ValueError, match="not a result"):
        compare_files(files[0], folders[0] / "000.wav")


@pytest.mark.parametrize(
    "change",
    [
        {"scores": []},
        {"scores": {"x": 5}},
        {"scores": {"x": {"name": "x", "value": "1", "low": 0, "high": 2, "count": 3}}},
        {"scores": {"x": {"name": "x", "value": float("nan"), "low": 0, "high": 2, "count": 3}}},
        {"items": [1]},
        {"items": {"multi-resolution STFT": {"0": None}}},
        {"card": None},
        {"card": EARLIER["card"] | {"clips": 5}},
        {"card": EARLIER["card"] | {"embedders": {"bands": 5}}},
        {"card": EARLIER["card"] | {"form": []}},
        {"card": EARLIER["card"] | {"left_out": {"generated": 5, "reference": {}}}},
        {"card": EARLIER["card"] | {"left_out": {}}},
        {"card": {key: value for key, value in EARLIER["card"].items() if key != "commit"}},
        {"card": EARLIER["card"] | {"embedders": {"bands": {"digest": "1", "sample_rate": 1, "clip": 5}}}},
        {"card": EARLIER["card"] | {"embedders": {"bands": {"digest": "1"}}}},
        {"card": EARLIER["card"] | {"cut": 5}},
        {"card": EARLIER["card"] | {"preset": {"name": "x"}}},
        {"card": EARLIER["card"] | {"preset": "x"}},
        {"warnings": 5},
        {"outliers": [5]},
        {"intake": 5},
    ],
)
def test_results_of_wrong_types_are_refused(tmp_path, change):
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(EARLIER | change))
    with pytest.raises(ValueError, match=r"bad\.json: not a result of audiocm score"):
        ScoreResult.load(file)


def test_a_result_of_brackets_and_one_with_a_byte_order_mark(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"x\.json: not a result"):
        ScoreResult.load(file)
    file.write_text(json.dumps(EARLIER), encoding="utf-8-sig")
    assert ScoreResult.load(file).card == EARLIER["card"]


def test_no_number_that_json_lacks_is_written(folders):
    result = evaluate(ask(folders[0], metrics="diversity"))
    result.items["x"] = {"a": float("nan"), "b": float("-inf"), "c": 1.0}
    written = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(written)["items"]["x"] == {"a": None, "b": None, "c": 1.0}
