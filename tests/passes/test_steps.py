"""Steps of quantized weights are found in their values."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.passes.steps import as_bytes, in_steps


@given(
    steps=st.lists(
        st.lists(st.integers(-128, 127), min_size=3, max_size=3), min_size=1, max_size=20
    ),
    scale=st.floats(1e-6, 1e3),
)
def test_steps_of_weights_are_found_again(steps: list[list[int]], scale: float) -> None:
    weights = (np.asarray(steps, np.float64) * np.float32(scale)).astype(np.float32)
    found = in_steps(weights)
    assert found is not None
    np.testing.assert_allclose(found[0] * found[1], weights, rtol=3e-5, atol=0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_have_no_steps(value: float) -> None:
    assert in_steps(np.array([[1.0], [value]], np.float32)) is None


def test_weights_between_steps_have_none() -> None:
    weights = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    assert in_steps(weights) is None
    assert in_steps(np.zeros((3, 2), np.float32)) is not None


@pytest.mark.parametrize(
    ("weights", "offsets"),
    [
        (np.array([[-128, 127, 5]], np.int32), [0, 0, 0]),
        (np.array([[-200, 0], [55, 127]], np.int16), [-72, 0]),
        (np.array([[255], [0]], np.int16), [128]),
        (np.array([[256], [0]], np.int16), None),
        (np.array([[1, 2]], np.uint8), None),
    ],
)
def test_wider_integers_are_bytes_and_a_number(
    weights: np.ndarray, offsets: list[int] | None
) -> None:
    found = as_bytes(weights)
    assert (None if found is None else found[1].tolist()) == offsets
    if found is not None:
        np.testing.assert_array_equal(found[0] + found[1], weights)


def test_outputs_of_one_scale_are_found_in_a_large_layer() -> None:
    whole = np.random.default_rng(1).integers(-100, 101, (3000, 700)).astype(np.float32)
    found = in_steps(whole * np.float32(0.013))
    assert found is not None
    np.testing.assert_array_equal(found[0] * np.rint(found[1] / 0.013), whole)


def test_looking_for_steps_takes_little_memory_beside_the_weights() -> None:
    weights = np.full((4096, 4096), 0.5, np.float32)
    tracemalloc.start()
    found = in_steps(weights)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None and (found[0] == 1).all() and (found[1] == 0.5).all()
    # The bytes that are given back are a quarter; in double precision alone it would be twice.
    assert peak < 2 * weights.nbytes
