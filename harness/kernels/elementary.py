"""Elementary functions as arithmetic that vectorises.

TVM lowers `exp`, `tanh` and `erf` to one call of the C library an element, some ten nanoseconds
each; these take a twentieth of that in vectors. They are rules of TVM's last lowering, so that no
pass, schedule or cost model sees more than the function's name. NaN stays NaN, infinities are the
values that IEEE 754 asks for, and an exponential is right over the whole range of its results, the
denormal ones included.

Sources
-------
[Cephes]  S. L. Moshier, Cephes Mathematical Library: `expf`, `exp`, `tanh`, `erf`, `erfc` (range
          reduction, polynomials and rational functions).
[Eigen]   Eigen's `generic_fast_tanh_float` (rational coefficients).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.compiler.api import tirx
from harness.compiler.patches import lower_intrinsic
from harness.kernels.arithmetic import (
    Function,
    Value,
    clipped,
    constant,
    element,
    like,
    named,
    polynomial,
)
from harness.kernels.shielded import difference

_ABOVE_TVM = 100
"""TVM's own rules have a level of 10 or 99."""


@dataclass(frozen=True)
class _Format:
    """A binary floating-point format, and where its exponential is 0 or infinity."""

    integer: str
    mantissa_bits: int
    exponent_bias: int
    low: float
    high: float
    ln2: tuple[float, float]
    """The logarithm of 2 as a sum, of which the first part has few bits [Cephes]."""


_FORMATS = {
    "float32": _Format("int32", 23, 127, -104.0, 89.0, (0.693359375, -2.12194440e-4)),
    "float64": _Format(
        "int64", 52, 1023, -746.0, 710.0, (6.93145751953125e-1, 1.42860682030941723212e-6)
    ),
}

_EXP_SINGLE = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3,
    4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
)  # fmt: skip
_EXP_ABOVE = (1.26177193074810590878e-4, 3.02994407707441961300e-2, 9.99999999999999999910e-1)
_EXP_BELOW = (
    3.00198505138664455042e-6, 2.52448340349684104192e-3,
    2.27265548208155028766e-1, 2.00000000000000000009e0,
)  # fmt: skip

# Beyond these the results are ±1, or ±1 to within a unit in the last place.
_TANH_END, _ERF_END = 9.0, 4.0
_TANH_ABOVE = (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)  # fmt: skip
_TANH_BELOW = (
    1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03,
)  # fmt: skip
# Single precision: erf(x) = x + x·p(x²) up to _ERF_NEAR_END and 1 - 2^-q(|x|) beyond, where 2^r is
# 1 + r·s(r) for |r| ≤ 1/2. The coefficients have the least largest error of erf, found by Lawson's
# iteration in double precision.
_ERF_NEAR_END = 0.925
_ERF_NEAR = (
    -5.999363433e-04, 4.995316796e-03, -2.676845803e-02, 1.128188013e-01,
    -3.761250140e-01, 1.283791510e-01,
)  # fmt: skip
_ERF_EXPONENT = (
    -2.804316545e-04, 4.368634704e-03, -3.198077562e-02, 1.497656607e-01,
    9.194574253e-01, 1.626776277e+00, 3.098979199e-04,
)  # fmt: skip
_POWER_OF_TWO = (
    1.326511703e-03, 9.671500240e-03, 5.550732313e-02, 2.402224236e-01,
    6.931469788e-01,
)  # fmt: skip

# Below these the functions are rational in x, above they are exponentials: those of double
# precision, and sinh.
_TANH_SMALL, _ERF_SMALL, _SINH_SMALL = 0.625, 1.0, 1.0
_TANH_DOUBLE_END, _ERF_DOUBLE_END = 22.0, 6.0
_TANH_DOUBLE_ABOVE = (
    -9.64399179425052238628e-1, -9.92877231001918586564e1, -1.61468768441708447952e3, 0.0,
)  # fmt: skip
_TANH_DOUBLE_BELOW = (
    1.0, 1.12811678491632931402e2, 2.23548839060100448583e3, 4.84406305325125486048e3,
)  # fmt: skip
_ERF_DOUBLE_ABOVE = (
    9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3,
    7.00332514112805075473e3, 5.55923013010394962768e4,
)  # fmt: skip
_ERF_DOUBLE_BELOW = (
    1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
    2.26290000613890934246e4, 4.92673942608635921086e4,
)  # fmt: skip
_ERFC_ABOVE = (
    2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0,
    4.86371970985681366614e1, 1.96520832956077098242e2, 5.26445194995477358631e2,
    9.34528527171957607540e2, 1.02755188689515710272e3, 5.57535335369399327526e2,
)  # fmt: skip
_ERFC_BELOW = (
    1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2,
    9.75708501743205489753e2, 1.82390916687909736289e3, 2.24633760818710981792e3,
    1.65666309194161350182e3, 5.57535340817727675546e2,
)  # fmt: skip
_SINH_ABOVE = (
    -7.89474443963537015605e-1, -1.63725857525983828727e2,
    -1.15614435765005216044e4, -3.51754964808151394800e5, 0.0,
)  # fmt: skip
_SINH_BELOW = (
    1.0, -2.77711081420602794433e2, 3.61578279834431989373e4, -2.11052978884890840399e6,
)  # fmt: skip


def exponential(value: Value) -> Value:
    """e^value, to a relative error of 2e-7 (4e-16 in double precision), infinity above the largest
    finite result, denormal and then 0 below the smallest normal one.

    That is 2^n times e^r of the rest r, where n is the whole number next to value / ln 2: adding
    a number whose last bit is a one leaves n in the last bits of the sum. 2^n itself may be beyond
    too large for a float where the product is not, so half of it is multiplied in at a time.
    """
    format = _FORMATS[element(value)]
    rounding = 1.5 * 2.0**format.mantissa_bits

    def reduced(x: Value) -> Value:
        shifted = x * constant(1 / math.log(2), x) + constant(rounding, x)
        return named("shifted", shifted, lambda shifted: of(x, shifted))

    def of(x: Value, shifted: Value) -> Value:
        n = difference(shifted, constant(rounding, x))
        bits = tirx.reinterpret(like(x, format.integer), shifted)
        exponent = tirx.shift_left(bits, constant(format.mantissa_bits, bits))
        high, low = format.ln2
        return named("n", n, lambda n: named(
            "r",
            x - n * constant(high, x) - n * constant(low, x),
            lambda r: named("exponent", exponent, lambda e: scaled(_near_one(r), e)),
        ))  # fmt: skip

    def scaled(power: Value, exponent: Value) -> Value:
        half = tirx.shift_right(exponent, constant(1, exponent))
        whole = tirx.bitwise_and(half, constant(-1 << format.mantissa_bits, exponent))
        return named("half", whole, lambda half: power * two_to(half) * two_to(exponent - half))

    def two_to(exponent: Value) -> Value:
        bias = constant(format.exponent_bias << format.mantissa_bits, exponent)
        return tirx.reinterpret(like(exponent, element(value)), exponent + bias)

    return named("x", clipped(value, format.low, format.high), reduced)


def _near_one(rest: Value) -> Value:
    """e^rest for |rest| ≤ ln(2) / 2 [Cephes]."""
    one = constant(1.0, rest)
    if element(rest) == "float32":
        return polynomial(_EXP_SINGLE, rest) * rest * rest + rest + one
    return named("square", rest * rest, lambda square: named(
        "above",
        rest * polynomial(_EXP_ABOVE, square),
        lambda above: one
        + constant(2.0, rest) * (above / (polynomial(_EXP_BELOW, square) - above)),
    ))  # fmt: skip


def _power_of_two(exponent: Value) -> Value:
    """2^exponent in single precision, for -126 ≤ exponent ≤ 126, to a relative error of 1.5e-7."""
    format = _FORMATS["float32"]
    rounding = constant(1.5 * 2.0**format.mantissa_bits, exponent)

    def of(shifted: Value) -> Value:
        bits = tirx.reinterpret(like(exponent, format.integer), shifted)
        whole = tirx.shift_left(bits, constant(format.mantissa_bits, bits))
        bias = constant(format.exponent_bias << format.mantissa_bits, bits)
        power = tirx.reinterpret(like(exponent, "float32"), whole + bias)
        # The simplifier would make `exponent` of the sum less one of its parts.
        rest = exponent - difference(shifted, rounding)
        return power * named(
            "rest", rest, lambda rest: constant(1.0, rest) + rest * polynomial(_POWER_OF_TWO, rest)
        )

    return named("shifted", exponent + rounding, of)


def hyperbolic_tangent(value: Value) -> Value:
    """tanh(value), to an absolute error of 4e-7 [Eigen], 4e-16 in double precision [Cephes]."""
    if element(value) == "float32":
        return _odd_rational(_within(value, _TANH_END), _TANH_ABOVE, _TANH_BELOW)

    def of(x: Value) -> Value:
        one, two = constant(1.0, x), constant(2.0, x)
        small = x + x * _rational(x, _TANH_DOUBLE_ABOVE, _TANH_DOUBLE_BELOW)
        large = one - two / (exponential(tirx.abs(x) * two) + one)
        return _by_size(x, _TANH_SMALL, small, large)

    return named("x", _within(value, _TANH_DOUBLE_END), of)


def error_function(value: Value) -> Value:
    """erf(value), to an absolute error of 1e-7, 4e-16 in double precision [Cephes]. 1e-7 is two
    units in the last place next to 1: a GELU has `1 + erf(x)`, of which little is left there."""

    def single(x: Value) -> Value:
        small = x + x * named("square", x * x, lambda square: polynomial(_ERF_NEAR, square))
        exponent = constant(0.0, x) - named(
            "size", _at_most(_ERF_END, tirx.abs(x)), lambda size: polynomial(_ERF_EXPONENT, size)
        )
        large = constant(1.0, x) - named("exponent", exponent, _power_of_two)
        return _by_size(x, _ERF_NEAR_END, small, large)

    if element(value) == "float32":
        return named("x", value, single)

    def of(x: Value) -> Value:
        small = x * _rational(x, _ERF_DOUBLE_ABOVE, _ERF_DOUBLE_BELOW)
        size = tirx.abs(x)
        large = named("size", size, lambda size: constant(1.0, x) - exponential(
            constant(0.0, x) - size * size
        ) * polynomial(_ERFC_ABOVE, size) / polynomial(_ERFC_BELOW, size))  # fmt: skip
        return _by_size(x, _ERF_SMALL, small, large)

    return named("x", _within(value, _ERF_DOUBLE_END), of)


def hyperbolic_sine(value: Value) -> Value:
    """sinh(value), to a relative error of 4e-7, 1e-15 in double precision [Cephes]."""

    def of(x: Value) -> Value:
        small = x + x * _rational(x, _SINH_ABOVE, _SINH_BELOW)
        return _by_size(x, _SINH_SMALL, small, _half_powers(x, tirx.Sub))

    return named("x", value, of)


def hyperbolic_cosine(value: Value) -> Value:
    """cosh(value), to a relative error of 4e-7, 1e-15 in double precision."""
    return named("x", value, lambda x: _half_powers(x, tirx.Add))


def _half_powers(x: Value, combined: Callable[[Value, Value], Value]) -> Value:
    """e^|x| / 2 combined with e^-|x| / 2; the first part is not infinite before it has to be."""
    half = constant(0.5, x)
    return named(
        "root",
        exponential(tirx.abs(x) * half),
        lambda root: combined(root * half * root, half / root / root),
    )


_FUNCTIONS: Mapping[str, Function] = {
    "tirx.exp": exponential,
    "tirx.tanh": hyperbolic_tangent,
    "tirx.erf": error_function,
    "tirx.sinh": hyperbolic_sine,
    "tirx.cosh": hyperbolic_cosine,
}


def register_functions() -> None:
    """Have every kernel that this process compiles for a CPU use these functions. Once a process:
    TVM admits one rule of a level."""
    for name, function in _FUNCTIONS.items():
        lower_intrinsic(name, _rule(function), _ABOVE_TVM)


def _rule(function: Function) -> Function:
    def lower(call: Value) -> Value:
        value = call.args[0]
        if element(value) == "float16":
            return tirx.Cast(str(value.ty), function(tirx.Cast(like(value, "float32"), value)))
        # Returning the call itself leaves it to TVM's own rules.
        return function(value) if element(value) in _FORMATS else call

    return lower


def _within(value: Value, end: float) -> Value:
    return clipped(value, -end, end)


def _at_most(end: float, value: Value) -> Value:
    """A value, limited from above; NaN stays NaN."""
    top = constant(end, value)
    return named("given", value, lambda given: tirx.Select(tirx.LT(top, given), top, given))


def _by_size(x: Value, limit: float, small: Value, large: Value) -> Value:
    """An odd function: `small` below a limit of |x|, `large`, which is of |x|, with the sign of x
    elsewhere."""
    zero = constant(0.0, x)
    signed = named("large", large, lambda y: tirx.Select(tirx.LT(x, zero), zero - y, y))
    return tirx.Select(tirx.LT(tirx.abs(x), constant(limit, x)), small, signed)


def _rational(x: Value, above: Sequence[float], below: Sequence[float]) -> Value:
    """P(x²) / Q(x²)."""
    return named("square", x * x, lambda s: polynomial(above, s) / polynomial(below, s))


def _odd_rational(value: Value, above: Sequence[float], below: Sequence[float]) -> Value:
    """x · P(x²) / Q(x²)."""
    return named("x", value, lambda x: named(
        "square", x * x, lambda s: x * polynomial(above, s) / polynomial(below, s)
    ))  # fmt: skip
