"""The synthetic voice of PyPI `hibari-tts` with what it knows of each clip, and with its timing, F0 and loudness told to it.

Its net is a predictor (of durations, then of F0 and energy) and a decoder that hears these: so a clip can be made again with
other durations and another F0, by the voice itself. Needs the `onnx` package, to open the model at these places.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FRAME = 600 / 24000  # seconds of one duration step; F0 and energy come twice as often
POINT = FRAME / 2
VOICED = 40.0  # Hz; what is below is unvoiced to the voice
_OWN = -99.0  # told to the model: keep what you predict


def opened(model: str) -> str:
    """A copy of the voice's ONNX file with durations, F0 and energy as outputs, and as inputs that replace them."""
    import onnx
    from onnx import TensorProto, helper

    graph = onnx.load(model)
    nodes, maker = graph.graph.node, {name: node for node in graph.graph.node for name in node.output}
    durations = next(node for node in nodes if node.op_type == "Clip").output[0]  # round(exp(..) / speed), at least 1
    contours = maker[maker["f0"].input[0]].input[0]  # F0 and energy as rows of one tensor
    rows = [node.output[0] for node in nodes if contours in node.input and node.op_type == "Gather"]
    energy = next(node.output[0] for node in nodes if set(rows) & set(node.input) and "f0" not in node.output)
    graph.graph.initializer.append(helper.make_tensor("own", TensorProto.FLOAT, [1], [_OWN]))
    for name, value, shape in (("frames", durations, ["n"]), ("hertz", "f0", [1, "h"]), ("energy", energy, [1, "e"])):
        at = next(i for i, node in enumerate(nodes) if value in node.output)
        nodes[at].output[list(nodes[at].output).index(value)] = f"{name}_own"
        nodes.insert(at + 1, helper.make_node("Where", [f"{name}_told", name, f"{name}_own"], [value]))
        nodes.insert(at + 1, helper.make_node("Greater", [name, "own"], [f"{name}_told"]))
        graph.graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    for value in (durations, energy):
        graph.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    path = Path(tempfile.gettempdir()) / f"hibari-opened-{os.getpid()}.onnx"
    onnx.save(graph, path)
    return str(path)


@dataclass(frozen=True)
class Told:
    """A clip [sample] at 24 kHz with the seconds of each of our symbols and what the decoder heard."""

    wav: np.ndarray
    seconds: list[float]
    frames: np.ndarray  # of each of the voice's own symbols
    hertz: np.ndarray  # [point], 0 where unvoiced
    energy: np.ndarray  # [point]


class TellingVoice:
    """Speaks a line of phonemes and says when and how high; what is told to it is followed instead of predicted."""

    def __init__(self) -> None:
        from hibari import Hibari
        from hibari.voices import voice_path

        path = opened(voice_path("heart"))
        self.voice = Hibari(model=path, threads=1)
        Path(path).unlink()

    def __call__(
        self, phonemes: str, speed: float = 1.0, seed: int = 0, frames: Sequence[float] | None = None,
        hertz: np.ndarray | None = None, energy: np.ndarray | None = None,
    ) -> Told:  # fmt: skip
        """phonemes: of the whole line, stress marks included. frames: of each of the voice's symbols, see `shared`;
        hertz and energy: a value each POINT."""
        from hibari import dsp

        told = {"ids": np.array([self.voice.ids(phonemes)], np.int64), "speed": np.array([speed], np.float32)}
        for name, value in (("frames", frames), ("hertz", hertz), ("energy", energy)):
            row = np.full(1, _OWN, np.float32) if value is None else np.asarray(value, np.float32)
            told[name] = row if name == "frames" else row[None]
        found = self.voice.sess.run(None, told)
        parts, counts = [part[0] for part in found[:6]], np.asarray(found[6]).reshape(-1)
        wav = np.asarray(dsp.synth(*parts, np.random.default_rng(seed)), np.float32)
        f0 = np.where(parts[5] > VOICED, parts[5], 0.0)
        return Told(wav, merged(phonemes, counts, self.voice.vocab), counts, f0, np.asarray(found[7]).reshape(-1))


def owners(phonemes: str, vocabulary: dict[str, int]) -> list[int]:
    """For each of the voice's symbols the place of ours: a stress mark belongs to its vowel."""
    from audiocm.speech.phonemes import STRESS, SYMBOLS

    found, place = [0], 1
    for symbol in phonemes:
        if symbol in vocabulary:
            found.append(place)
            place += symbol in SYMBOLS and symbol not in STRESS
    return [*found, place]


def merged(phonemes: str, frames: np.ndarray, vocabulary: dict[str, int]) -> list[float]:
    """The voice's frames of each of its symbols -> seconds of ours."""
    places = owners(phonemes, vocabulary)
    if len(frames) != len(places):
        raise ValueError(f"{len(frames)} durations for {phonemes!r}")
    return [round(float(value) * FRAME, 4) for value in np.bincount(places, frames)]


def shared(phonemes: str, seconds: Sequence[float], frames: np.ndarray, vocabulary: dict[str, int]) -> np.ndarray:
    """Seconds of our symbols -> whole frames of the voice's: a stress mark keeps its own, its vowel gets the rest."""
    places = np.array(owners(phonemes, vocabulary))
    found, end, clock = np.ones(len(places)), 0.0, 0.0
    for place, length in enumerate(seconds):
        rows = np.flatnonzero(places == place)
        clock += length / FRAME
        total = max(round(clock - end), len(rows))
        found[rows[:-1]] = np.minimum(frames[rows[:-1]], (total - 1) // max(len(rows) - 1, 1))
        found[rows[-1]] = total - found[rows[:-1]].sum()
        end += total
    return found


def source(frames: np.ndarray, stretched: np.ndarray, held: np.ndarray) -> np.ndarray:
    """The place of each point of a stretched clip in the clip as it was. Symbols that are `held` keep the pace of their
    beginning and end and are stretched in the middle, as a sung vowel is; the others evenly."""
    found, start = [], 0.0
    for before, after, hold in zip(frames * 2, stretched * 2, held, strict=True):
        at = np.arange(int(after)) + 0.5
        if hold and after > before:
            middle = 0.4 * before + (at - 0.4 * before) * 0.3 * before / (after - 0.7 * before)
            at = np.where(at < 0.4 * before, at, np.where(at > after - 0.3 * before, before - after + at, middle))
        else:
            at = at * before / after
        found.append(start + at)
        start += before
    return np.concatenate(found).astype(int).clip(max=int(start) - 1)
