"""Padding that its reader can compute on the way, without a branch.

TVM pads by `if_then_else(inside, data[index], 0)`, which becomes a branch for every vector, or a
padded copy of the whole tensor, as large as the tensor, written and read again. A convolution that
reads a vector of channels for each product, a depthwise one, is better served by a mask:
`data[clamped index] & (inside ? -1 : 0)` always loads, and costs one operation on the bits. A
convolution that sums over channels reads single elements many times each, and keeps its copy.

The mask keeps the load in bounds. In `select(inside, data[clamped index], 0)` TVM's simplifier
takes `inside` as known within the selected value and removes the clamp, while LLVM loads whether or
not the condition holds: the kernel would read outside its input. No condition governs the operands
of a bitwise operation, so that nothing can be concluded about the index there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.compiler.api import (
    PrimFunc,
    SBlock,
    TensorLoad,
    operator_name,
    structural_map,
    structural_walk,
    tirx,
    tvm,
)
from harness.kernels.blocks import loads, variables, walks_along

_BITS = {
    f"{kind}{width}": f"int{width}"
    for kind, widths in (("float", (16, 32, 64)), ("int", (8, 16, 32, 64)), ("uint", (8, 16, 32)))
    for width in widths
}
"""The integer that has the bits of an element, for the types of elements that can be masked."""
_MASKED = "layeredge.masked_padding"
"""Annotates the blocks that pad by a mask."""


def mask_padding(module: tvm.IRModule) -> tvm.IRModule:
    """Write the padding that is read by vectors of channels as a mask."""
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc):
            result.update_func(variable, _masking(function))
    return result


def pad_maxima(module: tvm.IRModule) -> tvm.IRModule:
    """Pad what maxima of windows read with -∞: TVM's least finite number is more than that. The
    kernels must be those of single operators still."""
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc) and variable.name_hint.startswith("max_pool"):
            body = structural_map(function.body, (SBlock, _infinitely_padded))
            result.update_func(variable, function.with_body(body))
    return result


def _infinitely_padded(block: SBlock) -> SBlock:
    value = getattr(block.body, "value", None)
    if value is None or operator_name(value) != "prim.if_then_else":
        return block
    inside, load, outside = value.args
    if not isinstance(outside, tirx.FloatImm):
        return block
    least = tirx.FloatImm(str(outside.ty), float("-inf"))
    return _storing(block, tirx.if_then_else(inside, load, least), block.reads)


def _storing(block: SBlock, value: Any, reads: Any, **annotations: Any) -> SBlock:
    """A block of one store that stores another value."""
    store = block.body
    return SBlock(
        block.iter_vars,
        reads,
        block.writes,
        block.name_hint,
        tirx.BufferStore(store.buffer, value, store.indices),
        annotations={**block.annotations, **annotations},
    )


def is_masked_padding(block: SBlock) -> bool:
    """Whether a block pads by a mask, as `mask_padding` writes it."""
    return _MASKED in block.annotations


def _masking(function: PrimFunc) -> PrimFunc:
    blocks: list[SBlock] = []
    structural_walk(function.body, (SBlock, blocks.append))
    padding = [
        block
        for block in blocks
        if _pads_contiguously(block) and _read_by_vectors(block.writes[0].source, blocks)
    ]
    if not padding:
        return function

    def masked(block: SBlock) -> SBlock:
        if any(block.same_as(each) for each in padding):
            return _masked(block)
        return block

    # Before its parts, or the blocks that it meets would be others than those found above.
    body = structural_map(function.body, (SBlock, masked), order="pre")
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
        and str(load.ty) in _BITS
        and load.indices[-1].same_as(block.iter_vars[-1].var)
    )


def _read_by_vectors(buffer: Any, blocks: list[SBlock]) -> bool:
    """Whether all reads of a buffer are of neighbours along the reader's last output axis."""
    found: list[bool] = []
    for block in blocks:
        kept = [axis.var for axis in block.iter_vars if axis.iter_type == 0]
        if kept:  # the outermost block, which holds the others, has none
            found += [
                walks_along(load.indices[-1], kept[-1])
                for load in loads(block.body)
                if load.source.same_as(buffer)
            ]
    return bool(found) and all(found)


def _masked(block: SBlock) -> SBlock:
    inside, load, outside = block.body.value.args
    tested = variables(inside)
    clamped = tirx.BufferLoad(
        load.source,
        [
            _clamped(index, int(extent))
            if any(part.same_as(each) for part in variables(index) for each in tested)
            else index
            for index, extent in zip(load.indices, load.source.shape, strict=True)
        ],
    )
    points = [tvm.ir.Range.from_min_extent(index, 1) for index in clamped.indices]
    reads = [tirx.BufferRegion(load.source, points)]
    return _storing(block, _mask(inside, clamped, outside), reads, **{_MASKED: True})


def _clamped(index: Any, extent: int) -> Any:
    """An index, or the nearest one that is inside."""
    first, last = (tirx.IntImm(str(index.ty), value) for value in (0, extent - 1))
    return tirx.Max(tirx.Min(index, last), first)


def _mask(inside: Any, load: Any, outside: Any) -> Any:
    """The bits of a loaded element where it is inside, and those of a constant elsewhere."""
    element = str(load.ty)
    integer = _BITS[element]
    constant = int(np.array(outside.value, element).view(integer))
    bits = tirx.bitwise_and(_as_type(integer, load), _either(inside, -1, 0, integer))
    if constant:
        bits = tirx.bitwise_or(bits, _either(inside, 0, constant, integer))
    return _as_type(element, bits)


def _as_type(dtype: str, value: Any) -> Any:
    """The bits of a value as another type of the same width."""
    return value if str(value.ty) == dtype else tirx.reinterpret(dtype, value)


def _either(condition: Any, then: int, otherwise: int, dtype: str) -> Any:
    return tirx.Select(condition, tirx.const(then, dtype), tirx.const(otherwise, dtype))
