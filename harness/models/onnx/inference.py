"""The types of an ONNX model's values, as ONNX infers them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import onnx

from harness.models.onnx.file import STANDARD_DOMAINS

_SMALL = 1024
"""Weights of so many elements may be shapes, which inference has to see."""
_LONG = 1 << 20
"""ONNX writes the elements of a Range out where it follows values: of longer ones it does not."""


def value_types(model: onnx.ModelProto) -> Mapping[str, onnx.TypeProto]:
    """The types of a model's values that ONNX infers, by their names."""
    graph = inferred(model)
    return {value.name: value.type for value in (*graph.value_info, *graph.input, *graph.output)}


def inferred(model: onnx.ModelProto) -> onnx.GraphProto:
    """A model's graph with all types that can be inferred. Weights, which may be large, are inputs
    of it."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    source = model.graph
    light.graph.name = source.name
    light.graph.node.extend(source.node)
    light.graph.output.extend(source.output)
    weights = {tensor.name for tensor in source.initializer}
    light.graph.input.extend(value for value in source.input if value.name not in weights)
    for tensor in source.initializer:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        light.graph.input.append(value)
        if math.prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
    try:
        follows = _longest_range(light.graph) <= _LONG
        return onnx.shape_inference.infer_shapes(light, data_prop=follows).graph
    except Exception:
        # Types that cannot be inferred stay unknown; several C++ types without a common base.
        return light.graph


def _longest_range(graph: onnx.GraphProto) -> float:
    """How many elements the longest Range of constants has."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    longest = 0.0
    for node in graph.node:
        if node.op_type == "Range" and constants.keys() >= set(node.input):
            start, limit, step = (
                float(onnx.numpy_helper.to_array(constants[name]).reshape(-1)[0])
                for name in node.input
            )
            longest = max(longest, (limit - start) / step if step else 0.0)
    return longest


def known_shapes(model: onnx.ModelProto) -> Iterator[tuple[str, np.ndarray]]:
    """The results of Shape and Size that do not depend on any input's value."""
    if not any(node.op_type in {"Shape", "Size"} for node in model.graph.node):
        return
    graph = inferred(model)
    shapes = {
        value.name: found
        for value in (*graph.value_info, *graph.input)
        if (found := static_shape(value.type)) is not None
    }
    for node in graph.node:
        if node.domain in STANDARD_DOMAINS and node.input and node.input[0] in shapes:
            shape = np.asarray(shapes[node.input[0]], np.int64)
            if node.op_type == "Size":
                yield node.output[0], np.asarray(shape.prod(), np.int64)
            elif node.op_type == "Shape":
                cut = {attribute.name: attribute.i for attribute in node.attribute}
                yield node.output[0], shape[cut.get("start", 0) : cut.get("end", len(shape))]


def static_shape(given: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """The shape of a tensor's type, where all of it is known."""
    if given is None or not given.tensor_type.HasField("shape"):
        return None
    dims = given.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)
