"""The stopwatch that a virtual machine calls around its functions."""

from __future__ import annotations

import pytest

from harness.measure import stopwatch
from harness.measure.stopwatch import Stopwatch


class Clock:
    """Says what it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(stopwatch, "perf_counter", found)
    return found


def call(watch: Stopwatch, clock: Clock, name: str, seconds: float, cost: float) -> None:
    watch(None, name, True, None)
    clock.now += seconds + cost
    watch(None, name, False, None)
    clock.now += cost


def test_cost_of_timing_is_taken_off_when_builtins_show_it(clock: Clock) -> None:
    watch = Stopwatch({"conv"})
    for _ in range(3):
        call(watch, clock, "vm.builtin.alloc_tensor", 0.0, 3e-6)
        call(watch, clock, "conv", 50e-6, 3e-6)
    assert watch.read() == [("conv", pytest.approx(50e-6))] * 3


def test_time_is_never_negative_when_kernel_takes_less_than_its_timing(clock: Clock) -> None:
    watch = Stopwatch({"copy"})
    call(watch, clock, "vm.builtin.alloc_tensor", 0.0, 5e-6)
    call(watch, clock, "copy", 1e-6, 2e-6)
    assert watch.read() == [("copy", 0.0)]


def test_reading_forgets_what_was_read(clock: Clock) -> None:
    watch = Stopwatch({"conv"})
    call(watch, clock, "conv", 1e-6, 0.0)
    assert watch.read() == [("conv", pytest.approx(1e-6))]
    assert watch.read() == []


def test_other_functions_are_not_kernels(clock: Clock) -> None:
    watch = Stopwatch({"conv"})
    call(watch, clock, "vm.builtin.alloc_storage", 0.0, 1e-6)
    call(watch, clock, "shape_of", 1e-3, 1e-6)
    assert watch.read() == []
