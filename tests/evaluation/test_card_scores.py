"""Scores in a model card: what stands there, what a second measurement replaces, and which cards are refused."""

import json
import os

import numpy as np
import pytest
import soundfile
from toy_scoring import RATE, ask, noise_folder, write_lines

from audiocm.evaluation import write_scores
from audiocm.evaluation.result import ScoreResult
from audiocm.evaluation.scoring import evaluate
from audiocm.metrics import Score
from audiocm.model_cards import END, read_model_card, score_blocks

FRONT = "---\nlicense: mit\ntags: [audiocm, consistency-distillation]\n---\n"
TEXT = FRONT + "\n# A student\n\n| seed | 0 |\n"


@pytest.fixture
def student(tmp_path):
    """A folder with a model card."""
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "README.md").write_text(TEXT)
    return tmp_path / "student"


def rows(card):
    """The rows of all scores of a card by the metric: value, interval and count."""
    lines = [line for _, content in score_blocks(card) for line in content.split("\n") if line.startswith("| ")]
    cells = [line.strip("| ").split(" | ") for line in lines if "---" not in line and "| metric |" not in line]
    return {name: more for name, *more in cells}


def test_the_card_has_the_numbers_of_the_result(folders, student):
    soundfile.write(folders[0] / "silent.wav", np.zeros(4000), RATE)
    result = evaluate(ask(folders[0], folders[2], metrics=("fad", "kad", "diversity")))
    write_scores(student, result)
    card = read_model_card(student)
    assert card.startswith(TEXT) and card.count("\n## Scores\n") == 1
    expected = {
        f"{name}{arrow}": [f"{one.value:.4g}", f"[{one.low:.4g}, {one.high:.4g}]", "40"]
        for (name, one), arrow in zip(result.scores.items(), (" ↓", " ↓", ""), strict=True)
    }
    assert len(expected) == 3 and rows(card) == expected
    assert "- embedders: bands (1, 8000 Hz)" in card and str(folders[2].parent) not in card  # no path of the user's
    assert "- warning: generated: 1 silent left out\n" in card and "generated 40 used, 1 silent" in card
    assert f"reference real {result.card['reference']}, seed 0" in card


def test_a_result_file_gives_the_same_card(folders, student, tmp_path):
    result = evaluate(ask(folders[0], folders[2]))
    write_scores(student, result)
    before = read_model_card(student)
    (tmp_path / "result.json").write_text(json.dumps(result.to_dict()))
    write_scores(student, ScoreResult.load(tmp_path / "result.json"))
    assert read_model_card(student) == before


def test_a_second_measurement_replaces_its_own_rows_only(folders, student, tmp_path):
    one, two, real = folders
    write_scores(student, evaluate(ask(one, real, metrics=("fad", "kad"))))
    first = read_model_card(student)
    (student / "README.md").write_text(first + "\n## Thanks\n\nTo all.\n")
    other = evaluate(ask(two, real, metrics=("fad", "diversity")))
    write_scores(student, other)
    card = read_model_card(student)
    assert list(rows(card)) == ["KAD bands ↓", "FD bands ↓", "diversity bands"]
    assert rows(card)["KAD bands ↓"] == rows(first)["KAD bands ↓"]
    assert rows(card)["FD bands ↓"][0] == f"{other.scores['FD bands'].value:.4g}" != rows(first)["FD bands ↓"][0]
    assert card.endswith("\n\n## Thanks\n\nTo all.\n") and card.startswith(TEXT) and card.count("## Scores") == 1
    write_scores(student, evaluate(ask(two, real, metrics=("kad", "fad", "diversity"))))
    assert len(score_blocks(read_model_card(student))) == 1  # no row of the others is left


def test_another_reference_or_preprocessing_is_another_measurement(folders, student, tmp_path):
    one, _, real = folders
    requests = [
        ask(one, real, metrics=("fad",)),
        ask(one, noise_folder(tmp_path / "other", 60, 5), metrics=("fad",)),
        ask(one, metrics=("diversity",)),
    ]
    for request in requests * 2:
        write_scores(student, evaluate(request))
    card = read_model_card(student)
    assert len(score_blocks(card)) == 3 and card.count("| FD bands ↓ |") == 2
    lines = [{"file": f"{i:03d}.wav", "prompt": "x"} for i in range(40)]
    with_prompts = ask(one, real, metrics=("fad",), prompts=write_lines(tmp_path / "p.jsonl", lines))
    write_scores(student, evaluate(with_prompts))  # of the same reference: they change no distance
    assert len(score_blocks(read_model_card(student))) == 3


def named(name, **card):
    """A result of one score."""
    facts = {"embedders": {}, "form": {}, "seed": 0, "versions": {}, "commit": "1", "generated": "a", "left_out": {}}
    score = Score(name, 0.5, 0.25, 0.75, 3)
    return ScoreResult({**facts, "clips": {}, **card}, {name: score}, {}, {}, ["x | y"], [])


def test_names_cannot_break_the_card(student):
    name = f"a | b\n{END} <b>\udcff"
    for _ in range(2):
        write_scores(student, named(name, reference="f00", reference_name="<!-- audiocm score 1 -->"))
    ((_, content),) = score_blocks(read_model_card(student))
    assert content.startswith(
        "| metric | value | 95 % interval | count |\n| --- | --- | --- | --- |\n| a \\| b &lt;!-- "
    )
    assert content.count("| 0.5 | [0.25, 0.75] | 3 |") == 1


def test_scores_go_below_a_heading_that_is_there(student):
    (student / "README.md").write_text(f"{FRONT}# A model\n\n## Scores\n\nBy hand.\n\n## Use\n")
    write_scores(student, named("x"))
    card = read_model_card(student)
    assert card.count("## Scores") == 1 and card.endswith(f"{END}\n\nBy hand.\n\n## Use\n")
    assert "## Scores\n\n<!-- audiocm score " in card


@pytest.mark.parametrize("tags", ["tags: [audiocm]", 'tags:\n- text-to-audio\n- "audiocm"', "tags: audiocm"])
def test_cards_whose_metadata_the_hub_wrote_again_are_known(student, tags):
    (student / "README.md").write_text(f"---\n{tags}\n---\n# A model\n")
    write_scores(student, named("x"))
    assert rows(read_model_card(student)) == {"x": ["0.5", "[0.25, 0.75]", "3"]}


def test_folders_without_a_card_of_audiocm_are_refused(student, tmp_path):
    def refused(folder, words):
        before = sorted((file, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file())
        with pytest.raises(ValueError, match=words) as error:
            write_scores(folder, named("x"))
        assert "\n" not in str(error.value)
        assert sorted((file, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()) == before

    refused(tmp_path / "missing", "missing: no such folder")
    refused("", "folder must be the name of a file or folder")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"empty holds no model card \(README.md\)$")
    (tmp_path / "run").mkdir()
    os.rename(student, tmp_path / "run" / "model")
    refused(tmp_path / "run", "run holds no model card .*: name .*run.model$")
    card = tmp_path / "run" / "model" / "README.md"
    (tmp_path / "empty" / "README.md").symlink_to(card)
    refused(tmp_path / "empty", "is a link, as in the cache of the hub")
    for text in ("# audiocm\n", "---\ntags: [tango]\n---\n- audiocm\n", "---\nname: audiocm\n---\n", FRONT[4:]):
        card.write_text(text)
        refused(card.parent, "is no model card of audiocm")
    card.write_bytes(b"\xff\xfe")
    refused(card.parent, "cannot read the model card file .*it is not UTF-8 text")
    card.write_text(f"{TEXT}\n<!-- audiocm score 12 -->\n| a |\n")
    refused(card.parent, "lack one of their marks")


def test_only_a_result_with_scores_is_written(student):
    with pytest.raises(ValueError, match="result must be a ScoreResult, not"):
        write_scores(student, "result.json")
    empty = named("x")
    empty.scores.clear()
    with pytest.raises(ValueError, match="result holds no score"):
        write_scores(student, empty)
    assert (student / "README.md").read_text() == TEXT
