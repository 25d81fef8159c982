"""The neighbours of a schedule."""

from __future__ import annotations

import math

import pytest
from compiling import run_kernel
from hypothesis import given
from hypothesis import strategies as st
from tiled_kernels import TARGET, convolution

from harness.compiler.api import Schedule, Trace, trace_json
from harness.schedules.sketches import Sketches
from harness.tuning.candidates.difference import difference
from harness.tuning.search.refinement import neighbours

MOST_INNERMOST = 16
parts = st.lists(st.integers(1, 12), min_size=2, max_size=4)


def tiling(decision: list[int]) -> list[object]:
    """A trace that samples one tiling."""
    attributes = [len(decision), MOST_INNERMOST]
    return [[["SamplePerfectTile", ["loop"], attributes, []]], [[0, decision]]]


@given(parts)
def test_tiles_keep_their_product_and_differ_in_two_levels(decision: list[int]) -> None:
    for _, ((_, other),) in neighbours(tiling(decision)):
        assert math.prod(other) == math.prod(decision)
        assert sum(was != now for was, now in zip(decision, other, strict=True)) == 2


@given(parts)
def test_innermost_grows_no_further_than_allowed(decision: list[int]) -> None:
    for _, ((_, other),) in neighbours(tiling(decision)):
        assert other[-1] <= max(decision[-1], MOST_INNERMOST)


@given(parts)
def test_steps_can_be_undone(decision: list[int]) -> None:
    if decision[-1] > MOST_INNERMOST:
        return
    for step in neighbours(tiling(decision)):
        assert tiling(decision)[1] in [back[1] for back in neighbours(step)]


def test_choices_go_to_the_values_beside_them() -> None:
    trace = [[["SampleCategorical", [], [[0, 16, 64], [0.3, 0.3, 0.4]], []]], [[0, 1]]]
    assert [step[1] for step in neighbours(trace)] == [[[0, 0]], [[0, 2]]]


@pytest.mark.slow
def test_neighbours_of_a_kernel_compute_the_same() -> None:
    kernel = convolution(6, 4, 2, 1)
    first = next(Sketches(kernel, TARGET, 2).promising())
    steps = list(neighbours(trace_json(first.trace)))
    assert steps
    expected = run_kernel(kernel, TARGET)
    for step in steps[:6]:
        schedule = Schedule(kernel)
        Trace.apply_json_to_schedule(step, schedule)
        assert difference(expected, run_kernel(schedule.mod, TARGET)) is None
