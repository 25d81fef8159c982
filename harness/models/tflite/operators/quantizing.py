"""Operators that turn real numbers into steps, and steps into real numbers."""

from __future__ import annotations

from harness.compiler.api import relax
from harness.models.tflite.operation import Converter, Operation, Unsupported
from harness.models.tflite.quantization import in_floats, in_other_steps, in_steps


def _quantize(operation: Operation) -> relax.Expr:
    data, result = operation.tensor(0), operation.outputs[0]
    if result.scaled is None:
        raise Unsupported(f"'{result.name}' has no scale")
    if data.scaled is None:
        return in_steps(operation.value(0), result.scaled, result.dtype)
    return in_other_steps(operation.value(0), data.scaled, result.scaled, result.dtype)


def _dequantize(operation: Operation) -> relax.Expr:
    steps = operation.tensor(0).scaled
    if steps is None:
        return relax.op.astype(operation.value(0), operation.outputs[0].dtype)
    return in_floats(operation.value(0), steps)


QUANTIZING: dict[str, Converter] = {"DEQUANTIZE": _dequantize, "QUANTIZE": _quantize}
