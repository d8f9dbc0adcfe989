"""ONNX files of graphs, in a precision, and their parity with torch."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch

from .graphs import Graph, Student
from .storage import compute_in_int8, store_weights

OPSET = 20  # of the newest operators that ONNX Runtime on the web and OpenVINO read too
PRECISIONS = ("fp32", "fp16", "int8")
EXACT = ("text_encoder", "durations")  # graphs whose arithmetic stays in float32: words and rhythm suffer first


@torch.no_grad()
def export_graph(graph: Graph, file: Path) -> None:
    """Writes a graph as an ONNX file in float32. Raises ValueError if torch cannot export it."""
    dynamic = tuple(dict.fromkeys(graph.free_axes(name), torch.export.Dim.AUTO) for name in graph.inputs)
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(
        logging.ERROR
    )  # of torchvision's operators
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph.module,
                tuple(graph.inputs.values()),
                str(file),
                input_names=list(graph.inputs),
                output_names=list(graph.outputs),
                dynamic_shapes=(dynamic,) if isinstance(graph.module, Student) else dynamic,  # it takes *inputs
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise ValueError(f"torch cannot export the graph {graph.name!r}: {reason}") from error
    model = onnx.load(file)
    _name_axes(model, graph)
    onnx.save(model, file)


def _name_axes(model: onnx.ModelProto, graph: Graph) -> None:
    """Names the free axes of inputs, and forgets shapes that the exporter inferred with names of its own."""
    del model.graph.value_info[:], model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for one in model.graph.input:
        for axis in graph.free_axes(one.name):
            one.type.tensor_type.shape.dim[axis].dim_param = "batch" if axis == 0 else graph.length_name(one.name)
    for one in model.graph.output:
        for dim in one.type.tensor_type.shape.dim:
            if dim.HasField("dim_param"):
                dim.Clear()


def set_precision(file: Path, name: str, precision: str, arithmetic: bool = True) -> None:
    """Rewrites an ONNX file in a precision. arithmetic: int8 is that of products too, unless the graph must be exact."""
    if precision == "fp32":
        return
    if precision == "int8" and arithmetic and name not in EXACT:
        compute_in_int8(file, file)
    model = onnx.load(file)
    store_weights(model, precision)
    onnx.checker.check_model(model)
    onnx.save(model, file)


def signal_to_noise(made: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the signal-to-noise ratio of an array in dB, at most 200."""
    error = np.square(made.astype(np.float64) - wanted).sum()
    power = np.square(wanted.astype(np.float64)).sum()
    return float(min(200.0, 10 * np.log10(max(power, 1e-20) / max(error, 1e-40))))
