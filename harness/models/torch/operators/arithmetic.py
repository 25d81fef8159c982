"""Elementwise operators. Operands are brought to the type that PyTorch computes in: that of the
result, or, of comparisons, the common type of the operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from harness.compiler.api import relax
from harness.models.torch.operators.converter import Call, Converter, dtype_name
from harness.models.torch.refusal import Unsupported

op = relax.op
Operation = Callable[[relax.Expr, relax.Expr], relax.Expr]


def _binary(operation: Operation, of_bool: Operation | None = None) -> Converter:
    """An operator of two operands in the type of the result; `of_bool` is that of truth values."""

    def convert(call: Call) -> relax.Expr:
        left, right = (call.tensor(name, call.dtype) for name in _operands(call))
        alpha = call.arguments.get("alpha", 1)
        if alpha != 1:
            right = call.emit(op.multiply(right, relax.const(alpha, call.dtype)))
        chosen = of_bool if of_bool is not None and call.dtype == "bool" else operation
        return call.emit(chosen(left, right))

    return convert


def _operands(call: Call) -> list[str]:
    return list(call.arguments)[:2]


def _comparison(operation: Operation) -> Converter:
    def convert(call: Call) -> relax.Expr:
        names = _operands(call)
        common = _common(*(call.described[name] for name in names))
        return call.emit(operation(*(call.tensor(name, common) for name in names)))

    return convert


def _common(left: Any, right: Any) -> str:
    return dtype_name(torch.result_type(left, right))


def _divide(call: Call) -> relax.Expr:
    """Division, rounded as `rounding_mode` says."""
    left, right = (call.tensor(name, call.dtype) for name in _operands(call))
    mode = call.arguments.get("rounding_mode")
    if mode == "floor":
        return call.emit(op.floor_divide(left, right))
    quotient = call.emit(op.divide(left, right))  # of integers, this is towards zero
    truncates = mode == "trunc" and call.result.dtype.is_floating_point
    return call.emit(op.trunc(quotient)) if truncates else quotient


def _power(call: Call) -> relax.Expr:
    exponent = call[_operands(call)[1]]
    if isinstance(exponent, (int, float)):
        x = call.tensor(_operands(call)[0], call.dtype)
        if exponent == 0.5:
            return call.emit(op.sqrt(x))
        whole = float(exponent).is_integer()
        if whole and (0 <= exponent <= 4 or not call.result.dtype.is_floating_point):
            return _whole_power(call, x, int(exponent))
    kind = call.dtype if call.result.dtype.is_floating_point else "float64"
    names = _operands(call)
    found = call.emit(op.power(*(call.tensor(name, kind) for name in names)))
    if kind == call.dtype:
        return found
    return call.emit(op.astype(op.round(found), call.dtype))


def _whole_power(call: Call, base: relax.Expr, exponent: int) -> relax.Expr:
    """A power by multiplications: exact of integers, and of floats as PyTorch computes squares."""
    if exponent < 0:
        raise Unsupported(f"integers to the power of {exponent}")
    result = None
    while exponent:
        if exponent & 1:
            result = base if result is None else call.emit(op.multiply(result, base))
        exponent >>= 1
        if exponent:
            base = call.emit(op.multiply(base, base))
    return call.emit(op.ones_like(base)) if result is None else result


def _shift(operation: Operation) -> Converter:
    def convert(call: Call) -> relax.Expr:
        if call.result.dtype.is_floating_point:
            raise Unsupported(f"a shift of {call.dtype}")
        left, right = (call.tensor(name, call.dtype) for name in _operands(call))
        return call.emit(operation(left, right))

    return convert


def _copysign(left: relax.Expr, right: relax.Expr) -> relax.Expr:
    size = op.abs(left)
    return op.where(_negative(right), op.negative(size), size)


def _hypotenuse(left: relax.Expr, right: relax.Expr) -> relax.Expr:
    return op.sqrt(op.add(op.multiply(left, left), op.multiply(right, right)))


def _negative(x: relax.Expr) -> relax.Expr:
    """Whether a sign bit is set: of -0.0, one divided by it is -inf."""
    zero = relax.const(0, str(x.ty.dtype))
    if "float" not in str(x.ty.dtype):
        return op.less(x, zero)
    below = op.less(op.divide(relax.const(1, str(x.ty.dtype)), x), zero)
    return op.logical_or(op.less(x, zero), op.logical_and(op.equal(x, zero), below))


def _unary(operation: Callable[[relax.Expr], relax.Expr]) -> Converter:
    """An operator of one operand, computed in the type of the result."""
    return lambda call: call.emit(operation(call.tensor("self", call.dtype)))


def _rounding(operation: Callable[[relax.Expr], relax.Expr]) -> Converter:
    """Rounding, which leaves integers as they are."""

    def convert(call: Call) -> relax.Expr:
        x = call.tensor("self")
        return call.emit(operation(x)) if call.result.dtype.is_floating_point else x

    return convert


def _predicate(operation: Callable[[relax.Expr], relax.Expr], of_integers: bool) -> Converter:
    """A question about each element, with the answer that all integers give."""

    def convert(call: Call) -> relax.Expr:
        if call.described["self"].dtype.is_floating_point:
            return call.emit(operation(call.tensor("self")))
        return call.emit(op.full(call.shape, relax.const(of_integers, "bool"), "bool"))

    return convert


def _clamp(call: Call) -> relax.Expr:
    """The lower bound, then the upper one, whichever is given."""
    result = call.tensor("self", call.dtype)
    for name, bounded in (("min", op.maximum), ("max", op.minimum)):
        if call.arguments.get(name) is not None:
            result = call.emit(bounded(result, call.tensor(name, call.dtype)))
    return result


def _where(call: Call) -> relax.Expr:
    condition = call.tensor("condition", "bool")
    chosen, other = call.tensor("self", call.dtype), call.tensor("other", call.dtype)
    return call.emit(op.where(condition, chosen, other))


def _bitwise_not(call: Call) -> relax.Expr:
    x = call.tensor("self")
    return call.emit(op.logical_not(x) if call.dtype == "bool" else op.bitwise_not(x))


def _to(call: Call) -> relax.Expr:
    x = call.tensor("self")
    narrow = {"uint8", "int8", "int16"}
    if call.dtype in narrow and "float" in str(x.ty.dtype):
        x = call.cast(x, "int32")  # beyond the range, PyTorch wraps
    if call.dtype == "bool":
        return call.emit(op.not_equal(x, relax.const(0, str(x.ty.dtype))))
    return call.cast(x, call.dtype)


def _like(number: float, x: relax.Expr) -> relax.Expr:
    return relax.const(number, str(x.ty.dtype))


_PLAIN = ("default",)
_BOTH = ("Tensor", "Scalar")
_EITHER = (*_BOTH, "Scalar_Tensor")
_SHIFTS = ("Tensor", "Tensor_Scalar", "Scalar_Tensor")
_BINARY: dict[str, tuple[Converter, Sequence[str]]] = {
    "add": (_binary(op.add, op.logical_or), _BOTH),
    "sub": (_binary(op.subtract), _BOTH),
    "mul": (_binary(op.multiply, op.logical_and), _BOTH),
    "div": (_divide, (*_BOTH, "Tensor_mode", "Scalar_mode")),
    "remainder": (_binary(op.floor_mod), _EITHER),
    "fmod": (_binary(op.mod), _BOTH),
    "pow": (_power, ("Scalar", "Tensor_Scalar", "Tensor_Tensor")),
    "maximum": (_binary(op.maximum), _PLAIN),
    "minimum": (_binary(op.minimum), _PLAIN),
    "atan2": (_binary(op.atan2), _PLAIN),
    "hypot": (_binary(_hypotenuse), _PLAIN),
    "copysign": (_binary(_copysign), _BOTH),
    "bitwise_and": (_binary(op.bitwise_and, op.logical_and), _EITHER),
    "bitwise_or": (_binary(op.bitwise_or, op.logical_or), _EITHER),
    "bitwise_xor": (_binary(op.bitwise_xor, op.logical_xor), _EITHER),
    "bitwise_left_shift": (_shift(op.left_shift), _SHIFTS),
    "bitwise_right_shift": (_shift(op.right_shift), _SHIFTS),
    "__lshift__": (_shift(op.left_shift), _BOTH),
    "__rshift__": (_shift(op.right_shift), _BOTH),
    "eq": (_comparison(op.equal), _BOTH),
    "ne": (_comparison(op.not_equal), _BOTH),
    "lt": (_comparison(op.less), _BOTH),
    "le": (_comparison(op.less_equal), _BOTH),
    "gt": (_comparison(op.greater), _BOTH),
    "ge": (_comparison(op.greater_equal), _BOTH),
}
"""By name: the converter, and the overloads that PyTorch's decompositions leave."""
_UNARY: dict[str, Converter] = {
    **{
        name: _unary(getattr(op, name))
        for name in (
            "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erf", "exp", "log",
            "sigmoid", "sin", "sinh", "sqrt", "rsqrt", "tan", "tanh", "abs", "sign",
        )
    },
    "erfc": _unary(lambda x: op.subtract(_like(1, x), op.erf(x))),
    "exp2": _unary(lambda x: op.exp(op.multiply(x, _like(math.log(2), x)))),
    "expm1": _unary(lambda x: op.subtract(op.exp(x), _like(1, x))),
    "log10": _unary(lambda x: op.multiply(op.log(x), _like(1 / math.log(10), x))),
    "log1p": _unary(lambda x: op.log(op.add(x, _like(1, x)))),
    "log2": _unary(lambda x: op.multiply(op.log(x), _like(1 / math.log(2), x))),
    "reciprocal": _unary(lambda x: op.divide(_like(1, x), x)),
    **{name: _rounding(getattr(op, name)) for name in ("ceil", "floor", "round", "trunc")},
    "isinf": _predicate(op.isinf, False),
    "isnan": _predicate(op.isnan, False),
    "signbit": lambda call: call.emit(_negative(call.tensor("self"))),
    "bitwise_not": _bitwise_not,
    "clamp": _clamp,
}  # fmt: skip
ARITHMETIC: dict[str, Converter] = {
    **{f"{name}.{form}": convert for name, (convert, forms) in _BINARY.items() for form in forms},
    **{f"{name}.default": convert for name, convert in _UNARY.items()},
    "clamp.Tensor": _clamp,
    "where.self": _where,
    "_to_copy.default": _to,
}
