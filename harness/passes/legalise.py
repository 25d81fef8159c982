"""Kernels of operators for which TVM has none, or one that gives other numbers than IEEE 754 does.

`LEGALISATIONS` goes to TVM's LegalizeOps, whose own rules are for all others.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

from harness.compiler.api import (
    default_legalisation,
    relax,
    shape_of,
    te,
    tirx,
    topi,
)
from harness.kernels.arithmetic import is_nan
from harness.kernels.selection import top_elements
from harness.passes.normalisation import group_norm, instance_norm

Legalisation = Callable[[relax.BlockBuilder, relax.Call], relax.Expr]


def _sign(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """-1, 0 or 1; NaN stays NaN."""
    dtype = str(call.ty.dtype)

    def of(x: Any) -> Any:
        zero, one = tirx.const(0, dtype), tirx.const(1, dtype)
        return tirx.Select(x < zero, zero - one, tirx.Select(x > zero, one, x))

    return builder.call_te(
        lambda data: te.compute(data.shape, lambda *at: of(data[at]), name="sign"),
        call.args[0],
        primfunc_name_hint="sign",
    )


def _cumulative(combine: Callable[[Any, Any], Any], neutral: int) -> Legalisation:
    """A row of results of 2, 4, 8 … neighbours, each from two of the step before (Hillis and
    Steele)."""

    def legalise(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        dtype = str(call.ty.dtype)
        data, name = call.args[0], str(call.op.name).rpartition(".")[2]
        if call.attrs.axis is None:
            data = builder.emit(relax.op.reshape(data, shape_of(call)))
        if str(data.ty.dtype) != dtype:
            data = builder.emit(relax.op.astype(data, dtype))
        shape = shape_of(data)
        axis = int(call.attrs.axis or 0) % len(shape)

        def shifted(step: int, combined: bool) -> relax.Expr:
            """The element `step` places before along the axis, the neutral one before the first;
            `combined` with the data."""

            def of(given: te.Tensor) -> te.Tensor:
                def element(*at: Any) -> Any:
                    before = (*at[:axis], at[axis] - step, *at[axis + 1 :])
                    moved = tirx.if_then_else(
                        at[axis] >= step, given[before], tirx.const(neutral, dtype)
                    )
                    return combine(given[at], moved) if combined else moved

                return te.compute(given.shape, element, name=name)

            return builder.emit_te(of, data, primfunc_name_hint=name)

        step = 1
        while step < shape[axis]:
            data = shifted(step, True)
            step *= 2
        return shifted(1, False) if call.attrs.exclusive else data

    return legalise


def _top_elements(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """The first elements of each row along an axis, in their order, and their places."""
    data, attributes = call.args[0], call.attrs
    shape = shape_of(data)
    axis = int(attributes.axis) % len(shape)
    length, place_dtype, kind = shape[axis], str(attributes.dtype), str(data.ty.dtype)
    count = int(attributes.k) if int(attributes.k) >= 1 else length
    order = [*(at for at in range(len(shape)) if at != axis), axis]
    outer = [shape[at] for at in order[:-1]]
    rows = builder.emit(relax.op.permute_dims(data, order))
    rows = builder.emit(relax.op.reshape(rows, (math.prod(outer), length)))
    kernel = top_elements(
        math.prod(outer), length, count, kind, place_dtype, bool(attributes.largest)
    )
    types = [relax.TensorType((math.prod(outer), count), dtype) for dtype in (kind, place_dtype)]
    variable = builder.add_func(kernel, "top_elements")
    found = builder.emit(relax.call_tir(variable, relax.Tuple([rows]), types))
    results = []
    for at in range(2):
        result = builder.emit(relax.TupleGetItem(found, at))
        result = builder.emit(relax.op.reshape(result, (*outer, count)))
        back = [order.index(place) for place in range(len(shape))]
        results.append(builder.emit(relax.op.permute_dims(result, back)))
    both = str(attributes.ret_type)
    if both == "values":
        return results[0]
    return results[1] if both == "indices" else relax.Tuple(results)


def _first_extremum(greatest: bool) -> Legalisation:
    """The place of an extremum: the first or the last of equal ones. NaN is beyond all numbers."""

    def legalise(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        data, axis, shape = call.args[0], call.attrs.axis, shape_of(call)
        if str(data.ty.dtype) == "bfloat16":  # of which TVM lowers no pair of place and value
            data = builder.emit(relax.op.astype(data, "float32"))
        if axis is None:
            size = 1
            for extent in shape_of(data):
                size *= extent
            data, axis = builder.emit(relax.op.reshape(data, (size,))), 0
            rest: Sequence[int] = ()
        else:
            axis = int(axis) % len(shape_of(data))
            rest = [extent for at, extent in enumerate(shape_of(data)) if at != axis]
        last = bool(getattr(call.attrs, "select_last_index", False))
        name = "argmax" if greatest else "argmin"
        return builder.call_te(
            _place, data, axis, rest, shape, greatest, last, name, primfunc_name_hint=name
        )

    return legalise


def _place(
    data: te.Tensor,
    axis: int,
    rest: Sequence[int],
    shape: Sequence[int],
    greatest: bool,
    last: bool,
    name: str,
) -> te.Tensor:
    dtype = str(data.dtype)
    along = te.reduce_axis((0, data.shape[axis]), "along")

    def combined(left: Any, right: Any) -> tuple[Any, Any]:
        (at, value), (other_at, other) = left, right
        nan, other_nan = is_nan(value, dtype), is_nan(other, dtype)
        beyond = value > other if greatest else value < other
        same = tirx.any(value == other, tirx.all(nan, other_nan))
        before = at > other_at if last else at < other_at
        wins = tirx.any(
            tirx.all(nan, tirx.Not(other_nan)),
            tirx.all(tirx.Not(other_nan), beyond),
            tirx.all(same, before),
        )
        return tirx.Select(wins, at, other_at), tirx.Select(wins, value, other)

    def identity(at_dtype: Any, dtype: Any) -> tuple[Any, Any]:
        # Any place is before this one, as nothing may be beyond the least of all values.
        nowhere = tirx.const(-1, at_dtype) if last else tirx.max_value(at_dtype)
        return nowhere, _least(dtype, greatest)

    reducer = te.comm_reducer(combined, identity, name=name)

    def reduced(*at: Any) -> Any:
        return reducer((along.var, data[(*at[:axis], along, *at[axis:])]), axis=along)

    places, _ = te.compute(tuple(rest), reduced, name=f"{name}_along")
    return topi.cast(topi.reshape(places, tuple(shape)), "int64")


def _least(dtype: Any, greatest: bool) -> Any:
    """The least value; the greatest, for a minimum."""
    if str(dtype).startswith("float"):
        return tirx.const(float("-inf" if greatest else "inf"), dtype)
    return tirx.min_value(dtype) if greatest else tirx.max_value(dtype)


def _comparison(name: str, compare: Callable[[te.Tensor, te.Tensor], te.Tensor]) -> Legalisation:
    """Of booleans: TVM compares those as floats, which LLVM refuses. Other types as TVM does."""

    def legalise(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        if str(call.args[0].ty.dtype) != "bool":
            return default_legalisation(name)(builder, call)

        def of(left: te.Tensor, right: te.Tensor) -> te.Tensor:
            return compare(topi.cast(left, "int8"), topi.cast(right, "int8"))

        return builder.call_te(of, *call.args, primfunc_name_hint=name.rpartition(".")[2])

    return legalise


def _prelu(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Only what is negative is multiplied by the slope, which may be NaN or infinite."""
    axis = int(call.attrs.axis) % len(shape_of(call.args[0]))

    def of(x: te.Tensor, slopes: te.Tensor) -> te.Tensor:
        one = int(slopes.shape[0]) == 1

        def element(*at: Any) -> Any:
            value, slope = x[at], slopes[0 if one else at[axis]]
            return tirx.Select(value < tirx.const(0, str(x.dtype)), value * slope, value)

        return te.compute(x.shape, element, name="prelu")

    return builder.call_te(of, *call.args, primfunc_name_hint="prelu")


def _shift(left: bool) -> Legalisation:
    """By as many bits as the type has, or more, what is left is 0, or the sign. LLVM and C leave it
    undefined."""

    def legalise(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
        dtype = str(call.ty.dtype)
        most = tirx.const(int(dtype.lstrip("uint")) - 1, dtype)
        zero = tirx.const(0, dtype)
        keeps_sign = not left and dtype.startswith("int")

        def shifted(value: Any, by: Any) -> Any:
            inside = tirx.all(by >= zero, by <= most)
            by = tirx.Select(inside, by, most)
            moved = (tirx.shift_left if left else tirx.shift_right)(value, by)
            return moved if keeps_sign else tirx.Select(inside, moved, zero)

        def of(values: te.Tensor, by: te.Tensor) -> te.Tensor:
            shape = shape_of(call)
            spread = [topi.broadcast_to(each, shape) for each in (values, by)]
            return te.compute(
                shape, lambda *at: shifted(*(each[at] for each in spread)), name="shift"
            )

        return builder.call_te(of, *call.args, primfunc_name_hint="shift")

    return legalise


_JOINED = 32
"""How many tensors a kernel concatenates: TVM's chooses for each element between all of them, by
conditions that are nested as deep."""


def _concat(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Of many tensors: of some first, then of these."""
    fields, axis = list(getattr(call.args[0], "fields", ())), call.attrs.axis
    if len(fields) <= _JOINED:
        return default_legalisation("relax.concat")(builder, call)
    while len(fields) > _JOINED:
        groups = [fields[at : at + _JOINED] for at in range(0, len(fields), _JOINED)]
        fields = [
            builder.emit(relax.op.concat(group, axis=axis)) if len(group) > 1 else group[0]
            for group in groups
        ]
    joined = builder.normalize(relax.op.concat(fields, axis=axis))
    return default_legalisation("relax.concat")(builder, joined)


LEGALISATIONS: dict[str, Legalisation] = {
    "relax.argmax": _first_extremum(greatest=True),
    "relax.argmin": _first_extremum(greatest=False),
    "relax.concat": _concat,
    "relax.cumprod": _cumulative(operator.mul, 1),
    "relax.cumsum": _cumulative(operator.add, 0),
    "relax.equal": _comparison("relax.equal", topi.equal),
    "relax.nn.group_norm": group_norm,
    "relax.left_shift": _shift(left=True),
    "relax.nn.instance_norm": instance_norm,
    "relax.not_equal": _comparison("relax.not_equal", topi.not_equal),
    "relax.nn.prelu": _prelu,
    "relax.right_shift": _shift(left=False),
    "relax.sign": _sign,
    "relax.topk": _top_elements,
}
