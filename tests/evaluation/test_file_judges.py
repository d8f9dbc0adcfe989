"""Metrics of judges that come from a weight file: utmos:FILE, aesthetics:FILE, sim-o:FILE, and what they refuse."""

import json
from pathlib import Path

import pytest
import soundfile
import torch

from audiocm.cli.main import main
from audiocm.evaluation.registry import find_metric
from audiocm.evaluation.scoring import evaluate
from audiocm.evaluation.session import ScoreRequest
from recipes.evaluation.embedder_fixtures import make_sound, make_weights

CASES = json.loads((Path(__file__).parents[1] / "embedders" / "originals.json").read_text(encoding="utf-8"))


@pytest.fixture
def files(tmp_path):
    """Weight files of small judges."""
    written = {"sim-o": tmp_path / "sim.pt", "utmos": tmp_path / "utmos.pt", "aesthetics": tmp_path / "aes.pt"}
    weights = {name: make_weights(CASES["sim-o-base" if name == "sim-o" else name]["shapes"]) for name in written}
    torch.save(weights["sim-o"], written["sim-o"])
    torch.save(weights["utmos"], written["utmos"])
    torch.save({"state_dict": weights["aesthetics"], **CASES["aesthetics"]["options"]}, written["aesthetics"])
    return written


@pytest.fixture
def folders(tmp_path):
    """Two folders of the same names, of which the first clip is the same in both and one is unusable."""
    for folder, seeds in (("made", (0, 1, 2)), ("prompts", (0, 5, 6))):
        (tmp_path / folder).mkdir()
        for i, seed in enumerate(seeds):
            soundfile.write(tmp_path / folder / f"{i}.wav", make_sound(16000, 0.5 + 0.1 * seed, seed), 16000)
    (tmp_path / "made" / "2.wav").write_bytes(b"")
    return tmp_path / "made", tmp_path / "prompts"


def test_clips_are_rated_and_compared_with_their_prompts(files, folders):
    names = tuple(f"{kind}:{file}" for kind, file in files.items())
    result = evaluate(ScoreRequest(*folders, metrics=names, max_unusable=0.4))
    alike = result.items["SIM-o wavlm-ecapa"]
    assert alike["0"] == pytest.approx(1, abs=1e-5) and alike["1"] < 0.9999 and "2" not in alike
    ratings = [name for name in result.scores if "aesthetics" in name]
    assert ratings == [f"aesthetics {axis}" for axis in ("CE", "CU", "PC", "PQ")]
    assert all(result.scores[name].count == 2 for name in ("UTMOS", *ratings))
    assert {"utmos", "aesthetics", "wavlm-ecapa"} <= result.card["embedders"].keys()
    assert "1 corrupt left out" in "".join(result.warnings)


def test_wrong_names_of_metrics_say_what_is_right():
    for name, line in {
        "utmos": "utmos needs its weight file, utmos22_strong.+: utmos:FILE",
        "sim-o:": "sim-o needs its weight file, wavlm_large_finetune.pth.+: sim-o:FILE",
        "fad:x.pt": "the metric fad takes no file: fad, not fad:x.pt",
        "mos": "unknown metrics mos; known: fad, .*utmos:FILE",
    }.items():
        with pytest.raises(ValueError, match=line):
            find_metric(name)


def test_missing_files_are_named_before_a_clip_is_read(folders, capsys, tmp_path):
    (tmp_path / "junk.pt").write_bytes(b"junk")
    for metric in ("utmos:missing.pt", f"aesthetics:{tmp_path / 'junk.pt'}"):
        assert main(["score", str(folders[0]), "--metrics", metric, "--json", str(tmp_path / "out.json")]) == 2
        line = capsys.readouterr().err.strip()
        assert metric.partition(":")[2] in line and "Traceback" not in line and len(line.splitlines()) == 1
    assert not (tmp_path / "out.json").exists()
