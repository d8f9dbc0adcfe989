"""Prompt files, and the file or folder that sounds are written to."""

import json

import numpy as np
import pytest

from audiocm.cli.output import Destination, read_prompts


def test_prompt_files_are_read_line_by_line(tmp_path):
    (tmp_path / "p").write_text("one\r\n\r\ntwo three \n", encoding="utf-8")
    assert read_prompts(tmp_path / "p") == ["one", "two three"]


def test_unreadable_text_files_are_named(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for name, reason in (("bytes", "it is not UTF-8 text"), ("none", "No such file or directory")):
        with pytest.raises(ValueError, match=f"cannot read the prompt file .*{name}: {reason}"):
            read_prompts(tmp_path / name)


def test_a_folder_numbers_its_files_and_a_file_stays_one(tmp_path):
    wav = np.zeros(100, np.float32)
    folder, file = Destination(f"{tmp_path}/new/", 2), Destination(f"{tmp_path}/x.flac", 1)
    assert [folder.write(3, take, wav, 24000) for take in range(2)] == ["003_0.wav", "003_1.wav"]
    manifest = tmp_path / "new" / "manifest.jsonl"
    manifest.write_text("of an earlier call\n")
    rows = [{"file": "003_0.wav", "prompt": "ü"}, {"file": "003_1.wav", "prompt": "ü"}]
    for count, row in enumerate(rows, 1):
        folder.record(row)
        assert [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()] == rows[:count]
    assert file.write(0, 0, wav, 24000) == "x.flac"
    file.record({"file": "x.flac"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "x.flac"]
