"""Known values of each channel of a network, for every input.

Two things: that a channel is one number everywhere, and that two channels are the same. Both follow
from the weights of the layer that makes the channels, and are propagated through later operators as
far as that treats channels alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import Constant, constant_array, operator_name, relax, shape_of, tvm
from harness.networks.flow import Flow
from harness.networks.layers import weight_axes
from harness.passes.operators import ELEMENTWISE
from harness.passes.rewriter import MAIN
from harness.passes.weighted import weighted


@dataclass(frozen=True)
class Values:
    """Along the axis of a value that channels are followed on: `number` is the value at a position
    everywhere, NaN where that is not one number; positions of the same `kind` hold the same. Kinds
    of different values are not comparable."""

    number: np.ndarray
    kind: np.ndarray

    @classmethod
    def of(cls, number: np.ndarray, *keys: np.ndarray) -> Values:
        """Positions are of one kind where all `keys`, `[positions, ...]`, are the same, or where
        they hold the same number."""
        kind = np.zeros(len(number), int)
        for key in keys:
            _, inverse = np.unique(key.reshape(len(number), -1), axis=0, return_inverse=True)
            pairs = np.stack([kind, inverse.ravel()], axis=1)
            _, kind = np.unique(pairs, axis=0, return_inverse=True)
            kind = kind.ravel()
        _, known = np.unique(number, return_inverse=True)
        return cls(number, np.where(np.isnan(number), kind, -1 - known.ravel()))

    @classmethod
    def unknown(cls, extent: int) -> Values:
        """Nothing is known."""
        return cls(np.full(extent, np.nan), np.arange(extent))


Known = dict[relax.Var, Values]


def channel_values(module: tvm.IRModule, flow: Flow) -> Known:
    """Known values of each variable with one axis on which channels are followed."""
    known: Known = {}
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            axes = flow.axes.get(binding.var, {})
            if len(axes) == 1:
                ((axis, channels),) = axes.items()
                with np.errstate(all="ignore"):
                    found = _values(binding.value, binding.var, axis, flow, known)
                known[binding.var] = found or Values.unknown(len(channels))
    return known


def _values(
    value: relax.Expr, variable: relax.Var, axis: int, flow: Flow, known: Known
) -> Values | None:
    if isinstance(value, relax.Var):
        return known.get(value)
    if not isinstance(value, relax.Call):
        return None
    name = operator_name(value)
    if weight_axes(value) is not None:
        return _made(value)
    if name in {"relax.nn.conv1d", "relax.nn.conv2d"}:
        return _filtered(value, known)
    if name == "relax.concat":
        return _concatenated(value, axis, flow, known)
    if name in ELEMENTWISE:
        return _elementwise(value, variable, axis, flow, known)
    given = known.get(value.args[0]) if isinstance(value.args[0], relax.Var) else None
    if given is None:
        return None
    if name in _ALIKE or _stays(value, variable, axis, flow):
        return given
    if name in _ALIKE_BUT_NUMBERS:
        return Values.of(np.full(len(given.number), np.nan), given.kind)
    if name in _RESHAPING:
        (before,) = flow.axes[value.args[0]]
        return _reshaped(value, variable, given, before, axis)
    return None


def _made(call: relax.Call) -> Values:
    """Outputs of a layer: the same where all edges that lead to them are, 0 without any."""
    layer = weighted(call)
    assert layer is not None
    columns = layer.matrix.T
    return Values.of(np.where(columns.any(axis=1), np.nan, 0.0), columns)


def _filtered(call: relax.Call, known: Known) -> Values | None:
    """Outputs of a convolution with filters for each channel: the same where inputs and filters
    are. A number stays one where there is no padding around it, and 0 in any case."""
    given, weights = known.get(call.args[0]), constant_array(call.args[1])
    if given is None or weights is None:
        return None
    filters = np.moveaxis(weights, str(call.attrs.kernel_layout).index("O"), 0)
    source = np.repeat(np.arange(len(given.number)), len(filters) // len(given.number))
    flat = filters.reshape(len(filters), -1).astype(np.float64)
    number = given.number[source] * flat.sum(axis=1)
    if any(int(padding) for padding in call.attrs.padding):
        number = np.where(number == 0, 0.0, np.nan)
    number = np.where((given.number[source] == 0) | ~flat.any(axis=1), 0.0, number)
    return Values.of(number, given.kind[source], flat)


def _concatenated(call: relax.Call, axis: int, flow: Flow, known: Known) -> Values | None:
    parts = list(call.args[0].fields)
    if int(call.attrs.axis or 0) % len(shape_of(parts[0])) != axis:
        return None
    found = [known[part] if part in known and axis in flow.axes[part] else None for part in parts]
    extents = [shape_of(part)[axis] for part in parts]
    each = [value or Values.unknown(extent) for value, extent in zip(found, extents, strict=True)]
    return Values.of(
        np.concatenate([value.number for value in each]),
        np.concatenate([value.kind for value in each]),
        np.repeat(np.arange(len(each)), extents),
    )


def _elementwise(
    call: relax.Call, variable: relax.Var, axis: int, flow: Flow, known: Known
) -> Values | None:
    shape = shape_of(variable)
    extent = shape[axis]
    numbers: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    for argument in call.args:
        if not isinstance(argument, (relax.Var, Constant)):
            numbers.append(np.full(extent, float(argument.value)))
            continue
        along = axis - len(shape) + len(shape_of(argument))
        wide = along >= 0 and shape_of(argument)[along] == extent
        array = constant_array(argument)
        if array is not None:
            rows = np.moveaxis(array, along, 0) if wide else array
            rows = rows.astype(np.float64).reshape(extent if wide else 1, -1)
            one = np.where((rows == rows[:, :1]).all(axis=1), rows[:, 0], np.nan)
            numbers.append(np.broadcast_to(one, (extent,)))
            if wide:
                keys.append(rows)
        elif not wide:
            numbers.append(np.full(extent, np.nan))
        elif argument in known and along in flow.axes[argument]:
            numbers.append(known[argument].number)
            keys.append(known[argument].kind)
        else:
            return None
    compute = ELEMENTWISE[operator_name(call)].numbers
    number = np.full(extent, np.nan) if compute is None else compute(*numbers)
    return Values.of(np.where(np.isfinite(number), number, np.nan), *keys)


def _stays(call: relax.Call, variable: relax.Var, axis: int, flow: Flow) -> bool:
    """Whether an operator that only moves values keeps each channel's position."""
    if operator_name(call) == "relax.permute_dims":
        return True
    if operator_name(call) not in _RESHAPING:
        return False
    (before,) = flow.axes[call.args[0]]
    old, new = shape_of(call.args[0]), shape_of(variable)
    return old[before] == new[axis] and math.prod(old[:before]) == math.prod(new[:axis])


def _reshaped(
    call: relax.Call, variable: relax.Var, given: Values, before: int, axis: int
) -> Values:
    """Axes that are merged or taken apart: each element is known by its channel and its place."""
    shape = shape_of(call.args[0])
    along = [1] * len(shape)
    along[before] = shape[before]
    inside = list(shape)
    inside[before] = 1
    places = math.prod(inside)
    kinds = given.kind.reshape(along) * places + np.arange(places).reshape(inside)
    numbers = np.broadcast_to(given.number.reshape(along), shape)

    def rows(array: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(array.reshape(shape_of(variable)), axis, 0)
        return moved.reshape(len(moved), -1)

    found = rows(numbers)
    number = np.where((found == found[:, :1]).all(axis=1), found[:, 0], np.nan)
    return Values.of(number, rows(kinds))


_ALIKE = {
    "relax.max",
    "relax.mean",
    "relax.min",
    "relax.nn.adaptive_avg_pool1d",
    "relax.nn.adaptive_avg_pool2d",
    "relax.nn.max_pool1d",
    "relax.nn.max_pool2d",
}
"""Operators that return a number for inputs of numbers only."""
_ALIKE_BUT_NUMBERS = {
    "relax.image.resize2d",
    "relax.nn.avg_pool1d",
    "relax.nn.avg_pool2d",
    "relax.nn.log_softmax",
    "relax.nn.softmax",
    "relax.sum",
}
"""Operators that treat all channels alike, but may return another number for a number."""
_RESHAPING = {
    "relax.expand_dims",
    "relax.flatten",
    "relax.nn.batch_flatten",
    "relax.reshape",
    "relax.squeeze",
}
