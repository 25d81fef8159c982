"""Layers with weights, pooling, normalisation, resizing and quantization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.compiler.api import constant_array, relax, shape_of
from harness.deploy.onnx.writer import Rule, Writer, integers, numbers
from harness.errors import CellFailure
from harness.passes.steps import in_steps
from harness.passes.weighted import weighted


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
        strides=numbers(attributes.strides),
        dilations=numbers(attributes.dilation),
        pads=numbers(attributes.padding),
        group=int(attributes.groups),
    )


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


def _pool(operator: str, writer: Writer, call: relax.Call, _: relax.Var) -> str:
    attributes = call.attrs
    options: dict[str, Any] = {
        "kernel_shape": numbers(attributes.pool_size),
        "strides": numbers(attributes.strides),
        "dilations": numbers(attributes.dilation),
        "pads": numbers(attributes.padding),
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


def _layer_norm(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    rank = len(shape_of(call.args[0]))
    axes = sorted(axis % rank for axis in numbers(call.attrs.axes))
    if axes != list(range(axes[0], rank)):
        raise CellFailure(f"the network normalises axes {axes}, expected the last ones")
    inputs = [writer.name(each) for each in call.args]
    epsilon = float(call.attrs.epsilon)
    return writer.add("LayerNormalization", inputs, axis=axes[0], epsilon=epsilon)[0]


def _group_norm(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    attributes, rank = call.attrs, len(shape_of(variable))
    axes = sorted(axis % rank for axis in numbers(attributes.axes))
    if int(attributes.channel_axis) % rank != 1 or axes != list(range(2, rank)):
        raise CellFailure(f"the network normalises groups along axes {axes}, expected those behind")
    return writer.add(
        "GroupNormalization",
        [writer.name(each) for each in call.args],
        num_groups=int(attributes.num_groups),
        epsilon=float(attributes.epsilon),
    )[0]


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
    sizes = integers(writer, [shape[at] for at in first])
    inputs = [writer.name(call.args[0]), "", "", sizes]
    return _channels_first("Resize", layout, layout, writer, inputs, **options)


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


LAYERS: Mapping[str, Rule] = {
    "dequantize": _dequantize,
    "image.resize2d": _resize,
    "matmul": _matmul,
    "nn.avg_pool2d": partial(_pool, "AveragePool"),
    "nn.conv1d": _convolution,
    "nn.conv2d": _convolution,
    "nn.group_norm": _group_norm,
    "nn.layer_norm": _layer_norm,
    "nn.max_pool2d": partial(_pool, "MaxPool"),
    "quantize": _quantize,
}
