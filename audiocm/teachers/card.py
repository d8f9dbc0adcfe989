"""The model card of a student's folder: where it came from, how it was trained and how it is called."""

from collections.abc import Mapping
from typing import Any

from ..version import __version__


def model_card(teacher: Any, w: float | None, lora: str, facts: Mapping[str, Any]) -> str:
    """Returns the README.md of a student.

    lora: the code that adds its low-rank difference to the teacher, or "". `facts` are written as given, a mapping as a
    row for each of its entries."""
    front = ["library_name: diffusers", "pipeline_tag: text-to-audio", "tags: [audiocm, consistency-distillation]"]
    if "license" in facts:
        front.insert(0, f"license: {facts['license']}")
    rows = {"teacher": f"`{teacher.name}`", "guidance": "as trained" if w is None else f"w = {w:g}"}
    for key, value in facts.items():
        rows |= {f"{key}: {part}": one for part, one in value.items()} if isinstance(value, Mapping) else {key: value}
    rows["made with"] = f"audiocm {__version__}"
    parts = [
        "\n".join(["---", *front, "---"]),
        f"# One-call student of {teacher.name}",
        "It makes a sound from noise in one call of its network, with guidance inside.",
        f"```python\n{teacher.adapter.usage()}\n```",
        "| | |\n|---|---|\n" + "\n".join(f"| {key.replace('_', ' ')} | {value} |" for key, value in rows.items()),
    ]
    if lora:
        parts += ["The low-rank difference alone is `pytorch_lora_weights.safetensors`; the teacher takes it:"]
        parts += [f"```python\n{lora}\n```"]
    return "\n\n".join(parts) + "\n"
