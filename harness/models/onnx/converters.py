"""Converters of ONNX operators that TVM lacks, or converts to something else than ONNX says.

A converter takes the block builder, the node's inputs (None for those left out), its attributes and
the opset, and gives a Relax expression: a tuple where the operator has several outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias

import numpy as np

from harness.compiler.api import constant_array, relax, shape_of
from harness.compiler.onnx_frontend import convert_map
from harness.models.onnx.recurrent import RECURRENT
from harness.models.onnx.refusal import Unsupported
from harness.models.onnx.resize import resize, upsample

Builder: TypeAlias = relax.BlockBuilder
Converter: TypeAlias = Callable[[Builder, Any, Any, int], relax.Expr]

_SERIES_TERMS = {"float16": 4, "float32": 8, "float64": 17}
"""Of artanh up to 1/3, for the precision of a dtype."""
_MOST_FACTORS = 64
"""Integer powers up to this are products."""


def _by_tvm(builder: Builder, inputs: Any, attributes: Any, opset: int, name: str) -> relax.Expr:
    """The result of TVM's converter of an operator for a node with constant weights."""
    return convert_map()[name].get_converter(opset)(builder, inputs, attributes, [{}, {}])


def _batch_normalization(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    if attributes.get("training_mode", 0):
        raise Unsupported(
            "training_mode=1 normalises by the batch itself; export the model for inference"
        )
    return _by_tvm(builder, inputs, attributes, opset, "BatchNormalization")


def _celu(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x, zero = inputs[0], _like(0.0, inputs[0])
    alpha = _like(attributes.get("alpha", 1.0), x)
    below = relax.op.subtract(relax.op.exp(relax.op.divide(x, alpha)), _like(1.0, x))
    below = relax.op.minimum(relax.op.multiply(alpha, below), zero)
    return relax.op.add(relax.op.maximum(x, zero), below)


def _clip(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Bounds are attributes before opset 11. A bound of NaN is none."""
    x = inputs[0]
    if opset < 11:
        low, high = (attributes.get("min", -np.inf), attributes.get("max", np.inf))
        bounds = [_like(low, x) if np.isfinite(low) else None]
        bounds.append(_like(high, x) if np.isfinite(high) else None)
    else:
        bounds = [inputs[1], inputs[2]]
    for bound, limited, unlimited in zip(
        bounds, (relax.op.maximum, relax.op.minimum), (-np.inf, np.inf), strict=True
    ):
        if bound is None:
            continue
        if str(x.ty.dtype).startswith("float"):
            values = constant_array(bound)
            if values is None:
                bound = relax.op.where(relax.op.isnan(bound), _like(unlimited, x), bound)
            elif np.isnan(values).any():
                continue
        x = builder.emit(limited(x, bound))
    return x


def _transposed_convolution(
    builder: Builder, inputs: Any, attributes: Any, opset: int
) -> relax.Expr:
    """Where the shape of the output is given, it says how much is cut off at both ends."""
    sizes = attributes.get("output_shape")
    if sizes is None:
        return _by_tvm(builder, inputs, attributes, opset, "ConvTranspose")
    lengths, taps = shape_of(inputs[0])[2:], shape_of(inputs[1])[2:]
    ones, zeros = (1,) * len(lengths), (0,) * len(lengths)
    strides, dilations = attributes.get("strides", ones), attributes.get("dilations", ones)
    whole = [
        stride * (length - 1) + (tap - 1) * dilation + 1 + added
        for length, tap, stride, dilation, added in zip(
            lengths, taps, strides, dilations, attributes.get("output_padding", zeros), strict=True
        )
    ]
    cut = [extent - size for extent, size in zip(whole, sizes[-len(whole) :], strict=True)]
    if min(cut) < 0:
        raise Unsupported(f"output_shape={list(sizes)} is larger than the output, {whole}")
    less, more = [each // 2 for each in cut], [each - each // 2 for each in cut]
    upper = attributes.get("auto_pad", b"NOTSET") == b"SAME_UPPER"
    given = {**attributes, "pads": (*less, *more) if upper else (*more, *less)}
    del given["output_shape"]
    given.pop("auto_pad", None)
    return _by_tvm(builder, inputs, given, opset, "ConvTranspose")


def _dropout(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Nothing is dropped in an inference; the mask says so."""
    x, _, training = inputs[:3]
    if training is not None and (constant_array(training) is None or constant_array(training)):
        raise Unsupported("training_mode drops at random; export the model for inference")
    attributes.get("ratio")  # how much training drops
    if attributes["tvm_custom"]["num_outputs"] == 1:
        return x
    dtype = "bool" if opset >= 10 else str(x.ty.dtype)
    return relax.Tuple([x, relax.const(np.ones(shape_of(x)), dtype)])


def _is_infinite(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x = inputs[0]
    signs = [
        sign
        for name, sign in (("detect_negative", -np.inf), ("detect_positive", np.inf))
        if attributes.get(name, 1)
    ]
    if not signs:
        return relax.const(np.zeros(shape_of(x), bool))
    return reduce(
        lambda left, right: builder.emit(relax.op.logical_or(left, right)),
        [builder.emit(relax.op.equal(x, _like(sign, x))) for sign in signs],
    )


def _layer_normalization(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """The second and third outputs are the mean and one over the standard deviation."""
    converted = _by_tvm(builder, inputs, attributes, opset, "LayerNormalization")
    normal = converted.fields[0]
    if attributes["tvm_custom"]["num_outputs"] == 1:
        return normal
    x = inputs[0]
    rank = len(shape_of(x))
    axes = list(range(int(attributes.get("axis", -1)) % rank, rank))
    epsilon = _like(attributes.get("epsilon", 1e-5), x)
    mean = builder.emit(relax.op.mean(x, axes, keepdims=True))
    spread = builder.emit(relax.op.variance(x, axes, keepdims=True))
    return relax.Tuple([normal, mean, relax.op.rsqrt(relax.op.add(spread, epsilon))])


def _norm(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """LpNormalization: x / ‖x‖ along one axis, 0 where the norm is."""
    x, order = inputs[0], attributes.get("p", 2)
    axes = [int(attributes.get("axis", -1))]
    if order == 1:
        norm = relax.op.sum(relax.op.abs(x), axes, keepdims=True)
    else:
        norm = relax.op.sqrt(relax.op.sum(relax.op.multiply(x, x), axes, keepdims=True))
    norm = builder.emit(norm)
    zero = _like(0.0, x)
    return relax.op.where(relax.op.equal(norm, zero), zero, relax.op.divide(x, norm))


def _modulo(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """A float's remainder has the sign of the dividend with `fmod`, of the divisor without."""
    x, divisor = inputs[0], inputs[1]
    if attributes.get("fmod", 0) or not str(x.ty.dtype).startswith("float"):
        return _by_tvm(builder, inputs, attributes, opset, "Mod")
    zero = _like(0.0, x)
    rest = builder.emit(relax.op.mod(x, divisor))
    sides = [builder.emit(relax.op.less(each, zero)) for each in (rest, divisor)]
    other = builder.emit(relax.op.logical_xor(*sides))
    moved = builder.emit(relax.op.logical_and(other, builder.emit(relax.op.not_equal(rest, zero))))
    return relax.op.where(moved, builder.emit(relax.op.add(rest, divisor)), rest)


def _one_hot(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Indices count from the end where they are negative; beyond the depth nothing is hot."""
    depth, values = constant_array(inputs[1]), constant_array(inputs[2])
    if depth is None or values is None:
        raise Unsupported("its depth or values depend on the inputs' values")
    extent, dtype = int(depth.reshape(-1)[0]), str(values.dtype)
    indices = builder.emit(relax.op.astype(inputs[0], "int64"))
    rank = len(shape_of(indices)) + 1
    axis = int(attributes.get("axis", -1)) % rank
    indices = builder.emit(relax.op.expand_dims(indices, axis))
    positions = np.arange(extent).reshape([extent if at == axis else 1 for at in range(rank)])
    same = [
        builder.emit(relax.op.equal(indices, relax.const(places)))
        for places in (positions, positions - extent)
    ]
    hot = builder.emit(relax.op.logical_or(*same))
    return relax.op.where(hot, relax.const(values[1], dtype), relax.const(values[0], dtype))


def _power(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """The result has the base's type; integers are products where the power is a small constant,
    and computed in double precision otherwise, as ONNX Runtime does."""
    base, exponent = inputs[0], inputs[1]
    dtype, values = str(base.ty.dtype), constant_array(exponent)
    if dtype.startswith("float"):
        if str(exponent.ty.dtype) != dtype:
            exponent = relax.op.astype(exponent, dtype)
        return relax.op.power(base, exponent)
    if values is not None and values.ndim == 0 and float(values) in range(1, _MOST_FACTORS + 1):
        return _product(builder, base, int(values))
    wide = [builder.emit(relax.op.astype(each, "float64")) for each in (base, exponent)]
    return relax.op.astype(builder.emit(relax.op.power(*wide)), dtype)


def _product(builder: Builder, base: relax.Expr, factors: int) -> relax.Expr:
    """A power by repeated squaring."""
    result, square = None, base
    while factors:
        if factors % 2:
            result = square if result is None else builder.emit(relax.op.multiply(result, square))
        factors //= 2
        if factors:
            square = builder.emit(relax.op.multiply(square, square))
    return result


def _reduction(name: str, single: Callable[[relax.Expr], relax.Expr]) -> Converter:
    """A reduction that, asked to reduce no axis, applies `single` to each element."""

    def convert(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
        axes = constant_array(inputs[1]) if inputs[1] is not None else attributes.get("axes", ())
        if axes is not None and not len(axes) and attributes.get("noop_with_empty_axes", 0):
            attributes.get("keepdims")  # all are kept
            return single(inputs[0])
        return _by_tvm(builder, inputs, attributes, opset, name)

    return convert


def _reduce_log_sum_exp(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Less than the largest is the exponential of, unless that is infinite or NaN."""
    x = inputs[0]
    axes = constant_array(inputs[1]) if inputs[1] is not None else attributes.get("axes", ())
    if axes is None:
        raise Unsupported("its axes depend on the inputs' values")
    keep, as_it_is = attributes.get("keepdims", 1), attributes.get("noop_with_empty_axes", 0)
    if not len(axes) and as_it_is:
        return x
    over = [int(axis) for axis in axes] or None
    largest = builder.emit(relax.op.max(x, over, True))
    finite = builder.emit(relax.op.isfinite(largest))
    shift = builder.emit(relax.op.where(finite, largest, _like(0.0, x)))
    powers = builder.emit(relax.op.exp(relax.op.subtract(x, shift)))
    logarithm = relax.op.log(relax.op.sum(powers, over, True))
    result = builder.emit(relax.op.add(logarithm, shift))
    return result if keep else relax.op.squeeze(result, over)


def _slice(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Before opset 10 attributes give the slice."""
    if opset >= 10:
        return _by_tvm(builder, inputs, attributes, opset, "Slice")
    starts, ends = attributes["starts"], attributes["ends"]
    axes = attributes.get("axes", range(len(starts)))
    bounds = [relax.const(np.asarray(list(each), np.int64)) for each in (starts, ends, axes)]
    return _by_tvm(builder, [inputs[0], *bounds, None], attributes, 13, "Slice")


def _softplus(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """max(x, 0) + log(1 + y) of y = e^-|x|, which is 2·artanh(s) of s = y / (2 + y) ≤ 1/3, a series
    whose last term here is below the rounding of a float: neither is infinite or 0 too early."""
    x = inputs[0]
    y = builder.emit(relax.op.exp(relax.op.negative(relax.op.abs(x))))
    s = builder.emit(relax.op.divide(y, relax.op.add(_like(2.0, x), y)))
    square = builder.emit(relax.op.multiply(s, s))
    terms = _SERIES_TERMS[str(x.ty.dtype)]
    series = _like(2 / (2 * terms - 1), x)
    for term in reversed(range(1, terms)):
        scaled = builder.emit(relax.op.multiply(series, square))
        series = builder.emit(relax.op.add(scaled, _like(2 / (2 * term - 1), x)))
    return relax.op.add(relax.op.maximum(x, _like(0.0, x)), relax.op.multiply(series, s))


def _split(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    attributes.get("num_outputs")  # as many as the node has
    sizes = constant_array(inputs[1]) if inputs[1] is not None else None
    if sizes is not None and not np.all(sizes):
        raise Unsupported("a part of it has no elements")
    return _by_tvm(builder, inputs, attributes, opset, "Split")


def _thresholded_relu(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    x = inputs[0]
    above = builder.emit(relax.op.greater(x, _like(attributes.get("alpha", 1.0), x)))
    return relax.op.where(above, x, _like(0.0, x))


def _like(value: float, other: relax.Expr) -> relax.Expr:
    return relax.const(value, str(other.ty.dtype))


CONVERTERS: dict[str, Converter] = {
    "BatchNormalization": _batch_normalization,
    "Celu": _celu,
    "Clip": _clip,
    "ConvTranspose": _transposed_convolution,
    "Dropout": _dropout,
    "IsInf": _is_infinite,
    "LayerNormalization": _layer_normalization,
    "LpNormalization": _norm,
    "Mod": _modulo,
    "OneHot": _one_hot,
    "Pow": _power,
    "ReduceL1": _reduction("ReduceL1", relax.op.abs),
    "ReduceL2": _reduction("ReduceL2", relax.op.abs),
    "ReduceLogSum": _reduction("ReduceLogSum", relax.op.log),
    "ReduceLogSumExp": _reduce_log_sum_exp,
    "ReduceSumSquare": _reduction("ReduceSumSquare", relax.op.square),
    "Resize": resize,
    "Slice": _slice,
    "Softplus": _softplus,
    "Split": _split,
    "ThresholdedRelu": _thresholded_relu,
    "Upsample": upsample,
    **RECURRENT,
}
