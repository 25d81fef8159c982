"""Evaluates canonical networks with NumPy: in milliseconds, where compiling one takes a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm


def evaluate(module: tvm.IRModule, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of a network; every value is checked to have the shape that its type says."""
    function = module["main"]
    values: dict[relax.Var, Any] = dict(zip(function.params, inputs, strict=True))

    def value(expr: relax.Expr) -> Any:
        if isinstance(expr, relax.Var):
            return values[expr]
        if isinstance(expr, relax.Tuple):
            return [value(field) for field in expr.fields]
        if isinstance(expr, relax.TupleGetItem):
            return value(expr.tuple_value)[expr.index]
        return constant_array(expr) if constant_array(expr) is not None else expr

    for block in function.body.blocks:
        for binding in block.bindings:
            found = binding.value
            if isinstance(found, relax.Call):
                arguments = [value(argument) for argument in found.args]
                result = _OPERATORS[operator_name(found).removeprefix("relax.")](found, *arguments)
                if not isinstance(result, list):
                    assert result.shape == shape_of(binding.var), binding
                values[binding.var] = result
            else:
                values[binding.var] = value(found)
    outputs = value(function.body.body)
    return outputs if isinstance(outputs, list) else [outputs]


def _windows(attributes: Any, data: np.ndarray, taps: tuple[int, ...], fill: float) -> np.ndarray:
    """`[batch, channels, height, width, *taps]`."""
    top, left, bottom, right = (int(value) for value in attributes.padding)
    around = [(0, 0), (0, 0), (top, bottom), (left, right)]
    data = np.pad(data, around, constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(data, taps, axis=(2, 3))
    down, across = (int(value) for value in attributes.strides)
    return found[:, :, ::down, ::across]


def _convolution(call: relax.Call, data: np.ndarray, weights: np.ndarray) -> np.ndarray:
    groups = int(call.attrs.groups)
    windows = _windows(call.attrs, data, weights.shape[2:], 0)
    batch, _, height, width = windows.shape[:4]
    windows = windows.reshape(batch, groups, -1, height, width, *weights.shape[2:])
    filters = weights.reshape(groups, -1, *weights.shape[1:])
    found = np.einsum("ngchwij,gocij->ngohw", windows, filters, optimize=True)
    return found.reshape(batch, -1, height, width)


def _pooled(call: relax.Call, data: np.ndarray) -> np.ndarray:
    taps = tuple(int(value) for value in call.attrs.pool_size)
    return _windows(call.attrs, data, taps, -np.inf).max(axis=(-2, -1))


def _reduced(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def reduce(call: relax.Call, data: np.ndarray) -> np.ndarray:
        axes = tuple(int(axis) for axis in call.attrs.axis)
        return function(data, axis=axes, keepdims=bool(call.attrs.keepdims))

    return reduce


def _sliced(call: relax.Call, data: np.ndarray, *_: Any) -> np.ndarray:
    where = [slice(None)] * data.ndim
    for axis, begin, end in zip(*call.args[1:4], strict=True):
        where[int(axis)] = slice(int(begin), int(end))
    return data[tuple(where)]


def _split(call: relax.Call, data: np.ndarray) -> list[np.ndarray]:
    where = call.attrs.indices_or_sections
    try:
        sections: Any = [int(at) for at in where]
    except TypeError:
        sections = int(where)
    return np.split(data, sections, axis=int(call.attrs.axis))


def _reshaped(call: relax.Call, data: np.ndarray, *_: Any) -> np.ndarray:
    return data.reshape(shape_of(call))


def _plain(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    return lambda call, *arguments: np.asarray(function(*arguments))


_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": _plain(np.add),
    "clip": _plain(lambda data, low, high: np.clip(data, low.value, high.value)),
    "concat": lambda call, parts: np.concatenate(parts, axis=int(call.attrs.axis)),
    "divide": _plain(np.divide),
    "matmul": _plain(np.matmul),
    "max": _reduced(np.max),
    "maximum": _plain(np.maximum),
    "mean": _reduced(np.mean),
    "minimum": _plain(np.minimum),
    "multiply": _plain(np.multiply),
    "nn.conv2d": _convolution,
    "nn.max_pool2d": _pooled,
    "nn.relu": _plain(lambda data: np.maximum(data, 0)),
    "nn.softmax": lambda call, data: _softmax(data, int(call.attrs.axis)),
    "permute_dims": lambda call, data: data.transpose([int(axis) for axis in call.attrs.axes]),
    "reshape": _reshaped,
    "sigmoid": _plain(lambda data: 1 / (1 + np.exp(-data))),
    "split": _split,
    "squeeze": _reshaped,
    "strided_slice": _sliced,
    "subtract": _plain(np.subtract),
    "sum": _reduced(np.sum),
    "tanh": _plain(np.tanh),
}


def _softmax(data: np.ndarray, axis: int) -> np.ndarray:
    powers = np.exp(data - data.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)
