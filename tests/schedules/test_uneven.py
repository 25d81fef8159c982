"""Uneven tiles: the last is a short one, and the kernel computes what it computed."""

from __future__ import annotations

import json

import pytest
from compiling import run_kernel

from harness.compiler.api import ArgInfo, Schedule, meta_schedule, record_json, te, topi, tvm
from harness.kernels import packed
from harness.kernels.vectors import vector_lanes
from harness.schedules.uneven import UnevenKernel, UnevenTile, multiplied_by, uneven_tiles
from harness.tuning.candidates.difference import difference

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
LANES = vector_lanes(TARGET)
TILE = UnevenTile(rows=4, vectors=2)


def convolution(size: int, stride: int = 1, taps: int = 1, vectors: int = 4) -> tvm.IRModule:
    """A packed convolution with a bias and what comes from a branch added."""
    data = te.placeholder((1, size, size, 10), name="data")
    weights = te.placeholder((vectors, taps, taps, 10, LANES), name="weights")
    bias = te.placeholder((vectors * LANES,), name="bias")
    summed = packed.convolution(data, weights, [stride, stride], [0] * 4, [1, 1])
    branch = te.placeholder(summed.shape, name="branch")
    result = topi.add(topi.add(summed, bias), branch)
    return tvm.IRModule({"main": te.create_prim_func([data, weights, bias, branch, result])})


def row_of_windows(places: int) -> tvm.IRModule:
    """A convolution along a row, with a step between windows that overlap."""
    data = te.placeholder((1, 3 * places + 4, 2), name="data")
    weights = te.placeholder((2, 7, 2, LANES), name="weights")
    result = packed.convolution(data, weights, [3], [0] * 2, [1])
    return tvm.IRModule({"main": te.create_prim_func([data, weights, result])})


def dense(rows: int) -> tvm.IRModule:
    data = te.placeholder((rows, 6), name="data")
    weights = te.placeholder((2, 6, LANES), name="weights")
    result = packed.matmul(data, weights)
    return tvm.IRModule({"main": te.create_prim_func([data, weights, result])})


def scheduled(
    module: tvm.IRModule, *, channels_outside: bool = True, blocks: int | None = None
) -> UnevenKernel:
    kernel = UnevenKernel(
        Schedule(module), 4 * LANES, 16, 2,
        tile=TILE, channels_outside=channels_outside, blocks=blocks,
    )  # fmt: skip
    kernel.run()
    return kernel


@pytest.mark.slow
@pytest.mark.parametrize("channels_outside", [True, False])
@pytest.mark.parametrize(
    "module",
    [convolution(7), convolution(3), dense(5), dense(13), dense(8), row_of_windows(13)],
)
def test_whole_and_short_tiles_are_right(module: tvm.IRModule, channels_outside: bool) -> None:
    kernel = scheduled(module, channels_outside=channels_outside)
    assert kernel.tiled
    assert difference(run_kernel(module, TARGET), run_kernel(kernel.schedule.mod, TARGET)) is None


def test_blocks_are_as_many_as_asked() -> None:
    cuts = scheduled(convolution(7, vectors=8), blocks=2).schedule.trace.decisions.values()
    assert [list(map(int, cut)) for cut in cuts] == [[2, 2]]


def test_tiles_reach_from_one_row_of_an_image_into_the_next() -> None:
    """All 49 places are 13 tiles of 4; row by row it would be 14."""
    schedule = scheduled(convolution(7)).schedule
    extents = [int(schedule.get(loop).extent) for loop in schedule.get_loops("T_add_1")]
    assert 13 in extents


@pytest.mark.parametrize("module", [convolution(7, stride=2), convolution(7, taps=3)])
def test_rows_that_read_elsewhere_have_no_uneven_tiles(module: tvm.IRModule) -> None:
    assert not scheduled(module).tiled


def test_reader_that_drops_axes_has_a_copy_in_uneven_tiles() -> None:
    """As where a convolution over the whole height is squeezed: its loops are others."""
    data = te.placeholder((1, 3, 10, 6), name="data")
    weights = te.placeholder((3, 3, 6, 2 * LANES), name="weights")
    summed = topi.nn.conv2d_nhwc(data, weights, 1, 0, 1)
    result = topi.squeeze(topi.nn.relu(summed), [0, 1])
    module = tvm.IRModule({"main": te.create_prim_func([data, weights, result])})
    kernel = scheduled(module)
    assert kernel.tiled
    assert difference(run_kernel(module, TARGET), run_kernel(kernel.schedule.mod, TARGET)) is None


def test_cut_that_divides_nothing_is_left_out() -> None:
    """TVM ends the process for it. Of 13 channels no vectors are made, so that 13 are cut."""
    data = te.placeholder((1, 2, 5, 13), name="data")
    module = tvm.IRModule({"main": te.create_prim_func([data, topi.sum(data, 1)])})
    assert not scheduled(module, blocks=2).tiled


def test_product_whose_rows_have_weights_of_their_own_has_none() -> None:
    left = te.placeholder((3, 5, 6), name="left")
    right = te.placeholder((3, 6, 16), name="right")
    axis = te.reduce_axis((0, 6), "k")
    product = te.compute(
        (3, 5, 16), lambda b, i, j: te.sum(left[b, i, axis] * right[b, axis, j], axis), "product"
    )
    module = tvm.IRModule({"main": te.create_prim_func([left, right, product])})
    assert not scheduled(module).tiled


def test_tiles_fit_the_registers_and_the_best_come_first() -> None:
    tiles = uneven_tiles(49, 24, 15, sharing=24)
    assert all((tile.rows + 1) * tile.vectors <= 15 for tile in tiles)
    assert tiles[0] == UnevenTile(rows=4, vectors=3)
    gains = [multiplied_by(tile, 49, 24) for tile in tiles]
    assert gains == sorted(gains, reverse=True)


def test_what_a_short_tile_misses_counts_against_its_size() -> None:
    assert multiplied_by(UnevenTile(4, 2), 8, 2) > multiplied_by(UnevenTile(4, 2), 5, 2)


def test_record_in_uneven_tiles_comes_back_from_text() -> None:
    """TVM's own way to write a record fails for traces that make all rows one loop."""
    module = convolution(7)
    schedule = scheduled(module, blocks=2).schedule
    workload = meta_schedule.database.Workload(module)
    arguments = ArgInfo.from_prim_func(module["main"])
    record = meta_schedule.database.TuningRecord(
        schedule.trace, workload, [1e-3], TARGET, arguments
    )
    text = json.dumps(record_json(record))
    read = meta_schedule.database.TuningRecord.from_json(json.loads(text), workload)
    replayed = Schedule(module)
    read.trace.apply_to_schedule(replayed, remove_postproc=False)
    tvm.ir.assert_structural_equal(replayed.mod, schedule.mod)
    assert list(map(float, read.run_secs)) == [1e-3]
    assert read.target.export() == TARGET.export()
