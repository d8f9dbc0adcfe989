"""The writer of result tables."""

import json

import pytest

from recipes.judges import earlier_rows, markdown


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
