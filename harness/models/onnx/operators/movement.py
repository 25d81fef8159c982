"""Operators that move, cut or select elements."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.compiler.api import constant_array, relax, shape_of
from harness.models.onnx.operators.converter import Builder, Converter, by_tvm
from harness.models.onnx.refusal import Unsupported


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


def _slice(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """Before opset 10 attributes give the slice."""
    if opset >= 10:
        return by_tvm(builder, inputs, attributes, opset, "Slice")
    starts, ends = attributes["starts"], attributes["ends"]
    axes = attributes.get("axes", range(len(starts)))
    bounds = [relax.const(np.asarray(list(each), np.int64)) for each in (starts, ends, axes)]
    return by_tvm(builder, [inputs[0], *bounds, None], attributes, 13, "Slice")


def _split(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    attributes.get("num_outputs")  # as many as the node has
    sizes = constant_array(inputs[1]) if inputs[1] is not None else None
    if sizes is not None and not np.all(sizes):
        raise Unsupported("a part of it has no elements")
    return by_tvm(builder, inputs, attributes, opset, "Split")


MOVEMENT: dict[str, Converter] = {
    "Dropout": _dropout,
    "OneHot": _one_hot,
    "Slice": _slice,
    "Split": _split,
}
