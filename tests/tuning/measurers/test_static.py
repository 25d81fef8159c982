"""Candidates for a graphics processor that is not here are compiled and ranked, or dropped."""

from __future__ import annotations

import pytest
from exchanging_kernel import exchanging, exchanging_in
from machine_needs import needs_nvcc, needs_pocl

from harness.compiler.api import Schedule, target_of, te, tvm
from harness.errors import CellFailure
from harness.hardware import load_target
from harness.schedules.untuned import schedule_untuned
from harness.specs.target import Hardware
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed, KernelTask
from harness.tuning.measurers.static import StaticMeasurer

SPEC = load_target("a100")
TARGET = target_of(SPEC.tvm.as_tvm())
EXTENT = 256


def product() -> tvm.IRModule:
    left = te.placeholder((EXTENT, EXTENT), name="left")
    right = te.placeholder((EXTENT, EXTENT), name="right")
    axis = te.reduce_axis((0, EXTENT), name="axis")
    result = te.compute(
        (EXTENT, EXTENT),
        lambda row, column: te.sum(left[row, axis] * right[axis, column], axis=axis),
        name="result",
    )
    return tvm.IRModule({"main": te.create_prim_func([left, right, result])})


def by_rows(columns: int, scope: str) -> Candidate:
    """A row a thread, which keeps the sums of some columns at a time in memory of a scope."""
    schedule = Schedule(product())
    block = schedule.get_sblock("result")
    kept = schedule.cache_write(block, 0, scope)
    row, column, axis = schedule.get_loops(block)
    outer, inner = schedule.split(column, [None, columns])
    schedule.reorder(row, outer, axis, inner)
    schedule.unroll(inner)
    schedule.reverse_compute_at(kept, outer)
    schedule.bind(row, "threadIdx.x")
    schedule.bind(outer, "blockIdx.x")
    schedule.decompose_reduction(block, axis)
    return Candidate(module=schedule.mod)


@needs_nvcc
@pytest.mark.slow
def test_candidates_are_ranked_and_those_that_spill_or_overflow_are_dropped() -> None:
    module = product()
    default = Candidate(module=schedule_untuned(module, TARGET, 1))
    candidates = [default, by_rows(4, "local"), by_rows(256, "local"), by_rows(64, "shared")]
    with StaticMeasurer(TARGET, 2, SPEC.hardware) as measurer:
        measurer.turn_to(KernelTask("product", module, 1))
        tiled, rows, spilled, overflow = measurer.measure(candidates, lambda: None)
        (standing,) = measurer.finals([(KernelTask("product", module, 1), candidates)], 15)
    assert isinstance(tiled, list) and isinstance(rows, list)
    assert 0 < tiled[0] < rows[0], "tiles in shared memory ask for fewer bytes"
    assert isinstance(spilled, KernelFailed) and "bytes of registers to memory" in str(spilled)
    assert isinstance(overflow, KernelFailed)
    assert not isinstance(standing, KernelFailed)
    assert standing.times == [tiled, rows, None, None] and set(standing.failed) == {2, 3}


@needs_nvcc
@needs_pocl
@pytest.mark.slow
def test_contender_that_would_have_won_and_is_wrong_is_thrown_out() -> None:
    kernel = KernelTask("exchanging", exchanging(), 1)
    candidates = [Candidate(module=exchanging_in(scope)) for scope in ("local", "shared")]
    unknown = [Candidate(module=exchanging_in("warp"))]
    with StaticMeasurer(TARGET, 1, SPEC.hardware) as measurer:
        first, second = measurer.finals([(kernel, candidates), (kernel, unknown)], 15)
    assert isinstance(first, Standing) and isinstance(second, Standing)
    assert [times is None for times in first.times] == [True, False]
    assert set(first.wrong) == {0} and "output 0" in first.wrong[0] and not first.failed
    assert second.times[0] and not second.wrong, "what OpenCL cannot run is not wrong"


def test_description_without_figures_is_named_with_what_it_lacks() -> None:
    with pytest.raises(CellFailure, match=r"lacks hardware\.peak_gflops, .*multiprocessor"):
        StaticMeasurer(TARGET, 1, Hardware(cores=1, memory_bandwidth_gbs=1))
