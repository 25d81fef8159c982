"""Weights rounded to steps of a scale for each output."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.kernels.dot_products import MOST_WORDS, PAIR, words_in_16_bits
from harness.kernels.packed_integers import pack_integers
from harness.networks.reconstruction import second_moments
from harness.quantization.rounding import (
    MOST,
    MOST_IN_PAIRS,
    ROUNDINGS,
    best_rounding,
    nearest,
    scales_of,
    second_order,
    sums_in_16_bits,
    within_sums,
)
from harness.specs.quantization import Rounding


def layer(seed: int, inputs: int, outputs: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and inputs that go together."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((inputs, inputs)) * (random.random(inputs) + 0.05)
    return random.standard_normal((inputs, outputs)), random.standard_normal((rows, inputs)) @ mixed


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    inputs=st.integers(1, 40),
    outputs=st.integers(1, 9),
    rounding=st.sampled_from(list(ROUNDINGS)),
)
def test_steps_are_whole_and_of_8_bits_and_zeros_stay(
    seed: int, inputs: int, outputs: int, rounding: Rounding
) -> None:
    matrix, rows = layer(seed, inputs, outputs, 20)
    matrix[np.random.default_rng(seed).random(matrix.shape) < 0.3] = 0
    scales = scales_of(matrix, np.ones((inputs, 1)), MOST)
    steps = ROUNDINGS[rounding](matrix, scales, MOST, second_moments(rows))
    assert np.array_equal(steps, np.rint(steps))
    assert np.abs(steps).max() <= MOST
    assert not steps[matrix == 0].any()


def test_second_order_rounding_is_nearer_to_the_outputs() -> None:
    matrix, rows = layer(0, 64, 16, 2000)
    scales = scales_of(matrix, np.ones((64, 1)), MOST) * 16  # as if there were four bits
    moments = second_moments(rows)
    errors = {
        name: np.square(
            rows @ (ROUNDINGS[name](matrix, scales, MOST, moments) * scales - matrix)
        ).sum()
        for name in ROUNDINGS
    }
    assert errors["second-order"] < 0.8 * errors["nearest"]
    assert best_rounding(matrix, scales, MOST, second_moments(rows[::2]), moments) == "second-order"


def test_second_order_rounding_of_independent_inputs_is_to_the_nearest() -> None:
    matrix, _ = layer(1, 12, 5, 1)
    scales = scales_of(matrix, np.ones((12, 1)), MOST)
    found = second_order(matrix, scales, MOST, np.diag(np.arange(1.0, 13.0)))
    np.testing.assert_array_equal(found, nearest(matrix, scales, MOST))


def test_scale_holds_the_largest_weight_unless_less_is_nearer() -> None:
    matrix = np.array([[1.0, 0.0], [-0.5, 0.0]])
    scales = scales_of(matrix, np.ones((2, 1)), MOST)
    assert 0.7 / MOST <= scales[0] <= 1 / MOST
    assert scales[1] == 1
    outlier = np.append(np.full(1000, 0.5), 0.51)[:, None]
    assert scales_of(outlier, np.ones((1001, 1)), MOST)[0] <= 0.51 / MOST


def test_moments_of_few_rows_have_an_inverse() -> None:
    matrix, rows = layer(2, 30, 3, 2)
    scales = scales_of(matrix, np.ones((30, 1)), MOST)
    assert np.isfinite(second_order(matrix, scales, MOST, second_moments(rows))).all()


@pytest.mark.parametrize("rounding", list(ROUNDINGS))
def test_weights_on_the_lattice_stay(rounding: Rounding) -> None:
    random = np.random.default_rng(3)
    steps = random.integers(-MOST, MOST + 1, (20, 4)).astype(float)
    scales = np.array([0.1, 0.2, 0.5, 1.0])
    moments = second_moments(random.standard_normal((50, 20)))
    found = ROUNDINGS[rounding](steps * scales, scales, MOST, moments)
    np.testing.assert_array_equal(found, steps)


@pytest.mark.parametrize("rounding", list(ROUNDINGS))
def test_steps_that_are_summed_together_fit_into_16_bits(rounding: Rounding) -> None:
    """With scales that are hardly larger, and whatever the rounding moved."""
    random = np.random.default_rng(3)
    matrix = random.standard_normal((96, 40)) * random.uniform(0.1, 10, 40)
    rows = random.standard_normal((200, 96)) @ random.standard_normal((96, 96))
    power = np.square(rows).mean(axis=0)[:, None]
    scales = scales_of(matrix, power, MOST_IN_PAIRS, together=True)
    steps = ROUNDINGS[rounding](matrix, scales, MOST_IN_PAIRS, second_moments(rows))
    fitted = within_sums(steps)
    assert sums_in_16_bits(fitted).max() <= PAIR
    assert np.abs(fitted).max() <= MOST_IN_PAIRS and (np.abs(fitted) <= np.abs(steps)).all()
    assert np.mean(fitted != steps) < 0.05
    weights = fitted.astype(np.int8)
    assert words_in_16_bits(pack_integers(weights, 8)) == MOST_WORDS
    apart = scales / scales_of(matrix, power, MOST_IN_PAIRS)
    assert np.median(apart) < 1.35 and apart.max() < 2
