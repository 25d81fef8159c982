"""Operators that take or put elements at places that tensors give.

Several tensors of places are joined into one of places in flattened axes, so that what TVM has for
one axis is enough. Negative places count from the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.torch.operators.converter import Call, Converter
from harness.models.torch.refusal import Unsupported

op = relax.op


def _positive(call: Call, places: relax.Expr, extent: int) -> relax.Expr:
    """Places counted from the start, int64."""
    places = call.cast(places, "int64")
    below = op.less(places, relax.const(0, "int64"))
    return call.emit(op.where(below, op.add(places, relax.const(extent, "int64")), places))


@dataclass(frozen=True)
class _Places:
    """Places in a tensor: `order` brings the axes they are in to the front, `flat` are the places
    in those axes flattened, [...], and `rest` are the extents of the other axes."""

    order: list[int]
    extents: tuple[int, ...]
    flat: relax.Expr
    rest: tuple[int, ...]
    result: list[int]
    """Where the axes of a tensor [*places, *rest] are in what PyTorch gives."""


def _places(call: Call) -> _Places:
    shape = shape_of(call.tensor("self"))
    given = [(axis, each) for axis, each in enumerate(call["indices"]) if each is not None]
    if any(str(each.ty.dtype) == "bool" for _, each in given):
        raise Unsupported("how many elements a mask takes depends on its values")
    axes = [axis for axis, _ in given]
    flat: Any = None
    for axis, each in given:
        places = _positive(call, each, shape[axis])
        if flat is not None:
            flat = call.emit(op.multiply(flat, relax.const(shape[axis], "int64")))
            places = call.emit(op.add(flat, places))
        flat = places
    others = [axis for axis in range(len(shape)) if axis not in axes]
    rank, together = len(shape_of(flat)), axes[-1] - axes[0] == len(axes) - 1
    before = axes[0] if together else 0  # apart, PyTorch puts the places first
    of_places, of_rest = list(range(rank)), list(range(rank, rank + len(others)))
    return _Places(
        order=axes + others,
        extents=tuple(shape[axis] for axis in axes),
        flat=flat,
        rest=tuple(shape[axis] for axis in others),
        result=of_rest[:before] + of_places + of_rest[before:],
    )


def _permuted(call: Call, x: relax.Expr, order: list[int]) -> relax.Expr:
    if order == sorted(order):
        return x
    return call.emit(op.permute_dims(x, order))


def _flattened(call: Call, places: _Places) -> relax.Expr:
    x = _permuted(call, call.tensor("self"), places.order)
    return call.reshaped(x, (math.prod(places.extents), *places.rest))


def _index(call: Call) -> relax.Expr:
    places = _places(call)
    if len(places.extents) == 1:
        axis = places.order[0]
        return call.emit(op.take(call.tensor("self"), places.flat, axis=axis))
    taken = call.emit(op.take(_flattened(call, places), places.flat, axis=0))
    return _permuted(call, taken, places.result)


def _index_put(call: Call) -> relax.Expr:
    if any(each is not None and str(each.ty.dtype) == "bool" for each in call["indices"]):
        return _put_by_mask(call)
    places, x = _places(call), call.tensor("self")
    chosen = shape_of(places.flat)
    shape = [(*chosen, *places.rest)[axis] for axis in places.result]
    values = call.emit(op.broadcast_to(call.tensor("values"), shape))
    values = _permuted(call, values, np.argsort(places.result).tolist())
    count = math.prod(chosen)
    put = op.scatter_nd(
        _flattened(call, places),
        call.reshaped(places.flat, (count, 1)),
        call.reshaped(values, (count, *places.rest)),
        "add" if call["accumulate"] else "update",
    )
    ordered = [shape_of(x)[axis] for axis in places.order]
    put = call.reshaped(call.emit(put), ordered)
    return _permuted(call, put, np.argsort(places.order).tolist())


def _put_by_mask(call: Call) -> relax.Expr:
    """One value for all elements of a mask."""
    x, given = call.tensor("self"), [each for each in call["indices"] if each is not None]
    values = call.tensor("values")
    if len(given) > 1 or math.prod(shape_of(values)) != 1:
        raise Unsupported("how many values go where a mask is true depends on its values")
    first = next(at for at, each in enumerate(call["indices"]) if each is not None)
    mask, rank = given[0], len(shape_of(x))
    covered = len(shape_of(mask))
    mask = call.reshaped(mask, (*([1] * first), *shape_of(mask), *([1] * (rank - first - covered))))
    value = call.reshaped(values, ())
    if call["accumulate"]:
        value = call.emit(op.add(x, value))
    return call.emit(op.where(mask, value, x))


def _index_select(call: Call) -> relax.Expr:
    x, axis = call.tensor("self"), call["dim"]
    if not call.described["self"].shape:
        return x
    places = call.reshaped(call.tensor("index"), (math.prod(shape_of(call.tensor("index"))),))
    return call.emit(op.take(x, _positive(call, places, shape_of(x)[axis]), axis=axis))


def _embedding(call: Call) -> relax.Expr:
    return call.emit(op.take(call.tensor("weight"), call.tensor("indices", "int64"), axis=0))


def _gather(call: Call) -> relax.Expr:
    """Elements along an axis; along the others, those of the places' extent."""
    x, index, axis = call.tensor("self"), call.tensor("index", "int64"), call["dim"]
    if not call.described["self"].shape:
        return call.reshaped(x, call.shape)
    cropped = _cropped(call, x, call.shape, axis % len(call.shape))
    return call.emit(op.gather_elements(cropped, index, axis=axis))


def _cropped(call: Call, x: relax.Expr, shape: tuple[int, ...], kept: int = -1) -> relax.Expr:
    """The first elements along each axis, except one that is kept."""
    found = shape_of(x)
    axes = [at for at in range(len(found)) if at != kept and found[at] != shape[at]]
    if not axes:
        return x
    ends = [shape[at] for at in axes]
    return call.emit(op.strided_slice(x, axes, [0] * len(axes), ends))


def _scatter(reduction: str | None = None) -> Converter:
    def convert(call: Call) -> relax.Expr:
        x, index = call.tensor("self"), call.tensor("index", "int64")
        if not call.described["self"].shape:
            raise Unsupported("a tensor without axes")
        shape = shape_of(index)
        if "src" in call.arguments:
            source = _cropped(call, call.tensor("src", call.dtype), shape)
        else:
            source = call.emit(op.full(shape, relax.const(call["value"], call.dtype), call.dtype))
        how = reduction or _REDUCTIONS.get(call["reduce"])
        if how is None:
            raise Unsupported(f"reduce={call['reduce']}")
        axis = call["dim"] % len(shape)
        ones = call.emit(op.ones(shape, call.dtype))
        nothing = call.emit(op.zeros_like(x))
        own = call.arguments.get("include_self", True)
        if not own:
            hit = call.emit(op.not_equal(_scattered(call, nothing, index, ones, axis), nothing))
            identity = relax.const(_identity(how, call.dtype), call.dtype)
            x = call.emit(op.where(hit, identity, x))
        if how != _AVERAGE:
            return _scattered(call, x, index, source, axis, how)
        total = _scattered(call, x, index, source, axis, "add")
        counts = _scattered(call, nothing, index, ones, axis, "add")
        one = relax.const(1, call.dtype)
        counts = call.emit(op.add(counts, one) if own else op.maximum(counts, one))
        divide = op.divide if "float" in call.dtype else op.floor_divide
        return call.emit(divide(total, counts))

    return convert


_AVERAGE = "mean"
_REDUCTIONS = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min", "add": "add",
               "multiply": "mul", _AVERAGE: _AVERAGE}  # fmt: skip


def _identity(how: str, dtype: str) -> float:
    """The number that a reduction with another one leaves as it is."""
    if how in {"max", "min"}:
        least, most = (-np.inf, np.inf) if "float" in dtype else _extremes(dtype)
        return least if how == "max" else most
    return 1 if how == "mul" else 0


def _extremes(dtype: str) -> tuple[int, int]:
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _scattered(
    call: Call, x: relax.Expr, index: relax.Expr, source: relax.Expr, axis: int, how: str = "update"
) -> relax.Expr:
    """`x` with a source put at places along an axis. Each element of the source goes to a place
    with coordinates of its own along the other axes."""
    shape, covered = shape_of(x), shape_of(index)
    places = _positive(call, index, shape[axis])
    coordinates = []
    for at, extent in enumerate(covered):
        if at == axis:
            coordinates.append(places)
            continue
        line = [extent if each == at else 1 for each in range(len(covered))]
        along = relax.const(np.arange(extent).reshape(line), "int64")
        coordinates.append(call.emit(op.broadcast_to(along, covered)))
    count = math.prod(covered)
    joined = call.emit(op.stack([call.reshaped(each, (count,)) for each in coordinates], axis=1))
    return call.emit(op.scatter_nd(x, joined, call.reshaped(source, (count,)), how))


def _masked_scatter(call: Call) -> relax.Expr:
    """Elements of a source, one after the other, where the mask is true."""
    x, shape = call.tensor("self"), call.shape
    mask = call.emit(op.broadcast_to(call.tensor("mask"), shape))
    count = math.prod(shape)
    flat = call.cast(call.reshaped(mask, (count,)), "int64")
    places = call.emit(op.subtract(op.cumsum(flat, 0), relax.const(1, "int64")))
    source = call.tensor("source")
    extent = math.prod(shape_of(source))
    places = call.emit(op.clip(places, 0, extent - 1))
    taken = call.emit(op.take(call.reshaped(source, (extent,)), places, axis=0))
    return call.emit(op.where(mask, call.reshaped(taken, shape), x))


def _embedding_bag(call: Call) -> relax.Expr:
    """Sums, means or maxima of the rows of bags: a bag goes from its offset to the next one."""
    weight, indices = call.tensor("weight"), call.tensor("indices", "int64")
    offsets, dtype = call.tensor("offsets", "int64"), str(weight.ty.dtype)
    (count,), (bags,) = shape_of(indices), shape_of(offsets)
    rows = call.emit(op.take(weight, indices, axis=0))
    starts = call.reshaped(offsets, (bags, 1))
    if call["include_last_offset"]:
        bags -= 1
        ends = call.emit(op.strided_slice(starts, [0], [1], [bags + 1]))
        starts = call.emit(op.strided_slice(starts, [0], [0], [bags]))
    else:
        after = op.strided_slice(starts, [0], [1], [bags])
        ends = call.emit(op.concat([after, relax.const([[count]], "int64")], axis=0))
    places = relax.const(np.arange(count)[None], "int64")
    inside = op.logical_and(op.greater_equal(places, starts), op.less(places, ends))
    if call["padding_idx"] >= 0:
        counts = op.not_equal(indices, relax.const(call["padding_idx"], "int64"))
        inside = op.logical_and(inside, op.reshape(counts, (1, count)))
    inside = call.emit(inside)  # [bags, count]
    member = call.cast(inside, dtype)
    size = call.emit(op.sum(member, 1, keepdims=True))
    if call["mode"] == _LARGEST:
        low = relax.const(-math.inf, dtype)
        each = op.where(op.expand_dims(inside, 2), op.expand_dims(rows, 0), low)
        largest = op.max(call.emit(each), 1)
        zero = relax.const(0, dtype)
        return relax.Tuple([call.emit(op.where(op.greater(size, zero), largest, zero))])
    if call["per_sample_weights"] is not None:
        given = call.reshaped(call.tensor("per_sample_weights"), (1, count))
        member = call.emit(op.multiply(member, given))
    total = call.emit(op.matmul(member, rows))
    if call["mode"] == _MEAN:
        total = call.emit(op.divide(total, op.maximum(size, relax.const(1, dtype))))
    return relax.Tuple([total])


_MEAN, _LARGEST = 1, 2


def _searchsorted(call: Call) -> relax.Expr:
    """How many elements of the sorted sequence are less than each value, or, `right`, not
    greater. NaN is greater than all."""
    if call["sorter"] is not None:
        raise Unsupported("a sorter")
    right = bool(call["right"]) or call["side"] == "right"
    sequence = call.tensor("sorted_sequence")
    return _counted(call, sequence, call.tensor("self", str(sequence.ty.dtype)), right)


def _bucketize(call: Call) -> relax.Expr:
    boundaries = call.tensor("boundaries")
    given = call.tensor("self", str(boundaries.ty.dtype))
    return _counted(call, boundaries, given, bool(call["right"]))


def _counted(call: Call, sequence: relax.Expr, values: relax.Expr, right: bool) -> relax.Expr:
    extents = shape_of(sequence)
    line = (*extents[:-1], 1, extents[-1]) if len(extents) > 1 else extents
    behind = op.greater if right else op.greater_equal
    found = behind(call.reshaped(sequence, line), op.expand_dims(values, len(shape_of(values))))
    before = op.logical_not(call.emit(found))
    return call.cast(call.emit(op.sum(op.astype(before, "int64"), -1)), call.dtype)


INDEXING: dict[str, Converter] = {
    "index.Tensor": _index,
    "index_put.default": _index_put,
    "index_select.default": _index_select,
    "embedding.default": _embedding,
    "gather.default": _gather,
    "scatter.src": _scatter("update"),
    "scatter.value": _scatter("update"),
    "scatter.reduce": _scatter(),
    "scatter.value_reduce": _scatter(),
    "scatter_add.default": _scatter("add"),
    "scatter_reduce.two": _scatter(),
    "masked_scatter.default": _masked_scatter,
    "_embedding_bag.default": _embedding_bag,
    "_embedding_bag_forward_only.default": _embedding_bag,
    "searchsorted.Tensor": _searchsorted,
    "searchsorted.Scalar": _searchsorted,
    "bucketize.Tensor": _bucketize,
}
