"""Operators that compute each element of their result from one element of each operand.

One row an operator: layouts, the flow of channels, known values of channels, and fine-tuning read
it. What depends on an operator's attributes is in the modules that use them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Elementwise:
    """`numbers` computes the result of numbers, in float64; None where nobody needs it. `torch` is
    the path of the function in `torch` that computes the same of the same tensors; None where there
    is none, or where it takes attributes."""

    numbers: Callable[..., np.ndarray] | None = None
    torch: str | None = None


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """0 times a number that is not known is 0."""
    return np.where((one == 0) | (other == 0), 0.0, one * other)


_ROWS: Mapping[str, Elementwise] = {
    "abs": Elementwise(np.abs, "abs"),
    "add": Elementwise(np.add, "add"),
    "astype": Elementwise(),
    "ceil": Elementwise(),
    "clip": Elementwise(np.clip),
    "cos": Elementwise(),
    "divide": Elementwise(np.divide, "divide"),
    "equal": Elementwise(torch="eq"),
    "erf": Elementwise(torch="erf"),
    "exp": Elementwise(np.exp, "exp"),
    "floor": Elementwise(),
    "floor_divide": Elementwise(),
    "greater": Elementwise(torch="greater"),
    "greater_equal": Elementwise(torch="greater_equal"),
    "isfinite": Elementwise(),
    "isinf": Elementwise(),
    "isnan": Elementwise(torch="isnan"),
    "less": Elementwise(torch="less"),
    "less_equal": Elementwise(torch="less_equal"),
    "log": Elementwise(torch="log"),
    "logical_and": Elementwise(torch="logical_and"),
    "logical_not": Elementwise(torch="logical_not"),
    "logical_or": Elementwise(torch="logical_or"),
    "maximum": Elementwise(np.maximum, "maximum"),
    "minimum": Elementwise(np.minimum, "minimum"),
    "mod": Elementwise(),
    "multiply": Elementwise(_product, "multiply"),
    "negative": Elementwise(np.negative, "negative"),
    "nn.gelu": Elementwise(torch="nn.functional.gelu"),
    "nn.gelu_tanh": Elementwise(),
    "nn.leakyrelu": Elementwise(),
    "nn.relu": Elementwise(lambda value: np.maximum(value, 0), "relu"),
    "nn.selu": Elementwise(),
    "nn.silu": Elementwise(lambda value: value / (1 + np.exp(-value)), "nn.functional.silu"),
    "nn.softplus": Elementwise(),
    "not_equal": Elementwise(),
    "power": Elementwise(torch="pow"),
    "round": Elementwise(),
    "rsqrt": Elementwise(torch="rsqrt"),
    "sigmoid": Elementwise(lambda value: 1 / (1 + np.exp(-value)), "sigmoid"),
    "sign": Elementwise(),
    "sin": Elementwise(),
    "sqrt": Elementwise(np.sqrt, "sqrt"),
    "square": Elementwise(np.square, "square"),
    "subtract": Elementwise(np.subtract, "subtract"),
    "tanh": Elementwise(np.tanh, "tanh"),
    "trunc": Elementwise(),
    "where": Elementwise(torch="where"),
}
ELEMENTWISE: Mapping[str, Elementwise] = {f"relax.{name}": row for name, row in _ROWS.items()}
