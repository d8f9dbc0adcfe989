"""The prompts file: its lines and the files of a folder belong together."""

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
        ([line | {"file": i} for i, line in enumerate(lines)], r"files without a prompt \(first: 000\)"),
    ):
        with pytest.raises(ValueError, match=message):
            takes(some)
    with pytest.raises(ValueError, match="cannot read"):
        evaluate(ask(a, prompts=tmp_path / "none.jsonl", metrics=("diversity",)))
    assert takes([{"file": line["file"], "text": line["prompt"]} for line in lines]) == 20  # the text is the prompt


def test_other_prompts_are_another_measurement_whatever_the_files_are_called(folders, tmp_path):
    cards = []
    for k, prompt in enumerate(("rain", "wind", "rain")):
        prompts = write_lines(tmp_path / "words", [{"prompt": f"{prompt} {i}", "seed": k} for i in range(40)])
        cards.append(evaluate(ask(folders[0], prompts=prompts, metrics=("diversity",))).card)
    assert differences(cards[0], cards[2]) == []
    assert [line.split(":")[0] for line in differences(cards[0], cards[1])] == ["prompts"]
