"""Summaries of latency samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from harness.statistics.samples import median_interval, summarise

durations = st.floats(1e-6, 1e3)
settings = with_settings(max_examples=60, deadline=None)
exact_scales = st.sampled_from([2.0**power for power in (-30, -3, 1, 10)])


def test_median_interval_is_that_of_the_binomial_table() -> None:
    for count, low, high in ((6, 1, 6), (10, 2, 9), (20, 6, 15), (30, 10, 21)):
        assert median_interval(np.arange(1, count + 1)) == (low, high)


@pytest.mark.parametrize("count", [1, 5])
def test_median_interval_raises_when_samples_are_too_few(count: int) -> None:
    with pytest.raises(ValueError, match=f"needs at least 6 samples, found {count}"):
        median_interval(np.ones(count))


@settings
@given(values=st.lists(durations, min_size=6, max_size=60), scale=exact_scales)
def test_median_interval_holds_the_median_and_scales_with_the_unit(
    values: list[float], scale: float
) -> None:
    low, high = median_interval(values)
    assert low <= np.median(values) <= high
    assert median_interval(scale * np.array(values)) == (scale * low, scale * high)
    narrow = median_interval(values, confidence=0.9)
    assert low <= narrow[0] <= narrow[1] <= high


def test_median_interval_covers_the_true_median_at_least_as_often_as_it_says() -> None:
    random = np.random.default_rng(13)
    intervals = [median_interval(random.lognormal(0, 1, 25)) for _ in range(2000)]
    covered = np.mean([low <= 1 <= high for low, high in intervals])
    assert 0.94 <= covered <= 0.99


def test_summarise_gives_no_p99_when_samples_are_fewer_than_a_hundred() -> None:
    assert summarise(np.arange(1.0, 100.0)).p99 is None
    found = summarise(np.arange(1.0, 102.0))
    assert (found.median, found.p90, found.p99, found.samples) == (51, 91, 100, 101)


@settings
@given(values=st.lists(durations, min_size=6, max_size=120))
def test_summarise_orders_its_figures(values: list[float]) -> None:
    found = summarise(values)
    assert min(values) <= found.ci_low <= found.median <= found.ci_high <= max(values)
    assert found.median <= found.p90 <= max(values)
