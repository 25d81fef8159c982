"""Integers of less than a byte, as those of a byte: TVM has none that go into arrays.

They have the same values. Only quantization gives new ones, which are limited as the type would.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.models.onnx.file import walk_nodes

_TYPES = {
    name: getattr(TensorProto, name)
    for name in ("INT4", "UINT4", "INT2", "UINT2")
    if hasattr(TensorProto, name)
}
_BYTES: Mapping[int, int] = {
    kind: TensorProto.UINT8 if name.startswith("U") else TensorProto.INT8
    for name, kind in _TYPES.items()
}
_BITS: Mapping[int, int] = {kind: int(name[-1]) for name, kind in _TYPES.items()}


def with_whole_bytes(model: onnx.ModelProto) -> onnx.ModelProto:
    """An equal model without narrow integers inside; the same one where there are none."""
    narrow = {
        tensor.name: tensor.data_type
        for tensor in model.graph.initializer
        if tensor.data_type in _BYTES
    }
    if not narrow and not any(_given(node) in _BYTES for node in walk_nodes(model.graph)):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for tensor in result.graph.initializer:
        if tensor.name in narrow:
            tensor.CopyFrom(_widened(tensor))
    del result.graph.node[:]
    bounds: dict[str, onnx.TensorProto] = {}
    for node in model.graph.node:
        result.graph.node.extend(_limited(node, narrow, bounds))
    result.graph.initializer.extend(bounds.values())
    return result


def _given(node: onnx.NodeProto) -> int | None:
    """The type that a node's attribute says its result has."""
    if node.op_type != "QuantizeLinear":
        return None
    return next((each.i for each in node.attribute if each.name == "output_dtype"), None)


def _widened(tensor: onnx.TensorProto) -> onnx.TensorProto:
    dtype = helper.tensor_dtype_to_np_dtype(_BYTES[tensor.data_type])
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name)


def _limited(
    node: onnx.NodeProto, narrow: Mapping[str, int], bounds: dict[str, onnx.TensorProto]
) -> Iterator[onnx.NodeProto]:
    """A node that quantizes to bytes, and one that limits them; `bounds` gets the limits."""
    zero_point = node.input[2] if len(node.input) > 2 else ""
    kind = narrow.get(zero_point, _given(node)) if node.op_type == "QuantizeLinear" else None
    if kind is None or kind not in _BYTES:
        yield node
        return
    wide, bits = _BYTES[kind], _BITS[kind]
    low = 0 if wide == TensorProto.UINT8 else -(2 ** (bits - 1))
    dtype = helper.tensor_dtype_to_np_dtype(wide)
    names = []
    for bound in (low, low + 2**bits - 1):
        name = f"bound {bound} of {np.dtype(dtype).name}"
        bounds[name] = numpy_helper.from_array(np.asarray(bound, dtype), name)
        names.append(name)
    quantizing = onnx.NodeProto()
    quantizing.CopyFrom(node)
    quantizing.output[0] = f"{node.output[0]} in bytes"
    for attribute in quantizing.attribute:
        if attribute.name == "output_dtype":
            attribute.i = wide
    yield quantizing
    yield helper.make_node("Clip", [quantizing.output[0], *names], [node.output[0]], name=node.name)
