"""The prompts of a folder of clips, from a JSON-lines file."""

import unicodedata
from collections.abc import Set
from pathlib import Path
from typing import Any

from ..files import read_json_lines

HIGHEST_F0 = 20_000.0  # Hz


def clip_key(file: str | Path) -> str:
    """Returns the name by which files and prompts pair: a relative path without suffix, its characters composed."""
    return unicodedata.normalize("NFC", str(Path(file).with_suffix("")))


def _is_list_of(value: Any, kind: type | tuple) -> bool:
    return isinstance(value, list) and all(isinstance(one, kind) and not isinstance(one, bool) for one in value)


def _fault(line: Any) -> str | None:
    """Returns what is wrong with a line, or None."""
    if not isinstance(line, dict):
        return "are no objects of JSON"
    for key in ("file", "prompt", "text"):
        if not isinstance(line.get(key, ""), (str, type(None))):
            return f"have a {key} that is no text"
    if not str(line.get("prompt") or line.get("text") or "").strip():
        return 'have no "prompt" or "text"'
    if not (line.get("labels") is None or _is_list_of(line["labels"], str)):
        return "have labels that are no list of class names"
    f0 = line.get("f0")
    if f0 is not None and not (_is_list_of(f0, (int, float, type(None))) and f0):
        return "have an f0 that is no list of Hz (0: unvoiced, null: free)"
    if any(not 0 <= hertz <= HIGHEST_F0 for hertz in f0 or () if hertz is not None):
        return f"have an f0 outside 0 to {HIGHEST_F0:g} Hz"
    return None


def _key_of_line(file: str, names: Set[str]) -> str:
    """Returns the clip that a line's `file` names: with its suffix, or without one if the name has a dot of its own."""
    whole = unicodedata.normalize("NFC", str(Path(file)))
    return whole if whole in names else clip_key(file)


def read_prompt_lines(file: str | Path, names: list[str]) -> dict[str, dict]:
    """Reads a JSON-lines file and returns {file name without suffix: {"prompt", "labels", "text", ...}}.

    Lines that name a `file` belong to it; lines without one belong to the sorted files in order. A line with `text`
    alone has it as its prompt. Raises ValueError naming prompts without files, files without prompts and the first
    line whose values are of a wrong type."""
    lines = read_json_lines(file)
    faults = [_fault(line) for line in lines]
    if fault := next(filter(None, faults), None):
        raise ValueError(f"{file}: {faults.count(fault)} lines {fault} (first: line {faults.index(fault) + 1})")
    lines = [line | {"prompt": line.get("prompt") or line["text"]} for line in lines]
    if all(line.get("file") is not None for line in lines):
        table, known = {}, set(names)
        for i, line in enumerate(lines, 1):
            name = _key_of_line(line["file"], known)
            if name in table:
                twice = f"{line['file']} has more than one line (the second: line {i})"
                raise ValueError(f"{file}: {twice}; keep one caption a file")
            table[name] = line
    elif len(lines) == len(names):
        table = dict(zip(names, lines, strict=True))
    else:
        raise ValueError(f"{file}: {len(lines)} prompts for {len(names)} files, and the lines do not name their files")
    without_prompt, without_file = set(names) - set(table), set(table) - set(names)
    for text, missing in (("files without a prompt", without_prompt), ("prompts without a file", without_file)):
        if missing:
            counts = f"{len(missing)} {text} (first: {min(missing)})"
            raise ValueError(f"{file}: {counts}: every file needs one line, every line its file")
    return table
