"""The tables of this repository: scored by `audiocm score`, and their writer."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ToyTagger, bands, noise_folder, toy

from recipes import judges
from recipes.judges import earlier_rows, markdown
from recipes.text_to_audio import evaluate


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


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A plan of 16 captions and 4 prompts in 2 takes, the sounds of one system, and toys in place of YAMNet and aiSFX."""
    monkeypatch.setattr(judges, "embedders", lambda: (ToyTagger(bands, "yamnet", RATE, "1"), toy()))
    monkeypatch.setenv("AUDIOCM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluate, "other_clips", lambda *_: [])
    clips = sorted(noise_folder(tmp_path / "clips", 16, 1, 0.7).iterdir())
    plan = [
        {
            "set": "captions",
            "id": i,
            "take": 0,
            "prompt": f"noise {i}",
            "labels": ["low"],
            "clip": str(file),
            "kind": "x",
        }
        for i, file in enumerate(clips)
    ]
    takes = [(i, take) for i in range(4) for take in range(2)]
    plan += [{"set": "prompts", "id": i, "take": t, "prompt": f"hiss {i}", "labels": ["low"]} for i, t in takes]
    out = tmp_path / "out"
    for part in ("captions", "prompts"):
        names = [evaluate.clip_name(entry) for entry in plan if entry["set"] == part]
        files = noise_folder(out / "mine" / part, len(names), 2).iterdir()
        for file, name in zip(sorted(files), names, strict=True):
            soundfile.write(out / "mine" / part / f"{name}.flac", soundfile.read(file)[0], RATE)
            file.unlink()
    (out / "plan.json").write_text(json.dumps(plan))
    return out, *evaluate.prepare(out, SimpleNamespace(), guidance=3)


def test_rows_have_the_columns_of_the_table(table):
    out, chance, card = table
    columns = {"alignment captions", "top-5 hits captions"}
    assert set(chance["scores"]) == columns and card["reference"] == {"test clips": 16} and card["guidance"] == 3
    assert set(evaluate.score_system("real", out)["scores"]) == columns | {
        f"FD {name} pca7-of-reference vs test clips" for name in ("yamnet", "bands")
    }
    row = evaluate.score_system("mine", out)
    columns |= {f"{kind} {name} vs test clips" for kind in ("FD", "KAD") for name in ("yamnet", "bands")}
    columns |= {f"FD {name} pca7-of-reference vs test clips" for name in ("yamnet", "bands")} | {"KL tags captions"}
    columns |= {"alignment prompts", "top-5 hits prompts", "diversity yamnet", "diversity bands"}
    assert set(row["scores"]) == columns and row["clips"] == "16+8" and row["unusable"] == 0
    assert row["scores"]["diversity bands"]["count"] == 4 and row["scores"]["top-5 hits prompts"]["count"] == 8


def test_refused_sounds_are_misses_and_half_of_them_leave_hits_alone(table):
    out = table[0]
    captions = sorted((out / "mine" / "captions").iterdir())
    captions[3].write_bytes(b"")
    row = evaluate.score_system("mine", out)
    assert row["left_out"]["captions"] == {"corrupt": 1} and row["unusable"] == 1
    assert row["scores"]["alignment captions"]["count"] == row["scores"]["FD bands vs test clips"]["count"] == 15
    assert row["scores"]["top-5 hits captions"]["value"] == pytest.approx(15 / 16)
    for file in captions[:8]:
        soundfile.write(file, np.zeros(4000), RATE)
    shutil.rmtree(out / "mine" / "prompts")
    row = evaluate.score_system("mine", out)
    assert list(row["scores"]) == ["top-5 hits captions"] and row["scores"]["top-5 hits captions"]["value"] == 0.5
    assert row["clips"] == "16" and row["left_out"] == {"captions": {"silent": 8}}
