"""Intervals of shares and of scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from harness.statistics.shares import bootstrap_interval, paired_share_interval, wilson_interval

settings = with_settings(max_examples=60, deadline=None)


def test_wilson_interval_is_that_of_the_formula() -> None:
    share, total, z = 0.915, 2000, 1.959964
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    assert wilson_interval(1830, 2000) == pytest.approx((centre - half, centre + half))
    assert wilson_interval(0, 10)[0] == pytest.approx(0)
    assert wilson_interval(10, 10)[1] == pytest.approx(1)


def test_wilson_interval_raises_when_there_is_nothing_to_count() -> None:
    with pytest.raises(ValueError):
        wilson_interval(0, 0)


def test_bootstrap_interval_is_near_the_normal_one_and_the_same_when_the_seed_is() -> None:
    data = np.random.default_rng(14).normal(10, 2, 400)

    def mean(values: np.ndarray) -> float:
        return float(values.mean())

    low, high = bootstrap_interval(data, mean, seed=3)
    error = 1.96 * data.std() / 20
    assert (low, high) == pytest.approx((data.mean() - error, data.mean() + error), abs=0.02)
    assert bootstrap_interval(data, mean, seed=3) == (low, high)
    assert bootstrap_interval(data, mean, seed=4) != (low, high)


def test_bootstrap_interval_draws_whole_rows_when_samples_have_several_numbers() -> None:
    rows = np.array([[1.0, 2.0], [2.0, 4.0], [5.0, 10.0]])
    low, high = bootstrap_interval(
        rows, lambda drawn: float(drawn[:, 1].sum() / drawn[:, 0].sum()), seed=0, resamples=50
    )
    assert (low, high) == (2, 2)


def test_bootstrap_interval_raises_when_there_are_no_samples() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        bootstrap_interval(np.empty(0), lambda values: float(values.mean()), seed=0)


@settings
@given(
    total=st.integers(20, 400),
    shares=st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)),
    seed=st.integers(0, 100),
)
def test_paired_interval_is_that_of_drawing_pairs_again(
    total: int, shares: tuple[float, float], seed: int
) -> None:
    first, second = (int(share * total) for share in shares)
    low, high = paired_share_interval(first, second, total, seed)
    assert low <= (first - second) / total <= high
    differences = np.array([1] * first + [-1] * second + [0] * (total - first - second))[:, None]
    expected = bootstrap_interval(differences, lambda rows: float(rows.mean()), seed, 500)
    spread = float(differences.std()) / math.sqrt(total)
    # A quantile of few resamples may be the next multiple of one sample.
    assert (low, high) == pytest.approx(expected, abs=spread + 1.001 / total)


def test_paired_interval_is_narrower_than_the_difference_of_two() -> None:
    """Where both hit much the same samples, which is why it is worth having."""
    low, high = paired_share_interval(60, 30, 2000, 0)
    assert low > 0 and high - low < 0.03
    with pytest.raises(ValueError, match="of 10 samples"):
        paired_share_interval(8, 3, 10, 0)
