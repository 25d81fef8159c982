"""Moves a network to channels-last layout (NHWC), where vector units read whole channels at once.

Each operator has a rule that says how to compute it in channels-last layout; a value is converted
only where an operator without a rule needs the other layout, once, and a conversion that moves no
data is a reshape. So the only transposes left are those at the network's borders, which later fuse
into the kernel beside them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from harness.compiler.api import Constant, constant_array, operator_name, relax, shape_of, tvm
from harness.compiler.names import constant_like
from harness.passes.operators import ELEMENTWISE
from harness.passes.rewriter import Rewriter, permutation

Rule = Callable[["ChannelsLast", relax.Call, relax.VarBinding], "relax.Expr | None"]
_RULES: dict[str, Rule] = {}


def to_channels_last(module: tvm.IRModule) -> tvm.IRModule:
    """The same network with its convolutions, and the operators between them, in channels-last
    layout.

    The network's inputs and outputs keep their layout.
    """
    module = ChannelsLast.apply(module)
    return relax.transform.FoldConstant()(module)


def _to_last(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank), 1)


def _to_first(rank: int) -> tuple[int, ...]:
    return (0, rank - 1, *range(1, rank - 1))


def _axis_in_last(axis: int, rank: int) -> int:
    """Where an axis of a channels-first tensor lies in channels-last."""
    return _to_last(rank).index(axis % rank)


class ChannelsLast(Rewriter):
    """Keeps, for each value, its channels-last form where that is the one computed."""

    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self._last: dict[relax.Var, relax.Expr] = {}

    def visit(self, binding: relax.VarBinding) -> None:
        rule = _RULES.get(operator_name(binding.value))
        result = rule(self, binding.value, binding) if rule else None
        if result is None:
            super().visit(binding)
        else:
            self._last[binding.var] = self.emit(result)

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        # A transpose of the network's own may undo the conversion that it would need.
        if name == "relax.permute_dims":
            return self.permuted(call.args[0], permutation(call))
        if name in _CONVOLUTIONS and constant_array(call.args[1]) is not None:
            _, data_layout, kernel_layout = _CONVOLUTIONS[name]
            layouts = str(call.attrs.data_layout), str(call.attrs.kernel_layout)
            if layouts[0] == data_layout and layouts[1] != kernel_layout:
                return _convolved(call, call.args[0])
        return None

    def value(self, expr: relax.Expr) -> relax.Expr:
        """The channels-first form, converted (once) where only the other one was computed."""
        if isinstance(expr, relax.Var) and expr in self._last and expr not in self._new:
            last = self._last[expr]
            self.define(expr, self.emitted(self.permuted(last, _to_first(len(shape_of(last))))))
        return super().value(expr)

    def is_last(self, expr: relax.Expr) -> bool:
        """Whether the channels-last form of an original value is the one computed."""
        return isinstance(expr, relax.Var) and expr in self._last and expr not in self._new

    def last(self, expr: relax.Expr, rank: int | None = None) -> relax.Expr:
        """The channels-last form of an original value, converted (once) where needed.

        A value of lower rank than `rank` broadcasts: it gets leading dimensions of extent 1 first.
        """
        shape = shape_of(expr)
        rank = rank or len(shape)
        if not shape:
            return self.value(expr)
        if isinstance(expr, Constant):
            array = constant_array(expr)
            assert array is not None
            array = array.reshape((1,) * (rank - array.ndim) + array.shape)
            return constant_like(expr, np.ascontiguousarray(array.transpose(_to_last(rank))))
        if len(shape) < rank:
            widened = relax.op.reshape(self.value(expr), (1,) * (rank - len(shape)) + shape)
            return self.emitted(self.permuted(self.emitted(widened), _to_last(rank)))
        if expr not in self._last:
            self._last[expr] = self.emitted(self.permuted(self.value(expr), _to_last(rank)))
        return self._last[expr]


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def register(rule: Rule) -> Rule:
        for name in names:
            _RULES[name] = rule
        return rule

    return register


_CONVOLUTIONS = {
    "relax.nn.conv1d": (relax.op.nn.conv1d, "NWC", "WIO"),
    "relax.nn.conv2d": (relax.op.nn.conv2d, "NHWC", "HWIO"),
}
"""What builds a convolution, and its layouts of data and weights with channels last."""


@_rule(*_CONVOLUTIONS)
def _convolution(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    if call.attrs.data_layout not in {"NCW", "NCHW"} or constant_array(call.args[1]) is None:
        return None
    return _convolved(call, walker.last(call.args[0]))


def _convolved(call: relax.Call, last: relax.Expr) -> relax.Expr:
    """A convolution with constant weights, of its data with channels last. The output channels are
    the last axis of its weights, so that a vector of them is loaded at once."""
    build, data_layout, kernel_layout = _CONVOLUTIONS[operator_name(call)]
    attributes, weights = call.attrs, constant_array(call.args[1])
    assert weights is not None
    order = [str(attributes.kernel_layout).index(axis) for axis in kernel_layout]
    return build(
        last,
        constant_like(call.args[1], np.ascontiguousarray(weights.transpose(order))),
        strides=tuple(int(value) for value in attributes.strides),
        padding=tuple(int(value) for value in attributes.padding),
        dilation=tuple(int(value) for value in attributes.dilation),
        groups=int(attributes.groups),
        data_layout=data_layout,
        kernel_layout=kernel_layout,
        out_dtype=attributes.out_dtype,
    )


@_rule("relax.nn.max_pool2d", "relax.nn.avg_pool2d")
def _pooling(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    attributes = call.attrs
    if attributes.layout != "NCHW" or not walker.is_last(call.args[0]):
        return None
    build = {
        "relax.nn.max_pool2d": relax.op.nn.max_pool2d,
        "relax.nn.avg_pool2d": relax.op.nn.avg_pool2d,
    }[operator_name(call)]
    return build(
        walker.last(call.args[0]),
        pool_size=tuple(int(value) for value in attributes.pool_size),
        strides=tuple(int(value) for value in attributes.strides),
        padding=tuple(int(value) for value in attributes.padding),
        dilation=tuple(int(value) for value in attributes.dilation),
        ceil_mode=bool(attributes.ceil_mode),
        count_include_pad=bool(attributes.count_include_pad),
        layout="NHWC",
    )


@_rule("relax.nn.adaptive_avg_pool2d")
def _adaptive_pooling(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    if call.attrs.layout != "NCHW" or not walker.is_last(call.args[0]):
        return None
    return relax.op.nn.adaptive_avg_pool2d(
        walker.last(call.args[0]),
        tuple(int(value) for value in call.attrs.output_size),
        layout="NHWC",
    )


@_rule("relax.image.resize2d")
def _resize(walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding) -> relax.Expr | None:
    attributes = call.attrs
    if attributes.layout != "NCHW" or not walker.is_last(call.args[0]):
        return None
    return relax.op.image.resize2d(
        walker.last(call.args[0]),
        call.args[1],
        roi=tuple(float(value) for value in attributes.roi),
        layout="NHWC",
        method=attributes.method,
        coordinate_transformation_mode=attributes.coordinate_transformation_mode,
        rounding_method=attributes.rounding_method,
        cubic_alpha=float(attributes.cubic_alpha),
        cubic_exclude=int(attributes.cubic_exclude),
        extrapolation_value=float(attributes.extrapolation_value),
        out_dtype=attributes.out_dtype,
    )


@_rule(*ELEMENTWISE)
def _elementwise(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    rank = len(shape_of(binding.var))
    if rank not in {3, 4} or not any(walker.is_last(argument) for argument in call.args):
        return None
    arguments = [
        argument if isinstance(argument, relax.ShapeExpr) or not _is_tensor(argument)
        else walker.last(argument, rank)
        for argument in call.args
    ]  # fmt: skip
    return relax.Call(call.op, arguments, call.attrs)


@_rule("relax.quantize", "relax.dequantize")
def _quantization(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    data, *parameters = call.args
    if not walker.is_last(data) or any(map(shape_of, parameters)):
        return None
    return relax.Call(call.op, [walker.last(data), *parameters], call.attrs)


def _is_tensor(expr: relax.Expr) -> bool:
    return isinstance(getattr(expr, "ty", None), relax.TensorType)


@_rule("relax.concat")
def _concat(walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding) -> relax.Expr | None:
    fields = list(getattr(call.args[0], "fields", ()))
    if not any(walker.is_last(field) for field in fields) or call.attrs.axis is None:
        return None
    rank = len(shape_of(binding.var))
    return relax.op.concat(
        [walker.last(field) for field in fields], axis=_axis_in_last(int(call.attrs.axis), rank)
    )


@_rule("relax.mean", "relax.sum", "relax.max", "relax.min")
def _reduction(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    if not walker.is_last(call.args[0]) or not call.attrs.keepdims or call.attrs.axis is None:
        return None
    rank = len(shape_of(call.args[0]))
    build = getattr(relax.op, operator_name(call).removeprefix("relax."))
    axes = [_axis_in_last(int(axis), rank) for axis in call.attrs.axis]
    return build(walker.last(call.args[0]), axis=axes, keepdims=True)


@_rule("relax.nn.softmax")
def _softmax(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    if not walker.is_last(call.args[0]):
        return None
    rank = len(shape_of(call.args[0]))
    return relax.op.nn.softmax(
        walker.last(call.args[0]), axis=_axis_in_last(int(call.attrs.axis), rank)
    )


@_rule("relax.nn.pad")
def _padding(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    if not walker.is_last(call.args[0]):
        return None
    rank = len(shape_of(call.args[0]))
    widths = [int(value) for value in call.attrs.pad_width]
    pairs = [(widths[2 * axis], widths[2 * axis + 1]) for axis in range(rank)]
    in_last = [width for axis in _to_last(rank) for width in pairs[axis]]
    return relax.op.nn.pad(
        walker.last(call.args[0]), in_last, call.attrs.pad_mode, float(call.attrs.pad_value)
    )


@_rule("relax.strided_slice")
def _slice(walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding) -> relax.Expr | None:
    if not walker.is_last(call.args[0]):
        return None
    rank = len(shape_of(call.args[0]))
    axes = relax.Tuple(
        [relax.prim_value(_axis_in_last(int(at.value), rank)) for at in call.args[1]]
    )
    last = walker.last(call.args[0])
    return relax.Call(call.op, [last, axes, *call.args[2:]], call.attrs)


@_rule("relax.squeeze")
def _squeeze(
    walker: ChannelsLast, call: relax.Call, binding: relax.VarBinding
) -> relax.Expr | None:
    """Dropping a spatial dimension keeps the channels last."""
    shape = shape_of(call.args[0])
    kept = len(shape_of(binding.var))
    if not walker.is_last(call.args[0]) or call.attrs.axis is None or kept < 3:
        return None
    axes = [int(axis) % len(shape) for axis in call.attrs.axis]
    if any(axis < 2 for axis in axes):
        return None
    in_last = [_axis_in_last(axis, len(shape)) for axis in axes]
    return relax.op.squeeze(walker.last(call.args[0]), in_last)
