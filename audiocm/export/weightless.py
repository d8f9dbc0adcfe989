"""Graphs without weights, which are read from the weight files of the model instead.

A bundled model has its weights once, in int8; its graphs for ONNX Runtime are then some hundred kilobytes.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from ..files import atomic_write
from ..models.folders import SCALE, weight_file
from ..pipelines.loading import model_folder, read_index
from ..runtime.folder import save_manifest
from ..runtime.weights import read_weights, weight
from .exporting import load_student, runtime_settings
from .graphs import graphs_of
from .onnx_files import export_graph
from .storage import replace_gather

SMALL = 256  # elements; smaller tensors stay in the graph
RUNTIME = "com.microsoft"  # ONNX Runtime's own operators
ROWS_FIRST = (("Gemm", 1), ("Conv", 1), ("ConvTranspose", 1))  # operators that take a weight by its rows, and its place


def export_weightless(name: str | os.PathLike) -> Path:
    """Writes the graphs of a bundled or trained one-call student into the folder `graphs` of its own; returns that.

    Raises ValueError for a model that is no such student, or has a weight in none of its files that fits its graph."""
    folder = model_folder(name)
    _, components = read_index(folder)
    pipe = load_student(name)
    folders = {part: where for part, where in components.items() if part != "tokenizer"}
    weights = {part: read_weights(weight_file(where, ("int8",), with_index=True)) for part, where in folders.items()}
    with atomic_write(folder / "graphs") as partial, torch.random.fork_rng(devices=[]):
        partial.mkdir()
        files, used = {}, {}
        for graph in graphs_of(pipe):
            file = partial / f"{graph.name}.onnx"
            export_graph(graph, file)
            model = onnx.load(file)
            used[graph.name] = take_weights_out(model, weights)
            file.write_bytes(model.SerializeToString(deterministic=True))
            files[graph.name] = (file.name,)
        where = {part: os.path.relpath(one, folder / "graphs") for part, one in components.items()}
        settings = {"backend": "onnx", "precision": "fp32", "model": folder.name, **runtime_settings(pipe)}
        codec = folders["vae"].parent
        shared = [] if codec == folder else ["decoder.onnx", "vocoder.onnx"]
        save_manifest(partial, files, (), **settings, components=where, weights=used, shared=shared)
        for one in shared:  # models that share a codec share its graphs
            (codec / "graphs").mkdir(exist_ok=True)
            (partial / one).replace(codec / "graphs" / one)
    return folder / "graphs"


def take_weights_out(
    model: onnx.ModelProto, weights: Mapping[str, Mapping[str, np.ndarray]]
) -> dict[str, tuple[str, str, str]]:
    """Removes from a graph the tensors that are weights; returns initializer -> (component, weight, form).

    Those stored in int8 stay integers, with the scales of their rows, until they are multiplied: a process that makes a
    few sounds spends less time on that than on a float32 copy of all."""
    known: dict[tuple, tuple[str, str, str]] = {}
    for part, stored in weights.items():
        for key in stored:
            value = weight(stored, key) if not key.endswith(SCALE) and stored[key].dtype.kind in "fi" else None
            if value is not None and value.size >= SMALL:
                known[value.shape, value.tobytes()] = (part, key, "plain")
                if value.ndim == 2:
                    known.setdefault((value.T.shape, value.T.tobytes()), (part, key, "transposed"))
    found: dict[str, tuple[str, str, str]] = {}
    for tensor in list(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        value, name = numpy_helper.to_array(tensor), tensor.name
        place = known.get((value.shape, value.tobytes()))
        if place is None:
            continue
        part, key, form = place
        if key + SCALE in weights[part] and _store_integers(model, name, form == "transposed", weights[part], key):
            found |= {f"{name}_int8": (part, key, "integers"), f"{name}_scale": (part, key, "scales")}
        else:
            found[name] = place
    for tensor in model.graph.initializer:
        if tensor.name in found:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="weights")
    return found


def _store_integers(
    model: onnx.ModelProto, name: str, is_transposed: bool, stored: Mapping[str, np.ndarray], key: str
) -> bool:
    """Replaces a tensor by the integers and scales of a weight; returns whether its uses allow that.

    Rows of tables are looked up in integers. Linear layers take the weight as it is stored, one row for each output,
    by ONNX Runtime's FusedMatMul, which is a product with a transposed matrix."""
    graph = model.graph
    uses = [node for node in graph.node if name in node.input]
    kinds = {(node.op_type, list(node.input).index(name)) for node in uses}
    if len(kinds) > 1 or not kinds <= ({("MatMul", 1)} if is_transposed else {("Gather", 0), *ROWS_FIRST}):
        return False
    integers = numpy_helper.from_array(stored[key], name + "_int8")
    scales = numpy_helper.from_array(weight(stored, key, "scales"), name + "_scale")
    if kinds == {("Gather", 0)}:
        for node in uses:
            replace_gather(graph, node, [integers.name, scales.name])
    else:
        rows = f"{name}_rows"
        whole = helper.make_node("DequantizeLinear", [integers.name, scales.name], [rows], rows, axis=0)
        graph.node.insert(list(graph.node).index(uses[0]), whole)
        for node in uses:
            node.input[1] = rows
            if is_transposed:
                node.op_type, node.domain = "FusedMatMul", RUNTIME
                node.attribute.append(helper.make_attribute("transB", 1))
    if is_transposed and RUNTIME not in {one.domain for one in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(RUNTIME, 1))
    graph.initializer.remove(next(one for one in graph.initializer if one.name == name))
    graph.initializer.extend([integers, scales])
    return True
