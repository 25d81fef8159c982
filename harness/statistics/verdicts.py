"""Medians, intervals and verdicts on latency samples; refuses to decide on too few of them.

Samples are positive durations in any one unit, in the order they were taken. The order matters:
noise on a real machine has a memory, and every test here pays for it (`variance_inflation`).

Sources
-------
[Conover]   W. J. Conover, Practical Nonparametric Statistics, 3rd ed., 1999, section 3.2.
[HodLeh]    J. L. Hodges, E. L. Lehmann, Estimates of location based on rank tests,
            Ann. Math. Statist. 34 (1963) 598-611.
[HolWol]    M. Hollander, D. A. Wolfe, Nonparametric Statistical Methods, 2nd ed., 1999,
            sections 3.1-3.3 (signed rank) and 4.1-4.3 (rank sum).
[NewWest]   W. K. Newey, K. D. West, A simple, positive semi-definite, heteroskedasticity and
            autocorrelation consistent covariance matrix, Econometrica 55 (1987) 703-708.
[YueWang]   S. Yue, C. Wang, The Mann-Kendall test modified by effective sample size to eliminate
            the influence of serial correlation, Water Resour. Manag. 18 (2004) 201-218.
[ChenRev]   J. Chen, J. Revels, Robust benchmarking in noisy environments, arXiv:1608.04295 (2016).
[Wilson]    E. B. Wilson, Probable inference, the law of succession, and statistical inference,
            J. Amer. Statist. Assoc. 22 (1927) 209-212.
[EfrTib]    B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
[Schuirmann] D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power
            approach, J. Pharmacokinet. Biopharm. 15 (1987) 657-680.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

ALPHA = 0.003
"""Largest p value that supports a verdict: three standard errors."""

MINIMUM_EFFECT = 0.02
"""Smallest relative change worth a verdict: processes running the same code differ by about 1 %.
"No difference" is shown to be less than that."""

BUSY_SCATTER = 0.10
"""Scatter from round to round above which other work is taken to have contended for the cores."""

_BUSY_EFFECT = 0.7  # times the scatter, where busy: three rounds in four are on its side then
_QUICKEST = 0.25  # share of rounds taken as undelayed: those that took both sides least together
P99_MINIMUM = 100
"""Fewer samples have no 99th percentile: it would be little but the maximum."""
_LONGEST = 400
_EXACT = 50
_DECIMALS = 12  # of a logarithm, so that ties remain ties whatever the unit of the samples

Samples = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)
Outcome = Literal["faster", "slower", "no difference", "undecided"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""The verdicts there are. "No difference" is one that was shown, not the want of another."""


@dataclass(frozen=True)
class LatencySummary:
    """Median, percentiles and the 95 % interval of the median, in the unit of the samples."""

    median: float
    p90: float
    p99: float | None  # None below 100 samples, where it would be little but the maximum
    ci_low: float
    ci_high: float
    samples: int


@dataclass(frozen=True)
class Verdict:
    """Whether b is faster or slower than a, and by how much.

    `verdict` is "faster" or "slower" where the test confirms it, "no difference" where the whole
    interval is within the minimum effect of 1, and "undecided" otherwise. `ratio` is b's duration
    over a's (below 1: b is faster), `ci_low` and `ci_high` its 95 % interval, which is 0 to
    infinity where the samples cannot bound it. `samples` is the number of rounds, or the smaller of
    two sample sizes; `effective_samples` is how many independent ones those are worth in the test,
    which uses at most 400. `enough` is whether so many could support a verdict at all. `scatter` is
    the spread of single log ratios: the interquartile range as a standard deviation.
    """

    verdict: Outcome
    ratio: float
    ci_low: float
    ci_high: float
    p_value: float
    test: str
    samples: int
    effective_samples: float
    enough: bool
    scatter: float

    @property
    def times_as_fast(self) -> tuple[float, float, float]:
        """How many times as fast b is as a, and the 95 % interval: the inverse of the ratio."""
        low, high = (math.inf if end == 0 else 1 / end for end in (self.ci_high, self.ci_low))
        return 1 / self.ratio, low, high

    @property
    def busy(self) -> bool:
        """Whether the samples look like those of a machine that had other work to do."""
        return self.scatter > BUSY_SCATTER

    @property
    def reason(self) -> str:
        """Why it is undecided, in words; empty where it is decided."""
        if self.verdict != "undecided":
            return ""
        if not self.enough:
            return "too few samples"
        if self.ci_low > 1 or self.ci_high < 1:
            return "the interval leaves out 1, but the test does not confirm the difference"
        return "the interval allows both a difference and none"


def median_interval(samples: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """The distribution-free interval of the median between two order statistics [Conover].

    The number of samples below the median is binomial(n, 1/2), so the l-th smallest and the l-th
    largest sample enclose it with probability 1 - 2 P(binomial < l). The largest such l is used.
    Assumes independent samples: it describes this run, not the machine on another day.

    Raises ValueError when even the smallest and the largest sample do not reach the confidence
    (n < 6 for 95 %).
    """
    ordered = np.sort(_series(samples))
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
    samples = _series(seconds)
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


def variance_inflation(series: ArrayLike) -> float:
    """How many times serial correlation multiplies the variance of the mean rank; at least 1.

    The Bartlett-weighted sum of autocorrelations [NewWest] over floor(sqrt(n)) lags, taken on
    ranks so that outliers do not decide it. n divided by it is the effective sample size [YueWang].
    Negative correlation is never used to claim more than independent samples would allow.
    """
    ranks = stats.rankdata(np.asarray(series, dtype=np.float64))
    ranks -= ranks.mean()
    power = float(ranks @ ranks)
    if power == 0:
        return 1.0
    count = len(ranks)
    lags = np.arange(1, math.isqrt(count) + 1)
    correlations = np.array([ranks[lag:] @ ranks[:-lag] for lag in lags]) / power
    weights = 1 - lags / (len(lags) + 1)
    return max(1.0, float(1 + 2 * weights @ correlations))


def compare_paired(
    a: ArrayLike,
    b: ArrayLike,
    *,
    alpha: float = ALPHA,
    minimum_effect: float = MINIMUM_EFFECT,
) -> Verdict:
    """Compare two interleaved cells: sample i of both is of the same round.

    The Wilcoxon signed-rank test on the log ratio of each round, in which drift that both share
    cancels; its Hodges-Lehmann estimate and the interval that inverts it [HodLeh, HolWol]; both
    widened for serial correlation. See `_decide` for the rule of verdicts.

    From thirty rounds on, a cell compared with itself gets "faster" or "slower" less than once in a
    hundred as long as the noise that the two do not share has an autocorrelation of at most 0.25
    from one round to the next; with 0.3 it takes sixty rounds.
    """
    first, second = _series(a), _series(b)
    if len(first) != len(second):
        raise ValueError(
            f"paired samples come in equal numbers, found {len(first)} and {len(second)}"
        )
    differences = _shortened(np.log(second) - np.log(first))
    count = len(differences)
    inflation = variance_inflation(differences)
    totals = _shortened(np.log(second) + np.log(first))
    quickest = differences[totals <= np.quantile(totals, _QUICKEST)]
    # The exact distribution is of distinct ranks; with ties the normal one is used, tie-corrected.
    distinct = len(np.unique(np.abs(differences))) == count and bool(np.all(differences))
    method = "exact" if distinct and count <= _EXACT else "approx"
    moved = bool(np.any(differences))
    p_value = float(stats.wilcoxon(differences, method=method).pvalue) if moved else 1.0
    one, other = np.triu_indices(count)
    averages = np.sort((differences[one] + differences[other]) / 2)
    deviation = math.sqrt(inflation * count * (count + 1) * (2 * count + 1) / 24)
    return _decide(
        samples=len(first),
        shifts=averages,
        rounds=differences,
        quick=float(np.median(quickest)),
        deviation=deviation,
        inflation=inflation,
        p_value=p_value,
        smallest_p=2.0 ** (1 - count),
        test="Wilcoxon signed-rank",
        alpha=alpha,
        minimum_effect=minimum_effect,
    )


def compare_independent(
    a: ArrayLike,
    b: ArrayLike,
    *,
    alpha: float = ALPHA,
    minimum_effect: float = MINIMUM_EFFECT,
) -> Verdict:
    """Compare two cells measured at different times.

    The Mann-Whitney U test on log durations, the Hodges-Lehmann shift and the interval that inverts
    it [HodLeh, HolWol], both widened for the serial correlation within each. What differed
    between the two times (clock, temperature, neighbours) is in the ratio and cannot be told apart
    from the code: measure interleaved where the answer matters.
    """
    first, second = _series(a), _series(b)
    x, y = _shortened(np.log(first)), _shortened(np.log(second))
    pairs = len(x) * len(y)
    # Var(mean rank of y - mean rank of x) relative to independent samples of the same spread.
    inflation = (variance_inflation(x) / len(x) + variance_inflation(y) / len(y)) / (
        1 / len(x) + 1 / len(y)
    )
    p_value = float(stats.mannwhitneyu(x, y).pvalue) if np.ptp(np.append(x, y)) > 0 else 1.0
    deviation = math.sqrt(inflation * pairs * (len(x) + len(y) + 1) / 12)
    shifts = np.sort(np.subtract.outer(y, x), axis=None)
    return _decide(
        samples=min(len(first), len(second)),
        shifts=shifts,
        rounds=shifts,
        quick=math.log(np.percentile(second, 25) / np.percentile(first, 25)),
        deviation=deviation,
        inflation=inflation,
        p_value=p_value,
        smallest_p=2 / math.comb(len(x) + len(y), len(x)),
        test="Mann-Whitney U",
        alpha=alpha,
        minimum_effect=minimum_effect,
    )


def _decide(
    *,
    samples: int,
    shifts: Samples,
    rounds: Samples,
    quick: float,
    deviation: float,
    inflation: float,
    p_value: float,
    smallest_p: float,
    test: str,
    alpha: float,
    minimum_effect: float,
) -> Verdict:
    """The verdict of a rank test whose statistic counts `shifts` (sorted log ratios) above zero.

    "Faster" or "slower" is said only where all agree: the p value is at most alpha, the interval
    leaves out 1, the ratio is beyond the minimum effect, and `quick`, the log ratio where nothing
    was delayed, is beyond half of it: a delay only adds time [ChenRev], so that a
    true change shows there too. On a busy machine the minimum is 0.7 times the scatter of
    `rounds` (single log ratios): contention that stays with one process for several rounds has a
    longer memory than `variance_inflation` can see in so few rounds.

    "No difference" is a test of equivalence [Schuirmann]: the 95 % interval is within the minimum
    effect of 1 on both sides. `deviation` is the statistic's standard deviation under the null
    hypothesis.
    """
    count = len(shifts)
    centre = float(np.median(shifts))
    # The interval ends at the order statistics that the test's critical values count to [HolWol].
    rank = math.floor(count / 2 - special.ndtri(0.975) * deviation)
    low, high = (shifts[rank - 1], shifts[count - rank]) if rank >= 1 else (-math.inf, math.inf)
    p_value = _inflated(p_value, inflation)
    scatter = _scatter(rounds)
    level = math.log1p(minimum_effect)
    least = max(level, _BUSY_EFFECT * scatter) if scatter > BUSY_SCATTER else level
    enough = _inflated(smallest_p, inflation) <= alpha
    verdict: Outcome = "undecided"
    if enough and p_value <= alpha and low > 0 and centre >= least and quick >= least / 2:
        verdict = "slower"
    elif enough and p_value <= alpha and high < 0 and centre <= -least and quick <= -least / 2:
        verdict = "faster"
    elif enough and -level <= low and high <= level:
        verdict = "no difference"
    return Verdict(
        verdict=verdict,
        ratio=math.exp(centre),
        ci_low=math.exp(low),
        ci_high=math.exp(high),
        p_value=p_value,
        test=test,
        samples=samples,
        effective_samples=min(samples, _LONGEST) / inflation,
        enough=enough,
        scatter=scatter,
    )


def _inflated(p_value: float, inflation: float) -> float:
    """The two-sided p value once the statistic's variance is multiplied by `inflation`."""
    return float(2 * special.ndtr(special.ndtri(p_value / 2) / math.sqrt(inflation)))


def _scatter(differences: Samples) -> float:
    """The interquartile range, as the standard deviation of a normal distribution that has it."""
    low, high = np.percentile(differences, [25, 75])
    return float((high - low) / 1.349)


def _series(samples: ArrayLike) -> Samples:
    series = np.asarray(samples, dtype=np.float64)
    if series.ndim != 1 or len(series) == 0:
        raise ValueError(f"expected a non-empty series of samples, found shape {series.shape}")
    if not (np.all(np.isfinite(series)) and np.all(series > 0)):
        raise ValueError("samples are durations: each must be finite and above zero")
    return series


def _shortened(series: Samples) -> Samples:
    """At most 400 values: a longer series becomes the medians of that many consecutive blocks,
    which also bounds the quadratic work of the Hodges-Lehmann estimates."""
    if len(series) > _LONGEST:
        series = np.array([np.median(block) for block in np.array_split(series, _LONGEST)])
    return np.round(series, _DECIMALS)
