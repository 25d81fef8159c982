"""Queries on the loops and blocks of a kernel."""

from __future__ import annotations

import math
from typing import Any

from harness.compiler.api import PrimFunc, SBlock, Schedule, TensorLoad, structural_walk, tirx, tvm
from harness.kernels.dot_products import FUNCTIONS

SCHEDULED = "tirx.is_scheduled"
"""TVM's attribute of kernels whose loops are as they shall be."""
OPERATIONS = "layeredge.operations"
"""Attribute of kernels whose arithmetic TVM cannot count, as of those in vectors: the operations of
one call."""
_FREE = {"prim.if_then_else", "tirx.reinterpret", *FUNCTIONS}
"""Calls that are a choice, no operation at all, or one instruction."""


def loop_extent(schedule: Schedule, loop: Any) -> int:
    """How often a loop runs; ValueError when other loops decide that."""
    extent = schedule.get(loop).extent
    if not isinstance(extent, int | tirx.IntImm):
        raise ValueError(f"a loop that runs {extent} times")
    return int(extent)


def divisors(number: int) -> list[int]:
    """The divisors of a number, ascending."""
    return [part for part in range(1, number + 1) if number % part == 0]


def prime_factors(number: int) -> list[int]:
    """The primes that divide a number, ascending."""
    found, part = [], 2
    while part * part <= number:
        if number % part == 0:
            found.append(part)
            while number % part == 0:
                number //= part
        part += 1
    return found + [number] * (number > 1)


def vector_width(extent: int, lanes: int) -> int:
    """The vectors that an extent is split into: LLVM spills vectors of other odd widths."""
    width = math.gcd(extent, lanes)
    return width if width >= 4 or extent > lanes else extent


def variables(expr: Any) -> list[Any]:
    """The variables that an expression reads."""
    found: list[Any] = []
    structural_walk(expr, (tvm.ir.Var, found.append))
    return found


def calls_functions(block: SBlock) -> bool:
    """Whether a block calls exponentials and the like, which cost far more than arithmetic."""
    found: list[str] = []
    structural_walk(block.body, (tvm.ir.Call, lambda call: found.append(str(call.op.name))))
    return not _FREE.issuperset(found)


def is_opaque(kernel: PrimFunc) -> bool:
    """Whether a kernel does not declare its reads and writes: TVM writes the loops of some itself,
    as ScatterND's, and those of recurrent layers have no blocks. Neither fusing nor scheduling may
    touch them."""
    found: list[SBlock] = []
    structural_walk(kernel.body, (SBlock, found.append))
    blocks = [block for block in found if block.name_hint != "root"]
    return not blocks or not all(block.writes for block in blocks)


def loads(body: Any) -> list[Any]:
    """The loads in a statement or an expression."""
    found: list[Any] = []
    structural_walk(body, (TensorLoad, found.append))
    return found


def reads(body: Any, buffer: Any = None) -> int:
    """How many times a statement's text reads a buffer, or any."""
    return sum(buffer is None or load.source.same_as(buffer) for load in loads(body))


def walks_along(index: Any, variable: Any) -> bool:
    """Whether an index is a variable, or that and something else, so that it goes up with it by
    one."""
    summands = (index.a, index.b) if isinstance(index, tirx.Add) else (index,)
    return any(part.same_as(variable) for part in summands)


def gathered(block: SBlock) -> Any:
    """The load of a block that reads where an index that it has read says; None without one."""
    return next((load for load in loads(block.body) if any(map(loads, load.indices))), None)


def sharing(block: SBlock, vectors: int) -> int:
    """How many neighbours of so many vectors of channels read the same inputs: all, unless a block
    gathers by an index that depends on the channel, with a row for one or several."""
    load = gathered(block)
    if load is None:
        return vectors
    channel = [axis.var for axis in block.iter_vars if axis.iter_type == 0][-1]
    (indices, *_) = (index for each in load.indices for index in loads(each))
    if not any(variable.same_as(channel) for variable in variables(indices)):
        return vectors
    return max(1, vectors // int(indices.source.shape[0]))


def parts_for(count: int, threads: int) -> int:
    """The fewest equal blocks that keep all threads busy, or all that there are."""
    return next((part for part in divisors(count) if part % threads == 0), count)


def multiplied_per_load(rows: int, vectors: int, sharing: int) -> float:
    """How many multiplications of vectors a register tile makes for each load. So many of its
    vectors of channels are `sharing` the inputs of a row."""
    inputs = rows * (vectors // math.gcd(vectors, sharing))
    return rows * vectors / (inputs + vectors)


def is_copy(block: SBlock) -> bool:
    """Whether a block copies elements to where they were, as padding by nothing does."""
    value = getattr(block.body, "value", None)
    return (
        isinstance(value, TensorLoad)
        and len(value.indices) == len(block.iter_vars)
        and all(
            axis.var.same_as(index)
            for axis, index in zip(block.iter_vars, value.indices, strict=True)
        )
    )
