"""Folders of graphs: their manifest, and their graphs, checked before they are loaded.

`audiocm export` writes them with their weights; those of bundled models take theirs from the model's weight files."""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_json
from ..models.folders import sha256, weight_file
from .weights import read_weights, weight

MANIFEST = "audiocm.json"
FORMAT = "audiocm-graphs-1"
KINDS = ("text-to-audio", "text-to-speech")
_MAX_FILE = 2**31  # bytes, the most that an ONNX file can have
_NUMBERS = {  # whole numbers that every manifest has, and the most that each may be
    "sample_rate": 400_000,
    "n_fft": 65_536,
    "hop": 65_536,
    "compression": 4096,
    "channels": 65_536,
    "max_frames": 1_000_000,
    "iterations": 1000,
    "retry_stride": 2**40,
}
_REALS = ("guidance_scale", "temperature", "silence_rms", "clipped_share")


def save_manifest(folder: Path, graphs: Mapping[str, tuple[str, ...]], extra: tuple[str, ...], **settings: Any) -> None:
    """Writes the manifest of a folder: settings, the files of each graph, and size and SHA-256 of these and of others."""
    files = {}
    for name in [*(file for files in graphs.values() for file in files), *extra]:
        content = (folder / name).read_bytes()
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    named = {name: list(files) for name, files in graphs.items()}
    write_json(folder / MANIFEST, {"format": FORMAT, **settings, "graphs": named, "files": files})


class GraphFolder:
    """The settings and graphs of an exported model.

    settings: the manifest, checked. threads: of each call (default: all cores). few_calls: weights are not packed and
    graphs not optimised for speed, which takes longer than a few calls save. Raises ValueError if the folder is none, is
    of another kind, or a file is missing, damaged or not the one that was written with it."""

    def __init__(self, folder: str | os.PathLike, kind: str, threads: int | None = None, few_calls: bool = False):
        self.folder, self.few_calls = Path(folder), few_calls
        self.threads = threads or int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
        self.settings = read_manifest(self.folder)
        if self.settings["kind"] != kind:
            raise ValueError(f"{folder} is an exported {self.settings['kind']} model, not {kind}")

    def path(self, name: str) -> Path:
        """Returns where a file is. Raises ValueError unless it is the one that the manifest was written for."""
        entry, folder = self.settings["files"].get(name), self.folder
        is_tokenizer = name == "tokenizer.json" and "components" in self.settings  # the model's own, without an entry
        if is_tokenizer:
            return self._component("tokenizer") / name
        if name in self.settings.get("shared", ()):
            folder = self._component("vae").parent / folder.name
        try:
            right = entry and (folder / name).stat().st_size == entry["bytes"]
            right = right and sha256(folder / name) == entry["sha256"]
        except OSError as error:
            raise ValueError(f"model file {folder / name} cannot be read: {error.strerror or error}") from error
        if not right:
            raise ValueError(f"model file {folder / name} is damaged: it is not the one of {MANIFEST}")
        return folder / name

    def file(self, name: str) -> bytes:
        """Returns the content of a file. Raises ValueError as `path`."""
        path = self.path(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ValueError(f"model file {path} cannot be read: {error.strerror or error}") from error

    @functools.cache  # noqa: B019 (a folder lives as long as its model)
    def graph(self, name: str) -> Callable[..., list[np.ndarray]]:
        """Returns a graph as a function of named arrays, loaded at the first call, that returns a list of arrays."""
        files = [self.path(file) for file in self.settings["graphs"].get(name, ())]
        if not files:
            raise ValueError(f"{self.folder} has no graph {name!r}")
        weights = self._weights(name)
        try:
            if self.settings["backend"] == "onnx":
                return _onnx_graph(files[0], self.threads, weights, self.few_calls)
            return _openvino_graph([file.read_bytes() for file in files], self.threads)
        except ImportError as error:
            package = {"onnx": "onnxruntime", "openvino": "openvino"}[self.settings["backend"]]
            raise ImportError(f"{self.folder} needs the package {package}: run `pip install {package}`") from error
        except Exception as error:  # both libraries raise types of their own
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"graph {name!r} of {self.folder} cannot be loaded: {reason}") from error

    def _component(self, name: str) -> Path:
        """Returns the folder of a component. Raises ValueError if it is not beside or in the model's own folder."""
        folder = (self.folder / str(self.settings["components"].get(name))).resolve()
        if self.folder.resolve().parents[1] not in folder.parents:
            raise ValueError(f"model file {self.folder / MANIFEST} is damaged: no component {name!r} beside it")
        return folder

    def _weights(self, name: str) -> dict[str, np.ndarray]:
        """Returns the weights that a graph takes from the model's weight files, by the names of its initializers."""
        places: dict[str, list[str]] = self.settings.get("weights", {}).get(name, {})
        parts = {part for part, _, _ in places.values()}
        stored = {part: read_weights(weight_file(self._component(part), ("int8",), with_index=True)) for part in parts}
        return {one: weight(stored[part], key, form) for one, (part, key, form) in places.items()}


def _onnx_graph(
    file: Path | bytes, threads: int, weights: dict[str, np.ndarray], few_calls: bool
) -> Callable[..., list[np.ndarray]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    options.enable_cpu_mem_arena = False  # which keeps the largest call's memory, in each graph
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave others the cores
    if few_calls:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED  # a weight is made float32 when it is used
        options.add_session_config_entry("session.disable_prepacking", "1")
    else:
        options.add_session_config_entry("session.disable_quant_qdq", "1")  # makes float32 of weights once, when loaded
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
    if values:
        options.add_external_initializers(list(weights), values)
        file = file if isinstance(file, bytes) else file.read_bytes()  # weights of a file would be looked for beside it
    source = file if isinstance(file, bytes) else str(file)  # of a file, the runtime keeps no second copy
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = {one.name for one in session.get_inputs()}

    def run(**inputs: np.ndarray) -> list[np.ndarray]:
        return session.run(None, {name: value for name, value in inputs.items() if name in names})

    return run


def _openvino_graph(files: list[bytes], threads: int) -> Callable[..., list[np.ndarray]]:
    import openvino

    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    model = core.compile_model(core.read_model(*files), "CPU", settings)
    names = {name for one in model.inputs for name in one.get_names()}

    def run(**inputs: np.ndarray) -> list[np.ndarray]:
        made = model({name: value for name, value in inputs.items() if name in names})
        return [np.array(made[i]) for i in range(len(model.outputs))]

    return run


def read_manifest(folder: Path) -> dict[str, Any]:
    """Returns the manifest of a folder. Raises ValueError if there is none, or if it is damaged."""
    file = folder / MANIFEST
    if not file.is_file():
        raise ValueError(f"no exported model in {folder}: {MANIFEST} is missing (`audiocm export` writes it)")
    try:
        manifest = json.loads(file.read_bytes())
        _check_manifest(manifest)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"model file {file} is damaged: {' '.join(str(error).split())[:200]}") from error
    return manifest


def _check_manifest(manifest: dict[str, Any]) -> None:
    def demand(right: bool, what: str) -> None:
        if not right:
            raise ValueError(f"{what} is missing or wrong")

    demand(manifest["format"] == FORMAT, f"format {FORMAT!r}")
    demand(manifest["kind"] in KINDS, "kind")
    demand(manifest["backend"] in ("onnx", "openvino"), "backend")
    for name, most in _NUMBERS.items():
        value = manifest.get(name)
        demand(type(value) is int and (name == "iterations" or value > 0) and 0 <= value <= most, name)
    for name in _REALS:
        demand(_is_number(manifest.get(name)), name)
    demand(manifest["n_fft"] % manifest["hop"] == 0 and manifest["n_fft"] > manifest["hop"], "n_fft")
    demand(_is_range(manifest.get("guidance_range")), "guidance_range")
    for name, entry in manifest["files"].items():
        demand(Path(name).name == name and not name.startswith("."), f"file name {name!r}")
        demand(type(entry["bytes"]) is int and 0 < entry["bytes"] < _MAX_FILE, f"size of {name}")
        demand(isinstance(entry["sha256"], str) and len(entry["sha256"]) == 64, f"digest of {name}")
    for name, files in manifest["graphs"].items():
        demand(isinstance(files, list) and all(file in manifest["files"] for file in files), f"graph {name}")
    if manifest["kind"] == "text-to-audio":
        demand(_is_range(manifest.get("seconds_range")), "seconds_range")
        demand(type(manifest.get("max_tokens")) is int and 2 <= manifest["max_tokens"] <= 4096, "max_tokens")
    else:
        voices, symbols = manifest.get("voices"), manifest.get("symbols")
        demand(isinstance(voices, list) and len(voices) > 0 and all(isinstance(v, str) for v in voices), "voices")
        demand(isinstance(symbols, str) and "_" in symbols, "symbols")
        demand(type(manifest.get("subframes")) is int and 0 < manifest["subframes"] <= 64, "subframes")
        demand(_is_number(manifest.get("pitch_centre")) and manifest["pitch_centre"] > 0, "pitch_centre")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9


def _is_range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)) and value[0] <= value[1]
