"""Operators that move, cut or select elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from harness.compiler.api import constant, constant_array, relax, shape_of, te, tirx
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm
from harness.models.onnx.refusal import Unsupported


def _bit_cast(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """The same bits as another data type of the same size."""
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(int(attributes["to"])))
    source = str(inputs[0].ty.dtype)
    if "bool" in {dtype, source}:
        return relax.op.astype(inputs[0], dtype)

    def seen(data: te.Tensor) -> te.Tensor:
        return te.compute(
            data.shape, lambda *at: tirx.reinterpret(dtype, data[at]), name="bit_cast"
        )

    return builder.emit_te(seen, inputs[0], primfunc_name_hint="bit_cast")


def _compress(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    condition = constant_array(inputs[1])
    if condition is None:
        raise Unsupported("its condition, and so its shape, depends on the inputs' values")
    data, axis = inputs[0], attributes.get("axis")
    if axis is None:
        data, axis = builder.emit(relax.op.reshape(data, [-1])), 0
    places = np.flatnonzero(condition)
    return relax.op.take(data, constant(places.astype(np.int64)), axis=int(axis))


def _dropout(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Nothing is dropped in an inference; the mask says so."""
    x, ratio, training = inputs[:3]
    if training is not None and (constant_array(training) is None or constant_array(training)):
        share = None if ratio is None else constant_array(ratio)
        if share is None or float(share) != 0:
            raise Unsupported("training_mode drops at random; export the model for inference")
    for name in ("ratio", "seed"):  # of the training
        attributes.get(name)
    if attributes["tvm_custom"]["num_outputs"] == 1:
        return x
    dtype = "bool" if opset >= 10 else str(x.ty.dtype)
    return relax.Tuple([x, relax.const(np.ones(shape_of(x)), dtype)])


def _eye(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """EyeLike: ones on a diagonal of a matrix of the input's shape."""
    rows, columns = shape_of(inputs[0])
    kind = attributes.get("dtype")
    dtype = str(
        inputs[0].ty.dtype if kind is None else onnx.helper.tensor_dtype_to_np_dtype(int(kind))
    )
    return relax.const(np.eye(rows, columns, int(attributes.get("k", 0))), dtype)


def _one_hot(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Indices count from the end where they are negative; beyond the depth nothing is hot."""
    depth, values = constant_array(inputs[1]), inputs[2]
    if depth is None:
        raise Unsupported("its depth, and so its shape, depends on the inputs' values")
    extent = int(depth.reshape(-1)[0])
    indices = builder.emit(relax.op.astype(inputs[0], "int64"))
    rank = len(shape_of(indices)) + 1
    axis = int(attributes.get("axis", -1)) % rank
    indices = builder.emit(relax.op.expand_dims(indices, axis))
    positions = np.arange(extent).reshape([extent if at == axis else 1 for at in range(rank)])
    same = [
        builder.emit(relax.op.equal(indices, constant(places)))
        for places in (positions, positions - extent)
    ]
    hot = builder.emit(relax.op.logical_or(*same))
    off, on = (
        builder.emit(relax.op.take(values, relax.const(at, "int64"), axis=0)) for at in range(2)
    )
    return relax.op.where(hot, on, off)


_EXACT_IN_DOUBLE = 2**53
"""The operator has its value as a double: of larger integers not all are one."""


def _pad(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Negative pads cut off. All modes but `constant` take elements that the data has."""
    data, rank = inputs[0], len(shape_of(inputs[0]))
    mode = attributes.get("mode", b"constant")
    mode = mode.decode() if isinstance(mode, bytes) else str(mode)
    if opset < 11:
        given = attributes.get("pads", attributes.get("paddings"))
        value = relax.const(attributes.get("value", 0.0), str(data.ty.dtype))
    else:
        given, value = constant_array(inputs[1]), inputs[2]
    if given is None:
        raise Unsupported("its pads, and so its shape, depend on the inputs' values")
    axes = list(range(rank))
    if inputs[3] is not None:
        named = constant_array(inputs[3])
        if named is None:
            raise Unsupported("its axes depend on the inputs' values")
        axes = [int(axis) % rank for axis in named]
    pads = np.zeros((2, rank), np.int64)
    pads[:, axes] = np.asarray(given).reshape(2, -1)
    if mode != "constant":
        return _padded_by_itself(builder, data, pads, mode)
    for axis in np.flatnonzero((pads < 0).any(axis=0)):
        cut = np.minimum(pads[:, axis], 0)
        end = shape_of(data)[axis] + int(cut[1])
        data = builder.emit(relax.op.strided_slice(data, [int(axis)], [-int(cut[0])], [end]))
    pads = np.maximum(pads, 0)
    if not pads.any():
        return data
    width = [int(each) for each in pads.T.reshape(-1)]
    filler = np.zeros(()) if value is None else constant_array(value)
    filler = None if filler is None else filler.reshape(-1)[0].item()
    if filler is not None and not (isinstance(filler, int) and abs(filler) > _EXACT_IN_DOUBLE):
        return relax.op.nn.pad(data, width, pad_value=filler)
    inside = np.pad(np.ones(shape_of(data), bool), pads.T)
    filled = builder.emit(relax.op.nn.pad(data, width))
    scalar = builder.emit(relax.op.reshape(value, []))
    return relax.op.where(constant(inside), filled, scalar)


_NUMPY_MODES = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}


def _padded_by_itself(
    builder: Builder, data: relax.Expr, pads: np.ndarray, mode: str
) -> relax.Expr:
    if mode not in _NUMPY_MODES:
        raise Unsupported(f"mode={mode}")
    for axis in np.flatnonzero(pads.any(axis=0)):
        before, after = (int(each) for each in pads[:, axis])
        places = np.arange(shape_of(data)[axis])
        places = places[max(-before, 0) : len(places) - max(-after, 0)]
        places = np.pad(places, (max(before, 0), max(after, 0)), _NUMPY_MODES[mode])  # type: ignore[call-overload]
        data = builder.emit(relax.op.take(data, constant(places), axis=int(axis)))
    return data


def _slice(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Before opset 10 attributes give the slice."""
    if opset >= 10:
        return by_tvm(builder, inputs, attributes, opset, "Slice")
    starts, ends = attributes["starts"], attributes["ends"]
    axes = attributes.get("axes", range(len(starts)))
    bounds = [constant(np.asarray(list(each), np.int64)) for each in (starts, ends, axes)]
    return by_tvm(builder, [inputs[0], *bounds, None], attributes, 13, "Slice")


def _split(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    attributes.get("num_outputs")  # as many as the node has
    sizes = constant_array(inputs[1]) if inputs[1] is not None else None
    if sizes is not None and not np.all(sizes):
        raise Unsupported("a part of it has no elements")
    return by_tvm(builder, inputs, attributes, opset, "Split")


def _space_to_depth(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Blocks of pixels become channels: the channel of a block's pixel comes after the pixel's
    place, before it in the mode CRD."""
    block = int(attributes["blocksize"])
    mode = attributes.get("mode", b"DCR")
    mode = mode.decode() if isinstance(mode, bytes) else str(mode)
    batch, channels, height, width = shape_of(inputs[0])
    rows, columns = height // block, width // block
    split = [batch, channels, rows, block, columns, block]
    order = [0, 3, 5, 1, 2, 4] if mode == "DCR" else [0, 1, 3, 5, 2, 4]
    data = builder.emit(relax.op.reshape(inputs[0], split))
    data = builder.emit(relax.op.permute_dims(data, order))
    return relax.op.reshape(data, [batch, channels * block * block, rows, columns])


def _top(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """TopK. The results are in order also where they need not be."""
    count = attributes.get("k") if opset < 10 else constant_array(inputs[1])
    if count is None:
        raise Unsupported("its k, and so its shape, depends on the inputs' values")
    attributes.get("sorted")
    return relax.op.topk(
        inputs[0],
        k=int(np.asarray(count).reshape(-1)[0]),
        axis=int(attributes.get("axis", -1)),
        largest=bool(attributes.get("largest", 1)),
        dtype="int64",
    )


MOVEMENT: dict[str, Converter] = {
    "BitCast": _bit_cast,
    "Compress": _compress,
    "Dropout": _dropout,
    "EyeLike": _eye,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "TopK": _top,
}
