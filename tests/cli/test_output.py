"""Prompt files, and the file or folder that sounds are written to."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from audiocm.cli.output import Destination, check_output_file, read_prompts


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
    rows = [{"file": "003_0.wav", "prompt": "ü"}, {"file": "003_1.wav", "prompt": "ü"}]
    for count, row in enumerate(rows, 1):
        folder.record(row)
        assert [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()] == rows[:count]
    assert file.write(0, 0, wav, 24000) == "x.flac"
    file.record({"file": "x.flac"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "x.flac"]


def test_what_is_there_is_replaced_only_by_force(tmp_path, capsys):
    wav, file, folder = np.zeros(100, np.float32), tmp_path / "x.wav", tmp_path / "old"
    file.write_text("mine")
    folder.mkdir()
    (folder / "notes.txt").write_text("of no sound")
    first = Destination(str(folder), 3)
    for take in range(3):
        first.record({"file": first.write(0, take, wav, 24000)})
    with pytest.raises(ValueError, match=r"x\.wav: the file exists, choose another name or replace it by --force"):
        Destination(str(file), 1)
    with pytest.raises(ValueError, match=r"old holds the sounds of another run \(000_0\.wav\): .* --force replaces"):
        Destination(str(folder), 1)
    Destination(str(file), 1, force=True)
    assert file.read_text() == "mine"  # until a sound is there
    second = Destination(str(folder), 1, force=True)
    assert len((folder / "manifest.jsonl").read_text().splitlines()) == 3
    second.record({"file": second.write(0, 1, wav, 24000)})
    second.report_old_sounds()
    assert (folder / "manifest.jsonl").read_text() == '{"file": "000_1.wav"}\n'
    shown = capsys.readouterr().err
    assert shown == f"audiocm: {folder} holds 2 older sounds that manifest.jsonl lacks: 000_0.wav ...\n"
    assert (folder / "notes.txt").read_text() == "of no sound"


def test_what_a_killed_process_left_is_removed(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (tmp_path / f".a.wav.{pid}.partial").write_text("half")
        (tmp_path / f".model.{pid}.partial").mkdir()
    (tmp_path / ".mine.partial").write_text("of no process")
    check_output_file(str(tmp_path / "b.json"))
    kept = {".mine.partial", f".a.wav.{os.getpid()}.partial", f".model.{os.getpid()}.partial"}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("name", ["", "  ", "a\0.wav", "x" * 300 + ".wav", ".wav", "/proc/x.wav"])
def test_names_that_cannot_be_written(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^(--output must be the name of|cannot write )"):
        Destination(name, 1)
    assert not os.listdir(tmp_path)
