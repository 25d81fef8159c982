"""The effect of each operator on the channels that `flow.py` follows.

A rule is given a call and the variable it is bound to, and returns the axes of the result that are
followed. Channels that it cannot lead on must be frozen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from harness.compiler.api import Constant, constant_array, operator_name, relax, shape_of
from harness.networks.flow import Axes, Follower
from harness.networks.layers import weight_axes
from harness.passes.operators import ELEMENTWISE
from harness.passes.rewriter import permutation

Rule = Callable[[Follower, relax.Call, relax.Var], Axes]


def unknown(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """An operator without a rule: its inputs keep all channels."""
    for argument in call.args:
        follower.freeze_value(argument, f"read by {_name(call)}, which is not followed")
    return {}


def elementwise(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Any number of operands, broadcast to each other."""
    tensors = [
        (at, argument)
        for at, argument in enumerate(call.args)
        if isinstance(argument, (relax.Var, Constant))
    ]
    return follower.joined(call, variable, tensors, range(len(shape_of(variable))))


def convolution(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Channels come in along one axis of the weights and go out along another; where each channel
    has weights of its own, the channel stays the same."""
    if constant_array(call.args[1]) is None:
        return unknown(follower, call, variable)
    attributes = call.attrs
    given, at = follower.of(call.args[0]), str(attributes.data_layout).index("C")
    written = str(attributes.out_layout or attributes.data_layout).index("C")
    follower.freeze_value(call.args[0], f"not the channels of {_name(call)}", keep=[at])
    layer = weight_axes(call)
    if layer is not None:
        return {written: _through_layer(follower, call, layer, given.get(at), variable)}
    if at not in given:
        return {}
    outputs = str(attributes.kernel_layout).index("O")
    extent, groups = shape_of(call.args[1])[outputs], int(attributes.groups)
    if groups != len(given[at]):
        follower.freeze(given[at], f"read by {_name(call)} in groups")
        return {}
    channels = np.repeat(given[at], extent // groups)
    follower.use(variable, 1, outputs, channels, "accompanies")
    return {written: channels}


def matrix_product(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """A layer where the second operand is a constant matrix; else two values, whose leading axes
    are those of a batch."""
    left, right = call.args
    first, second = follower.of(left), follower.of(right)
    rank = len(shape_of(variable))
    layer = weight_axes(call)
    if layer is not None:
        given = first.get(len(shape_of(left)) - 1)
        made = _through_layer(follower, call, layer, given, variable)
        return {**{axis: first[axis] for axis in first if axis < rank - 1}, rank - 1: made}
    if min(len(shape_of(left)), len(shape_of(right))) < 2:
        return unknown(follower, call, variable)
    found = follower.joined(call, variable, [(0, left), (1, right)], range(rank - 2))
    row, column = len(shape_of(left)) - 2, len(shape_of(right)) - 1
    for axes, summed in ((first, row + 1), (second, column - 1)):
        if summed in axes:
            follower.freeze(axes[summed], "summed over by a product of two computed values")
    if row in first:
        found[rank - 2] = first[row]
    if column in second:
        found[rank - 1] = second[column]
    return found


def _through_layer(
    follower: Follower,
    call: relax.Call,
    axes: tuple[int, ...],
    given: np.ndarray | None,
    variable: relax.Var,
) -> np.ndarray:
    """The channels that a layer makes of those along its inputs; `axes` as of `weight_axes`."""
    *_, inputs, outputs = axes
    if given is not None:
        follower.use(variable, 1, inputs, given, "consumes")
    made = follower.fresh(shape_of(call.args[1])[outputs])
    follower.use(variable, 1, outputs, made, "produces")
    return made


def in_layout(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Pooling and resizing: each channel of an image by itself."""
    at = str(call.attrs.layout).index("C")
    follower.freeze_value(call.args[0], f"not the channels of {_name(call)}", keep=[at])
    given = follower.of(call.args[0])
    return {at: given[at]} if at in given else {}


def reduction(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """A sum, mean or extreme over axes that have no channels."""
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axis
    reduced = set(range(rank)) if axes is None else {int(axis) % rank for axis in axes}
    kept = [axis for axis in range(rank) if axis not in reduced]
    follower.freeze_value(call.args[0], f"reduced over by {_name(call)}", keep=kept)
    given = follower.of(call.args[0])
    places = range(rank) if call.attrs.keepdims else kept
    return {at: given[axis] for at, axis in enumerate(places) if axis in kept and axis in given}


def softmax(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Normalises over one axis."""
    given = follower.of(call.args[0])
    kept = [axis for axis in given if axis != int(call.attrs.axis) % len(shape_of(variable))]
    follower.freeze_value(call.args[0], f"normalised over by {_name(call)}", keep=kept)
    return {axis: given[axis] for axis in kept}


def prelu(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """A slope for each position of one axis."""
    given, axis = follower.of(call.args[0]), int(call.attrs.axis) % len(shape_of(variable))
    if constant_array(call.args[1]) is None:
        return unknown(follower, call, variable)
    if axis in given and shape_of(call.args[1])[0] == len(given[axis]):
        follower.use(variable, 1, 0, given[axis], "accompanies")
    return given


def padded(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Axes that grow cannot be cut any more."""
    given = follower.of(call.args[0])
    width = [int(extent) for extent in call.attrs.pad_width]
    kept = [axis for axis in given if not any(width[2 * axis : 2 * axis + 2])]
    follower.freeze_value(call.args[0], "padded along its channels", keep=kept)
    return {axis: given[axis] for axis in kept}


def permuted(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """The same axes in another order."""
    given = follower.of(call.args[0])
    return {at: given[axis] for at, axis in enumerate(permutation(call)) if axis in given}


def concatenated(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """One part after the other along one axis; the other axes are those of all parts."""
    if not isinstance(call.args[0], relax.Tuple):
        return unknown(follower, call, variable)
    parts, rank = list(call.args[0].fields), len(shape_of(variable))
    along = int(call.attrs.axis or 0) % rank
    if any(isinstance(part, Constant) for part in parts):
        return unknown(follower, call, variable)
    others = [axis for axis in range(rank) if axis != along]
    found = follower.joined(call, variable, list(enumerate(parts)), others)
    if not any(along in follower.of(part) for part in parts):
        return found
    pieces = []
    for part in parts:
        channels = follower.of(part).get(along)
        if channels is None:
            channels = follower.fresh(shape_of(part)[along])
            follower.freeze(channels, "has no channels")
        pieces.append(channels)
    return {**found, along: np.concatenate(pieces)}


def split(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Parts that lie one after the other along one axis, as a tuple."""
    given, fields = follower.of(call.args[0]), variable.ty.fields
    along = int(call.attrs.axis) % len(shape_of(call.args[0]))
    sizes = [int(field.shape[along]) for field in fields]
    ends = np.cumsum(sizes)
    follower.define_parts(
        variable,
        [
            {
                axis: channels[end - size : end] if axis == along else channels
                for axis, channels in given.items()
            }
            for size, end in zip(sizes, ends, strict=True)
        ],
    )
    return {}


def sliced(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Channels next to each other, in their order."""
    found = dict(follower.of(call.args[0]))
    steps = [int(step) for step in call.args[4]] if len(call.args) > 4 else [1] * len(call.args[1])
    rank = len(shape_of(call.args[0]))
    for axis, begin, end, step in zip(*call.args[1:4], steps, strict=True):
        along = int(axis) % rank
        if along not in found:
            continue
        if step != 1:
            follower.freeze(found.pop(along), "sliced in steps")
        else:
            found[along] = found[along][int(begin) : int(end)]
    return found


def reshaped(follower: Follower, call: relax.Call, variable: relax.Var) -> Axes:
    """Axes that are merged: a channel becomes several positions of the one that they become. Or an
    axis that is taken apart: all that one position of the first part holds becomes one channel."""
    given = follower.of(call.args[0])
    before, after = shape_of(call.args[0]), shape_of(variable)
    found: Axes = {}
    for old, new in _same_elements(before, after):
        followed = [axis for axis in old if axis in given]
        if not followed:
            continue
        if len(old) == 1:
            channels = given[old[0]].reshape(after[new[0]], -1)
            for other in channels.T[1:]:
                follower.same(channels[:, 0], other)
            found[new[0]] = channels[:, 0]
        elif len(new) == 1 and len(followed) == 1:
            inside = math.prod(before[axis] for axis in old if axis > followed[0])
            outside = math.prod(before[axis] for axis in old if axis < followed[0])
            found[new[0]] = np.tile(np.repeat(given[followed[0]], inside), outside)
        else:
            follower.freeze_value(call.args[0], "reshaped across its channels")
            return {}
    return found


def _same_elements(
    before: Sequence[int], after: Sequence[int]
) -> list[tuple[list[int], list[int]]]:
    """The fewest axes of one shape that hold the same elements as some of the other, without axes
    of extent 1: those have one channel, which always stays."""
    runs: list[tuple[list[int], list[int]]] = []
    olds = [axis for axis, extent in enumerate(before) if extent != 1]
    news = [axis for axis, extent in enumerate(after) if extent != 1]
    while olds:
        old, new = [olds.pop(0)], [news.pop(0)]
        while (one := math.prod(before[at] for at in old)) != (
            other := math.prod(after[at] for at in new)
        ):
            if one < other:
                old.append(olds.pop(0))
            else:
                new.append(news.pop(0))
        runs.append((old, new))
    return runs


_IN_LAYOUT = (
    "image.resize2d nn.adaptive_avg_pool1d nn.adaptive_avg_pool2d nn.avg_pool1d nn.avg_pool2d "
    "nn.max_pool1d nn.max_pool2d"
)
_SHAPES = "expand_dims flatten nn.batch_flatten reshape squeeze"
RULES: dict[str, Rule] = dict.fromkeys(ELEMENTWISE, elementwise) | {
    f"relax.{name}": rule
    for names, rule in {
        "broadcast_to": elementwise,
        _IN_LAYOUT: in_layout,
        _SHAPES: reshaped,
        "concat": concatenated,
        "matmul": matrix_product,
        "max mean min prod sum": reduction,
        "nn.conv1d nn.conv2d": convolution,
        "nn.log_softmax nn.softmax": softmax,
        "nn.pad": padded,
        "nn.prelu": prelu,
        "permute_dims": permuted,
        "split": split,
        "strided_slice": sliced,
    }.items()
    for name in names.split()
}
"""The rule of each operator that channels are followed through."""


def _name(call: relax.Call) -> str:
    return operator_name(call).removeprefix("relax.") or "a call"
