"""What an ONNX file says of itself."""

from __future__ import annotations

from pathlib import Path

import onnx

from harness.models.description import Description, typed
from harness.models.onnx.file import STANDARD_DOMAINS, load_onnx, opset_of, walk_nodes
from harness.models.onnx.inputs import graph_inputs, input_dimensions
from harness.models.onnx.trailing import trailing_extents

_QUANTIZATIONS = {
    "QuantizeLinear": "static (QDQ)",
    "DequantizeLinear": "weights",
    "DynamicQuantizeLinear": "dynamic",
    "DynamicQuantizeLSTM": "dynamic",
    "DynamicQuantizeMatMul": "dynamic",
    "MatMulInteger": "dynamic",
    "ConvInteger": "dynamic",
    "QLinearConv": "static (QOperator)",
    "QLinearMatMul": "static (QOperator)",
    "QGemm": "static (QOperator)",
    "MatMulNBits": "weights",
}
"""Operators that tell how a network is quantized; the last one of these kinds counts."""
_KINDS = ("", "weights", "dynamic", "static (QDQ)", "static (QOperator)")


def described(path: Path) -> Description:
    """See `harness.models.description`."""
    model = load_onnx(path)
    nodes = list(walk_nodes(model.graph))
    domains = {node.domain for node in nodes} - STANDARD_DOMAINS
    opset = opset_of(model) if any(o.domain in STANDARD_DOMAINS for o in model.opset_import) else 0
    kinds = {"", *(_QUANTIZATIONS.get(node.op_type, "") for node in nodes)}
    return Description(
        version=", ".join([f"opset {opset}", *sorted(domains)]),
        inputs={
            value.name: typed(_dtype(value), input_dimensions(value))
            for value in graph_inputs(model.graph)
        },
        nodes=len(nodes),
        quantization=max(kinds, key=_KINDS.index),
        trailing=trailing_extents(model),
    )


def _dtype(value: onnx.ValueInfoProto) -> str:
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return str(kind).removesuffix("_type")
    element = value.type.tensor_type.elem_type
    if element == onnx.TensorProto.STRING:
        return "text"
    return str(onnx.helper.tensor_dtype_to_np_dtype(element))
