"""Operators of TFLite that move and select values, of floats and of integers in steps alike."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.compiler.api import constant, relax
from harness.models.tflite.operation import (
    Converter,
    Operation,
    Unsupported,
    activated,
    padding_of,
)
from harness.models.tflite.quantization import within_activation


def _reshape(operation: Operation) -> relax.Expr:
    if operation.given(1) and not operation.known(1):
        shape = list(operation.outputs[0].shape)
        if math.prod(shape) != math.prod(operation.shape(0)):
            raise Unsupported(f"its shape, '{operation.tensor(1).name}', depends on values")
    elif operation.given(1):
        shape = operation.integers(1)
    else:
        found = operation.options("ReshapeOptions").NewShapeAsNumpy()
        shape = [int(each) for each in found] if isinstance(found, np.ndarray) else []
    if 0 in shape and 0 not in operation.shape(0):
        shape = list(operation.outputs[0].shape)  # as old files say it of scalars
    return relax.op.reshape(operation.value(0), shape)


def _squeeze(operation: Operation) -> relax.Expr:
    shape = operation.shape(0)
    axes = operation.options("SqueezeOptions").SqueezeDimsAsNumpy()
    dropped = {int(axis) % len(shape) for axis in axes} if isinstance(axes, np.ndarray) else set()
    kept = [
        extent
        for axis, extent in enumerate(shape)
        if (axis not in dropped if dropped else extent != 1)
    ]
    return relax.op.reshape(operation.value(0), kept)


def _expand_dims(operation: Operation) -> relax.Expr:
    (axis,) = operation.integers(1)
    return relax.op.expand_dims(operation.value(0), axis)


def _transpose(operation: Operation) -> relax.Expr:
    return relax.op.permute_dims(operation.value(0), operation.integers(1))


def _pairs(operation: Operation, at: int) -> list[tuple[int, int]]:
    """Paddings and crops: two numbers for each axis."""
    return [(int(before), int(after)) for before, after in operation.array(at)]


def _zero(operation: Operation) -> float:
    """What stands for zero in the data."""
    steps = operation.outputs[0].steps
    return 0.0 if steps is None else float(steps.zero_point[0])


def _padded(value: relax.Expr, pairs: Sequence[tuple[int, int]], number: float) -> relax.Expr:
    if not any(map(any, pairs)):
        return value
    return relax.op.nn.pad(value, list(itertools.chain(*pairs)), pad_value=number)


def _pad(operation: Operation) -> relax.Expr:
    number = _zero(operation)
    if operation.given(2):
        number = float(operation.array(2).reshape(-1)[0])
    return _padded(operation.value(0), _pairs(operation, 1), number)


def _mirror_pad(operation: Operation) -> relax.Expr:
    """Gathers along each axis: the places are known."""
    mode = "symmetric" if operation.options("MirrorPadOptions").Mode() else "reflect"
    found = operation.value(0)
    for axis, pair in enumerate(_pairs(operation, 1)):
        if any(pair):
            places = np.pad(np.arange(operation.shape(0)[axis], dtype=np.int32), pair, mode)  # type: ignore[call-overload]
            found = operation.emit(relax.op.take(found, constant(places), axis=axis))
    return found


def _concatenation(operation: Operation) -> relax.Expr:
    options = operation.options("ConcatenationOptions")
    values = [operation.value(at) for at in range(len(operation.inputs))]
    return _bounded(operation, relax.op.concat(values, options.Axis()), options)


def _bounded(operation: Operation, value: relax.Expr, options: Any) -> relax.Expr:
    """A result after its operator's activation."""
    result, function = operation.outputs[0], options.FusedActivationFunction()
    if result.steps is None:
        return activated(value, function)
    return within_activation(value, function, result.steps, result.dtype)


def _max_pool(operation: Operation) -> relax.Expr:
    options = operation.options("Pool2DOptions")
    window = (options.FilterHeight(), options.FilterWidth())
    strides = (options.StrideH(), options.StrideW())
    padding = padding_of(options.Padding(), operation.shape(0)[1:3], window, strides)
    found = relax.op.nn.max_pool2d(operation.value(0), window, strides, padding, layout="NHWC")
    return _bounded(operation, found, options)


def _pack(operation: Operation) -> relax.Expr:
    axis = operation.options("PackOptions").Axis()
    return relax.op.stack([operation.value(at) for at in range(len(operation.inputs))], axis)


def _unpack(operation: Operation) -> relax.Expr:
    axis, data = operation.options("UnpackOptions").Axis(), operation.value(0)
    count = operation.shape(0)[axis]
    if count == 1:
        return relax.Tuple([operation.emit(relax.op.squeeze(data, [axis]))])
    parts = operation.emit(relax.op.split(data, count, axis))
    return relax.Tuple([operation.emit(relax.op.squeeze(parts[at], [axis])) for at in range(count)])


def _split(operation: Operation) -> relax.Expr:
    (axis,) = operation.integers(0)
    return _parted(operation, 1, axis, [])


def _split_v(operation: Operation) -> relax.Expr:
    (axis,) = operation.integers(2)
    sizes, extent = operation.integers(1), operation.shape(0)[axis]
    rest = extent - sum(size for size in sizes if size >= 0)
    return _parted(operation, 0, axis, [rest if size < 0 else size for size in sizes])


def _parted(operation: Operation, at: int, axis: int, sizes: list[int]) -> relax.Expr:
    count = len(operation.outputs)
    if count == 1:
        return relax.Tuple([operation.value(at)])
    sections = [int(end) for end in np.cumsum(sizes)[:-1]] if sizes else count
    return relax.op.split(operation.value(at), sections, axis)


def _slice(operation: Operation) -> relax.Expr:
    shape, begin = operation.shape(0), operation.integers(1)
    sizes = operation.integers(2)
    end = [
        extent if size < 0 else start + size
        for extent, start, size in zip(shape, begin, sizes, strict=True)
    ]
    axes = list(range(len(shape)))
    return relax.op.strided_slice(operation.value(0), axes, begin, end)


def _strided_slice(operation: Operation) -> relax.Expr:
    """Each entry takes an axis of the data, but for new axes and the ellipsis."""
    options = operation.options("StridedSliceOptions")
    starts, ends, strides = (operation.integers(at) for at in (1, 2, 3))
    shape = operation.shape(0)
    new, ellipsis = options.NewAxisMask(), options.EllipsisMask()
    taking = sum(not (new | ellipsis) >> at & 1 for at in range(len(starts)))
    taken: list[tuple[int, int, int]] = []  # begin, end and stride of each axis of the data
    result: list[int] = []

    def take_whole(count: int) -> None:
        extents = shape[len(taken) : len(taken) + count]
        taken.extend((0, extent, 1) for extent in extents)
        result.extend(extents)

    for at, (start, stop, stride) in enumerate(zip(starts, ends, strides, strict=True)):
        if ellipsis >> at & 1:
            take_whole(len(shape) - taking)
        elif new >> at & 1:
            result.append(1)
        elif options.ShrinkAxisMask() >> at & 1:
            place = start % shape[len(taken)]
            taken.append((place, place + 1, 1))
        else:
            begin = None if options.BeginMask() >> at & 1 else start
            behind = start + stop if options.Offset() else stop
            end = None if options.EndMask() >> at & 1 else behind
            extent = shape[len(taken)]
            first, last, step = slice(begin, end, stride).indices(extent)
            result.append(len(range(first, last, step)))
            # An end before the first element counts from the end, beyond the first.
            taken.append((first, last - extent if last < 0 else last, step))
    take_whole(len(shape) - len(taken))
    axes = list(range(len(shape)))
    begins, ends, strides = (list(each) for each in zip(*taken, strict=True))
    found = operation.emit(relax.op.strided_slice(operation.value(0), axes, begins, ends, strides))
    return relax.op.reshape(found, result)


def _gather(operation: Operation) -> relax.Expr:
    options = operation.options("GatherOptions")
    shape, batch = operation.shape(0), options.BatchDims()
    axis = options.Axis() % len(shape)
    if not batch:
        return relax.op.take(operation.value(0), operation.value(1), axis=axis)
    if axis != batch:
        raise Unsupported(f"axis {axis} with {batch} batch dimensions")
    places = relax.op.astype(relax.op.expand_dims(operation.value(1), -1), "int64")
    return relax.op.gather_nd(operation.value(0), operation.emit(places), batch)


def _gather_nd(operation: Operation) -> relax.Expr:
    places = operation.emit(relax.op.astype(operation.value(1), "int64"))
    return relax.op.gather_nd(operation.value(0), places)


def _space_to_batch(operation: Operation) -> relax.Expr:
    """Data [batch, extents …, rest …]."""
    block = operation.integers(1)
    count = len(block)
    rank = len(operation.shape(0))
    pairs = [(0, 0), *_pairs(operation, 2), *[(0, 0)] * (rank - count - 1)]
    padded = _padded(operation.value(0), pairs, _zero(operation))
    shape = [extent + sum(pair) for extent, pair in zip(operation.shape(0), pairs, strict=True)]
    rows = [(shape[at] // size, size) for at, size in enumerate(block, 1)]
    rest = shape[count + 1 :]
    split = relax.op.reshape(padded, [shape[0], *itertools.chain(*rows), *rest])
    order = [*range(2, 2 * count + 1, 2), 0, *range(1, 2 * count, 2)]
    order += range(2 * count + 1, 2 * count + 1 + len(rest))
    moved = relax.op.permute_dims(split, order)
    batch = shape[0] * math.prod(block)
    return relax.op.reshape(moved, [batch, *(row for row, _ in rows), *rest])


def _batch_to_space(operation: Operation) -> relax.Expr:
    block, crops = operation.integers(1), _pairs(operation, 2)
    batch, *shape = operation.shape(0)
    count = len(block)
    extents, rest = shape[:count], shape[count:]
    split = relax.op.reshape(
        operation.value(0), [*block, batch // math.prod(block), *extents, *rest]
    )
    order = [count, *itertools.chain(*((count + 1 + at, at) for at in range(count)))]
    order += range(2 * count + 1, 2 * count + 1 + len(rest))
    grown = [extent * size for extent, size in zip(extents, block, strict=True)]
    moved = relax.op.reshape(
        relax.op.permute_dims(split, order), [batch // math.prod(block), *grown, *rest]
    )
    if not any(map(any, crops)):
        return moved
    begin = [before for before, _ in crops]
    end = [extent - after for extent, (_, after) in zip(grown, crops, strict=True)]
    return relax.op.strided_slice(moved, list(range(1, count + 1)), begin, end)


def _tile(operation: Operation) -> relax.Expr:
    return relax.op.tile(operation.value(0), operation.integers(1))


def _broadcast_to(operation: Operation) -> relax.Expr:
    return relax.op.broadcast_to(operation.value(0), operation.integers(1))


def _reverse(operation: Operation) -> relax.Expr:
    found = operation.value(0)
    for axis in operation.integers(1):
        found = operation.emit(relax.op.flip(found, axis))
    return found


def _dynamic_update_slice(operation: Operation) -> relax.Expr:
    """Where the place is known: what is around the part that is replaced stays."""
    shape, size = operation.shape(0), operation.shape(1)
    starts = [
        min(max(start, 0), extent - part)
        for start, extent, part in zip(operation.integers(2), shape, size, strict=True)
    ]
    found, inner = operation.value(1), list(starts)
    # Axis by axis: all data before and behind, of the extent that the part has by then.
    for axis in reversed(range(len(shape))):
        begin, end = [*inner], [start + part for start, part in zip(starts, size, strict=True)]
        begin[axis + 1 :], end[axis + 1 :] = [0] * (len(shape) - axis - 1), shape[axis + 1 :]
        parts = []
        for low, high in ((0, starts[axis]), (starts[axis] + size[axis], shape[axis])):
            begin[axis], end[axis] = low, high
            axes = list(range(len(shape)))
            around = relax.op.strided_slice(operation.value(0), axes, list(begin), list(end))
            parts.append(operation.emit(around) if high > low else None)
        joined = [part for part in (parts[0], found, parts[1]) if part is not None]
        found = operation.emit(relax.op.concat(joined, axis)) if len(joined) > 1 else found
    return found


def _select(operation: Operation) -> relax.Expr:
    """SELECT takes a condition of rows, too."""
    condition = operation.value(0)
    rank, given = len(operation.shape(1)), operation.shape(0)
    if operation.name == "SELECT" and len(given) == 1 and rank > 1:
        condition = relax.op.reshape(condition, [*given, *[1] * (rank - 1)])
    return relax.op.where(condition, operation.value(1), operation.value(2))


def _embedding_lookup(operation: Operation) -> relax.Expr:
    return relax.op.take(operation.value(1), operation.value(0), axis=0)


def _scatter_nd(operation: Operation) -> relax.Expr:
    """Values at one place are added up."""
    updates = operation.value(1)
    zeros = constant(np.zeros(operation.integers(2), str(updates.ty.dtype)))
    places = operation.emit(relax.op.astype(operation.value(0), "int64"))
    return relax.op.scatter_nd(zeros, places, updates, "add")


def _sparse_to_dense(operation: Operation) -> relax.Expr:
    """Places [values, dimensions], or those of a vector."""
    shape = operation.integers(1)
    places = operation.array(0).astype(np.int64).reshape(-1, len(shape))
    dtype = operation.outputs[0].dtype
    dense = np.full(shape, operation.array(3).reshape(-1)[0], dtype)
    values = relax.op.broadcast_to(operation.value(2), [len(places)])
    return relax.op.scatter_nd(constant(dense), constant(places), operation.emit(values))


def _diagonal(rows: int, columns: int) -> relax.Expr:
    return constant(np.eye(rows, columns) > 0)


def _matrix_diag(operation: Operation) -> relax.Expr:
    values = operation.value(0)
    zero = constant(np.zeros((), str(values.ty.dtype)))
    extent = operation.shape(0)[-1]
    return relax.op.where(_diagonal(extent, extent), relax.op.expand_dims(values, -1), zero)


def _matrix_set_diag(operation: Operation) -> relax.Expr:
    *batch, rows, columns = operation.shape(0)
    values, extent = operation.value(1), min(rows, columns)
    if rows > extent:
        pairs = [(0, 0)] * len(batch) + [(0, rows - extent)]
        values = operation.emit(_padded(values, pairs, 0.0))
    column = relax.op.expand_dims(values, -1)
    return relax.op.where(_diagonal(rows, columns), column, operation.value(0))


def _shape(operation: Operation) -> relax.Expr:
    return constant(np.array(operation.shape(0), operation.outputs[0].dtype))


MOVEMENT: dict[str, Converter] = {
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "BROADCAST_TO": _broadcast_to,
    "CONCATENATION": _concatenation,
    "DYNAMIC_UPDATE_SLICE": _dynamic_update_slice,
    "EMBEDDING_LOOKUP": _embedding_lookup,
    "EXPAND_DIMS": _expand_dims,
    "GATHER": _gather,
    "GATHER_ND": _gather_nd,
    "MATRIX_DIAG": _matrix_diag,
    "MATRIX_SET_DIAG": _matrix_set_diag,
    "MAX_POOL_2D": _max_pool,
    "MIRROR_PAD": _mirror_pad,
    "PACK": _pack,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "REVERSE_V2": _reverse,
    "SCATTER_ND": _scatter_nd,
    "SELECT": _select,
    "SELECT_V2": _select,
    "SHAPE": _shape,
    "SLICE": _slice,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "SPARSE_TO_DENSE": _sparse_to_dense,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "TILE": _tile,
    "TRANSPOSE": _transpose,
    "UNPACK": _unpack,
}
