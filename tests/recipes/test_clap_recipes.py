"""The small CLAP: training on a toy corpus, its defaults, and the retrieval and zero-shot scores of its table."""

import inspect
import json

import numpy as np
import pytest
import soundfile

from audiocm.models.folders import PRETRAINED
from audiocm.training.recipe import train_recipe
from recipes.clap import train
from recipes.clap.evaluate import chance, retrieval, zero_shot


def test_training_writes_the_best_average(tmp_path):
    lines = []
    for i, words in enumerate(("rain", "a bell", "rain", "a bell")):
        soundfile.write(tmp_path / f"{i}.wav", 0.3 * np.sin(0.05 * (i + 1) * np.arange(24000)), 24000)
        split = "valid" if i > 1 else "train"
        lines.append({"file": f"{i}.wav", "seconds": 1.0, "split": split, "kind": "effect", "captions": [words]})
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    small = [
        "--steps",
        "2",
        "--batch",
        "2",
        "--widths",
        "8,8,8,8",
        "--depths",
        "1,1,1,1",
        "--precision",
        "no",
        "--perturb",
        "true",
    ]
    train_recipe("recipes/clap/train.py", [*small, "--corpora", str(tmp_path)], tmp_path / "run")
    assert (tmp_path / "run" / "model" / "diffusion_pytorch_model.fp16.safetensors").exists()
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert 0 <= last["valid/mean_recall"] <= 1


def test_defaults_are_what_was_shipped():
    defaults = {name: one.default for name, one in inspect.signature(train.run).parameters.items()}
    config = json.loads((PRETRAINED / "small-clap" / "config.json").read_text())
    assert [*defaults["widths"]] == config["widths"] and [*defaults["depths"]] == config["depths"]
    assert (defaults["minutes"], defaults["lr"], defaults["batch"], defaults["seed"]) == (38.0, 2e-3, 128, 0)


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
