"""How often a kernel is timed, and what is made of it on a machine that is now fast, now slow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tuning.candidates.sampling import CalibrationKernel, Timer, samples


class Machine:
    """Takes now more, now less time for the same: by these factors, one after another, each for
    two measurements."""

    def __init__(self, factors: Sequence[float]) -> None:
        self._factors: Iterator[float] = cycle(each for each in factors for _ in range(2))

    def timer(self, seconds: float) -> Timer:
        """What times something that takes so long on a machine that is nobody else's."""
        return lambda runs: seconds * next(self._factors)


def test_hopeless_one_is_not_timed_again() -> None:
    assert samples(Machine([1]).timer(4e-3), best=1e-3) == [4e-3]


@pytest.mark.parametrize(("seconds", "count"), [(1.4e-3, 3), (1.6e-3, 1)])
def test_contender_is_timed_several_times(seconds: float, count: int) -> None:
    assert samples(Machine([1]).timer(seconds), best=1e-3) == [seconds] * count


def test_without_a_calibration_kernel_a_slow_machine_makes_a_slow_candidate() -> None:
    assert samples(Machine([1.4]).timer(1e-3), best=None) == pytest.approx([1.4e-3] * 3)


@given(
    factors=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=9),
    seconds=st.floats(0.5e-3, 1.4e-3),
)
def test_beside_a_calibration_kernel_the_machine_does_not_matter(
    factors: list[float], seconds: float
) -> None:
    """Whatever the machine does: it does the same to what is timed right after."""
    machine = Machine(factors)
    calibration = CalibrationKernel(machine.timer(1e-3), seconds=1e-3)
    assert samples(machine.timer(seconds), None, calibration) == pytest.approx([seconds] * 3)


def test_calibration_kernel_counts_for_what_it_is_known_for() -> None:
    """It was measured when the machine was twice as fast."""
    machine = Machine([1])
    calibration = CalibrationKernel(machine.timer(1e-3), seconds=0.5e-3)
    assert samples(machine.timer(1.2e-3), None, calibration) == pytest.approx([0.6e-3] * 3)
