"""Elementwise operators of 16-bit floats, which PyTorch computes in single precision on processors,
numbers that are no tensors too, and rounds once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from harness.compiler.api import relax
from harness.models.torch.operators.converter import dtype_name

_NARROW = (torch.float16, torch.bfloat16)


@contextmanager
def widened(node: Any, importer: Any) -> Iterator[Callable[[Any], Any]]:
    """Gives an elementwise operator, whose result is of 16-bit floats, its operands in single
    precision. The function brings its result to the type that it has."""
    result = node.meta.get("val")
    pointwise = torch.Tag.pointwise in getattr(node.target, "tags", ())
    if not pointwise or getattr(result, "dtype", None) not in _NARROW:
        yield lambda found: found
        return
    builder, known, meta = importer.block_builder, importer.env, node.meta
    narrow = {each: known[each] for each in node.all_input_nodes if _is_narrow(each)}
    for each, value in narrow.items():
        known[each] = builder.emit(relax.op.astype(value, "float32"))
    node.meta = {**meta, "val": result.to(torch.float32)}
    try:
        yield lambda found: builder.emit(relax.op.astype(found, dtype_name(result.dtype)))
    finally:
        known.update(narrow)
        node.meta = meta


def _is_narrow(node: Any) -> bool:
    return getattr(node.meta.get("val"), "dtype", None) in _NARROW
