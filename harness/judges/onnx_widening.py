"""An ONNX model with all its floats 64 bits wide."""

from __future__ import annotations

import numpy as np
import onnx

WIDE = onnx.TensorProto.DOUBLE
_NARROW = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})
_DTYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype"})


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with 64-bit floats in place of narrower ones: of the same
    weights and attributes, each as it is rounded in the file."""
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    _widen(wide.graph)
    return wide


def _widen(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in _NARROW:
            value.type.tensor_type.elem_type = WIDE
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for node in graph.node:
        _widen_node(node)


def _widen_node(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _widen_tensor(attribute.t)
        if attribute.name in _DTYPE_ATTRIBUTES and attribute.i in _NARROW:
            attribute.i = WIDE
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            scalar = attribute.name == "value_float"
            values = np.array(attribute.f if scalar else list(attribute.floats), np.float64)
            attribute.CopyFrom(
                onnx.helper.make_attribute("value", onnx.numpy_helper.from_array(values))
            )
        if attribute.HasField("g"):
            _widen(attribute.g)
        for body in attribute.graphs:
            _widen(body)
    if node.op_type == "ConstantOfShape" and not node.attribute:
        zero = onnx.numpy_helper.from_array(np.zeros(1, np.float64))
        node.attribute.append(onnx.helper.make_attribute("value", zero))


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in _NARROW:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
