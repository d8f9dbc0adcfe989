"""The synthetic voice of PyPI `hibari-tts` with control of durations, F0 and loudness.

Its network is a predictor of durations, then of F0 and energy, and a decoder that takes these; its ONNX file is opened
at these places (with PyPI `onnx`), so that a line can be synthesised again with other durations and another F0.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FRAME = 600 / 24000  # seconds of one duration step; F0 and energy come twice as often
POINT = FRAME / 2  # seconds between values of F0 and energy
VOICED = 40.0  # Hz; lower values are unvoiced
_PREDICT = -99.0  # input value: use the predicted one


def expose_controls(model: str) -> str:
    """Writes a copy of the voice's ONNX file with durations, F0 and energy as inputs and outputs; returns its path."""
    import onnx
    from onnx import TensorProto, helper

    graph = onnx.load(model)
    nodes, producer = graph.graph.node, {name: node for node in graph.graph.node for name in node.output}
    durations = next(node for node in nodes if node.op_type == "Clip").output[0]  # round(exp(..) / speed), at least 1
    contours = producer[producer["f0"].input[0]].input[0]  # F0 and energy as rows of one tensor
    rows = [node.output[0] for node in nodes if contours in node.input and node.op_type == "Gather"]
    energy = next(node.output[0] for node in nodes if set(rows) & set(node.input) and "f0" not in node.output)
    graph.graph.initializer.append(helper.make_tensor("predict", TensorProto.FLOAT, [1], [_PREDICT]))
    for name, value, shape in (("frames", durations, ["n"]), ("hertz", "f0", [1, "h"]), ("energy", energy, [1, "e"])):
        index = next(i for i, node in enumerate(nodes) if value in node.output)
        nodes[index].output[list(nodes[index].output).index(value)] = f"{name}_predicted"
        nodes.insert(index + 1, helper.make_node("Where", [f"{name}_given", name, f"{name}_predicted"], [value]))
        nodes.insert(index + 1, helper.make_node("Greater", [name, "predict"], [f"{name}_given"]))
        graph.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    for value in (durations, energy):
        graph.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    path = Path(tempfile.gettempdir()) / f"hibari-controls-{os.getpid()}.onnx"
    onnx.save(graph, path)
    return str(path)


@dataclass(frozen=True)
class SpokenLine:
    """A synthesised line [sample] at 24 kHz with the seconds of each of our symbols and the inputs of the decoder."""

    wav: np.ndarray
    seconds: list[float]
    frames: np.ndarray  # of each of the voice's own symbols
    hertz: np.ndarray  # [point], 0 where unvoiced
    energy: np.ndarray  # [point]


class ControllableVoice:
    """Synthesises lines of phonemes; durations, F0 and energy that are given replace the predicted ones."""

    def __init__(self) -> None:
        from hibari import Hibari
        from hibari.voices import voice_path

        path = expose_controls(voice_path("heart"))
        self.voice = Hibari(model=path, threads=1)
        Path(path).unlink()

    def __call__(
        self,
        phonemes: str,
        speed: float = 1.0,
        seed: int = 0,
        frames: Sequence[float] | None = None,
        hertz: np.ndarray | None = None,
        energy: np.ndarray | None = None,
    ) -> SpokenLine:
        """Synthesises `phonemes`, a whole line with its stress marks.

        frames: of each of the voice's symbols, see `distribute_durations`; hertz and energy: a value per POINT."""
        from hibari import dsp

        inputs = {"ids": np.array([self.voice.ids(phonemes)], np.int64), "speed": np.array([speed], np.float32)}
        for name, value in (("frames", frames), ("hertz", hertz), ("energy", energy)):
            row = np.full(1, _PREDICT, np.float32) if value is None else np.asarray(value, np.float32)
            inputs[name] = row if name == "frames" else row[None]
        outputs = self.voice.sess.run(None, inputs)
        parts, counts = [part[0] for part in outputs[:6]], np.asarray(outputs[6]).reshape(-1)
        wav = np.asarray(dsp.synth(*parts, np.random.default_rng(seed)), np.float32)
        f0 = np.where(parts[5] > VOICED, parts[5], 0.0)
        seconds = merge_durations(phonemes, counts, self.voice.vocab)
        return SpokenLine(wav, seconds, counts, f0, np.asarray(outputs[7]).reshape(-1))


def symbol_indices(phonemes: str, vocabulary: dict[str, int]) -> list[int]:
    """Returns for each of the voice's symbols the index of ours; a stress mark belongs to its vowel."""
    from audiocm.text.alphabet import STRESS, SYMBOLS

    indices, index = [0], 1
    for symbol in phonemes:
        if symbol in vocabulary:
            indices.append(index)
            index += symbol in SYMBOLS and symbol not in STRESS
    return [*indices, index]


def merge_durations(phonemes: str, frames: np.ndarray, vocabulary: dict[str, int]) -> list[float]:
    """Converts frames of the voice's symbols to seconds of ours."""
    indices = symbol_indices(phonemes, vocabulary)
    if len(frames) != len(indices):
        raise ValueError(f"{len(frames)} durations for {phonemes!r}")
    return [round(float(value) * FRAME, 4) for value in np.bincount(indices, frames)]


def distribute_durations(
    phonemes: str, seconds: Sequence[float], frames: np.ndarray, vocabulary: dict[str, int]
) -> np.ndarray:
    """Converts seconds of our symbols to frames of the voice's: a stress mark keeps `frames`, its vowel the rest."""
    indices = np.array(symbol_indices(phonemes, vocabulary))
    counts, end, clock = np.ones(len(indices)), 0.0, 0.0
    for index, length in enumerate(seconds):
        rows = np.flatnonzero(indices == index)
        clock += length / FRAME
        total = max(round(clock - end), len(rows))
        counts[rows[:-1]] = np.minimum(frames[rows[:-1]], (total - 1) // max(len(rows) - 1, 1))
        counts[rows[-1]] = total - counts[rows[:-1]].sum()
        end += total
    return counts


def stretch_positions(frames: np.ndarray, stretched: np.ndarray, is_vowel: np.ndarray) -> np.ndarray:
    """Returns the point of the original line that each point of a line with `stretched` durations is taken from.

    Vowels that become longer keep the pace of their beginning and end and are stretched in the middle, as singers do;
    other symbols are stretched evenly."""
    positions, start = [], 0.0
    for before, after, vowel in zip(frames * 2, stretched * 2, is_vowel, strict=True):
        at = np.arange(int(after)) + 0.5
        if vowel and after > before:
            middle = 0.4 * before + (at - 0.4 * before) * 0.3 * before / (after - 0.7 * before)
            at = np.where(at < 0.4 * before, at, np.where(at > after - 0.3 * before, before - after + at, middle))
        else:
            at = at * before / after
        positions.append(start + at)
        start += before
    return np.concatenate(positions).astype(int).clip(max=int(start) - 1)
