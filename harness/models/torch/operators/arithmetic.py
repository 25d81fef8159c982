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
        common = "int8" if common == "bool" else common  # LLVM has no order of truth values
        return call.emit(operation(*(call.tensor(name, common) for name in names)))

    return convert


def _unequal(left: relax.Expr, right: relax.Expr) -> relax.Expr:
    """TVM's own comparison says that NaN equals everything."""
    return op.logical_not(op.equal(left, right))


def _common(left: Any, right: Any) -> str:
    return dtype_name(torch.result_type(left, right))


_product = _binary(op.multiply, op.logical_and)


def _multiply(call: Call) -> relax.Expr:
    """A product; TVM's simplifier takes zero times anything for zero."""
    other = call["other"]
    if isinstance(other, (int, float)) and other == 0 and call.result.dtype.is_floating_point:
        x = call.tensor("self", call.dtype)
        zero = call.emit(op.full(call.shape, relax.const(0, call.dtype), call.dtype))
        missing = relax.const(math.nan, call.dtype)
        return call.emit(op.where(op.isfinite(x), zero, missing))
    return _product(call)


def _divide(call: Call) -> relax.Expr:
    """Division, rounded as `rounding_mode` says."""
    left, right = (call.tensor(name, call.dtype) for name in _operands(call))
    mode = call.arguments.get("rounding_mode")
    if mode == "floor":
        return call.emit(_floor_quotient(left, right))
    quotient = call.emit(op.divide(left, right))  # of integers, this is towards zero
    truncates = mode == "trunc" and call.result.dtype.is_floating_point
    return call.emit(op.trunc(quotient)) if truncates else quotient


def _floor_quotient(left: relax.Expr, right: relax.Expr) -> relax.Expr:
    """⌊left / right⌋ of the exact quotient: of floats by what is left of the division."""
    if "float" not in str(left.ty.dtype):
        return op.floor_divide(left, right)
    rest = op.mod(left, right)
    quotient = op.divide(op.subtract(left, rest), right)
    quotient = op.where(_against(rest, right), op.subtract(quotient, _like(1, left)), quotient)
    whole = op.floor(op.add(quotient, _like(0.5, left)))  # it is one but for rounding
    zero = op.equal(right, _like(0, left))
    return op.where(zero, op.divide(left, right), whole)


def _remainder(left: relax.Expr, right: relax.Expr) -> relax.Expr:
    """What is left of a division, with the sign of the divisor."""
    if "float" not in str(left.ty.dtype):
        return op.floor_mod(left, right)
    rest = op.mod(left, right)
    return op.where(_against(rest, right), op.add(rest, right), rest)


def _against(rest: relax.Expr, right: relax.Expr) -> relax.Expr:
    """Whether a remainder has another sign than the divisor."""
    zero = _like(0, right)
    low, high = op.less(rest, zero), op.greater(rest, zero)
    return op.logical_or(
        op.logical_and(low, op.greater(right, zero)), op.logical_and(high, op.less(right, zero))
    )


def _power(call: Call) -> relax.Expr:
    exponent = call[_operands(call)[1]]
    if isinstance(exponent, (int, float)):
        x = call.tensor(_operands(call)[0], call.dtype)
        if exponent == 0.5:
            return call.emit(op.sqrt(x))
        whole = float(exponent).is_integer()
        if whole and (0 <= exponent <= 4 or not call.result.dtype.is_floating_point):
            return _whole_power(call, x, int(exponent))
    if call.result.dtype.is_floating_point:
        return call.emit(op.power(*(call.tensor(name, call.dtype) for name in _operands(call))))
    return _integer_power(call)


def _integer_power(call: Call) -> relax.Expr:
    """A power of integers by integers that are not known, exact up to 2^53. Below one, PyTorch
    cuts it to zero, that of zero too."""
    found = op.power(*(call.tensor(name, "float64") for name in _operands(call)))
    found = call.emit(op.trunc(found))
    found = op.where(op.isinf(found), relax.const(0, "float64"), found)
    return call.cast(call.cast(call.emit(found), "int64"), call.dtype)  # a narrow type wraps


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


def hypotenuse(left: relax.Expr, right: relax.Expr) -> relax.Expr:
    """√(left² + right²), without squares that overflow; infinite where one is, beside NaN too."""
    one, zero, infinity = _like(1, left), _like(0, left), _like(math.inf, left)
    left, right = op.abs(left), op.abs(right)
    large, small = op.maximum(left, right), op.minimum(left, right)
    slope = op.where(op.greater(large, zero), op.divide(small, large), zero)
    size = op.multiply(large, op.sqrt(op.add(one, op.multiply(slope, slope))))
    infinite = op.logical_or(op.isinf(left), op.isinf(right))
    return op.where(infinite, infinity, size)


def _negative(x: relax.Expr) -> relax.Expr:
    """Whether a sign bit is set: of -0.0, one divided by it is -inf."""
    zero = relax.const(0, str(x.ty.dtype))
    if "float" not in str(x.ty.dtype):
        return op.less(x, zero)
    below = op.less(op.divide(relax.const(1, str(x.ty.dtype)), x), zero)
    return op.logical_or(op.less(x, zero), op.logical_and(op.equal(x, zero), below))


def _like(number: float, x: relax.Expr) -> relax.Expr:
    """A number of the type of a tensor, which is a variable."""
    return relax.const(number, str(x.ty.dtype))


def _unary(operation: Callable[[relax.Expr], relax.Expr]) -> Converter:
    """An operator of one operand, computed in the type of the result."""
    return lambda call: call.emit(operation(call.tensor("self", call.dtype)))


def _opposite(call: Call) -> relax.Expr:
    """TVM has none of numbers without a sign."""
    x = call.tensor("self")
    return call.emit(op.subtract(_like(0, x), x) if call.dtype == "uint8" else op.negative(x))


def _sign(call: Call) -> relax.Expr:
    """-1, 0 or 1; of NaN, 0."""
    x = call.tensor("self")
    if call.dtype == "uint8":
        return call.emit(op.minimum(x, _like(1, x)))
    if not call.result.dtype.is_floating_point:
        return call.emit(op.sign(x))
    return call.emit(op.where(op.isnan(x), relax.const(0, call.dtype), op.sign(x)))


def _in_double(operation: Callable[[relax.Expr], relax.Expr]) -> Converter:
    """A function whose formula loses digits, computed with twice as many."""

    def convert(call: Call) -> relax.Expr:
        found = call.emit(operation(call.tensor("self", "float64")))
        return call.cast(found, call.dtype)

    return convert


def _logarithm_beside_one(x: relax.Expr) -> relax.Expr:
    """log(1 + x), in double precision: by its first terms where 1 + x has lost digits of x."""
    terms = op.multiply(x, op.subtract(_like(1, x), op.multiply(x, _like(0.5, x))))
    return op.where(op.less(op.abs(x), _like(1e-5, x)), terms, op.log(op.add(x, _like(1, x))))


def _area_tangent(x: relax.Expr) -> relax.Expr:
    """atanh: half the logarithm of (1 + x) / (1 - x); its first terms where that loses digits."""
    one = _like(1, x)
    logarithm = op.log(op.divide(op.add(one, x), op.subtract(one, x)))
    third = op.multiply(op.multiply(x, x), _like(1 / 3, x))
    terms = op.multiply(x, op.add(one, third))
    return op.where(
        op.less(op.abs(x), _like(1e-4, x)), terms, op.multiply(logarithm, _like(0.5, x))
    )


def _exponential_less_one(x: relax.Expr) -> relax.Expr:
    """e^x - 1 = 2 · e^(x/2) · sinh(x/2), whose factors keep the digits of a small x."""
    half = op.multiply(op.maximum(x, _like(-80, x)), _like(0.5, x))
    return op.multiply(op.multiply(op.exp(half), op.sinh(half)), _like(2, x))


def _one_that_is_a_number(extremum: Operation) -> Operation:
    """An extremum of two of which one may be NaN."""

    def of(left: relax.Expr, right: relax.Expr) -> relax.Expr:
        if "float" not in str(left.ty.dtype):
            return extremum(left, right)
        both = op.where(op.isnan(right), left, extremum(left, right))
        return op.where(op.isnan(left), right, both)

    return of


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


_PLAIN = ("default",)
_BOTH = ("Tensor", "Scalar")
_EITHER = (*_BOTH, "Scalar_Tensor")
_SHIFTS = ("Tensor", "Tensor_Scalar", "Scalar_Tensor")
_BINARY: dict[str, tuple[Converter, Sequence[str]]] = {
    "add": (_binary(op.add, op.logical_or), _BOTH),
    "sub": (_binary(op.subtract), _BOTH),
    "mul": (_multiply, _BOTH),
    "div": (_divide, (*_BOTH, "Tensor_mode", "Scalar_mode")),
    "remainder": (_binary(_remainder), _EITHER),
    "fmod": (_binary(op.mod), _BOTH),
    "pow": (_power, ("Scalar", "Tensor_Scalar", "Tensor_Tensor")),
    "maximum": (_binary(op.maximum, op.logical_or), _PLAIN),
    "minimum": (_binary(op.minimum, op.logical_and), _PLAIN),
    "fmax": (_binary(_one_that_is_a_number(op.maximum)), _PLAIN),
    "fmin": (_binary(_one_that_is_a_number(op.minimum)), _PLAIN),
    "atan2": (_binary(op.atan2), _PLAIN),
    "hypot": (_binary(hypotenuse), _PLAIN),
    "copysign": (_binary(_copysign), _BOTH),
    "bitwise_and": (_binary(op.bitwise_and, op.logical_and), _EITHER),
    "bitwise_or": (_binary(op.bitwise_or, op.logical_or), _EITHER),
    "bitwise_xor": (_binary(op.bitwise_xor, op.logical_xor), _EITHER),
    "bitwise_left_shift": (_shift(op.left_shift), _SHIFTS),
    "bitwise_right_shift": (_shift(op.right_shift), _SHIFTS),
    "__lshift__": (_shift(op.left_shift), _BOTH),
    "__rshift__": (_shift(op.right_shift), _BOTH),
    "eq": (_comparison(op.equal), _BOTH),
    "ne": (_comparison(_unequal), _BOTH),
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
            "acos", "acosh", "asin", "asinh", "atan", "cos", "cosh", "erf", "exp", "log", "sigmoid",
            "sin", "sinh", "sqrt", "rsqrt", "tan", "tanh", "abs",
        )
    },
    "atanh": _in_double(_area_tangent),
    "erfc": _in_double(lambda x: op.subtract(_like(1, x), op.erf(x))),
    "exp2": _unary(lambda x: op.power(_like(2, x), x)),
    "expm1": _unary(_exponential_less_one),
    "log10": _unary(lambda x: op.multiply(op.log(x), _like(1 / math.log(10), x))),
    "log1p": _in_double(_logarithm_beside_one),
    "log2": _unary(lambda x: op.multiply(op.log(x), _like(1 / math.log(2), x))),
    "reciprocal": _unary(lambda x: op.divide(_like(1, x), x)),
    **{name: _rounding(getattr(op, name)) for name in ("ceil", "floor", "round", "trunc")},
    "isinf": _predicate(op.isinf, False),
    "isnan": _predicate(op.isnan, False),
    "neg": _opposite,
    "sign": _sign,
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
