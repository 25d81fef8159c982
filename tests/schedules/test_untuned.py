"""Kernels that are not tuned: rows that nothing divides are no rows of their own."""

from __future__ import annotations

import math

import pytest
from compiling import run_kernel

from harness.compiler.api import SBlockRealize, te, topi, tvm
from harness.kernels import packed
from harness.kernels.vectors import vector_lanes
from harness.schedules.default import Tiling
from harness.schedules.uneven import UnevenTile
from harness.schedules.untuned import _uneven_tile, schedule_untuned
from harness.tuning.candidates.difference import difference

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
LANES = vector_lanes(TARGET)


def dense(rows: int) -> tvm.IRModule:
    """A packed product with a bias, of 8 vectors of channels."""
    data = te.placeholder((rows, 20), name="data")
    weights = te.placeholder((8, 20, LANES), name="weights")
    bias = te.placeholder((8 * LANES,), name="bias")
    result = topi.add(packed.matmul(data, weights), bias)
    return tvm.IRModule({"main": te.create_prim_func([data, weights, bias, result])})


@pytest.mark.parametrize("rows", [1, 7, 16, 31, 97])
def test_products_of_any_number_of_rows_are_right(rows: int) -> None:
    module = dense(rows)
    found = schedule_untuned(module, TARGET, 2)
    assert difference(run_kernel(module, TARGET), run_kernel(found, TARGET)) is None


@pytest.mark.parametrize(
    ("tiling", "expected"),
    [
        (Tiling(197, 768, 96, tile_rows=1, tile_vectors=12, shared=96), True),
        (Tiling(196, 768, 96, tile_rows=4, tile_vectors=3, shared=96), False),
        (Tiling(1, 768, 96, tile_rows=1, tile_vectors=12, shared=96), False),
        (Tiling(197, 8, 1, tile_rows=1, tile_vectors=1, shared=1), False),
    ],
)
def test_uneven_tiles_take_the_place_of_much_worse_ones(tiling: Tiling, expected: bool) -> None:
    found = _uneven_tile(tiling, registers=15, threads=2)
    assert isinstance(found, UnevenTile) == expected
    assert _uneven_tile(None, 15, 2) is None


def test_a_register_is_left_for_the_input_that_vectors_share() -> None:
    """7 x 4 sums and 4 weights would fill all 32: they were on the stack, 1.7 times slower."""
    tiling = Tiling(49, 128, 8, tile_rows=7, tile_vectors=2, shared=8)
    assert _uneven_tile(tiling, registers=32, threads=2) is None


def test_fewer_channels_than_lanes_are_parted_for_the_threads() -> None:
    """Of a long sum: tiles are narrower than a vector then."""
    data = te.placeholder((1, 40_000), name="data")
    weights = te.placeholder((40_000, 3), name="weights")
    result = topi.add(topi.matmul(data, weights), te.placeholder((3,), name="bias"))
    inputs = [data, weights, result.op.input_tensors[1]]
    module = tvm.IRModule({"main": te.create_prim_func([*inputs, result])})
    found = schedule_untuned(module, TARGET, 2)
    assert difference(run_kernel(module, TARGET), run_kernel(found, TARGET)) is None


def shuffled_groups() -> tvm.IRModule:
    """A convolution in groups whose channels are shuffled, as ShuffleNet has it."""
    data = te.placeholder((1, 7, 7, 544), name="data")
    weights = te.placeholder((1, 1, 136, 544), name="weights")
    found = topi.nn.group_conv2d_nhwc(data, weights, 1, 0, 1, 4)
    parted = topi.reshape(found, (1, 7, 7, 4, 136))
    moved = topi.transpose(parted, (0, 1, 2, 4, 3))
    result = topi.reshape(moved, (1, 7, 7, 544))
    return tvm.IRModule({"main": te.create_prim_func([data, weights, result])})


@pytest.mark.parametrize("mcpu", ["znver2", "skylake-avx512"])
def test_no_result_is_computed_again_where_channels_are_moved(mcpu: str) -> None:
    target = tvm.target.Target({"kind": "llvm", "mcpu": mcpu, "num-cores": 2})
    scheduled = schedule_untuned(shuffled_groups(), target, 2)
    products = [0]

    def count(node: object, extents: tuple[int, ...] = ()) -> None:
        if isinstance(node, tvm.tirx.For):
            count(node.body, (*extents, int(node.extent)))
        elif isinstance(node, tvm.tirx.SeqStmt):
            for each in node.seq:
                count(each, extents)
        elif isinstance(node, SBlockRealize):
            block = node.block
            if block.name_hint == "root":
                count(block.body, extents)
            elif any(axis.iter_type == 2 for axis in block.iter_vars):
                products[0] += math.prod(extents)

    count(scheduled["main"].body)
    assert 0 < products[0] <= 1.1 * 49 * 544 * 136
