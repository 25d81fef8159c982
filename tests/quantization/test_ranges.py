"""Ranges that are chosen from what calibration saw."""

from __future__ import annotations

import numpy as np
import pytest
from lattices import rounded

from harness.quantization.lattice import Lattice
from harness.quantization.ranges import RANGES, Counted, Ends, Histogram
from harness.specs.quantization import RANGE_METHODS, RangeMethod


def seen(values: np.ndarray) -> Histogram:
    ends = Ends(None)
    for part in np.array_split(values, 3):
        ends.see(part)
    found = Counted(*ends.divided(None))
    for part in np.array_split(values, 3):
        found.see(part)
    return found.histogram


def error(values: np.ndarray, method: RangeMethod) -> float:
    lattice = Lattice.over(*RANGES[method](seen(values)), "uint8")
    return float(np.square(rounded(lattice, values) - values).mean())


def test_each_method_has_a_summary() -> None:
    assert RANGES.keys() == RANGE_METHODS.keys()


def test_minmax_holds_all_values() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    assert RANGES["minmax"](seen(values)) == (values.min(), values.max())


def test_data_that_are_zero_but_for_a_few_have_a_range() -> None:
    """As of a sensor's picture with one sentinel: both percentiles are 0."""
    values = np.zeros(100_000, np.float32)
    values[7], values[8] = -1, 4095
    for method in RANGES.values():
        low, high = method(seen(values))
        assert low <= 0 <= high and high - low > 0
        assert Lattice.over(low, high, "uint8").scale > 0


def test_percentile_leaves_out_a_single_outlier() -> None:
    values = np.append(np.random.default_rng(0).standard_normal(100_000), 1000.0)
    low, high = RANGES["percentile"](seen(values))
    assert -10 < low < -2
    assert high < 10


@pytest.mark.parametrize("outlier", [0.0, 20.0, 60.0])
def test_mse_is_the_range_of_the_least_error(outlier: float) -> None:
    values = np.append(np.random.default_rng(0).laplace(size=50_000), outlier)
    errors = {method: error(values, method) for method in RANGES}
    assert errors["mse"] <= 1.02 * min(errors.values())


def test_entropy_cuts_a_long_thin_tail_and_keeps_a_uniform_distribution() -> None:
    random = np.random.default_rng(0)
    thin = np.append(np.abs(random.standard_normal(200_000)), np.linspace(4, 100, 20))
    assert RANGES["entropy"](seen(thin))[1] < 50
    even = random.uniform(0, 1, 200_000)
    assert RANGES["entropy"](seen(even))[1] > 0.9


@pytest.mark.parametrize("method", list(RANGES))
def test_every_range_has_zero_and_width(method: RangeMethod) -> None:
    for values in (np.array([5.0]), np.array([-3.0, -2.0]), np.array([0.0, 1e-20])):
        low, high = RANGES[method](seen(values))
        assert low <= 0 <= high
        assert high > low


@pytest.mark.parametrize(
    ("values", "said"),
    [([0.0, 0.0], "0 for all"), ([1.0, np.nan], "not finite"), ([np.inf, 1.0], "not finite")],
)
def test_values_without_a_range_say_why(values: list[float], said: str) -> None:
    ends = Ends(None)
    ends.see(np.array(values))
    assert said in str(ends.obstacle)


def test_ends_are_of_each_channel_and_divided_by_its_factor() -> None:
    ends = Ends(1)
    ends.see(np.array([[[1.0, -2.0], [30.0, 40.0]]]))
    ends.see(np.array([[[4.0, 0.0], [5.0, -60.0]]]))
    assert ends.lows.tolist() == [-2, -60]
    assert ends.highs.tolist() == [4, 40]
    assert ends.divided(None) == (-60, 40)
    assert ends.divided(np.array([1.0, 20.0])) == (-3, 4)


def test_share_outside_a_range_is_counted() -> None:
    found = seen(np.linspace(0, 10, 100_001))
    assert found.outside(0, 9) == pytest.approx(0.1, abs=1e-3)
    assert found.outside(0, 10) == 0
