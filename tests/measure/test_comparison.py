"""Floats are judged by the size of the values around them, all else exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.measure.comparison import TOLERANCES, errors, shares, sizes, unlike

STATED = TOLERANCES["float32"].stated


@pytest.mark.parametrize(
    ("expected", "found", "error"),
    [
        (np.inf, np.inf, 0.0),
        (np.nan, np.nan, 0.0),
        (np.inf, np.nan, np.inf),
        (np.inf, -np.inf, np.inf),
        (1.0, np.nan, np.inf),
        (np.nan, 1.0, np.inf),
        (2**53 + 1, 2**53, 1.0),
        (True, False, 1.0),
    ],
)
def test_what_is_not_finite_and_what_is_no_float_is_exact(
    expected: float, found: float, error: float
) -> None:
    one, other = np.array([expected]), np.array([found])
    assert errors(one, other) == error
    assert shares(one, other) == (0.0 if error == 0 else np.inf)
    assert errors(one[0:1].reshape(()), other.reshape(())) == error


def test_dtype_and_shape_are_compared_first() -> None:
    assert "has dtype int64" in str(unlike(np.zeros(2), np.zeros(2, np.int64)))
    assert "has shape [2, 1]" in str(unlike(np.zeros(2), np.zeros((2, 1))))
    assert unlike(np.zeros(2), np.ones(2)) is None


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channels_of_another_size_are_judged_by_their_own(axis: int) -> None:
    generator = np.random.default_rng(0)
    scores, coordinates = generator.random((2, 6, 50)), 9000 * generator.random((4, 6, 50))
    reference = np.moveaxis(np.concatenate([scores, coordinates]), 0, axis)
    size = np.moveaxis(sizes(reference), axis, 0)
    assert size[:2].max() < 2 and size[2:].min() > 50


def test_what_a_mask_is_added_to_is_judged_without_the_mask() -> None:
    logits = np.random.default_rng(0).standard_normal((4, 32)).astype(np.float32)
    logits[:, 8:] = -3.4e38
    size = sizes(logits)
    assert size[:, :8].max() < 10 and size[:, 8:].min() > 1e38


def test_values_near_zero_are_judged_by_those_around_them() -> None:
    values = np.random.default_rng(0).standard_normal((16, 16))
    values[3, 3], values[4, 4] = 1e-9, 0.0
    size = sizes(values)
    assert size[3, 3] > 0.2 and size[4, 4] > 0.2


def test_where_all_is_zero_the_size_is_one() -> None:
    assert sizes(np.zeros((2, 3))).tolist() == np.ones((2, 3)).tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(1000,), (1, 10), (8, 8), (1, 8, 5, 5), (3, 40, 7)]),
    st.integers(0, 2**31),
    st.floats(-20, 20),
)
def test_sums_in_another_order_are_right_and_scale_does_not_matter(
    shape: tuple[int, ...], seed: int, exponent: float
) -> None:
    """Reversed sums of a thousand products of either sign, in 32-bit floats."""
    generator = np.random.default_rng(seed)
    terms = (generator.standard_normal((1000, *shape)) * 2.0**exponent).astype(np.float32)
    forward, backward = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for term, other in zip(terms, terms[::-1], strict=True):
        forward += term
        backward += other
    assert shares(forward, backward).max() <= STATED
    wrong = forward.copy()
    wrong.flat[0] += 0.01 * np.abs(forward).max()
    assert shares(forward, wrong).max() > STATED


def test_numbers_below_the_least_normal_one_are_all_alike() -> None:
    """An LSTM's saturated gates: torch, TVM and float64 differ by some of its last bits."""
    expected = np.ones(64, np.float32)
    expected[3] = -5.857e-43
    found = expected.copy()
    found[3] = 2.12e-42
    assert shares(expected, found).max() == 0
    found[3] = 2e-38
    assert shares(expected, found)[3] > TOLERANCES["float32"].stated
