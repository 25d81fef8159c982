"""Padding that its reader can compute on the way, without a branch.

TVM pads by `if_then_else(inside, data[index], 0)`, which becomes a branch for every vector, or a
padded copy of the whole tensor, as large as the tensor, written and read again. A convolution that
reads a vector of channels for each product, a depthwise one, is better served by a selection:
`select(inside, data[index held inside], 0)` always loads, and costs one blend. A convolution that
sums over channels reads single elements many times each, and is left its copy.
"""

from __future__ import annotations

from typing import Any

from harness.passes.kernel_blocks import loads, variables
from harness.tvm_api import (
    PrimFunc,
    SBlock,
    TensorLoad,
    operator_name,
    structural_map,
    structural_walk,
    tirx,
    tvm,
)


def select_padding(module: tvm.IRModule) -> tvm.IRModule:
    """Write the padding that is read by vectors of channels as a selection."""
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc):
            result.update_func(variable, _selecting(function))
    return result


def is_selected_padding(block: SBlock) -> bool:
    """Whether a block pads by selection, as `select_padding` writes it."""
    value = getattr(block.body, "value", None)
    return (
        isinstance(value, tirx.Select)
        and isinstance(value.true_value, TensorLoad)
        and isinstance(value.false_value, (tirx.FloatImm, tirx.IntImm))
        and not loads(value.condition)
    )


def _selecting(function: PrimFunc) -> PrimFunc:
    blocks: list[SBlock] = []
    structural_walk(function.body, (SBlock, blocks.append))
    padding = [
        block
        for block in blocks
        if _pads_contiguously(block) and _read_by_vectors(block.writes[0].source, blocks)
    ]
    if not padding:
        return function

    def selected(block: SBlock) -> SBlock:
        if any(block.same_as(each) for each in padding):
            return _selected(block)
        return block

    # Before its parts, or the blocks that it meets would be others than those found above.
    body = structural_map(function.body, (SBlock, selected), order="pre")
    return function.with_body(body)


def _pads_contiguously(block: SBlock) -> bool:
    value = getattr(block.body, "value", None)
    if value is None or operator_name(value) != "prim.if_then_else":
        return False
    inside, load, outside = value.args
    return (
        isinstance(load, TensorLoad)
        and isinstance(outside, (tirx.FloatImm, tirx.IntImm))
        and not loads(inside)
        and load.indices[-1].same_as(block.iter_vars[-1].var)
    )


def _read_by_vectors(buffer: Any, blocks: list[SBlock]) -> bool:
    """Whether all reads of a buffer are of neighbours along the reader's last output axis."""
    found: list[bool] = []
    for block in blocks:
        kept = [axis.var for axis in block.iter_vars if axis.iter_type == 0]
        if kept:  # the outermost block, which holds the others, has none
            found += [
                _walks_along(load.indices, kept[-1])
                for load in loads(block.body)
                if load.source.same_as(buffer)
            ]
    return bool(found) and all(found)


def _walks_along(indices: list[Any], variable: Any) -> bool:
    last = indices[-1]
    summands = (last.a, last.b) if isinstance(last, tirx.Add) else (last,)
    return any(part.same_as(variable) for part in summands)


def _selected(block: SBlock) -> SBlock:
    store = block.body
    inside, load, outside = store.value.args
    tested = variables(inside)
    held = tirx.BufferLoad(
        load.source,
        [
            _held(index, int(extent))
            if any(part.same_as(each) for part in variables(index) for each in tested)
            else index
            for index, extent in zip(load.indices, load.source.shape, strict=True)
        ],
    )
    points = [tvm.ir.Range.from_min_extent(index, 1) for index in held.indices]
    return SBlock(
        block.iter_vars,
        [tirx.BufferRegion(load.source, points)],
        block.writes,
        block.name_hint,
        tirx.BufferStore(store.buffer, tirx.Select(inside, held, outside), store.indices),
        annotations=block.annotations,
    )


def _held(index: Any, extent: int) -> Any:
    """An index, or the nearest one that is inside."""
    first, last = (tirx.IntImm(str(index.ty), value) for value in (0, extent - 1))
    return tirx.Max(tirx.Min(index, last), first)
