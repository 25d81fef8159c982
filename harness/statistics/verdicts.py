"""Verdicts on two cells' latency samples; refuses to decide on too few of them.

Samples are positive durations in any one unit, in the order they were taken. The order matters:
noise on a real machine has a memory, and every test here pays for it (`variance_inflation`).

Sources
-------
[HodLeh]    J. L. Hodges, E. L. Lehmann, Estimates of location based on rank tests,
            Ann. Math. Statist. 34 (1963) 598-611.
[HolWol]    M. Hollander, D. A. Wolfe, Nonparametric Statistical Methods, 2nd ed., 1999,
            sections 3.1-3.3 (signed rank) and 4.1-4.3 (rank sum).
[NewWest]   W. K. Newey, K. D. West, A simple, positive semi-definite, heteroskedasticity and
            autocorrelation consistent covariance matrix, Econometrica 55 (1987) 703-708.
[YueWang]   S. Yue, C. Wang, The Mann-Kendall test modified by effective sample size to eliminate
            the influence of serial correlation, Water Resour. Manag. 18 (2004) 201-218.
[ChenRev]   J. Chen, J. Revels, Robust benchmarking in noisy environments, arXiv:1608.04295 (2016).
[Schuirmann] D. J. Schuirmann, A comparison of the two one-sided tests procedure and the power
            approach, J. Pharmacokinet. Biopharm. 15 (1987) 657-680.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from harness.statistics.samples import Samples, series_of

ALPHA = 0.003
"""Largest p value that supports a verdict: three standard errors."""

MINIMUM_EFFECT = 0.02
"""Smallest relative change worth a verdict: processes running the same code differ by about 1 %.
"No difference" is shown to be less than that."""

BUSY_SCATTER = 0.10
"""Scatter from round to round above which other work is taken to have contended for the cores."""

_BUSY_EFFECT = 0.7  # times the scatter, where busy: three rounds in four are on its side then
_QUICKEST = 0.25  # share of rounds taken as undelayed: those that took both sides least together
_LONGEST = 400
_EXACT = 50
_DECIMALS = 12  # of a logarithm, so that ties remain ties whatever the unit of the samples

Outcome = Literal["faster", "slower", "no difference", "undecided"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
"""The verdicts there are. "No difference" is one that was shown, not the want of another."""


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
    first, second = series_of(a), series_of(b)
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
    first, second = series_of(a), series_of(b)
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


def _shortened(series: Samples) -> Samples:
    """At most 400 values: a longer series becomes the medians of that many consecutive blocks,
    which also bounds the quadratic work of the Hodges-Lehmann estimates."""
    if len(series) > _LONGEST:
        series = np.array([np.median(block) for block in np.array_split(series, _LONGEST)])
    return np.round(series, _DECIMALS)
