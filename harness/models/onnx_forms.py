"""Writes an ONNX model with the operators that TVM converts, where ONNX defines others by them.

What other engines run stays as it is: only TVM's importer sees this form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.inliner import inline_selected_functions

from harness.models.onnx_file import STANDARD_DOMAINS
from harness.models.onnx_importer import is_converted, opset_of
from harness.models.onnx_shapes import fold


def simplest_form(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """An equal model in which operators that TVM lacks are written out as ONNX's schemas define
    them, and shapes that are known are constants. Raises InputError as `fold` does."""
    typed = _inferred(model)
    lacking = sorted({node.op_type for node in typed.graph.node if _is_defined(node, typed)})
    if lacking:
        functions = [("", name) for name in lacking]
        typed = inline_selected_functions(typed, functions, inline_schema_functions=True)
        typed = _inferred(fold(typed, path))
    known = dict(_known_shapes(typed))
    if not known:
        # Not what inference wrote: the importer changes the nodes' names.
        return typed if lacking else onnx.ModelProto.FromString(model.SerializeToString())
    kept = [node for node in typed.graph.node if node.output[0] not in known]
    del typed.graph.node[:]
    typed.graph.node.extend(kept)
    typed.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in known.items()
    )
    return fold(typed, path)


def value_types(model: onnx.ModelProto) -> Mapping[str, onnx.TypeProto]:
    """What ONNX infers of the types of a model's values, by their names."""
    graph = _inferred(model).graph
    types = {value.name: value.type for value in (*graph.value_info, *graph.input, *graph.output)}
    for tensor in graph.initializer:
        types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
    return types


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:
        # What cannot be inferred is not known; several C++ types without a common base.
        return onnx.ModelProto.FromString(model.SerializeToString())


def _is_defined(node: onnx.NodeProto, model: onnx.ModelProto) -> bool:
    """Whether an operator that TVM does not convert is defined by others."""
    if is_converted(node) or node.domain not in STANDARD_DOMAINS:
        return False
    schema = onnx.defs.get_schema(node.op_type, opset_of(model), "")
    return bool(schema.has_function or schema.has_context_dependent_function)


def _known_shapes(model: onnx.ModelProto) -> Iterator[tuple[str, np.ndarray]]:
    """The results of Shape and Size that do not depend on any input's value."""
    graph = model.graph
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
