"""Metrics of prompts, classes and pairs of clips, with toy judges and with the bundled ones."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ask, bands, noise_folder, toy_tagger, write_lines

from audiocm.embedders.clap import ClapScorer
from audiocm.embedders.protocol import CallableEmbedder
from audiocm.evaluation.preprocessing import list_clips
from audiocm.evaluation.registry import METRICS
from audiocm.evaluation.result import MetricResult, SetStatistic
from audiocm.evaluation.scoring import evaluate, score
from audiocm.evaluation.session import Evaluation
from audiocm.metrics import signal

SAMPLES = Path(__file__).parents[2] / "samples" / "scoring"


class OneOfThree(CallableEmbedder):
    """Three classes, alike for all clips."""

    def features(self, wavs):
        return super().features(wavs) | {"probabilities": np.tile([0.5, 0.3, 0.2], (len(wavs), 1))}


def toy_clap(folder):
    """Knows two captions: the mean clip of the folder, and its opposite."""
    mean = np.stack([bands(soundfile.read(path)[0]) for path in list_clips(folder)]).mean(axis=0)
    vectors = {"low noise": mean, "its opposite": -mean}

    def embed_audio(wavs):
        return np.stack([bands(wav) for wav in wavs])

    def embed_text(texts):
        return np.stack([vectors[text] for text in texts])

    return ClapScorer(embed_audio, embed_text, "toy-clap", RATE, "1")


def test_prompts_are_scored_by_clap_and_by_tags(folders, tmp_path):
    a, b, _ = folders  # b is noise with its energy low
    prompts = ["low noise" if i < 30 else "its opposite" for i in range(40)]
    lines = [{"file": f"{i:03d}.wav", "prompt": prompt, "labels": ["low"]} for i, prompt in enumerate(prompts)]
    judges = {"clap": toy_clap(b), "tagger": toy_tagger()}
    file = write_lines(tmp_path / "p.jsonl", lines)
    request = ask(b, a, prompts=file, metrics=("clap", "hits", "kl", "is"), **judges)
    result = evaluate(request)
    found = {name: score.value for name, score in result.scores.items()}
    assert found["CLAP_T toy-clap"] == pytest.approx(0.5, abs=0.02)  # 30 agree, 10 disagree: their cosines are ±1
    assert result.scores["CLAP_T toy-clap"].count == 40 and 0 < found["CLAP_A toy-clap"] <= 1
    assert found["top-5 hits tags"] == 1 and found["KL tags"] > 0 and 1 <= found["IS tags"] <= 2
    assert {"toy-clap", "tags"} <= result.card["embedders"].keys()
    assert len(result.items["CLAP_T toy-clap"]) == 40
    assert "CLAP_T and R@k" not in "".join(result.warnings)
    without = evaluate(ask(b, a, metrics=("clap", "is"), **judges))
    assert "CLAP_T toy-clap" not in without.scores
    assert without.warnings == ["CLAP_T and R@k are not scored: they need --prompts"]
    lines[7]["labels"] = []
    evaluated = evaluate(ask(b, a, prompts=write_lines(file, lines), metrics="hits", **judges))
    assert evaluated.scores["top-5 hits tags"].count == 39  # a line without labels does not count
    soundfile.write(b / "005.wav", np.zeros(4000), RATE)
    result = evaluate(ask(b, a, prompts=file, metrics=("hits", "kl"), **judges))
    assert result.scores["top-5 hits tags"].value == pytest.approx(38 / 39)  # silence is a miss
    assert result.scores["KL tags"].count == 39 and "005" not in result.items["KL tags"]


def test_an_inception_score_of_few_clips_is_warned_of(tmp_path):
    three = OneOfThree(bands, "three", RATE, "1")
    result = evaluate(ask(noise_folder(tmp_path / "pair", 2, 7), metrics="is", tagger=three))
    few = "2 clips are fewer than the 3 classes, which lowers it: it compares only between sets of equal size"
    assert result.warnings == [f"IS three: {few}"]


def test_a_metric_returns_what_it_used_and_leaves_the_evaluation_alone(folders):
    a, _, real = folders
    evaluation = Evaluation(ask(a, real, tagger=toy_tagger()))
    names, first, second = evaluation.paired_rows(evaluation.tagger)
    before = {role: set(evaluation.features(role, evaluation.tagger).features) for role in ("generated", "reference")}
    kl, lsd, fad = (METRICS[name].compute(evaluation) for name in ("kl", "lsd", "fad"))
    assert kl.paired and lsd.paired and not fad.paired and (fad + kl).paired
    assert {role: set(evaluation.features(role, evaluation.tagger).features) for role in before} == before
    assert names == [f"{i:03d}" for i in range(40)] and first.tolist() == second.tolist() == list(range(40))
    both = MetricResult(items={"x": {"a": 1.0}}) + MetricResult(judges=["j"], statistics={"s": SetStatistic([], list)})
    assert both.items and both.judges == ["j"] and list(both.statistics) == ["s"] and not both.paired


def test_log_mel_distance_of_pairs(folders):
    a, _, real = folders
    score_ = evaluate(ask(a, real, metrics="mel"))
    wavs = [soundfile.read(folder / "004.wav", dtype="float32")[0] for folder in (real, a)]
    assert score_.items["log-mel L1"]["004"] == pytest.approx(signal.log_mel_l1(*wavs, RATE))


def test_alignment_works_with_what_is_bundled(tmp_path):
    """A plain install: the bundled CLAP as a zero-shot tagger, and the bundled text encoder."""
    lines = [json.loads(line) for line in (SAMPLES / "prompts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 33
    twice = []  # each clip with its own prompt and with that of another clip
    for one, two in zip(lines, lines[11:] + lines[:11], strict=True):
        for name, prompt in (("own", one["prompt"]), ("moved", two["prompt"])):
            twice.append({"file": f"{name}-{one['file']}", "prompt": prompt})
            (tmp_path / twice[-1]["file"]).symlink_to(SAMPLES / "real" / one["file"])
    prompts = write_lines(tmp_path / "prompts.jsonl", twice)
    result = score(tmp_path, prompts=prompts, metrics="alignment", tagger="small-clap")
    items = result.items["tag-alignment(all-MiniLM-L6-v2)"]
    own, moved = ([value for key, value in items.items() if key.startswith(name)] for name in ("own", "moved"))
    assert len(own) == len(moved) == 33 and np.mean(own) > np.mean(moved) + 0.03
    assert set(result.card["embedders"]) >= {"small-clap zero-shot", "all-MiniLM-L6-v2"}
