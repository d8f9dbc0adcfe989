"""Weight files without torch: int8 with a scale for each row, float16 or float32, as numpy arrays in float32."""

import hashlib
import json
from pathlib import Path

import numpy as np

SCALE = "::scale"  # as in models.weights, which writes the files
FORMS = ("plain", "transposed", "integers", "scales")


def weight_file(folder: Path) -> Path:
    """Returns the int8 weight file of a folder, or the index of several. Raises ValueError if there is none."""
    for stem in ("diffusion_pytorch_model", "model"):
        for name in (f"{stem}.int8.safetensors", f"{stem}.safetensors.index.int8.json"):
            if (folder / name).is_file():
                return folder / name
    raise ValueError(f"weight file {folder / 'diffusion_pytorch_model.int8.safetensors'} is missing")


def read_weights(file: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a weight file, or of all files of an index (.json), as they are stored.

    Raises ValueError if a file is missing, damaged, or not the one whose SHA-256 stands beside it."""
    from safetensors.numpy import load

    stored: dict[str, np.ndarray] = {}
    try:
        names = [file.name]
        if file.suffix == ".json":
            names = sorted({Path(one).name for one in json.loads(file.read_bytes())["weight_map"].values()})
        sums = file.parent / "checksums.json"
        digests = json.loads(sums.read_bytes()) if sums.is_file() else {}
        for name in names:
            content = (file.parent / name).read_bytes()
            if name in digests and hashlib.sha256(content).hexdigest() != digests[name]:
                raise ValueError("its SHA-256 is not that of checksums.json; install or download it again")
            stored |= load(content)
    except OSError as error:
        raise ValueError(f"weight file {file} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # safetensors raises its own bare exceptions
        raise ValueError(f"weight file {file} is damaged: {' '.join(str(error).split())[:200]}") from error
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
