"""Elementary functions of single precision as arithmetic that vectorises.

TVM lowers `exp`, `tanh` and `erf` to one call of the C library an element, some ten nanoseconds
each; these take a twentieth of that in vectors. They are rules of TVM's last lowering, so that
no pass, schedule or cost model sees more than the function's name. A NaN does not come through:
it becomes the value at an end of the clipped range.

Sources
-------
[Cephes]  S. L. Moshier, Cephes Mathematical Library, `expf` (range reduction and polynomial).
[Eigen]   Eigen's `generic_fast_tanh_float` and `generic_fast_erf_float` (rational coefficients).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from harness.tvm_api import tirx

Value = Any  # an expression of TIR
Function = Callable[[Value], Value]

_DTYPE = "float32"
_ABOVE_TVM = 100
"""TVM's own rules have a level of 10 or 99."""
# Beyond these the result is 0, infinity, ±1 or ±1 to within a unit in the last place.
_EXP_LOW, _EXP_HIGH = -87.33, 88.37
_TANH_END, _ERF_END = 9.0, 4.0
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_EXPONENT_BIAS, _MANTISSA_BITS = 127, 23
_EXP = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
    4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
)  # fmt: skip
_TANH_ABOVE = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_BELOW = (
    1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03,
)  # fmt: skip
_ERF_ABOVE = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
    -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_BELOW = (
    -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03,
    -7.37332916720468e-03, -1.42647390514189e-02,
)  # fmt: skip


def exponential(value: Value) -> Value:
    """e^value, to a relative error of 2e-7: 2^n times a polynomial of what is left [Cephes]."""

    def reduced(x: Value) -> Value:
        return _named("n", tirx.floor(x * (1 / math.log(2)) + 0.5), lambda n: scaled(n, x))

    def scaled(n: Value, x: Value) -> Value:
        integer = _like(n, "int32")
        bits = tirx.shift_left(
            tirx.Cast(integer, n) + _EXPONENT_BIAS, _constant(_MANTISSA_BITS, integer)
        )
        rest = x - n * _LN2_HIGH - n * _LN2_LOW
        power = tirx.reinterpret(_like(n, _DTYPE), bits)
        return power * _named("r", rest, lambda r: _polynomial(_EXP, r) * r * r + r + 1.0)

    return _named("x", _clipped(value, _EXP_LOW, _EXP_HIGH), reduced)


def hyperbolic_tangent(value: Value) -> Value:
    """tanh(value), to an absolute error of 4e-7: a rational function [Eigen]."""
    return _odd_rational(_clipped(value, -_TANH_END, _TANH_END), _TANH_ABOVE, _TANH_BELOW)


def error_function(value: Value) -> Value:
    """erf(value), to an absolute error of 5e-7: a rational function [Eigen]."""
    return _odd_rational(_clipped(value, -_ERF_END, _ERF_END), _ERF_ABOVE, _ERF_BELOW)


@cache  # TVM admits one rule of a level
def use_vector_arithmetic() -> None:
    """Have every kernel that this process compiles for a CPU use these functions."""
    for name, function in (
        ("tirx.exp", exponential),
        ("tirx.tanh", hyperbolic_tangent),
        ("tirx.erf", error_function),
    ):
        tirx.register_intrin_lowering(name, "llvm", f=_rule(function), level=_ABOVE_TVM)


def _rule(function: Function) -> Function:
    def lower(call: Value) -> Value:
        value = call.args[0]
        # Returning the call itself leaves it to TVM's own rules.
        return function(value) if _element(value) == _DTYPE else call

    return lower


def _odd_rational(value: Value, above: Sequence[float], below: Sequence[float]) -> Value:
    """x · P(x²) / Q(x²)."""

    def of(x: Value) -> Value:
        return _named(
            "square",
            x * x,
            lambda square: x * _polynomial(above, square) / _polynomial(below, square),
        )

    return _named("x", value, of)


def _polynomial(coefficients: Sequence[float], at: Value) -> Value:
    """Horner's scheme; the highest power's coefficient first."""
    result = _constant(coefficients[0], _like(at, _DTYPE))
    for coefficient in coefficients[1:]:
        result = result * at + coefficient
    return result


def _clipped(value: Value, low: float, high: float) -> Value:
    dtype = _like(value, _DTYPE)
    return tirx.max(tirx.min(value, _constant(high, dtype)), _constant(low, dtype))


def _named(name: str, value: Value, body: Function) -> Value:
    """`body` of a value that is computed once: without a name its text would be repeated."""
    variable = tirx.Var(name, _like(value, _DTYPE))
    return tirx.Let(variable, value, body(variable))


def _element(value: Value) -> str:
    """The dtype of a value, or of each lane of a vector."""
    return str(value.ty).partition("x")[0]


def _like(value: Value, element: str) -> str:
    """The dtype of a vector of `element` with as many lanes as a value has."""
    _, lanes, count = str(value.ty).partition("x")
    return f"{element}{lanes}{count}"


def _constant(value: float, dtype: str) -> Value:
    return tirx.const(value, dtype)
