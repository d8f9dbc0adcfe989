"""Files and folders that are never half-written, and JSON lines."""

import json
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

from audiocm.files import append_json_line, atomic_write, content_digest, read_json_lines, write_json, write_json_lines


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_or_folder_appears_at_the_end_of_the_block(tmp_path, sync):
    with atomic_write(tmp_path / "deep" / "a.txt", sync) as partial:
        partial.write_text("one")
        assert partial.name == f".a.txt.{os.getpid()}.partial" and not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "one"
    for content in ("one", "two"):
        with atomic_write(tmp_path / "folder", sync) as partial:
            partial.mkdir()
            (partial / content).write_text(content)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["two"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "folder"]


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), RuntimeError("y")])
def test_an_error_leaves_what_was_there(tmp_path, error):
    (tmp_path / "a").write_text("old")
    with pytest.raises(type(error)), atomic_write(tmp_path / "a") as partial:
        partial.write_text("new")
        raise error
    with pytest.raises(type(error)), atomic_write(tmp_path / "b") as partial:
        partial.mkdir()
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a"] and (tmp_path / "a").read_text() == "old"


def test_errors_of_the_system_name_the_file(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write .*/a: No space left on device"), atomic_write(tmp_path / "a"):
        raise OSError(28, "No space left on device")
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*file/a: "), atomic_write(tmp_path / "file" / "a") as partial:
        partial.write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match=r"cannot write .*folder: "), atomic_write(tmp_path / "folder") as partial:
        partial.write_text("a file does not replace a folder")
    assert (tmp_path / "folder").is_dir() and len(list(tmp_path.iterdir())) == 2


def test_links_and_devices_stay(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_json(tmp_path / "link", 1)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "1\n"
    write_json("/dev/null", 1)
    assert not Path("/dev/null").is_file()


def test_json_lines(tmp_path):
    rows = [{"a": "ü\u2028", "b": float("inf")}, [1, None]]
    write_json_lines(tmp_path / "rows", rows)
    assert read_json_lines(tmp_path / "rows") == rows
    torn = (tmp_path / "rows").read_bytes() + b'\n{"a": "\xc3'
    (tmp_path / "rows").write_bytes(torn)
    assert read_json_lines(tmp_path / "rows", skip_damaged=True) == rows
    with pytest.raises(ValueError, match=r"cannot read .*rows: it is not UTF-8 text"):
        read_json_lines(tmp_path / "rows")
    (tmp_path / "rows").write_bytes(torn[:-1])
    with pytest.raises(ValueError, match=r"rows, line 4: not JSON"):
        read_json_lines(tmp_path / "rows")
    with pytest.raises(ValueError, match=r"cannot read .*none: No such file"):
        read_json_lines(tmp_path / "none")


def test_digests_change_with_every_part():
    digests = {content_digest("a", b"b"), content_digest("a", "c"), content_digest("ab")}
    assert all(len(digest) == 16 for digest in digests) and len(digests) == 2  # the parts are joined


def test_a_line_is_appended_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "rows"
    append_json_line(file, {"a": "ü"})
    append_json_line(file, {"a": "\udcff"})  # a byte of a file name
    assert [json.loads(line) for line in file.read_text().splitlines()] == [{"a": "ü"}, {"a": "\udcff"}]
    before = file.read_bytes()
    with resource_limit(len(before) + 3), pytest.raises(ValueError, match=r"cannot write .*rows: (No space|File too)"):
        append_json_line(file, {"a": "a long line"})
    assert file.read_bytes() == before


@contextmanager
def resource_limit(size: int):
    """Files may not grow beyond `size` bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
