"""The synthetic voice of PyPI `hibari-tts` with what it knows of each clip: when each phoneme sounds, exactly.

Needs the `onnx` package, to make the model tell its durations.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

FRAME = 600 / 24000  # seconds


def telling(model: str) -> str:
    """A copy of the voice's ONNX file that has its durations (frames of each symbol) as an output too."""
    import onnx

    graph = onnx.load(model)
    clip = next(node for node in graph.graph.node if node.op_type == "Clip")  # round(exp(..) / speed), at least 1
    graph.graph.output.append(onnx.helper.make_tensor_value_info(clip.output[0], onnx.TensorProto.FLOAT, None))
    path = Path(tempfile.gettempdir()) / f"hibari-telling-{os.getpid()}.onnx"
    onnx.save(graph, path)
    return str(path)


class TellingVoice:
    """Speaks a sentence and says when: wav [sample] at 24 kHz and the seconds of each symbol."""

    def __init__(self) -> None:
        from hibari import Hibari
        from hibari.voices import voice_path

        path = telling(voice_path("heart"))
        self.voice = Hibari(model=path, threads=1)
        Path(path).unlink()

    def __call__(self, phonemes: str, speed: float, seed: int) -> tuple[np.ndarray, list[float]]:
        """phonemes: of the whole sentence, stress marks included."""
        from hibari import dsp

        ids = self.voice.ids(phonemes)
        told = self.voice.sess.run(None, {"ids": np.array([ids], np.int64), "speed": np.array([speed], np.float32)})
        parts, frames = [part[0] for part in told[:6]], np.asarray(told[6]).reshape(-1)
        wav = dsp.synth(*parts, np.random.default_rng(seed))
        return np.asarray(wav, np.float32), merged(phonemes, frames, self.voice.vocab)


def merged(phonemes: str, frames: np.ndarray, vocabulary: dict[str, int]) -> list[float]:
    """The voice's frames of each of its symbols -> seconds of ours: a stress mark's time goes to its vowel."""
    from audiocm.phonemes import STRESS, SYMBOLS

    kept = [symbol for symbol in phonemes if symbol in vocabulary]
    if len(frames) != len(kept) + 2:
        raise ValueError(f"{len(frames)} durations for {phonemes!r}")
    seconds, waiting = [float(frames[0])], 0.0
    for symbol, count in zip(kept, frames[1:-1], strict=True):
        if symbol in STRESS or symbol not in SYMBOLS:
            waiting += float(count)
        else:
            seconds.append(float(count) + waiting)
            waiting = 0.0
    return [round(value * FRAME, 4) for value in [*seconds, float(frames[-1]) + waiting]]
