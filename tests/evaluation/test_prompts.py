"""The prompts file: its lines and the files of a folder belong together."""

import unicodedata

import pytest
from toy_scoring import ask, write_lines

from audiocm.evaluation.provenance import differences
from audiocm.evaluation.scoring import evaluate


def test_prompts_must_match_files(folders, tmp_path):
    a, file = folders[0], tmp_path / "prompts.jsonl"
    lines = [{"file": f"{i:03d}.wav", "prompt": f"noise {i // 2}"} for i in range(40)]

    def takes(some):
        request = ask(a, prompts=write_lines(file, some), metrics=("diversity",))
        return evaluate(request).scores["diversity of takes bands"].count

    assert takes(lines) == 20
    for some, message in (
        (lines[1:], r"1 files without a prompt \(first: 000\)"),
        ([*lines, {"file": "z.wav", "prompt": "z"}], r"1 prompts without a file \(first: z\)"),
        ([{"prompt": "x"}] * 3, "3 prompts for 40 files"),
        ([{"prompt": " "}], '1 lines have no "prompt" or "text"'),
        ([*lines, lines[0]], r"000\.wav has more than one line \(the second: line 41\)"),
        ([line | {"file": i} for i, line in enumerate(lines)], "40 lines have a file that is no text"),
        ([*lines[1:], "000.wav"], r"1 lines are no objects of JSON \(first: line 40\)"),
        ([lines[0] | {"prompt": ["a", "b"]}, *lines[1:]], r"1 lines have a prompt that is no text \(first: line 1\)"),
        ([*lines[:39], lines[39] | {"labels": [3]}], "labels that are no list of class names"),
        ([*lines[:39], lines[39] | {"labels": "Dog"}], "labels that are no list of class names"),
        ([*lines[:39], lines[39] | {"f0": 220}], "f0 that is no list of Hz"),
        ([*lines[:39], lines[39] | {"f0": [220, float("inf")]}], "f0 outside 0 to 20000 Hz"),
        ([*lines[:39], lines[39] | {"f0": [float("nan"), -5]}], "f0 outside 0 to 20000 Hz"),
    ):
        with pytest.raises(ValueError, match=message):
            takes(some)
    with pytest.raises(ValueError, match="cannot read"):
        evaluate(ask(a, prompts=tmp_path / "none.jsonl", metrics=("diversity",)))
    assert takes([{"file": line["file"], "text": line["prompt"]} for line in lines]) == 20  # the text is the prompt


def test_names_pair_whatever_their_form(folders, tmp_path):
    """A byte order mark, composed and decomposed characters, and names with a dot of their own."""
    a, file = folders[0], tmp_path / "prompts.jsonl"
    for i, name in enumerate((unicodedata.normalize("NFD", "Café"), "take.v1.5")):
        (a / f"{i:03d}.wav").rename(a / f"{name}.wav")
    lines = [{"file": unicodedata.normalize("NFC", "Café"), "prompt": "x"}, {"file": "take.v1.5", "prompt": "x"}]
    lines += [{"file": f"./{i:03d}.flac", "prompt": f"noise {i}"} for i in range(2, 40)]
    write_lines(file, lines)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    found = evaluate(ask(a, prompts=file, metrics=("diversity",))).scores
    assert found["diversity of takes bands"].count == 1


def test_a_file_of_brackets_is_one_line(folders, tmp_path):
    (tmp_path / "deep.jsonl").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.jsonl, line 1: not JSON"):
        evaluate(ask(folders[0], prompts=tmp_path / "deep.jsonl", metrics=("diversity",)))


def test_other_prompts_are_another_measurement_whatever_the_files_are_called(folders, tmp_path):
    cards = []
    for k, prompt in enumerate(("rain", "wind", "rain")):
        prompts = write_lines(tmp_path / "words", [{"prompt": f"{prompt} {i}", "seed": k} for i in range(40)])
        cards.append(evaluate(ask(folders[0], prompts=prompts, metrics=("diversity",))).card)
    assert differences(cards[0], cards[2]) == []
    assert [line.split(":")[0] for line in differences(cards[0], cards[1])] == ["prompts"]
