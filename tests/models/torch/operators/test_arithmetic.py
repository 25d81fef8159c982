"""Elementwise operators of PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from torch_operators import ODD, VARIANTS, Drawn, assert_like_pytorch, refusal, thinned, torch

Functions = Mapping[str, Callable[..., Any]]

INTEGERS = [torch.int64, torch.int8, torch.uint8]
FLOATS = [torch.float32, torch.float64]

OF_FLOATS: Functions = {
    "add": lambda x, y: x + y,
    "add alpha": lambda x, y: torch.add(x, y, alpha=2.5),
    "add number": lambda x, y: x + 3,
    "sub": lambda x, y: x - y,
    "sub alpha": lambda x, y: torch.sub(x, y, alpha=-2),
    "rsub": lambda x, y: 2 - x,
    "mul": lambda x, y: x * y,
    "mul number": lambda x, y: 0.3 * x,
    "div": lambda x, y: x / y,
    "div number": lambda x, y: x / 3,
    "div floor": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "div trunc": lambda x, y: torch.div(x, y, rounding_mode="trunc"),
    "div floor number": lambda x, y: torch.div(x, 0.7, rounding_mode="floor"),
    "div trunc number": lambda x, y: torch.div(x, 0.7, rounding_mode="trunc"),
    "floor_divide": lambda x, y: x // y,
    "remainder": lambda x, y: torch.remainder(x, y),
    "remainder number": lambda x, y: torch.remainder(x, -0.7),
    "remainder of a number": lambda x, y: torch.remainder(5.3, y),
    "fmod": lambda x, y: torch.fmod(x, y),
    "fmod number": lambda x, y: torch.fmod(x, 0.7),
    "maximum": lambda x, y: torch.maximum(x, y),
    "minimum": lambda x, y: torch.minimum(x, y),
    "copysign": lambda x, y: torch.copysign(x, y),
    "copysign number": lambda x, y: torch.copysign(x, -0.0),
    "atan2": lambda x, y: torch.atan2(x, y),
    "hypot": lambda x, y: torch.hypot(x, y),
    "logaddexp": lambda x, y: torch.logaddexp(x, y),
    "logaddexp2": lambda x, y: torch.logaddexp2(x, y),
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
    "numbers": lambda x, y: [x == 1, x != 1, x < 1, x <= 1, x > 1, x >= 1],
    "where": lambda x, y: torch.where(x > y, x, y),
    "where number": lambda x, y: torch.where(x > y, x, 2.0),
    "clamp": lambda x, y: torch.clamp(x, -0.5, 0.75),
    "clamp_min": lambda x, y: x.clamp_min(0.25),
    "clamp_max": lambda x, y: x.clamp_max(0.25),
    "clamp crossed": lambda x, y: torch.clamp(x, 1.0, -1.0),
    "clamp tensors": lambda x, y: torch.clamp(x, y, y + 1),
    "clamp_max tensor": lambda x, y: torch.clamp(x, max=y),
    "masked_fill": lambda x, y: x.masked_fill(y > 0, 3.0),
    "lerp": lambda x, y: torch.lerp(x, y, 0.3),
    "addcmul": lambda x, y: torch.addcmul(x, x, y, value=0.5),
    "nan_to_num": lambda x, y: torch.nan_to_num(x, 1.0, 2.0, -2.0),
    "fmax": lambda x, y: [torch.fmax(x, y), torch.fmin(x, y)],
    "xlogy": lambda x, y: torch.xlogy(x, y),
    "heaviside": lambda x, y: torch.heaviside(x, y),
    "isclose": lambda x, y: torch.isclose(x, y),
    "logical": lambda x, y: [
        torch.logical_and(x, y),
        torch.logical_or(x, y),
        torch.logical_xor(x, y),
        torch.logical_not(x),
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "level", "step"), VARIANTS)
def test_operators_of_two_floats(tmp_path: Path, dtype: Any, level: str, step: int) -> None:
    drawn = Drawn(f"two floats {dtype}")
    x, y = drawn.floats(3, 1, 7, dtype=dtype), drawn.floats(4, 7, dtype=dtype)
    assert_like_pytorch(thinned(OF_FLOATS, step), [x, y], tmp_path, levels=[level])


@pytest.mark.slow
def test_operators_of_two_floats_that_are_special(tmp_path: Path) -> None:
    odd = torch.tensor(ODD)
    assert_like_pytorch(OF_FLOATS, [odd[:, None].clone(), odd], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_arithmetic_of_narrow_floats_is_rounded_once(tmp_path: Path, dtype: Any) -> None:
    """Each operator computes in single precision, numbers too, and rounds its result."""
    # PyTorch's own `add` with `alpha` rounds the last elements twice.
    names = (
        *("add", "add number", "sub", "rsub", "mul", "mul number", "div", "div number"),
        *("maximum", "where number", "clamp", "lerp", "addcmul"),
    )
    functions = {name: _narrow(OF_FLOATS[name], dtype) for name in names}
    functions["a chain"] = _narrow(lambda x, y: (x * 1.1 + y) * 0.3 - x / y, dtype)
    functions["SiLU"] = _narrow(lambda x, y: torch.nn.functional.silu(x).floor(), dtype)
    drawn = Drawn(f"narrow {dtype}")
    x, y = drawn.floats(3, 1, 7), drawn.floats(4, 7)
    assert_like_pytorch(functions, [x, y], tmp_path, levels=["none", "full"])


def _narrow(function: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    return lambda x, y: function(x.to(dtype), y.to(dtype)).float()


OF_INTEGERS: Functions = {
    name: OF_FLOATS[name]
    for name in (
        "add", "add number", "sub", "mul", "div", "div number", "div floor",
        "div trunc", "floor_divide", "remainder", "fmod", "maximum", "minimum", "eq", "ne", "lt",
        "le", "gt", "ge", "numbers", "where", "where number", "masked_fill", "mul number", "atan2",
        "logical",
    )
} | {
    "bitwise": lambda x, y: [x & y, x | y, x ^ y, ~x],
    "bitwise numbers": lambda x, y: [x & 6, x | 6, x ^ 6, 6 & x, 6 | x, 6 ^ x],
    "div number": lambda x, y: torch.div(x, 3, rounding_mode="floor"),
    "div trunc number": lambda x, y: torch.div(x, 3, rounding_mode="trunc"),
    "remainder number": lambda x, y: torch.remainder(x, 3),
    "fmod number": lambda x, y: torch.fmod(x, 3),
    "compared with a fraction": lambda x, y: [x < 1.5, x == 1.5, x >= 1.5],
    "clamp": lambda x, y: torch.clamp(x, 1, 4),
    "clamp tensor": lambda x, y: torch.clamp(x, max=y),
    "abs": lambda x, y: [torch.abs(x), torch.sign(x)],
    "signbit": lambda x, y: torch.signbit(x),
    "predicates": lambda x, y: [torch.isnan(x), torch.isinf(x), torch.isfinite(x)],
    "rounded": lambda x, y: [torch.floor(x), torch.ceil(x), torch.round(x), torch.trunc(x)],
    "functions": lambda x, y: [torch.sqrt(torch.abs(x)), torch.sin(x), torch.sigmoid(x)],
    "powers": lambda x, y: [x**0, x**1, x**2, x**5, x.abs() ** 0.5, torch.pow(2.5, y)],
    "power of a number": lambda x, y: torch.pow(2, y),
    "power": lambda x, y: torch.pow(x, y),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_operators_of_two_integers(tmp_path: Path, dtype: Any) -> None:
    drawn = Drawn(f"two integers {dtype}")
    x = drawn.whole(0 if dtype == torch.uint8 else -9, 10, 3, 1, 7, dtype=dtype)
    y = drawn.whole(1, 5, 4, 7, dtype=dtype)
    functions = {name: function for name, function in OF_INTEGERS.items() if name != "power"}
    if dtype != torch.uint8:  # to which PyTorch converts no number below zero
        functions |= {"scaled": lambda x, y: torch.sub(x, y, alpha=-2)}
    if dtype == torch.int64:
        functions["power"] = OF_INTEGERS["power"]
    else:
        functions = thinned(functions, 3)
    assert_like_pytorch(functions, [x, y], tmp_path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int8], ids=str)
def test_quotients_of_negative_integers(tmp_path: Path, dtype: Any) -> None:
    values = torch.tensor([-7, -6, -5, -3, -2, -1, 1, 2, 3, 5, 6, 7], dtype=dtype)
    functions = {
        name: OF_INTEGERS[name]
        for name in ("div", "div floor", "div trunc", "remainder", "fmod", "floor_divide")
    }
    assert_like_pytorch(functions, [values[:, None].clone(), values], tmp_path)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8], ids=str)
def test_shifts(tmp_path: Path, dtype: Any) -> None:
    drawn = Drawn(f"shifts {dtype}")
    x = drawn.whole(0 if dtype == torch.uint8 else -100, 100, 5, 6, dtype=dtype)
    y = drawn.whole(0, 7, 6, dtype=dtype)
    functions: Functions = {
        "tensors": lambda x, y: [x << y, x >> y],
        "numbers": lambda x, y: [x << 2, x >> 2],
        "named": lambda x, y: [torch.bitwise_left_shift(x, y), torch.bitwise_right_shift(x, y)],
        "opposite": lambda x, y: -x,
        "named numbers": lambda x, y: [
            torch.bitwise_left_shift(x, 1),
            torch.bitwise_right_shift(x, 1),
        ],
        "a number": lambda x, y: [
            torch.bitwise_left_shift(5, y),
            torch.bitwise_right_shift(90, y),
        ],
    }
    assert_like_pytorch(functions, [x, y], tmp_path)


@pytest.mark.slow
def test_truth_values(tmp_path: Path) -> None:
    drawn = Drawn("truths")
    functions: Functions = {
        "bitwise": lambda x, y: [x & y, x | y, x ^ y, ~x],
        "arithmetic": lambda x, y: [x + y, x * y, x * 2, x + 0.5],
        "compared": lambda x, y: [x == y, x != y, x < y, x <= y, x > y, x >= y, x == 1],
        "logical": lambda x, y: [
            torch.logical_and(x, y),
            torch.logical_or(x, y),
            torch.logical_xor(x, y),
            torch.logical_not(x),
        ],
        "where": lambda x, y: [torch.where(x, y, ~y), torch.where(x, 1, 2), torch.where(x, 1.5, 2)],
        "extrema": lambda x, y: [torch.maximum(x, y), torch.minimum(x, y)],
        "cast": lambda x, y: [x.float(), x.long(), x.to(torch.int8)],
        "divided": lambda x, y: x / 2,
    }
    assert_like_pytorch(functions, [drawn.truths(3, 1, 5), drawn.truths(4, 5)], tmp_path)


MIXED: Functions = {
    "sum": lambda f, d, i, j, b: [f + i, i + f, f + d, i + j, i + b, b + f, f * b, i * 1.5],
    "compared": lambda f, d, i, j, b: [f < i, i == f, i > d, j <= i, b == i, f > b],
    "quotients": lambda f, d, i, j, b: [f / i.abs().add(1), i / 3, j / 4, i // 2.5, i % 2.5],
    "chosen": lambda f, d, i, j, b: [
        torch.where(b, f, i),
        torch.where(b, j, i),
        torch.where(i > 0, d, 1),
        torch.maximum(f, i),
        torch.clamp(i, min=0.5),
        torch.clamp(j, max=i),
    ],
    "powers": lambda f, d, i, j, b: [f.abs() ** i, i**2.0, 2.0**i, 2**f, f.abs() ** 0.5],
    "accumulated": lambda f, d, i, j, b: torch.addcdiv(f, f, d.float() + 9, value=2),
}


@pytest.mark.slow
def test_operands_of_different_types(tmp_path: Path) -> None:
    drawn = Drawn("mixed")
    given = [
        drawn.floats(4, 5),
        drawn.floats(4, 5, dtype=torch.float64),
        drawn.whole(-4, 5, 4, 5),
        drawn.whole(-4, 5, 5, dtype=torch.int32),
        drawn.truths(4, 1),
    ]
    assert_like_pytorch(MIXED, given, tmp_path)


OF_ONE: Functions = {
    name: getattr(torch, name)
    for name in (
        "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "erf",
        "erfc", "exp", "exp2", "expm1", "floor", "frac", "isfinite", "isinf", "isnan", "isneginf",
        "isposinf", "log", "log10", "log1p", "log2", "neg", "reciprocal", "round", "rsqrt",
        "sigmoid", "sign", "signbit", "sin", "sinc", "sinh", "sqrt", "square", "tan", "tanh",
        "trunc", "rad2deg", "deg2rad", "logit", "sgn", "positive", "logical_not",
    )
} | {"round decimals": lambda x: torch.round(x, decimals=1)}  # fmt: skip


DOMAINS = {"acosh": (1, 4), "log": (0.1, 4), "log10": (0.1, 4), "log2": (0.1, 4), "rsqrt": (0.1, 4),
           "sqrt": (0, 4), "logit": (0.01, 0.99)}  # fmt: skip
WIDE = (
    "asinh", "atan", "ceil", "erf", "exp", "expm1", "floor", "frac", "round", "sigmoid", "sin",
    "sinh", "tanh", "trunc",
)  # fmt: skip
NARROW = ("asinh", "atanh", "expm1", "log1p", "sinh", "tanh", "tan")


def within(function: Callable[..., Any], low: float, high: float) -> Callable[..., Any]:
    """A function of an input in [0, 1), brought to where it is defined."""
    return lambda x: function(low + (high - low) * x)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "level", "step"), VARIANTS)
def test_functions_of_a_float(tmp_path: Path, dtype: Any, level: str, step: int) -> None:
    x = Drawn(f"one float {dtype}").between(0, 1, 5, 7, dtype=dtype)
    functions = {
        name: within(function, *DOMAINS.get(name, (-0.99, 0.99)))
        for name, function in OF_ONE.items()
    }
    functions |= {f"{name} far": within(OF_ONE[name], -7, 7) for name in WIDE}
    functions |= {f"{name} near": within(OF_ONE[name], -1e-3, 1e-3) for name in NARROW}
    assert_like_pytorch(thinned(functions, step), [x], tmp_path, levels=[level])


@pytest.mark.slow
def test_functions_of_a_float_that_is_special(tmp_path: Path) -> None:
    odd = [*ODD, 90.0, -90.0, 1e-30, 1e30, 0.5, 1.5, -0.5, -1.5, -2.5]
    functions = {name: function for name, function in OF_ONE.items() if name not in {"sin", "cos"}}
    assert_like_pytorch(functions, [torch.tensor(odd)], tmp_path, relative=True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_powers(tmp_path: Path, dtype: Any) -> None:
    drawn = Drawn(f"powers {dtype}")
    positive = drawn.between(0.1, 3, 4, 5, dtype=dtype)
    functions: Functions = {
        f"to the {exponent}": lambda x, y, exponent=exponent: torch.pow(x, exponent)
        for exponent in (0, 1, 2, 3, 4, 5, -1, -2, 0.5, -0.5, 1.5, 0.25, 10)
    } | {
        "number": lambda x, y: [torch.pow(2, y), torch.pow(0.5, y), torch.pow(2.5, y)],
        "tensors": lambda x, y: torch.pow(x, y),
        "negative base": lambda x, y: [torch.pow(-x, 3), torch.pow(-x, 2.0), torch.pow(-x, -3)],
        "odd bases": lambda x, y: torch.pow(-x, torch.round(y)),
    }
    assert_like_pytorch(functions, [positive, drawn.floats(4, 5, dtype=dtype)], tmp_path)


@pytest.mark.slow
def test_conversions(tmp_path: Path) -> None:
    drawn = Drawn("conversions")
    types = [torch.float32, torch.float64, torch.int64, torch.int32, torch.int8, torch.int16,
             torch.bool]  # fmt: skip
    functions: Functions = {
        str(dtype): lambda f, d, i, dtype=dtype: [f.to(dtype), d.to(dtype), i.to(dtype)]
        for dtype in types
    }
    functions |= {"uint8": lambda f, d, i: [f.abs().to(torch.uint8), i.to(torch.uint8)]}
    functions |= {"half": lambda f, d, i: f.half().float()}
    given = [drawn.floats(4, 9) * 40, drawn.floats(9, dtype=torch.float64) * 9]
    assert_like_pytorch(functions, [*given, drawn.whole(-300, 300, 30)], tmp_path)


def test_numbers_of_no_axis(tmp_path: Path) -> None:
    functions: Functions = {
        "sum": lambda x, y, i: [x + y, x * i, i + 1, i / 2],
        "function": lambda x, y, i: [torch.exp(x), torch.clamp(x, 0, 1), torch.where(x > 0, x, y)],
        "compared": lambda x, y, i: [x < y, i == 3, x.long(), i.bool()],
    }
    assert_like_pytorch(
        functions, [torch.tensor(0.3), torch.tensor([-1.0, 2]), torch.tensor(3)], tmp_path
    )


def test_a_negative_power_of_integers_is_refused(tmp_path: Path) -> None:
    text = refusal({"power": lambda x: x**-1}, [torch.ones(3, dtype=torch.int64)], tmp_path)
    assert text.endswith("is not supported in this form: integers to the power of -1")
