"""Elementwise operators and reductions."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from onnx import helper

from harness.compiler.api import constant_array, relax, shape_of
from harness.deploy.onnx.writer import Rule, Writer, integers, numbers
from harness.errors import CellFailure


def _as(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    """An operator of the same operands."""
    return writer.add(operator, [writer.name(each) for each in call.args])[0]


def _inverse(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    (found,) = writer.add(operator, [writer.name(call.args[0])])
    return writer.add("Reciprocal", [found])[0]


def _square(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    name = writer.name(call.args[0])
    return writer.add("Mul", [name, name])[0]


def _silu(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    name = writer.name(call.args[0])
    return writer.add("Mul", [name, *writer.add("Sigmoid", [name])])[0]


def _sum(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    """An addition, or the bias of the convolution before."""
    for at in (0, 1):
        bias = constant_array(call.args[1 - at])
        if bias is None or constant_array(call.args[at]) is not None:
            continue
        name, shape = writer.name(call.args[at]), shape_of(variable)
        if shape_of(call.args[at]) != shape:  # the other side makes it wider
            continue
        along = [1, shape[1], *[1] * (len(shape) - 2)] if len(shape) > 2 else []
        padded = [1] * (len(shape) - bias.ndim) + list(bias.shape)
        if padded == along and writer.with_bias(name, bias.ravel()):
            return name
    return _as("Add", writer, call, variable)


def _clip(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    dtype = np.dtype(str(variable.ty.dtype))
    bounds = [writer.constant(np.array(float(each.value), dtype)) for each in call.args[1:3]]
    return writer.add("Clip", [writer.name(call.args[0]), *bounds])[0]


def _cast(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    to = helper.np_dtype_to_tensor_dtype(np.dtype(str(variable.ty.dtype)))
    return writer.add("Cast", [writer.name(call.args[0])], to=to)[0]


def _reduce(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    axes = call.attrs.axis
    inputs = [writer.name(call.args[0])]
    if axes is not None:
        inputs.append(integers(writer, numbers(axes)))
    return writer.add(operator, inputs, keepdims=int(bool(call.attrs.keepdims)))[0]


def _along(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    return writer.add(operator, [writer.name(call.args[0])], axis=int(call.attrs.axis))[0]


def _place(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    """The place of the largest or least value."""
    if call.attrs.axis is None:
        raise CellFailure("the network looks for a value along all axes at once")
    keep = int(bool(call.attrs.keepdims))
    name = writer.name(call.args[0])
    return writer.add(operator, [name], axis=int(call.attrs.axis), keepdims=keep)[0]


def _cumulative_sum(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    attributes = call.attrs
    if attributes.axis is None or str(call.args[0].ty.dtype) != str(variable.ty.dtype):
        raise CellFailure("the network sums up all axes, or in another type")
    axis = writer.constant(np.array(int(attributes.axis)))
    inputs = [writer.name(call.args[0]), axis]
    return writer.add("CumSum", inputs, exclusive=int(bool(attributes.exclusive)))[0]


def _is_finite(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    name = writer.name(call.args[0])
    either = [*writer.add("IsInf", [name]), *writer.add("IsNaN", [name])]
    return writer.add("Not", writer.add("Or", either))[0]


def _not_equal(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    return writer.add("Not", writer.add("Equal", [writer.name(each) for each in call.args]))[0]


def _remainder(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    """With the divisor's sign: ONNX has that of integers."""
    one, other = (writer.name(each) for each in call.args)
    if np.dtype(str(variable.ty.dtype)).kind in "iu":
        return writer.add("Mod", [one, other])[0]
    whole = writer.add("Floor", writer.add("Div", [one, other]))
    return writer.add("Sub", [one, *writer.add("Mul", [*whole, other])])[0]


def _leaky(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    return writer.add("LeakyRelu", [writer.name(call.args[0])], alpha=float(call.attrs.alpha))[0]


def _prelu(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    along = [1] * len(shape_of(variable))
    along[int(call.attrs.axis)] = -1
    slopes = [writer.name(call.args[1]), integers(writer, along)]
    return writer.add("PRelu", [writer.name(call.args[0]), *writer.add("Reshape", slopes)])[0]


_SAME = {
    "abs": "Abs", "ceil": "Ceil", "cos": "Cos", "divide": "Div", "equal": "Equal", "erf": "Erf",
    "exp": "Exp", "floor": "Floor", "greater": "Greater", "greater_equal": "GreaterOrEqual",
    "isinf": "IsInf", "isnan": "IsNaN", "less": "Less", "less_equal": "LessOrEqual", "log": "Log",
    "logical_and": "And", "logical_not": "Not", "logical_or": "Or", "maximum": "Max",
    "minimum": "Min", "multiply": "Mul", "negative": "Neg", "nn.gelu": "Gelu", "nn.relu": "Relu",
    "nn.softplus": "Softplus", "power": "Pow", "round": "Round", "sigmoid": "Sigmoid",
    "sign": "Sign", "sin": "Sin", "sqrt": "Sqrt", "subtract": "Sub", "tanh": "Tanh",
    "where": "Where",
}  # fmt: skip

ARITHMETIC: Mapping[str, Rule] = {
    **{name: partial(_as, operator) for name, operator in _SAME.items()},
    "add": _sum,
    "argmax": partial(_place, "ArgMax"),
    "argmin": partial(_place, "ArgMin"),
    "astype": _cast,
    "clip": _clip,
    "cumsum": _cumulative_sum,
    "floor_mod": _remainder,
    "isfinite": _is_finite,
    "max": partial(_reduce, "ReduceMax"),
    "mean": partial(_reduce, "ReduceMean"),
    "min": partial(_reduce, "ReduceMin"),
    "nn.leakyrelu": _leaky,
    "nn.log_softmax": partial(_along, "LogSoftmax"),
    "nn.prelu": _prelu,
    "nn.silu": _silu,
    "nn.softmax": partial(_along, "Softmax"),
    "not_equal": _not_equal,
    "prod": partial(_reduce, "ReduceProd"),
    "rsqrt": partial(_inverse, "Sqrt"),
    "square": _square,
    "sum": partial(_reduce, "ReduceSum"),
}
