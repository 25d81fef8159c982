"""Operators that move values, and constants that are written as operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from onnx import helper

from harness.compiler.api import constant_number, operator_name, relax, shape_of
from harness.deploy.onnx.writer import Rule, Writer, integers, numbers
from harness.errors import CellFailure
from harness.passes.rewriter import permutation


def _reshape(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    shape = integers(writer, shape_of(variable))
    return writer.add("Reshape", [writer.name(call.args[0]), shape])[0]


def _expand(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    shape = integers(writer, shape_of(variable))
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
        cuts = [0, *numbers(sections), extent]
        sizes = [after - before for before, after in pairwise(cuts)]
    inputs = [writer.name(call.args[0]), integers(writer, sizes)]
    return writer.add("Split", inputs, len(sizes), axis=axis)


def _slice(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    axes, begins, ends, *strides = ([int(each.value) for each in given] for given in call.args[1:])
    steps = strides[0] if strides else [1] * len(axes)
    inputs = [integers(writer, each) for each in (begins, ends, axes, steps)]
    return writer.add("Slice", [writer.name(call.args[0]), *inputs])[0]


def _take(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    data, places = (writer.name(each) for each in call.args)
    if call.attrs.axis is None:
        data, axis = writer.add("Reshape", [data, integers(writer, [-1])])[0], 0
    else:
        axis = int(call.attrs.axis)
    return writer.add("Gather", [data, places], axis=axis)[0]


def _gather_nd(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    data, places = (writer.name(each) for each in call.args)
    (places,) = writer.add("Cast", [places], to=helper.np_dtype_to_tensor_dtype(np.dtype("int64")))
    return writer.add("GatherND", [data, places], batch_dims=int(call.attrs.batch_dims))[0]


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


def _tile(writer: Writer, call: relax.Call, _: relax.Var) -> str:
    times, rank = numbers(call.attrs.repeats), len(shape_of(call.args[0]))
    if len(times) != rank:
        raise CellFailure(f"the network repeats {rank} axes by {len(times)} numbers")
    return writer.add("Tile", [writer.name(call.args[0]), integers(writer, times)])[0]


_PAD_MODES = {
    "constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip


def _pad(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    widths = numbers(call.attrs.pad_width)
    value = np.array(float(call.attrs.pad_value), str(variable.ty.dtype))
    inputs = [
        writer.name(call.args[0]),
        integers(writer, [*widths[::2], *widths[1::2]]),
        writer.constant(value),
    ]
    return writer.add("Pad", inputs, mode=_PAD_MODES[str(call.attrs.pad_mode)])[0]


def _full(writer: Writer, call: relax.Call, variable: relax.Var) -> str:
    """A constant that is written as an operator."""
    value = constant_number(call.args[1]) if operator_name(call) == "relax.full" else 0
    if value is None:
        raise CellFailure("the network fills a tensor with a value that it computes")
    return writer.constant(np.full(shape_of(variable), value, str(variable.ty.dtype)))


MOVEMENT: Mapping[str, Rule] = {
    "broadcast_to": _expand,
    "concat": _concat,
    "expand_dims": _reshape,
    "flatten": _reshape,
    "full": _full,
    "gather_elements": _gather_elements,
    "gather_nd": _gather_nd,
    "nn.pad": _pad,
    "permute_dims": _transpose,
    "reshape": _reshape,
    "scatter_elements": _scatter_elements,
    "split": _split,
    "squeeze": _reshape,
    "strided_slice": _slice,
    "take": _take,
    "tile": _tile,
    "zeros": _full,
}
