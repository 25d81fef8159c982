"""What a converter of an ONNX operator is.

It takes the block builder, the node's inputs (None for those left out), its attributes and the
opset, and gives a Relax expression: a tuple where the operator has several outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from harness.compiler.api import relax
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
