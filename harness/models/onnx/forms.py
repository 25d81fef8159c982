"""Writes an ONNX model with the operators that TVM converts, where ONNX defines others by them.

Only TVM's importer sees this form; other engines run the original.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.inliner import inline_selected_functions

from harness.errors import InputError, first_line
from harness.models.onnx.file import STANDARD_DOMAINS
from harness.models.onnx.importer import is_converted, opset_of
from harness.models.onnx.shapes import fold

_SMALL = 1024
"""Weights of so many elements may be shapes, which inference has to see."""


def simplest_form(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An equal model in which operators that TVM lacks are written out as ONNX's schemas define
    them, and shapes that are known are constants; the same one where there is nothing to write.
    Raises InputError as `fold` does, and where a schema cannot be written out."""
    lacking = sorted({node.op_type for node in model.graph.node if _is_defined(node, model)})
    if lacking:
        functions = [("", name) for name in lacking]
        typed = onnx.ModelProto()
        typed.CopyFrom(model)
        typed.graph.value_info.extend(_inferred(model).value_info)
        try:
            model = inline_selected_functions(typed, functions, inline_schema_functions=True)
        except RuntimeError as error:
            raise InputError(
                f"{path}: operators {', '.join(lacking)} cannot be written out as ONNX's schemas "
                f"define them: {first_line(error)}"
            ) from None
        model = fold(model, path)
    known = dict(_known_shapes(model))
    if not known:
        return model
    constant = onnx.ModelProto()
    constant.CopyFrom(model)
    kept = [node for node in constant.graph.node if node.output[0] not in known]
    del constant.graph.node[:]
    constant.graph.node.extend(kept)
    constant.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in known.items()
    )
    return fold(constant, path)


def value_types(model: onnx.ModelProto) -> Mapping[str, onnx.TypeProto]:
    """The types of a model's values that ONNX infers, by their names."""
    graph = _inferred(model)
    return {value.name: value.type for value in (*graph.value_info, *graph.input, *graph.output)}


def _inferred(model: onnx.ModelProto) -> onnx.GraphProto:
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
        return onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception:
        # Types that cannot be inferred stay unknown; several C++ types without a common base.
        return light.graph


def _is_defined(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether an operator that TVM does not convert is defined by others."""
    if is_converted(node) or node.domain not in STANDARD_DOMAINS:
        return False
    schema = onnx.defs.get_schema(node.op_type, opset_of(model), "")
    return bool(schema.has_function or schema.has_context_dependent_function)


def _known_shapes(model: onnx.ModelProto) -> Iterator[tuple[str, np.ndarray]]:
    """The results of Shape and Size that do not depend on any input's value."""
    if not any(node.op_type in {"Shape", "Size"} for node in model.graph.node):
        return
    graph = _inferred(model)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input)
        if value.type.tensor_type.HasField("shape")
        and all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    }
    for node in graph.node:
        if node.domain in STANDARD_DOMAINS and node.input and node.input[0] in shapes:
            shape = np.asarray(shapes[node.input[0]], np.int64)
            if node.op_type == "Size":
                yield node.output[0], np.asarray(shape.prod(), np.int64)
            elif node.op_type == "Shape":
                cut = {attribute.name: attribute.i for attribute in node.attribute}
                yield node.output[0], shape[cut.get("start", 0) : cut.get("end", len(shape))]
