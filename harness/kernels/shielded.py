"""Arithmetic of floats that is hidden from TVM's simplifier.

The simplifier takes floats for real numbers: it makes x of `(x + y) - y`, 0 of `x - x`, true of
`x == x`, and `y <= x` of `not (x < y)`. Rounding, infinities and NaN make other values of these.
Functions of ours stand for differences and comparisons from the first pass of the lowering to its
last one, which writes the operators again.

A conversion to bfloat16, and its arithmetic, round here too: TVM computes bfloat16 in float32, so
that nothing would be left of a conversion there and back.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from harness.compiler.api import (
    PrimFunc,
    SBlock,
    is_processor,
    operator_name,
    structural_mutate,
    tirx,
    tvm,
)
from harness.compiler.patches import register_operator
from harness.kernels.arithmetic import Value, constant, element, like, named

_NAMES: dict[type, str] = {
    tirx.Sub: "layeredge.difference",
    tirx.LT: "layeredge.less",
    tirx.LE: "layeredge.less_or_equal",
    tirx.GT: "layeredge.greater",
    tirx.GE: "layeredge.greater_or_equal",
    tirx.EQ: "layeredge.equal",
    tirx.NE: "layeredge.not_equal",
}
_OPERATORS = {name: operator for operator, name in _NAMES.items()}
_ROUNDED = "layeredge.rounded_to_bfloat16"


@cache  # TVM takes one registration of a name
def register_shields() -> None:
    """Make the functions known to TVM."""
    for name in (*_OPERATORS, _ROUNDED):
        register_operator(name)


def difference(first: Value, second: Value) -> Value:
    """A difference of floats that the simplifier does not see."""
    return tirx.call_intrin(str(first.ty), _NAMES[tirx.Sub], first, second)


def _hidden(operation: Value, mutator: Any) -> Value:
    mutated = mutator.default_mutate(operation)
    if not _is_float(mutated.a):
        return mutated
    if type(mutated) is tirx.Sub and element(mutated) == "bfloat16":
        return _of_bfloat16(mutated, difference)
    return tirx.call_intrin(str(mutated.ty), _NAMES[type(mutated)], mutated.a, mutated.b)


def _narrow(operation: Value, mutator: Any) -> Value:
    mutated = mutator.default_mutate(operation)
    return _of_bfloat16(mutated, type(mutated)) if element(mutated) == "bfloat16" else mutated


def _of_bfloat16(operation: Value, single: Callable[[Value, Value], Value]) -> Value:
    """Arithmetic of bfloat16: that of single precision, rounded."""
    dtype = like(operation, "float32")
    result = single(tirx.Cast(dtype, operation.a), tirx.Cast(dtype, operation.b))
    return tirx.Cast(str(operation.ty), tirx.call_intrin(dtype, _ROUNDED, result))


def _rounding(cast: Value, mutator: Any) -> Value:
    mutated = mutator.default_mutate(cast)
    if element(mutated) != "bfloat16" or not _is_float(mutated.value):
        return mutated
    single = tirx.Cast(like(mutated, "float32"), mutated.value)
    rounded = tirx.call_intrin(str(single.ty), _ROUNDED, single)
    return tirx.Cast(str(mutated.ty), rounded)


def _is_float(value: Value) -> bool:
    return element(value).startswith(("float", "bfloat"))


def _shown(call: Value, mutator: Any) -> Value:
    mutated = mutator.default_mutate(call)
    name = operator_name(mutated)
    if name == _ROUNDED:
        return _rounded_to_bfloat16(mutated.args[0])
    operator = _OPERATORS.get(name)
    if operator is None:
        return mutated
    if operator is tirx.NE:
        # TVM compiles `a != b` to a comparison that is false for NaN.
        return tirx.Not(tirx.EQ(*mutated.args))
    return operator(*mutated.args)


def _rounded_to_bfloat16(value: Value) -> Value:
    """The nearest value of 16 bits, the even one of two: half of the last place that stays, less
    one where that place is even, carries into it."""

    def bits_of(value: Value) -> Value:
        bits = tirx.reinterpret(like(value, "uint32"), value)

        def integer(number: int) -> Value:
            return constant(number, bits)

        odd = tirx.bitwise_and(tirx.shift_right(bits, integer(16)), integer(1))
        carried = bits + integer(0x7FFF) + odd
        kept = tirx.bitwise_and(carried, integer(0xFFFF0000))
        rounded = tirx.reinterpret(str(value.ty), kept)
        return tirx.Select(tirx.EQ(value, value), rounded, value)

    return named("single", value, bits_of)


HIDING: list[Any] = [
    (tuple(_NAMES), _hidden),
    ((tirx.Add, tirx.Mul, tirx.Div), _narrow),
    (tirx.Cast, _rounding),
]
SHOWING: list[Any] = [(tvm.ir.Call, _shown)]
"""Rules that write functions for operators, and operators for functions."""


def shield(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A scheduled kernel whose differences and comparisons of floats are calls."""
    target = (function.attrs or {}).get("target")
    if target is None:
        return function
    # TVM knows reductions through the threads of a graphics processor by their comparisons.
    rules = HIDING if is_processor(target) else [*HIDING, (SBlock, _unless_reduction)]
    return function.with_body(structural_mutate(function.body, rules))


def unshield(function: PrimFunc, module: Any, context: Any) -> PrimFunc:
    """A lowered kernel with its operators again."""
    return function.with_body(structural_mutate(function.body, SHOWING))


def _unless_reduction(block: SBlock, mutator: Any) -> SBlock:
    return block if block.init is not None else mutator.default_mutate(block)
