"""What schedules ask about a kernel's blocks."""

from __future__ import annotations

import pytest

from harness.compiler.api import SBlock, Schedule, te, tvm
from harness.kernels import block_sparse, packed
from harness.kernels.blocks import multiplied_per_load, sharing

LANES, VECTORS, ROWS, INPUTS = 4, 6, 5, 8


def anchor(arguments: list[te.Tensor], result: te.Tensor) -> SBlock:
    """The block of the reduction."""
    module = tvm.IRModule({"main": te.create_prim_func([*arguments, result])})
    schedule = Schedule(module)
    return schedule.get(schedule.get_sblock(result.op.name))


def dense() -> SBlock:
    data = te.placeholder((ROWS, INPUTS), name="data")
    weights = te.placeholder((VECTORS, INPUTS, LANES), name="weights")
    return anchor([data, weights], packed.matmul(data, weights))


def sparse(width: int) -> SBlock:
    data = te.placeholder((ROWS, INPUTS), name="data")
    weights = te.placeholder((VECTORS * LANES // width, 3, width), name="weights")
    indices = te.placeholder((VECTORS * LANES // width, 3), name="indices", dtype="int32")
    return anchor([data, weights, indices], block_sparse.matmul(data, weights, indices))


def embedded() -> SBlock:
    """The rows that are multiplied are looked up, for all channels the same ones."""
    table = te.placeholder((9, INPUTS), name="table")
    rows = te.placeholder((ROWS,), name="rows", dtype="int32")
    weights = te.placeholder((INPUTS, VECTORS * LANES), name="weights")
    axis = te.reduce_axis((0, INPUTS), name="axis")
    product = te.compute(
        (ROWS, VECTORS * LANES),
        lambda row, channel: te.sum(table[rows[row], axis] * weights[axis, channel], axis=axis),
        name="product",
    )
    return anchor([table, rows, weights], product)


@pytest.mark.parametrize(
    ("block", "shared"),
    [(dense(), 6), (sparse(LANES), 1), (sparse(2 * LANES), 2), (embedded(), 6)],
)
def test_vectors_share_what_no_index_tells_apart(block: SBlock, shared: int) -> None:
    assert sharing(block, VECTORS) == shared


def test_what_vectors_share_is_loaded_once_for_all_of_them() -> None:
    assert multiplied_per_load(6, 2, sharing=2) == 12 / 8
    assert multiplied_per_load(6, 2, sharing=1) == 12 / 14
    assert multiplied_per_load(4, 3, sharing=2) == 12 / 15, "a tile that begins within a block"
