"""Elementwise operators. Operands are brought to the type that PyTorch computes in: that of the
result, or, of comparisons, the common type of the operands."""

from __future__ import annotations

import math
from collections.abc import Callable
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


def _reversed(operation: Operation) -> Converter:
    """rsub: the other minus, alpha times, the first."""

    def convert(call: Call) -> relax.Expr:
        first, other = call.tensor("self", call.dtype), call.tensor("other", call.dtype)
        if call["alpha"] != 1:
            first = call.emit(op.multiply(first, relax.const(call["alpha"], call.dtype)))
        return call.emit(operation(other, first))

    return convert


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


def _masked_fill(call: Call) -> relax.Expr:
    mask, value = call.tensor("mask", "bool"), call.tensor("value", call.dtype)
    return call.emit(op.where(mask, value, call.tensor("self")))


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


_BINARY: dict[str, Converter] = {
    "add": _binary(op.add, op.logical_or),
    "sub": _binary(op.subtract),
    "mul": _binary(op.multiply, op.logical_and),
    "div": _divide,
    "floor_divide": _binary(op.floor_divide),
    "remainder": _binary(op.floor_mod),
    "fmod": _binary(op.mod),
    "pow": _power,
    "rsub": _reversed(op.subtract),
    "maximum": _binary(op.maximum),
    "minimum": _binary(op.minimum),
    "atan2": _binary(op.atan2),
    "hypot": _binary(lambda x, y: op.sqrt(op.add(op.multiply(x, x), op.multiply(y, y)))),
    "copysign": _binary(_copysign),
    "logaddexp": _binary(op.log_add_exp),
    "bitwise_and": _binary(op.bitwise_and, op.logical_and),
    "bitwise_or": _binary(op.bitwise_or, op.logical_or),
    "bitwise_xor": _binary(op.bitwise_xor, op.logical_xor),
    "bitwise_left_shift": _shift(op.left_shift),
    "bitwise_right_shift": _shift(op.right_shift),
    "eq": _comparison(op.equal),
    "ne": _comparison(op.not_equal),
    "lt": _comparison(op.less),
    "le": _comparison(op.less_equal),
    "gt": _comparison(op.greater),
    "ge": _comparison(op.greater_equal),
}
_SPELLINGS = {
    "__and__": "bitwise_and",
    "__or__": "bitwise_or",
    "__xor__": "bitwise_xor",
    "__lshift__": "bitwise_left_shift",
    "__rshift__": "bitwise_right_shift",
}
_BINARY |= {spelling: _BINARY[name] for spelling, name in _SPELLINGS.items()}
_FORMS = (
    "default", "Tensor", "Scalar", "Tensor_mode", "Scalar_mode", "Tensor_Scalar", "Tensor_Tensor",
    "Scalar_Tensor",
)  # fmt: skip
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
    "square": _unary(lambda x: op.multiply(x, x)),
    **{name: _rounding(getattr(op, name)) for name in ("ceil", "floor", "round", "trunc")},
    "isfinite": _predicate(op.isfinite, True),
    "isinf": _predicate(op.isinf, False),
    "isnan": _predicate(op.isnan, False),
    "signbit": lambda call: call.emit(_negative(call.tensor("self"))),
    "bitwise_not": _bitwise_not,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
}  # fmt: skip
ARITHMETIC: dict[str, Converter] = {
    **{f"{name}.{form}": convert for name, convert in _BINARY.items() for form in _FORMS},
    **{f"{name}.default": convert for name, convert in _UNARY.items()},
    "clamp.Tensor": _clamp,
    "clamp_min.Tensor": _clamp,
    "clamp_max.Tensor": _clamp,
    "where.self": _where,
    "masked_fill.Scalar": _masked_fill,
    "masked_fill.Tensor": _masked_fill,
    "_to_copy.default": _to,
}
