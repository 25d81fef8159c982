"""Index arithmetic without terms that the extents of the loops make superfluous.

A reshape that was fused reads `[(head * 32 + lane) // 384 + row, (head * 32 + lane) % 384]`, where
`head * 32 + lane` is always below 384. As long as that stands there, nobody can tell which part of
what it reads a tile needs: computing a matrix product where it is read then computes all of it, for
every tile.
"""

from __future__ import annotations

from typing import Any

from harness.compiler.api import (
    Analyzer,
    PrimFunc,
    SBlock,
    TensorLoad,
    structural_map,
    structural_walk,
    tirx,
    tvm,
)


def simplify_indices(module: tvm.IRModule) -> tvm.IRModule:
    """Write the divided indices of all kernels as simply as the extents of their loops admit.

    The others stay as they are: where a loop runs once TVM would put 0 for its variable, and no
    longer see that a reduction reads its own output.
    """
    result = module.clone()
    for variable, function in module.functions_items():
        if isinstance(function, PrimFunc):
            body = structural_map(function.body, (SBlock, _simplified))
            result.update_func(variable, function.with_body(body))
    return result


def _simplified(block: SBlock) -> SBlock:
    if not block.iter_vars:  # the outermost block: those within it know their extents
        return block
    analyzer = Analyzer()
    for axis in block.iter_vars:
        analyzer.bind(axis.var, axis.dom)

    def simple(index: Any) -> Any:
        return analyzer.simplify(index) if _divides(index) else index

    def load(found: TensorLoad) -> TensorLoad:
        return tirx.BufferLoad(found.source, [simple(index) for index in found.indices])

    reads = [
        tirx.BufferRegion(
            read.source,
            [tvm.ir.Range.from_min_extent(simple(part.min), part.extent) for part in read.region],
        )
        for read in block.reads
    ]
    return SBlock(
        block.iter_vars,
        reads,
        block.writes,
        block.name_hint,
        structural_map(block.body, (TensorLoad, load)),
        block.init,
        block.alloc_buffers,
        block.match_buffers,
        block.annotations,
    )


def _divides(index: Any) -> bool:
    found: list[Any] = []
    structural_walk(index, [(tirx.FloorDiv, found.append), (tirx.FloorMod, found.append)])
    return bool(found)
