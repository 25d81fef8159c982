"""Intervals of shares and of scores.

Sources
-------
[Wilson]   E. B. Wilson, Probable inference, the law of succession, and statistical inference,
           J. Amer. Statist. Assoc. 22 (1927) 209-212.
[EfrTib]   B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Number = TypeVar("Number", bound=np.generic)


def wilson_interval(successes: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """The score interval of a proportion [Wilson]. Raises ValueError for `total` < 1."""
    found = stats.binomtest(successes, total).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def bootstrap_interval(
    per_sample_data: NDArray[Number],
    statistic: Callable[[NDArray[Number]], float],
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The percentile bootstrap interval of `statistic` [EfrTib].

    `per_sample_data` has one row a sample (shape [n, ...]); `statistic` maps such an array, its
    rows redrawn with replacement, to a number. The same seed gives the same interval.
    """
    count = len(per_sample_data)
    if count < 1:
        raise ValueError("a bootstrap interval needs at least one sample, found none")
    random = np.random.default_rng(seed)
    values = [
        statistic(per_sample_data[random.integers(0, count, count)]) for _ in range(resamples)
    ]
    tail = 50 * (1 - confidence)
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def paired_share_interval(
    only_first: int,
    only_second: int,
    total: int,
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The percentile bootstrap interval of a difference of two shares of the same samples [EfrTib].

    Of `total` samples `only_first` hit the first time only and `only_second` the second time only.
    Drawing samples again draws these counts from a multinomial distribution. Raises ValueError for
    more of them than samples, or none of those.
    """
    if total < 1 or min(only_first, only_second) < 0 or only_first + only_second > total:
        raise ValueError(f"{only_first} and {only_second} of {total} samples")
    chances = np.array([only_first, only_second, total - only_first - only_second]) / total
    drawn = np.random.default_rng(seed).multinomial(total, chances, resamples)
    tail = 50 * (1 - confidence)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / total, [tail, 100 - tail])
    return float(low), float(high)
