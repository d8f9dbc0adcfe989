"""Weight files without torch: int8 with a scale for each row, float16 or float32, as numpy arrays in float32."""

from pathlib import Path

import numpy as np

from ..models.folders import SCALE, shards_of, verify_checksum

FORMS = ("plain", "transposed", "integers", "scales")


def read_weights(file: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a weight file, or of all files of an index (.json), as they are stored.

    Raises ValueError if a file is missing, damaged, or not the one whose SHA-256 stands beside it."""
    from safetensors.numpy import load_file

    stored: dict[str, np.ndarray] = {}
    for one in shards_of(file) if file.suffix == ".json" else [file]:
        verify_checksum(one)
        try:
            stored |= load_file(one)
        except OSError as error:
            raise ValueError(f"weight file {one} cannot be read: {error.strerror or error}") from error
        except Exception as error:  # safetensors raises its own bare exceptions
            raise ValueError(f"weight file {one} is damaged: {' '.join(str(error).split())[:200]}") from error
    return stored


def weight(stored: dict[str, np.ndarray], name: str, form: str = "plain") -> np.ndarray:
    """Returns a weight of a file in one of FORMS: in float32, transposed, or its integers or the scales of its rows.

    Raises ValueError if the file does not have it."""
    needed = (name, name + SCALE) if form in ("integers", "scales") else (name,)
    if lost := [one for one in needed if one not in stored]:
        raise ValueError(f"weights are damaged: {lost[0]!r} is missing")
    if form in ("integers", "scales"):
        return stored[name] if form == "integers" else stored[name + SCALE].astype(np.float32)
    is_transposed = form == "transposed"
    value = np.ascontiguousarray(stored[name].T) if is_transposed else stored[name]
    made = value.astype(np.float32)
    if name + SCALE in stored:
        scale = stored[name + SCALE].astype(np.float32)
        made *= scale if is_transposed else scale.reshape(-1, *[1] * (value.ndim - 1))
    return made
