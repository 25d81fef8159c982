"""How each operator of a canonical network is written in ONNX: one row an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from onnx import helper

from harness.compiler.api import constant_array, constant_number, operator_name, relax, shape_of
from harness.errors import CellFailure
from harness.passes.rewriter import permutation
from harness.passes.steps import in_steps
from harness.passes.weighted import weighted


class Writer(Protocol):
    """A model that is written node by node."""

    def name(self, expr: relax.Expr) -> str:
        """The name of a value; constants are written where they are read."""
        ...

    def fields(self, expr: relax.Expr) -> list[str]:
        """The names of a tuple's values."""
        ...

    def constant(self, values: np.ndarray) -> str:
        """The name of a new constant."""
        ...

    def add(
        self, operator: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any
    ) -> list[str]:
        """The names of a new node's outputs."""
        ...

    def divided(self, name: str) -> tuple[str, float] | None:
        """The name of what the last node multiplied by a number to make a value, and the number
        that this is a division by; the node is gone then. None of any other value."""
        ...

    def with_bias(self, name: str, bias: np.ndarray) -> bool:
        """Whether the convolution that made a value has taken up a bias."""
        ...


Rule = Callable[[Writer, relax.Call, relax.Var], "str | Sequence[str]"]
"""Writes a call, whose result is bound to the variable; the names of its results."""


def _numbers(values: Any) -> list[int]:
    return [int(value) for value in values]


def _integers(writer: Writer, values: Sequence[int]) -> str:
    return writer.constant(np.array(values, np.int64))


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


def _reshape(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    shape = _integers(writer, shape_of(variable))
    return writer.add("Reshape", [writer.name(call.args[0]), shape])[0]


def _expand(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    shape = _integers(writer, shape_of(variable))
    return writer.add("Expand", [writer.name(call.args[0]), shape])[0]


def _transpose(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    return writer.add("Transpose", [writer.name(call.args[0])], perm=permutation(call))[0]


def _concat(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    axis = int(call.attrs.axis or 0)
    return writer.add("Concat", writer.fields(call.args[0]), axis=axis)[0]


def _split(writer: Writer, call: relax.Call, _: relax.Var) -> Sequence[str]:
    axis, sections = int(call.attrs.axis), call.attrs.indices_or_sections
    extent = shape_of(call.args[0])[axis]
    if hasattr(sections, "value") or isinstance(sections, int):
        count = int(getattr(sections, "value", sections))
        sizes = [extent // count] * count
    else:
        cuts = [0, *_numbers(sections), extent]
        sizes = [after - before for before, after in pairwise(cuts)]
    inputs = [writer.name(call.args[0]), _integers(writer, sizes)]
    return writer.add("Split", inputs, len(sizes), axis=axis)


def _slice(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    axes, begins, ends, *strides = ([int(each.value) for each in given] for given in call.args[1:])
    steps = strides[0] if strides else [1] * len(axes)
    inputs = [_integers(writer, each) for each in (begins, ends, axes, steps)]
    return writer.add("Slice", [writer.name(call.args[0]), *inputs])[0]


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
        inputs.append(_integers(writer, _numbers(axes)))
    return writer.add(operator, inputs, keepdims=int(bool(call.attrs.keepdims)))[0]


def _along(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    return writer.add(operator, [writer.name(call.args[0])], axis=int(call.attrs.axis))[0]


def _layer_norm(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    rank = len(shape_of(call.args[0]))
    axes = sorted(axis % rank for axis in _numbers(call.attrs.axes))
    if axes != list(range(axes[0], rank)):
        raise CellFailure(f"the network normalises axes {axes}, expected the last ones")
    inputs = [writer.name(each) for each in call.args]
    epsilon = float(call.attrs.epsilon)
    return writer.add("LayerNormalization", inputs, axis=axes[0], epsilon=epsilon)[0]


def _take(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    data, places = (writer.name(each) for each in call.args)
    if call.attrs.axis is None:
        data, axis = writer.add("Reshape", [data, _integers(writer, [-1])])[0], 0
    else:
        axis = int(call.attrs.axis)
    return writer.add("Gather", [data, places], axis=axis)[0]


def _gather_nd(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    data, places = (writer.name(each) for each in call.args)
    (places,) = writer.add("Cast", [places], to=helper.np_dtype_to_tensor_dtype(np.dtype("int64")))
    return writer.add("GatherND", [data, places], batch_dims=int(call.attrs.batch_dims))[0]


_PAD_MODES = {
    "constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip


def _pad(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    widths = _numbers(call.attrs.pad_width)
    value = np.array(float(call.attrs.pad_value), str(variable.ty.dtype))
    inputs = [
        writer.name(call.args[0]),
        _integers(writer, [*widths[::2], *widths[1::2]]),
        writer.constant(value),
    ]
    return writer.add("Pad", inputs, mode=_PAD_MODES[str(call.attrs.pad_mode)])[0]


def _prelu(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    along = [1] * len(shape_of(variable))
    along[int(call.attrs.axis)] = -1
    slopes = [writer.name(call.args[1]), _integers(writer, along)]
    return writer.add("PRelu", [writer.name(call.args[0]), *writer.add("Reshape", slopes)])[0]


def _group_norm(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    attributes, rank = call.attrs, len(shape_of(variable))
    axes = sorted(axis % rank for axis in _numbers(attributes.axes))
    if int(attributes.channel_axis) % rank != 1 or axes != list(range(2, rank)):
        raise CellFailure(f"the network normalises groups along axes {axes}, expected those behind")
    return writer.add(
        "GroupNormalization",
        [writer.name(each) for each in call.args],
        num_groups=int(attributes.num_groups),
        epsilon=float(attributes.epsilon),
    )[0]


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


def _gather_elements(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    inputs = [writer.name(each) for each in call.args]
    return writer.add("GatherElements", inputs, axis=int(call.attrs.axis))[0]


_REDUCTIONS = {"update": "none", "add": "add", "mul": "mul", "max": "max", "min": "min"}


def _scatter_elements(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    inputs = [writer.name(each) for each in call.args]
    reduction = _REDUCTIONS.get(str(call.attrs.reduction))
    if reduction is None:
        raise CellFailure(f"the network scatters by {call.attrs.reduction}")
    axis = int(call.attrs.axis)
    return writer.add("ScatterElements", inputs, axis=axis, reduction=reduction)[0]


def _place(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    """The place of the largest or least value."""
    if call.attrs.axis is None:
        raise CellFailure("the network looks for a value along all axes at once")
    keep = int(bool(call.attrs.keepdims))
    name = writer.name(call.args[0])
    return writer.add(operator, [name], axis=int(call.attrs.axis), keepdims=keep)[0]


def _tile(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    times, rank = _numbers(call.attrs.repeats), len(shape_of(call.args[0]))
    if len(times) != rank:
        raise CellFailure(f"the network repeats {rank} axes by {len(times)} numbers")
    return writer.add("Tile", [writer.name(call.args[0]), _integers(writer, times)])[0]


def _quantize(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    return _between("QuantizeLinear", str(variable.ty.dtype), writer, call)


def _dequantize(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    return _between("DequantizeLinear", str(call.args[0].ty.dtype), writer, call)


def _between(operator: str, dtype: str, writer: Writer, call: relax.Call) -> str:
    scale, point = (constant_array(each) for each in call.args[1:3])
    if scale is None or point is None:
        raise CellFailure("the network quantizes by a scale that it computes")
    name = writer.name(call.args[0])
    if operator == "QuantizeLinear" and scale.size == 1 and scale == 1:
        divided = writer.divided(name)
        if divided is not None:
            name, number = divided
            scale = np.array(number, np.float32)
    inputs = [name, writer.constant(scale), writer.constant(point.astype(dtype))]
    if scale.size == 1:
        return writer.add(operator, inputs)[0]
    return writer.add(operator, inputs, axis=int(call.attrs.axis))[0]


def _weights(writer: Writer, call: relax.Call, wanted: Sequence[int] | None) -> str:
    """The weights of a layer, their axes in an order. Those of quantized data are int8, if they are
    multiples of a scale for each output."""
    found = weighted(call)
    if found is None:
        return writer.name(call.args[1])
    order = list(range(found.weights.ndim)) if wanted is None else list(wanted)
    ordered = np.transpose(found.weights, order)
    lattice = in_steps(found.matrix) if found.fits else None
    if lattice is None:
        return writer.constant(ordered)
    steps, scales = lattice
    stored = np.transpose(
        steps.reshape([found.weights.shape[axis] for axis in found.axes]), np.argsort(found.axes)
    )
    axis = order.index(found.axes[-1])
    names = [
        writer.constant(np.transpose(stored, order)),
        writer.constant(scales.astype(np.float32)),
        writer.constant(np.zeros(len(scales), np.int8)),
    ]
    return writer.add("DequantizeLinear", names, axis=axis)[0]


def _matmul(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    inputs = [writer.name(call.args[0]), _weights(writer, call, None)]
    return writer.add("MatMul", inputs)[0]


def _convolution(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    attributes = call.attrs
    kernel = str(attributes.kernel_layout)
    places = "".join(axis for axis in kernel if axis not in "OI")
    weights = _weights(writer, call, [kernel.index(axis) for axis in f"OI{places}"])
    return _channels_first(
        "Conv",
        str(attributes.data_layout),
        str(attributes.out_layout),
        writer,
        [writer.name(call.args[0]), weights],
        strides=_numbers(attributes.strides),
        dilations=_numbers(attributes.dilation),
        pads=_numbers(attributes.padding),
        group=int(attributes.groups),
    )


def _pool(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    attributes = call.attrs
    options: dict[str, Any] = {
        "kernel_shape": _numbers(attributes.pool_size),
        "strides": _numbers(attributes.strides),
        "dilations": _numbers(attributes.dilation),
        "pads": _numbers(attributes.padding),
        "ceil_mode": int(bool(attributes.ceil_mode)),
    }
    if operator == "AveragePool":
        options["count_include_pad"] = int(bool(attributes.count_include_pad))
    inputs = [writer.name(call.args[0])]
    layout = str(attributes.layout)
    return _channels_first(operator, layout, str(attributes.out_layout), writer, inputs, **options)


def _channels_first(
    operator: str,
    layout: str,
    out_layout: str,
    writer: Writer,
    inputs: Sequence[str],
    **options: Any,
) -> str:
    """An operator of images whose channels ONNX has first."""
    first = "NC" + "".join(axis for axis in layout if axis not in "NC")
    data, *others = inputs
    if layout != first:
        (data,) = writer.add("Transpose", [data], perm=[layout.index(axis) for axis in first])
    (found,) = writer.add(operator, [data, *others], **options)
    after = out_layout or layout
    if after == first:
        return found
    return writer.add("Transpose", [found], perm=[first.index(axis) for axis in after])[0]


_RESIZE_NEAREST = {
    "round": "round_prefer_floor",
    "round_prefer_floor": "round_prefer_floor",
    "round_prefer_ceil": "round_prefer_ceil",
    "floor": "floor",
    "ceil": "ceil",
}
_RESIZE_MODES = {"nearest_neighbor": "nearest", "linear": "linear", "cubic": "cubic"}


def _resize(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    attributes = call.attrs
    mode = _RESIZE_MODES[str(attributes.method)]
    options: dict[str, Any] = {
        "mode": mode,
        "coordinate_transformation_mode": str(attributes.coordinate_transformation_mode),
    }
    if mode == "nearest":
        rounding = str(attributes.rounding_method) or "round"
        options["nearest_mode"] = _RESIZE_NEAREST[rounding]
    if mode == "cubic":
        options["cubic_coeff_a"] = float(attributes.cubic_alpha)
        options["exclude_outside"] = int(attributes.cubic_exclude)
    layout = str(attributes.layout)
    first = [layout.index(axis) for axis in "NCHW"]
    shape = shape_of(variable)
    sizes = _integers(writer, [shape[at] for at in first])
    inputs = [writer.name(call.args[0]), "", "", sizes]
    return _channels_first("Resize", layout, layout, writer, inputs, **options)


def _leaky(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    return writer.add("LeakyRelu", [writer.name(call.args[0])], alpha=float(call.attrs.alpha))[0]


def _full(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    """A constant that is written as an operator."""
    value = constant_number(call.args[1]) if operator_name(call) == "relax.full" else 0
    if value is None:
        raise CellFailure("the network fills a tensor with a value that it computes")
    return writer.constant(np.full(shape_of(variable), value, str(variable.ty.dtype)))


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
_RULES: Mapping[str, Rule] = {
    **{name: partial(_as, operator) for name, operator in _SAME.items()},
    "add": _sum,
    "argmax": partial(_place, "ArgMax"),
    "argmin": partial(_place, "ArgMin"),
    "astype": _cast,
    "broadcast_to": _expand,
    "clip": _clip,
    "concat": _concat,
    "cumsum": _cumulative_sum,
    "dequantize": _dequantize,
    "expand_dims": _reshape,
    "flatten": _reshape,
    "floor_mod": _remainder,
    "full": _full,
    "gather_elements": _gather_elements,
    "gather_nd": _gather_nd,
    "image.resize2d": _resize,
    "isfinite": _is_finite,
    "matmul": _matmul,
    "max": partial(_reduce, "ReduceMax"),
    "mean": partial(_reduce, "ReduceMean"),
    "min": partial(_reduce, "ReduceMin"),
    "nn.avg_pool2d": partial(_pool, "AveragePool"),
    "nn.conv1d": _convolution,
    "nn.conv2d": _convolution,
    "nn.group_norm": _group_norm,
    "nn.layer_norm": _layer_norm,
    "nn.leakyrelu": _leaky,
    "nn.log_softmax": partial(_along, "LogSoftmax"),
    "nn.max_pool2d": partial(_pool, "MaxPool"),
    "nn.pad": _pad,
    "nn.prelu": _prelu,
    "nn.silu": _silu,
    "nn.softmax": partial(_along, "Softmax"),
    "not_equal": _not_equal,
    "permute_dims": _transpose,
    "prod": partial(_reduce, "ReduceProd"),
    "quantize": _quantize,
    "reshape": _reshape,
    "rsqrt": partial(_inverse, "Sqrt"),
    "scatter_elements": _scatter_elements,
    "split": _split,
    "square": _square,
    "squeeze": _reshape,
    "strided_slice": _slice,
    "sum": partial(_reduce, "ReduceSum"),
    "take": _take,
    "tile": _tile,
    "zeros": _full,
}
OPERATORS: Mapping[str, Rule] = {f"relax.{name}": rule for name, rule in _RULES.items()}
