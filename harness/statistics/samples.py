"""Medians and percentiles of latency samples, and the interval of the median.

Samples are positive durations in any one unit.

Sources
-------
[Conover]  W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

P99_MINIMUM = 100
"""Fewer samples have no 99th percentile: it would be little but the maximum."""

Samples = NDArray[np.float64]


@dataclass(frozen=True)
class LatencySummary:
    """Median, percentiles and the 95 % interval of the median, in the unit of the samples."""

    median: float
    p90: float
    p99: float | None  # None below 100 samples, where it would be little but the maximum
    ci_low: float
    ci_high: float
    samples: int


def median_interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The distribution-free interval of the median between two order statistics [Conover].

    The number of samples below the median is binomial(n, 1/2), so the l-th smallest and the l-th
    largest sample enclose it with probability 1 - 2 P(binomial < l). The largest such l is used.
    Assumes independent samples: it describes this run, not the machine on another day.

    Raises ValueError when even the smallest and the largest sample do not reach the confidence
    (n < 6 for 95 %).
    """
    ordered = np.sort(series_of(samples))
    count = len(ordered)
    rank = int(stats.binom.ppf((1 - confidence) / 2, count, 0.5))
    if rank < 1:
        least = math.ceil(1 - math.log2(1 - confidence))
        raise ValueError(
            f"a {confidence:.0%} interval of the median needs at least {least} samples, "
            f"found {count}"
        )
    return float(ordered[rank - 1]), float(ordered[count - rank])


def summarise(seconds: ArrayLike) -> LatencySummary:
    """Summarise latency samples (shape [n], n >= 6, any unit), as `median_interval` does.

    Percentiles interpolate linearly between order statistics.
    """
    samples = series_of(seconds)
    low, high = median_interval(samples)
    median, p90, p99 = np.percentile(samples, [50, 90, 99])
    return LatencySummary(
        median=float(median),
        p90=float(p90),
        p99=float(p99) if len(samples) >= P99_MINIMUM else None,
        ci_low=low,
        ci_high=high,
        samples=len(samples),
    )


def series_of(samples: ArrayLike) -> Samples:
    """Samples, shape [n], as an array. Raises ValueError where one is no duration."""
    series = np.asarray(samples, dtype=np.float64)
    if series.ndim != 1 or len(series) == 0:
        raise ValueError(f"expected a non-empty series of samples, found shape {series.shape}")
    if not (np.all(np.isfinite(series)) and np.all(series > 0)):
        raise ValueError("samples are durations: each must be finite and above zero")
    return series
