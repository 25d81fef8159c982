"""Sequences of tensors, whose lengths are known: tuples of values."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.compiler.api import constant, constant_array, relax
from harness.models.onnx.operators.converter import Builder, Converter
from harness.models.onnx.refusal import Unsupported


def _elements(builder: Builder, sequence: relax.Expr) -> list[relax.Expr]:
    if isinstance(sequence, relax.Tuple):
        return list(sequence.fields)
    count = len(sequence.ty.fields)
    return [builder.emit(relax.TupleGetItem(sequence, at)) for at in range(count)]


def _place(given: relax.Expr | None, count: int, last: int) -> int:
    """A position of a sequence of `count` elements, from its end where it is negative; by default
    the `last` that there may be. Raises Unsupported."""
    if given is None:
        return last
    array = constant_array(given)
    if array is None:
        raise Unsupported("its position depends on the inputs' values")
    at = int(np.asarray(array).reshape(-1)[0])
    if not -count <= at <= last:
        raise Unsupported(f"position {at} of a sequence of {count}")
    return at % count if at < 0 else at


def _empty(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    attributes.get("dtype")  # that of its elements, once it has some
    return relax.Tuple([])


def _constructed(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    return relax.Tuple([inputs[at] for at in range(len(inputs))])


def _inserted(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """SequenceInsert: before a position, by default at the end."""
    found = _elements(builder, inputs[0])
    found.insert(_place(inputs[2], len(found), len(found)), inputs[1])
    return relax.Tuple(found)


def _erased(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    """SequenceErase: by default the last element."""
    found = _elements(builder, inputs[0])
    del found[_place(inputs[1], len(found), len(found) - 1)]
    return relax.Tuple(found)


def _element(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    found = _elements(builder, inputs[0])
    return found[_place(inputs[1], len(found), len(found) - 1)]


def _length(builder: Builder, inputs: Any, attributes: Any, opset: int) -> relax.Expr:
    return constant(np.asarray(len(_elements(builder, inputs[0])), np.int64))


SEQUENCES: dict[str, Converter] = {
    "SequenceAt": _element,
    "SequenceConstruct": _constructed,
    "SequenceEmpty": _empty,
    "SequenceErase": _erased,
    "SequenceInsert": _inserted,
    "SequenceLength": _length,
}
