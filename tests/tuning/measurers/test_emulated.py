"""Candidates are counted on the emulated board; what is wrong or crashes there costs itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from machine_needs import needs_board
from small_kernels import module, split, task

from harness.devices.emulated.board import require_board
from harness.hardware import load_target
from harness.tuning.candidates.final import Standing
from harness.tuning.candidates.process import Candidate, KernelFailed
from harness.tuning.measurers.emulated import CountingMeasurer
from harness.tuning.measurers.repeatable import KernelWrong

pytestmark = [needs_board, pytest.mark.slow]


@pytest.fixture(scope="module")
def measurer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountingMeasurer]:
    folder = tmp_path_factory.mktemp("board")
    with CountingMeasurer(load_target("raspberry-pi-4"), 2, require_board(), folder) as found:
        yield found


def counted(
    measurer: CountingMeasurer, extent: int, *candidates: Candidate
) -> list[list[float] | KernelFailed]:
    measurer.turn_to(task(extent))
    return list(measurer.measure(candidates, lambda: None))


def test_count_is_the_same_each_time_and_grows_with_the_kernel(measurer: CountingMeasurer) -> None:
    small = counted(measurer, 8, module(8), split(8, 2), module(8))
    (large,) = counted(measurer, 64, module(64))
    assert small[0] == small[2] and isinstance(large, list)
    assert all(isinstance(each, list) and 0 < each[0] < large[0] for each in small)


def test_crash_on_the_board_costs_one_candidate(measurer: CountingMeasurer) -> None:
    first, crash, last = counted(measurer, 8, module(8), module(8, "crash"), module(8))
    assert first == last and isinstance(first, list)
    assert isinstance(crash, KernelFailed) and "on the board it crashed with SIGSEGV" in str(crash)


def test_wrong_candidate_is_no_candidate(measurer: CountingMeasurer) -> None:
    right, wrong = counted(measurer, 16, module(16), module(16, "wrong"))
    assert isinstance(right, list) and isinstance(wrong, KernelWrong)
    broken = Candidate(trace=[[["NoSuchInstruction", [], [], []]], []])
    entries = [(task(16), [module(16), module(16, "wrong"), broken])]
    (standing,) = measurer.finals(entries, rounds=15)
    assert isinstance(standing, Standing)
    assert standing.times == [right, None, None], "one round, the same count"
    assert "output 0: " in standing.wrong[1] and "NoSuchInstruction" in standing.failed[2]
