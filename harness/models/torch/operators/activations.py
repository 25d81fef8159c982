"""Activations whose parameters TVM's importer leaves out."""

from __future__ import annotations

from harness.compiler.api import relax
from harness.models.torch.operators.converter import Call, Converter

op = relax.op


def _elu(call: Call) -> relax.Expr:
    """scale · x, and alpha · scale · (e^(input_scale · x) - 1) below zero: SELU and CELU too."""
    x, dtype = call.tensor("self"), call.dtype
    alpha, scale, inner = (float(call[name]) for name in ("alpha", "scale", "input_scale"))
    zero = relax.const(0, dtype)
    # From the lesser of x and zero, so that the branch that is not taken does not overflow.
    below = op.minimum(x, zero)
    power = op.exp(op.multiply(below, relax.const(inner, dtype)) if inner != 1 else below)
    low = op.multiply(op.subtract(power, relax.const(1, dtype)), relax.const(alpha * scale, dtype))
    high = op.multiply(x, relax.const(scale, dtype)) if scale != 1 else x
    return call.emit(op.where(op.greater(x, zero), high, low))


def _hardtanh(call: Call) -> relax.Expr:
    return call.emit(op.clip(call.tensor("self"), call["min_val"], call["max_val"]))


ACTIVATIONS: dict[str, Converter] = {"elu.default": _elu, "hardtanh.default": _hardtanh}
