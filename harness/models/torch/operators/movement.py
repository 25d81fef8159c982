"""Operators that move, cut or join elements."""

from __future__ import annotations

import math

import numpy as np

from harness.compiler.api import relax, shape_of
from harness.models.torch.operators.converter import Call, Converter
from harness.models.torch.refusal import Unsupported

op = relax.op


def _unfold(call: Call) -> relax.Expr:
    """Windows along an axis, whose elements become the last axis."""
    x, size, step = call.tensor("self"), call["size"], call["step"]
    rank = len(shape_of(x))
    if rank == 0:
        return call.reshaped(x, call.shape)
    axis = call["dimension"] % rank
    count = (shape_of(x)[axis] - size) // step + 1
    places = np.arange(count)[:, None] * step + np.arange(size)
    taken = call.emit(op.take(x, relax.const(places, "int64"), axis=axis))
    order = [each for each in range(rank + 1) if each != axis + 1] + [axis + 1]
    return call.emit(op.permute_dims(taken, order))


def _as_strided(call: Call) -> relax.Expr:
    """A view of the storage, which is that of a tensor whose elements are in order."""
    described, sizes, strides = call.described["self"], call["size"], call["stride"]
    if not described.is_contiguous():
        raise Unsupported("a view of a tensor whose elements are not in order")
    places = np.full((), call["storage_offset"] or 0)
    for size, stride in zip(sizes, strides, strict=True):
        places = places[..., None] + np.arange(size) * stride
    x = call.tensor("self")
    flat = call.reshaped(x, (math.prod(shape_of(x)),))
    return call.emit(op.take(flat, relax.const(places, "int64"), axis=0))


def _concatenated(call: Call) -> relax.Expr:
    """Tensors one after the other, in the result's type; empty ones of another rank are left
    out."""
    kept = [
        call.cast(each, call.dtype)
        for each in call["tensors"]
        if len(shape_of(each)) == len(call.shape)
    ]
    return kept[0] if len(kept) == 1 else call.emit(op.concat(kept, axis=call["dim"]))


def _repeated(call: Call) -> relax.Expr:
    return call.emit(op.tile(call.tensor("self"), list(call["repeats"])))


def _squeezed(call: Call) -> relax.Expr:
    return call.reshaped(call.tensor("self"), call.shape)


def _same(call: Call) -> relax.Expr:
    return call.tensor("self")


def _sorted(call: Call) -> relax.Expr:
    x, axis = call.tensor("self"), call["dim"]
    if not call.described["self"].shape:
        return relax.Tuple([x, relax.const(0, "int64")])
    return _first(call, shape_of(x)[axis], bool(call["descending"]))


def _largest(call: Call) -> relax.Expr:
    """The largest or least elements; in order also where that is not asked for."""
    return _first(call, call["k"], bool(call["largest"]))


def _first(call: Call, count: int, largest: bool) -> relax.Expr:
    """The first elements along an axis in their order, and their places: of equal ones the first
    comes first."""
    x = call.tensor("self")
    kind = str(x.ty.dtype)
    x = call.cast(x, "int8") if kind == "bool" else x
    pair = call.emit(op.topk(x, count, call["dim"], "both", largest, "int64"))
    values, places = (call.emit(relax.TupleGetItem(pair, at)) for at in range(2))
    return relax.Tuple([call.cast(values, kind), places])


def _split(call: Call) -> relax.Expr:
    """Parts, some of which may have no elements."""
    x, axis, start = call.tensor("self"), call["dim"], 0
    parts = []
    for size in call["split_sizes"]:
        parts.append(call.emit(op.strided_slice(x, [axis], [start], [start + size])))
        start += size
    return relax.Tuple(parts)


def _constant_pad(call: Call) -> relax.Expr:
    """A constant around a tensor; less than nothing cuts."""
    x, pad = call.tensor("self"), list(call["pad"])
    rank = len(call.shape)
    widths = [(0, 0)] * (rank - len(pad) // 2)
    widths += [(pad[at], pad[at + 1]) for at in range(len(pad) - 2, -1, -2)]
    begins = [max(0, -before) for before, _ in widths]
    ends = [extent - max(0, -after) for extent, (_, after) in zip(shape_of(x), widths, strict=True)]
    if any(each < 0 for width in widths for each in width):
        x = call.emit(op.strided_slice(x, list(range(rank)), begins, ends))
    added = [max(0, each) for width in widths for each in width]
    if not any(added):
        return x
    if call.dtype == "bool":
        padded = op.nn.pad(op.astype(x, "int8"), added, "constant", float(call["value"]))
        return call.cast(call.emit(padded), "bool")
    return call.emit(op.nn.pad(x, added, "constant", call["value"]))


def _full(call: Call) -> relax.Expr:
    """A tensor of one number."""
    value = call["fill_value"]
    if isinstance(value, relax.Expr):
        return call.emit(op.broadcast_to(call.cast(value, call.dtype), call.shape))
    number = relax.const(value, call.dtype)
    if math.isfinite(value):
        return call.emit(op.full(call.shape, number, call.dtype))
    return call.emit(op.broadcast_to(number, call.shape))  # TVM fills with finite numbers alone


def _zeros(call: Call) -> relax.Expr:
    """What is in memory that nothing was written to; here, zeros."""
    return call.emit(op.zeros(call.shape, call.dtype))


def _range(call: Call) -> relax.Expr:
    """Numbers from `start` to `end`, computed here in double precision as PyTorch does."""
    start, step = call.arguments.get("start", 0), call.arguments.get("step", 1)
    (count,) = call.shape
    return relax.const((start + np.arange(count) * step).astype(call.dtype), call.dtype)


def _scalar(call: Call) -> relax.Expr:
    return relax.const(call["s"], call.dtype)


def _diagonal_scattered(call: Call) -> relax.Expr:
    """A tensor with other numbers on a diagonal, which stand along the last axis of `src`."""
    x, numbers, offset = call.tensor("self"), call.tensor("src"), int(call["offset"])
    rank = len(call.shape)
    row, column = (int(call[name]) % rank for name in ("dim1", "dim2"))
    order = [at for at in range(rank) if at not in (row, column)] + [row, column]
    rows, columns = call.shape[row], call.shape[column]
    (count,) = shape_of(numbers)[-1:]
    places = np.clip(np.arange(columns) - max(offset, 0), 0, max(count - 1, 0))
    by_column = call.emit(op.take(numbers, relax.const(places, "int64"), axis=-1))
    spread = call.emit(op.expand_dims(by_column, -2))
    mask = np.eye(rows, columns, offset, dtype=bool)
    ordered = call.emit(op.permute_dims(x, order))
    found = call.emit(op.where(relax.const(mask, "bool"), spread, ordered))
    return call.emit(op.permute_dims(found, [order.index(at) for at in range(rank)]))


MOVEMENT: dict[str, Converter] = {
    "alias.default": _same,
    "clone.default": _same,
    "lift_fresh_copy.default": _same,
    "unfold.default": _unfold,
    "as_strided.default": _as_strided,
    "cat.default": _concatenated,
    "repeat.default": _repeated,
    "squeeze.dims": _squeezed,
    "sort.default": _sorted,
    "sort.stable": _sorted,
    "topk.default": _largest,
    "split_with_sizes.default": _split,
    "constant_pad_nd.default": _constant_pad,
    "diagonal_scatter.default": _diagonal_scattered,
    "full.default": _full,
    "full_like.default": _full,
    "scalar_tensor.default": _scalar,
    "empty.memory_format": _zeros,
    "empty_permuted.default": _zeros,
    "arange.start_step": _range,
}
