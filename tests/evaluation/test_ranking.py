"""Tables of many systems."""

import csv

import pytest

from audiocm.evaluation.ranking import direction, ranks, table_of_systems, to_csv, to_markdown, write_table
from audiocm.evaluation.result import ScoreResult
from audiocm.metrics import Score


def system(**values):
    scores = {name: Score(name, value, value - 1, value + 1, 9) for name, value in values.items()}
    return ScoreResult({}, scores, {}, {}, [], [])


SYSTEMS = {
    "a": system(**{"FAD": 2.0, "CLAP_T x": 0.3, "diversity x": 0.5, "PESQ-WB": 2.0}),
    "b": system(**{"FAD": 1.0, "CLAP_T x": 0.3, "diversity x": 0.6}),
    "c|d": system(**{"FAD": 3.0, "CLAP_T x": 0.1, "diversity x": 0.7}),
}


def test_ranks_follow_the_better_end_of_a_score():
    assert ranks(SYSTEMS) == {"FAD": {"a": 2, "b": 1, "c|d": 3}, "CLAP_T x": {"a": 1, "b": 1, "c|d": 3}}
    lower = ("FD yamnet", "FD-infinity yamnet", "KAD yamnet", "KL panns", "WER % whisper", "voicing error")
    higher = ("IS yamnet", "text→audio R@1 x", "tag-alignment(x)", "STOI", "recall x", "speaker similarity resemblyzer")
    assert {direction(name) for name in lower} == {-1} and {direction(name) for name in higher} == {1}
    assert {direction(name) for name in ("FD-halves yamnet", "F0 Hz", "diversity x", "length / reference's")} == {0}


def test_tables_hold_every_common_score(tmp_path):
    rows = table_of_systems(SYSTEMS)
    assert rows[0] == ["system", "FAD", "CLAP_T x", "diversity x", "mean rank"]
    assert rows[2] == ["b", "1 [0, 2] (1)", "0.3 [-0.7, 1.3] (1)", "0.6 [-0.4, 1.6]", "1"]
    assert to_markdown(rows).splitlines()[4].startswith("| c\\|d | 3 [2, 4] (3) |")
    lines = list(csv.DictReader(to_csv(SYSTEMS).splitlines()))
    assert len(lines) == 9 and lines[0]["system"] == "a" and lines[0]["rank"] == "2" and lines[2]["rank"] == ""
    write_table(tmp_path / "t.csv", SYSTEMS)
    write_table(tmp_path / "t.md", SYSTEMS)
    assert (tmp_path / "t.csv").read_text() == to_csv(SYSTEMS)
    assert (tmp_path / "t.md").read_text() == to_markdown(rows) + "\n"
    with pytest.raises(ValueError, match="share no score"):
        ranks({"a": system(FAD=1.0), "b": system(IS=1.0)})
