"""Every schedule of the tiled design space computes what the unscheduled kernel computes."""

from __future__ import annotations

import pytest
from compiling import run_kernel
from tiled_kernels import LANES, TARGET, convolution, dense

from harness.compiler.api import Schedule, te, topi, trace_json, tvm
from harness.kernels import block_sparse
from harness.kernels.block_sparse import WIDE
from harness.schedules.sketches import Sketches
from harness.schedules.untuned import schedule_untuned
from harness.tuning.candidates.difference import difference


def sparse(rows: int, inputs: int, vectors: int, kept: int, width: int = LANES) -> tvm.IRModule:
    data = te.placeholder((rows, inputs), name="data")
    weights = te.placeholder((vectors, kept, width), name="weights")
    indices = te.placeholder((vectors, kept), name="indices", dtype="int32")
    result = block_sparse.matmul(data, weights, indices)
    return tvm.IRModule({"main": te.create_prim_func([data, weights, indices, result])})


def gathering(size: int, inputs: int, vectors: int, kept: int, taps: int) -> tvm.IRModule:
    """A convolution with block-sparse weights."""
    data = te.placeholder((1, size, size, inputs), name="data")
    weights = te.placeholder((vectors, kept, LANES), name="weights")
    indices = te.placeholder((vectors, kept), name="indices", dtype="int32")
    at = [1, 1], [taps // 2] * 4, [1, 1]
    result = topi.nn.relu(block_sparse.conv2d(data, weights, indices, [taps, taps], *at))
    return tvm.IRModule({"main": te.create_prim_func([data, weights, indices, result])})


def doubled(extent: int) -> tvm.IRModule:
    data = te.placeholder((extent,), name="data")
    return tvm.IRModule({"main": te.create_prim_func([data, topi.add(data, data)])})


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    [convolution(7, 5, 2, 1), convolution(6, 3, 1, 0), dense(12, 10, 3), dense(1, 8, 4)],
)
def test_promising_schedules_are_right(kernel: tvm.IRModule) -> None:
    expected = run_kernel(kernel, TARGET)
    schedules = list(Sketches(kernel, TARGET, 2).promising())
    assert schedules
    for schedule in schedules:
        assert difference(expected, run_kernel(schedule.mod, TARGET)) is None


@pytest.mark.slow
def test_sampled_schedules_are_right_when_their_traces_are_replayed() -> None:
    kernel = convolution(6, 4, 4, 1)
    expected = run_kernel(kernel, TARGET)
    for space in Sketches(kernel, TARGET, 2).spaces:
        instructions, decisions = trace_json(space.trace)
        # Height, width, the vectors of channels, and the steps of the reduction.
        assert len(decisions) == 4
        for seed in range(4):
            schedule = Schedule(kernel, seed=seed + 1)
            type(space.trace).apply_json_to_schedule([instructions, []], schedule)
            assert difference(expected, run_kernel(schedule.mod, TARGET)) is None


def test_padding_needs_no_parallel_loop_of_its_own() -> None:
    padded, plain = (Sketches(convolution(64, 32, 2, padding), TARGET, 2) for padding in (1, 0))
    assert (len(padded.spaces), len(plain.spaces)) == (4, 2)
    assert [str(space.mod).count("T.parallel") for space in padded.spaces] == [1, 1, 2, 2]
    assert {str(schedule.mod).count("T.parallel") for schedule in padded.promising()} == {1, 2}


def test_first_tiles_fit_the_registers_and_differ() -> None:
    kernel = dense(48, 32, 8)
    texts = {schedule.mod.script() for schedule in Sketches(kernel, TARGET, 2).promising()}
    assert len(texts) > 3


def test_best_tiles_are_tried_with_steps_unrolled_too() -> None:
    """The steps of a reduction are in one piece of code, as many as divide its length."""
    for inputs, unrolled in ((16, 4), (6, 2), (7, 1)):
        schedules = Sketches(dense(8, inputs, 1), TARGET, 2).promising()
        found = {
            int(decision[-1])
            for schedule in schedules
            for decision in schedule.trace.decisions.values()
            if len(decision) == 2
        }
        assert found == {1, unrolled}


def test_kernel_without_a_reduction_has_no_tiles() -> None:
    sketches = Sketches(doubled(64), TARGET, 2)
    assert sketches.spaces == [] and list(sketches.promising()) == []


@pytest.mark.slow
def test_uneven_tiles_are_tried_where_nothing_divides_the_rows_well() -> None:
    """Thirteen rows are one tile or single ones; eight are two of four."""
    odd, even = (Sketches(dense(rows, 8, 8), TARGET, 2) for rows in (13, 8))
    assert len(odd.spaces) > len(even.spaces) == 2
    expected = run_kernel(dense(13, 8, 8), TARGET)
    for space in odd.spaces[2:]:
        assert difference(expected, run_kernel(space.mod, TARGET)) is None


def test_kernels_that_load_for_each_product_have_no_uneven_tiles() -> None:
    assert len(Sketches(sparse(13, 8, 8, 4), TARGET, 2).spaces) == 2


@pytest.mark.slow
def test_wide_blocks_share_what_is_loaded() -> None:
    """The first tile of eight rows has both vectors of a block, and thirteen rows uneven tiles."""
    assert Sketches(sparse(8, 8, 4, 4), TARGET, 2)._tiles([8], 8)[0][1] == 1
    kernel = sparse(13, 8, 4, 4, WIDE * LANES)
    even, odd = Sketches(sparse(8, 8, 4, 4, WIDE * LANES), TARGET, 2), Sketches(kernel, TARGET, 2)
    assert even._tiles([8], 8)[0][1] == WIDE
    assert len(odd.spaces) > len(even.spaces) == 2
    expected = run_kernel(kernel, TARGET, below=8)
    for schedule in odd.promising():
        assert difference(expected, run_kernel(schedule.mod, TARGET, below=8)) is None


@pytest.mark.slow
@pytest.mark.parametrize("taps", [1, 3])
def test_sparse_convolutions_are_tiled_whether_tuned_or_not(taps: int) -> None:
    """With three taps no vector was recognised in the output, and nothing was tiled."""
    kernel = gathering(7, 8, 2, 5, taps)
    first = (taps - 1) * (7 + taps - 1) * 8 + (taps - 1) * 8 + 8  # below it a place is inside
    expected = run_kernel(kernel, TARGET, below=first)
    schedules = [schedule.mod for schedule in Sketches(kernel, TARGET, 2).promising()]
    assert schedules
    for module in (schedule_untuned(kernel, TARGET, 2), *schedules):
        text = module.script()
        assert 'scope="local"' in text and f"T.vectorized({LANES})" in text
        assert difference(expected, run_kernel(module, TARGET, below=first)) is None


@pytest.mark.slow
def test_reductions_are_in_parts_where_rows_do_not_fit_the_nearest_cache() -> None:
    """Eight rows of 1,024 inputs are 32 KiB: in halves they fit. Of 64 inputs they fit as they are,
    and where nothing divides what is kept there are no parts."""
    kernel = sparse(8, 1024, 4, 6)
    sketches = Sketches(kernel, TARGET, 2)
    assert [
        len(Sketches(sparse(8, *rest), TARGET, 2).spaces) for rest in ((64, 4, 6), (1024, 4, 11))
    ] == [2, 2]
    assert len(sketches.spaces) == 3
    expected = run_kernel(kernel, TARGET, below=1024)
    schedules = list(sketches.promising())
    assert any("T.grid(2, 2, 3)" in schedule.mod.script() for schedule in schedules)
    for schedule in schedules:
        assert difference(expected, run_kernel(schedule.mod, TARGET, below=1024)) is None
    instructions, _ = trace_json(sketches.spaces[2].trace)
    for seed in range(4):
        schedule = Schedule(kernel, seed=seed + 1)
        type(sketches.spaces[2].trace).apply_json_to_schedule([instructions, []], schedule)
        assert difference(expected, run_kernel(schedule.mod, TARGET, below=1024)) is None


def test_uneven_tiles_leave_no_thread_without_work() -> None:
    assert len(Sketches(dense(13, 8, 2), TARGET, 4).spaces) == 2


def test_padded_convolutions_in_groups_have_a_design_space_whatever_is_sampled() -> None:
    """Blocks of channels of two groups read inputs whose number depends on the block."""
    data = te.placeholder((1, 12, 12, 384), name="data")
    weights = te.placeholder((3, 3, 192, 384), name="weights")
    found = topi.nn.group_conv2d_nhwc(data, weights, 1, (1, 1, 1, 1), 1, groups=2)
    module = tvm.IRModule({"main": te.create_prim_func([data, weights, topi.nn.relu(found)])})
    target = tvm.target.Target({"kind": "llvm", "num-cores": 2, "mattr": ["+avx512f"]})
    for _ in range(30):  # the cuts are drawn
        assert Sketches(module, target, 2).spaces
