"""Samples are fitted to, or tell how near that came, and never both."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.networks.held_out import fitted_to, held_out


@given(st.integers(0, 3000))
def test_every_sample_is_for_one_of_both(count: int) -> None:
    apart, learnt = held_out(count), fitted_to(count)
    assert sorted([*apart, *learnt]) == list(range(count))
    assert len(learnt) >= 0.9 * count


def test_of_the_first_samples_none_is_fitted_to_that_is_held_out_of_all() -> None:
    assert fitted_to(3, of=100) == [1, 2] and fitted_to(3) == [0, 1, 2]


def test_few_samples_are_all_fitted_to() -> None:
    assert held_out(19) == [] and held_out(20) == [0] and held_out(100) == [0, 20, 40, 60, 80]
