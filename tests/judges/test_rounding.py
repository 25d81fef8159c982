"""Moved results stay within the rounding of the network's floats."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from harness.judges.rounding import Rounding

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20)


@given(NUMBERS, st.integers(0, 2**31 - 1))
def test_single_results_move_by_two_roundings_at_most(values: list[float], seed: int) -> None:
    exact = np.asarray(values, np.float64)
    moved = Rounding(seed)(exact, "float32", terms=1)
    assert np.all(np.abs(moved - exact) <= 2 * np.finfo(np.float32).eps / 2 * np.abs(exact))


@given(NUMBERS, st.integers(0, 2**31 - 1), st.sampled_from([1, 1000]))
def test_values_that_floats_hold_exactly_stay(values: list[float], seed: int, terms: int) -> None:
    exact = np.asarray(values, np.float32).astype(np.float64)
    assert np.array_equal(Rounding(seed)(exact, "float32", terms=terms), exact)


def test_other_types_stay_and_seeds_differ() -> None:
    exact = np.full(100, 0.1)
    assert np.array_equal(Rounding(0)(exact, "float64", terms=9), exact)
    one, again, other = (Rounding(seed)(exact, "float16", terms=1) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_infinities_and_nan_stay() -> None:
    exact = np.asarray([np.inf, -np.inf, np.nan, 1e300])
    assert np.array_equal(Rounding(0)(exact, "float32", terms=5)[:3], exact[:3], equal_nan=True)


def test_what_is_left_of_terms_moves_by_their_rounding() -> None:
    exact = np.full(1000, 1e-7 / 3)
    rest = Rounding(0)(exact, "float32", terms=100)
    known = Rounding(0)(exact, "float32", terms=100, sizes=np.full(1000, 8.0))
    assert np.abs(rest - exact).max() < 1e-12
    assert 4e-7 < np.abs(known - exact).max() <= 8 * np.finfo(np.float32).eps
    unknown = Rounding(0)(exact, "float32", terms=100, sizes=np.full(1000, np.inf))
    assert np.array_equal(unknown, rest)
