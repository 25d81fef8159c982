"""Layers go back to floats in the order of what they change for the time that they save."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from harness.compiler.api import relax
from harness.quantization.mixed import Rounded, back_to_floats


def values(changes: list[float], saved: list[float]) -> dict[relax.Var, Rounded]:
    found = {}
    for at, (change, seconds) in enumerate(zip(changes, saved, strict=True)):
        value = relax.Var(f"v{at}", relax.TensorType([1], "float32"))
        found[value] = Rounded(value, change, seconds)
    return found


@given(
    drawn=st.lists(st.tuples(st.floats(0.001, 0.5), st.floats(0, 1e-3)), min_size=1, max_size=9),
    most=st.floats(1e-4, 1),
)
def test_change_is_no_more_than_asked_and_nothing_goes_back_in_vain(
    drawn: list[tuple[float, float]], most: float
) -> None:
    rounded = values([change for change, _ in drawn], [seconds for _, seconds in drawn])
    asked = 0

    def change_without(left: list[relax.Var]) -> float:
        nonlocal asked
        asked += 1
        return math.hypot(*(each.change for each in rounded.values() if each.value not in left))

    found = back_to_floats(rounded, most, change_without, lambda done, total: None)
    assert asked <= 2 * len(rounded) + 1
    assert found.change == change_without(found.values) <= most
    for value in found.values:
        assert change_without([each for each in found.values if each is not value]) > most


def test_layer_that_saves_little_goes_first() -> None:
    rounded = values([0.3, 0.3, 0.1], [1e-3, 1e-5, 1e-5])
    first, second, _ = rounded

    def change_without(left: list[relax.Var]) -> float:
        return math.hypot(*(each.change for each in rounded.values() if each.value not in left))

    found = back_to_floats(rounded, 0.35, change_without, lambda done, total: None)
    assert found.values == [second]
    found = back_to_floats(rounded, 0.2, change_without, lambda done, total: None)
    assert found.values == [second, first], "the third, tried first, turns out not to be needed"
