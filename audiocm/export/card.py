"""The model card of an exported folder."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..version import __version__

PRECISION = {
    "fp32": "weights and arithmetic in float32",
    "fp16": "weights stored in half precision, arithmetic in float32",
    "int8": "weights stored in int8 with a scale for each row; products of states and weights in int8, with a scale for "
    "each output and each call, but for the text encoder or the durations, every last layer, and embeddings",
}
OPENVINO_INT8 = "weights stored in int8 with a scale for each row; OpenVINO chooses how it computes"


def export_card(
    settings: Mapping[str, Any],
    files: Mapping[str, tuple[str, ...]],
    parity: Mapping[str, list[float]],
    distance: float,
    sources: Sequence[tuple[str, str, str]],
) -> str:
    """Returns the card, Markdown, of an exported model.

    parity: signal-to-noise ratios in dB of each graph's outputs. distance: in dB, of the log-mels of a sound made with
    and without torch. sources: component, name and SHA-256 of each weight file."""
    is_openvino = settings["backend"] == "openvino"
    how = OPENVINO_INT8 if is_openvino and settings["precision"] == "int8" else PRECISION[settings["precision"]]
    python = "OnnxTextToAudio" if settings["kind"] == "text-to-audio" else "OnnxTextToSpeech"
    command = "generate" if settings["kind"] == "text-to-audio" else "speak"
    argument = "a dog barks" if command == "generate" else "Hello, world."
    rows = [
        f"| `{name}` | {', '.join(files[name])} | {' · '.join(f'{one:.1f}' for one in parity[name])} |"
        for name in parity
    ]
    if "model" in files:
        rows.append("| `model` | model.onnx | all of these in turn |")
    weights = [f"| {part} | {file} | `{digest}` |" for part, file, digest in sources]
    example = [] if is_openvino else ["", "`python example.py` makes a sound with numpy and onnxruntime alone."]
    return "\n".join(
        [
            "---",
            "license: apache-2.0",
            f"tags: [{settings['kind']}, {settings['backend']}, audiocm]",
            "---",
            "",
            f"# {settings['model']} for {'OpenVINO' if is_openvino else 'ONNX Runtime'}, {settings['precision']}",
            "",
            f"One-call {settings['kind']} student, exported by audiocm {__version__}: {how}.",
            "",
            "```sh",
            f'audiocm {command} "{argument}" -o sound.wav --backend {settings["backend"]} --model FOLDER',
            "```",
            "",
            "```python",
            f"from audiocm.runtime import {python}",
            f'sound = {python}.from_pretrained("FOLDER")("{argument}")',
            "```",
            *example,
            "",
            "## Parity with torch",
            "",
            "Signal-to-noise ratio of each output in dB, on the inputs that torch made for it, measured when this was",
            f"written. One whole sound from the same seed has a log-mel that differs by {distance:.2f} dB on average.",
            "",
            "| graph | files | SNR, dB |",
            "|---|---|---|",
            *rows,
            "",
            "Batch and length are free; all rows of a call have one length. `audiocm.json` has the settings, and size and",
            "SHA-256 of every file.",
            "",
            "## Weights",
            "",
            "| component | file | SHA-256 |",
            "|---|---|---|",
            *weights,
            "",
            "The licence is that of these weights; bundled ones are Apache-2.0.",
            "",
        ]
    )
