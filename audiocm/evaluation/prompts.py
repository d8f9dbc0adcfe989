"""The prompts of a folder of clips, from a JSON-lines file."""

from pathlib import Path

from ..files import read_json_lines


def read_prompt_lines(file: str | Path, names: list[str]) -> dict[str, dict]:
    """Reads a JSON-lines file and returns {file name without suffix: {"prompt", "labels", "text", ...}}.

    Lines that name a `file` belong to it; lines without one belong to the sorted files in order. A line with `text`
    alone has it as its prompt. Raises ValueError naming prompts without files and files without prompts."""
    lines = read_json_lines(file)
    lines = [{"prompt": line.get("text"), **line} if isinstance(line, dict) else {} for line in lines]
    if empty := [i for i, line in enumerate(lines, 1) if not str(line.get("prompt") or "").strip()]:
        raise ValueError(f'{file}: {len(empty)} lines have no "prompt" or "text" (first: line {empty[0]})')
    if all("file" in line for line in lines):
        table = {}
        for i, line in enumerate(lines, 1):
            name = str(Path(str(line["file"])).with_suffix(""))
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
