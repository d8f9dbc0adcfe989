"""Precision of ONNX files: weights stored in half precision or in int8, and matrix products computed in int8.

Stored int8 follows the weight files of audiocm: integers and one scale for each row of a weight, which is each output of
a linear layer. What was trained in float32 and shipped in int8 comes out of a graph as it comes out of the weight file.
"""

import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = 2**15  # elements, as in the weight files; smaller tensors stay float32
# axis of a weight's rows, by the operator that takes it and its place among the inputs
ROW_AXIS = {("Gather", 0): 0, ("MatMul", 1): 1, ("Gemm", 1): 0, ("Conv", 1): 0, ("ConvTranspose", 1): 0}


def compute_in_int8(source: Path, target: Path, keep_last: bool = True) -> None:
    """Writes a model whose products of states and weights (MatMul) are of int8, but for the last if it is to be kept.

    Weights have a scale for each output, states one for each call (dynamic quantization). The last product makes the
    output itself: its error alone is as large as that of all others (26 dB of 25 for the bundled text-to-audio network,
    21.5 of 21.2 for the vocoder). Products of one vector an item (Gemm), such as the embeddings of time and guidance,
    stay in float32: they cost nothing and tolerate little."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(source).graph
    weights = {one.name for one in graph.initializer}
    chosen = [node.name for node in graph.node if node.op_type == "MatMul" and node.input[1] in weights][
        : -1 if keep_last else None
    ]
    if not chosen:
        shutil.copyfile(source, target)
        return
    logger, level = logging.getLogger(), logging.getLogger().level
    logger.setLevel(logging.ERROR)  # the package advises on the root logger
    try:
        quantize_dynamic(source, target, nodes_to_quantize=chosen, weight_type=QuantType.QInt8, per_channel=True)
    finally:
        logger.setLevel(level)


def store_weights(model: onnx.ModelProto, precision: str) -> None:
    """Stores the float32 weights of a model in "fp16" or "int8"; arithmetic stays in float32.

    In int8, tensors that are no operand of a layer, such as tables of noise, are in half precision."""
    graph, uses = model.graph, {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            uses.setdefault(name, []).append((node, place))
    nodes: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALL:
            continue
        value, name = numpy_helper.to_array(tensor), tensor.name
        axes = {ROW_AXIS.get((node.op_type, place)) for node, place in uses.get(name, [])}
        axis = axes.pop() if len(axes) == 1 else None
        tables = [node for node, place in uses.get(name, []) if node.op_type == "Gather" and place == 0]
        if precision == "fp16" or axis is None or value.ndim < 2:
            half = numpy_helper.from_array(value.astype(np.float16), name + "_half")
            nodes.append(helper.make_node("Cast", [half.name], [name], name + "_cast", to=TensorProto.FLOAT))
            graph.initializer.append(half)
        elif tables and len(tables) == len(uses[name]):
            integers, scale = quantize_rows(value, 0)
            stored = [
                numpy_helper.from_array(integers, name + "_int8"),
                numpy_helper.from_array(scale, name + "_scale"),
            ]
            graph.initializer.extend(stored)
            for node in tables:
                replace_gather(graph, node, [one.name for one in stored])
        else:
            integers, scale = quantize_rows(value, axis)
            stored = [
                numpy_helper.from_array(integers, name + "_int8"),
                numpy_helper.from_array(scale, name + "_scale"),
            ]
            graph.initializer.extend(stored)
            nodes.append(
                helper.make_node("DequantizeLinear", [one.name for one in stored], [name], name + "_rows", axis=axis)
            )
        graph.initializer.remove(tensor)
    for node in reversed(nodes):
        graph.node.insert(0, node)


def quantize_rows(value: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns int8 values of the shape of `value` and a float32 scale for each place on an axis."""
    others = tuple(i for i in range(value.ndim) if i != axis)
    scale = np.maximum(np.abs(value).max(others), 1e-12).astype(np.float32) / np.float32(127)
    shape = [-1 if i == axis else 1 for i in range(value.ndim)]
    return np.rint(value / scale.reshape(shape)).clip(-127, 127).astype(np.int8), scale


def replace_gather(graph: onnx.GraphProto, node: onnx.NodeProto, stored: list[str]) -> None:
    """Looks rows of a table up in int8, and their scales, and multiplies them, instead of making the whole table."""
    table, scales, place = *stored, list(graph.node).index(node)
    name, (rows,) = node.output[0], [node.input[1]]
    new = [
        helper.make_node("Gather", [table, rows], [name + "_int8"]),
        helper.make_node("Cast", [name + "_int8"], [name + "_float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", [scales, rows], [name + "_scale"]),
        helper.make_node("Unsqueeze", [name + "_scale", name + "_last"], [name + "_column"]),
        helper.make_node("Mul", [name + "_float", name + "_column"], [name]),
    ]
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), name + "_last"))
    graph.node.remove(node)
    for one in reversed(new):
        graph.node.insert(place, one)
