"""What a launch does is read off the loops of its schedule."""

from __future__ import annotations

import pytest

from harness.compiler.api import Schedule, te, tvm
from harness.devices.graphics.work import with_work
from harness.records.compiled_code import Launch

ROWS, COLUMNS = 8, 64


def doubled(*, shared: bool = False) -> Schedule:
    """Twice a matrix, a row a block: its elements are read through shared memory, or not."""
    source = te.placeholder((ROWS, COLUMNS), name="source")
    result = te.compute(
        (ROWS, COLUMNS), lambda row, column: source[row, column] * 2.0, name="result"
    )
    module = tvm.IRModule({"main": te.create_prim_func([source, result])})
    schedule = Schedule(module)
    block = schedule.get_sblock("result")
    row, column = schedule.get_loops(block)
    outer, inner = schedule.split(column, [None, 16])
    schedule.bind(row, "blockIdx.x")
    schedule.bind(inner, "threadIdx.x")
    if shared:
        copied = schedule.cache_read(block, 0, "shared")
        schedule.compute_at(copied, outer)
        # Bound to the index that the loop outside is bound to elsewhere: the same threads.
        schedule.bind(schedule.get_loops(copied)[-1], "threadIdx.x")
    return schedule


def launch(name: str) -> Launch:
    return Launch(name=name, registers=16, shared_memory_bytes=0, spill_bytes=0, threads=16)


@pytest.mark.parametrize("shared", [False, True])
def test_each_element_is_read_and_written_once(shared: bool) -> None:
    function = doubled(shared=shared).mod["main"]
    (found,) = with_work(function, "f", [launch("other_kernel"), launch("f_kernel")])
    assert (found.name, found.blocks, found.flops) == ("f_kernel", ROWS, ROWS * COLUMNS)
    assert found.bytes == 2 * 4 * ROWS * COLUMNS


def test_element_that_several_threads_ask_for_counts_for_each() -> None:
    source = te.placeholder((ROWS,), name="source")
    result = te.compute((ROWS, COLUMNS), lambda row, column: source[row] + 1.0, name="result")
    schedule = Schedule(tvm.IRModule({"main": te.create_prim_func([source, result])}))
    row, column = schedule.get_loops("result")
    schedule.bind(row, "blockIdx.x")
    schedule.bind(column, "threadIdx.x")
    (found,) = with_work(schedule.mod["main"], "f", [launch("f_kernel")])
    assert found.bytes == 2 * 4 * ROWS * COLUMNS


def test_loops_without_a_launch_are_refused() -> None:
    with pytest.raises(ValueError, match="f has 1 loop nests, but no launch 'f_kernel'"):
        with_work(doubled().mod["main"], "f", [launch("g_kernel")])
