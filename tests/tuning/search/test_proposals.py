"""What is proposed first, and decisions that are carried over from related kernels."""

from __future__ import annotations

import numpy as np
import pytest
from compiling import run_kernel
from tiled_kernels import TARGET, convolution, dense, search

from harness.compiler.api import (
    ArgInfo,
    Schedule,
    Trace,
    estimate_tir_flops,
    meta_schedule,
    record_json,
    te,
    tirx,
    trace_json,
    tvm,
)
from harness.compiler.patches import load_tensor_intrinsics
from harness.schedules.sketches import Sketches
from harness.tuning.candidates.difference import difference
from harness.tuning.database import Choice, kernel_identity
from harness.tuning.search.proposals import TRIALS_PER_ROUND, graft, weighted

load_tensor_intrinsics("x86")


def choice(kernel: tvm.IRModule) -> Choice:
    """The first promising schedule of a kernel, as if it had been chosen."""
    schedule = next(Sketches(kernel, TARGET, 2).promising())
    record = meta_schedule.database.TuningRecord(
        schedule.trace,
        meta_schedule.database.Workload(kernel),
        [1e-3],
        TARGET,
        ArgInfo.from_prim_func(kernel["main"]),
    )
    return {"record": record_json(record), "seconds": [1e-3]}


def test_grafted_decisions_fit_a_kernel_of_other_extents() -> None:
    small, large = convolution(6, 4, 2, 1), convolution(9, 7, 3, 1)
    record = choice(small)["record"]
    assert record is not None
    space = trace_json(Sketches(large, TARGET, 2).spaces[0].trace)
    grafted = graft(space, record[0])  # type: ignore[arg-type]
    assert grafted is not None
    schedule = Schedule(large)
    Trace.apply_json_to_schedule(grafted, schedule)
    assert difference(run_kernel(large, TARGET), run_kernel(schedule.mod, TARGET)) is None


def test_nothing_is_grafted_between_kernels_that_sample_different_things() -> None:
    record = choice(dense(8, 8, 2))["record"]
    assert record is not None
    space = trace_json(Sketches(convolution(6, 4, 2, 1), TARGET, 2).spaces[0].trace)
    assert graft(space, record[0]) is None  # type: ignore[arg-type]


@pytest.mark.slow
def test_first_round_has_different_candidates_that_are_right() -> None:
    kernel = convolution(6, 4, 2, 1)
    candidates = search(kernel, []).propose()
    marks = [kernel_identity(candidate.sch.mod) for candidate in candidates]
    assert 4 < len(marks) == len(set(marks)) <= TRIALS_PER_ROUND
    expected = run_kernel(kernel, TARGET)
    for candidate in candidates:
        assert difference(expected, run_kernel(candidate.sch.mod, TARGET)) is None


def test_related_choice_is_among_the_first_candidates() -> None:
    kernel, related = convolution(6, 4, 2, 1), convolution(6, 5, 2, 1)
    alone, helped = search(kernel, []), search(kernel, [choice(related)])
    assert not alone._related()
    assert len(helped._related()) >= 1


def test_a_search_that_is_told_how_many_begins_with_them_and_may_propose_the_others_later() -> None:
    kernel = convolution(6, 4, 2, 1)
    everything = search(kernel, []).propose()
    found = search(kernel, [], most_likely=10)
    likely = found.propose()
    marks = {kernel_identity(candidate.sch.mod) for candidate in likely}
    assert len(likely) == 10 < len(everything)
    # Some of either are drawn by several threads, so that two searches need not have the same.
    chosen = {kernel_identity(candidate.sch.mod) for candidate in everything}
    assert len(marks & chosen) > len(marks) // 2
    assert found._proposed == marks


def test_what_postprocessors_did_is_no_part_of_what_the_search_goes_on_from() -> None:
    """Replayed as if it were the schedule's own, it does not fit once a decision is another."""
    for candidate in search(convolution(6, 4, 2, 1), []).propose():
        kinds = [str(instruction[0]) for instruction in trace_json(candidate.sch.trace)[0]]
        assert kinds.count("EnterPostproc") == 1


def test_evolution_goes_on_after_the_first_round() -> None:
    found = search(dense(16, 16, 2), [])
    first = found.propose()
    results = [
        meta_schedule.runner.RunnerResult([float(seconds)], None)
        for seconds in np.linspace(1e-3, 2e-3, len(first))
    ]
    found.learn(first, results)
    assert found.propose()


def test_most_random_schedules_are_of_our_space_where_it_fits() -> None:
    ours = Sketches(convolution(14, 16, 2, 1), TARGET, 2).spaces
    others = [Schedule(convolution(14, 16, 2, 1)) for _ in range(3)]
    spaces = weighted(ours, others)
    assert sum(any(space is each for each in ours) for space in spaces) >= 3 * len(others)
    assert all(any(space is each for space in spaces) for each in [*ours, *others])
    assert weighted([], others) == others


def test_nothing_is_proposed_that_computes_over_and_over() -> None:
    """Nobody can tell which part of the product a tile needs of what a remainder is read from."""
    rows, inner, width = 6, 8, 32
    left = te.placeholder((rows, inner), name="left")
    right = te.placeholder((inner, width), name="right")
    axis = te.reduce_axis((0, inner), name="axis")
    product = te.compute(
        (rows, width),
        lambda row, at: te.sum(left[row, axis] * right[axis, at], axis=axis),
        name="product",
    )
    heads = te.compute(
        (4, rows, 8),
        lambda head, row, at: product[
            tirx.floormod(tirx.floordiv(head * 8 + at, width) + row, rows),
            tirx.floormod(head * 8 + at, width),
        ],
        name="heads",
    )
    kernel = tvm.IRModule({"main": te.create_prim_func([left, right, heads])})
    proposed = search(kernel, []).propose()
    assert proposed
    of_ours = [*Sketches(kernel, TARGET, 2).promising()]
    for schedule in (*of_ours, *(candidate.sch for candidate in proposed)):
        assert estimate_tir_flops(schedule.mod) <= 2 * estimate_tir_flops(kernel)
