"""What a converter of an ONNX operator is.

It takes the block builder, the node's inputs (None for those left out), its attributes and the
opset, and gives a Relax expression: a tuple where the operator has several outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from harness.compiler.api import relax, shape_of
from harness.compiler.onnx_frontend import convert_map

Builder: TypeAlias = relax.BlockBuilder
Converter: TypeAlias = Callable[[Builder, Any, Any, int], relax.Expr]


def by_tvm(builder: Builder, inputs: Any, attributes: Any, opset: int, name: str) -> relax.Expr:
    """The result of TVM's converter of an operator for a node with constant weights."""
    return convert_map()[name].get_converter(opset)(builder, inputs, attributes, [{}, {}])


def like(value: float, other: relax.Expr) -> relax.Expr:
    """A scalar of the data type of an expression."""
    return relax.const(value, str(other.ty.dtype))


def text(attributes: Any, name: str, default: str) -> str:
    """An attribute that is text."""
    value = attributes.get(name, default)
    return value.decode() if isinstance(value, bytes) else str(value)


def in_either_layout(convert: Converter) -> Converter:
    """The converter of an operator whose images may have their channels last."""

    def converted(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        if not attributes.get("channels_last", 0):
            return convert(builder, inputs, attributes, opset)
        x, *rest = inputs
        image = range(1, len(shape_of(x)) - 1)
        x = builder.emit(relax.op.permute_dims(x, [0, len(image) + 1, *image]))
        found = builder.emit(convert(builder, [x, *rest, None, None], attributes, opset))
        return relax.op.permute_dims(found, [0, *(at + 1 for at in image), 1])

    return converted
