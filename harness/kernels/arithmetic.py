"""Pieces of TIR arithmetic that rules of the last lowering are written with.

Every value may be one element or a vector of them; constants take its number of lanes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.compiler.api import tirx

Value = Any  # an expression of TIR
Function = Callable[[Value], Value]


def element(value: Value) -> str:
    """The dtype of a value, or of each lane of a vector."""
    return str(value.ty).partition("x")[0]


def like(value: Value, dtype: str) -> str:
    """The dtype of a vector of `dtype` with as many lanes as a value has."""
    _, lanes, count = str(value.ty).partition("x")
    return f"{dtype}{lanes}{count}"


def constant(number: float, value: Value, dtype: str | None = None) -> Value:
    """A number with as many lanes as a value has, by default of the same dtype."""
    return tirx.const(number, like(value, dtype or element(value)))


def named(name: str, value: Value, body: Function) -> Value:
    """`body` of a value that is computed once: without a name its text would be repeated."""
    variable = tirx.Var(name, str(value.ty))
    return tirx.Let(variable, value, body(variable))


def polynomial(coefficients: Sequence[float], at: Value) -> Value:
    """Horner's scheme; the highest power's coefficient first."""
    result = constant(coefficients[0], at)
    for coefficient in coefficients[1:]:
        result = result * at + constant(coefficient, at)
    return result


def clipped(value: Value, low: float, high: float) -> Value:
    """A variable limited to low ≤ value ≤ high; NaN stays NaN.

    The constant comes first in each selection, as x86's `min` and `max` give their second operand
    when one of both is NaN: LLVM makes one instruction of each.
    """
    top, bottom = constant(high, value), constant(low, value)
    return named("given", value, lambda given: named(
        "lower",
        tirx.Select(tirx.LT(top, given), top, given),
        lambda lower: tirx.Select(tirx.GT(bottom, lower), bottom, lower),
    ))  # fmt: skip


def is_nan(value: Value, dtype: str) -> Value:
    """Whether a value is NaN, by its bits: TVM's simplifier takes comparisons of floats for those
    of numbers."""
    if not dtype.startswith("float"):
        return tirx.const(False, "bool")
    integer = dtype.replace("float", "int")
    infinity = int(np.asarray(np.inf, dtype).view(integer))
    size = tirx.bitwise_and(
        tirx.reinterpret(integer, value), tirx.const(np.iinfo(integer).max, integer)
    )
    return size > tirx.const(infinity, integer)
