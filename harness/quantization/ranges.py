"""The range of a tensor's values that 8 bits divide, from a histogram of what calibration saw.

Values beyond a range are as its ends; within a narrower range, steps are smaller.

Sources
-------
[Migacz]  S. Migacz, 8-bit inference with TensorRT, GTC 2017: the range of least relative entropy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.quantization.lattice import LEVELS
from harness.specs.quantization import RangeMethod

_BINS = 8 * (LEVELS + 1)
_TAIL = 1e-4
"""The share of values beyond each end of a percentile's range."""
_SHARES = np.linspace(0.2, 1.0, 81)
"""Ranges that are looked at, as shares of all values' range."""
_LITTLE = 1e-9
_NOTHING = 1e-30
"""Data that are no larger are 0."""


@dataclass(frozen=True)
class Histogram:
    """How many values (`counts`) were in each of some bins of equal width from `low` to `high`."""

    low: float
    high: float
    counts: np.ndarray

    @property
    def middles(self) -> np.ndarray:
        """The middle of each bin."""
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts)) + 0.5)

    def outside(self, low: float, high: float) -> float:
        """The share of values beyond a range."""
        middles = self.middles
        beyond = self.counts[(middles < low) | (middles > high)].sum()
        return float(beyond / max(self.counts.sum(), 1))


class Ends:
    """The least and the largest number of each channel of one value, 0 among them: padding is."""

    def __init__(self, axis: int | None) -> None:
        self._axis = axis
        self.lows = np.zeros(1)
        self.highs = np.zeros(1)
        self._finite = True

    def see(self, values: np.ndarray) -> None:
        """See the value in one sample, its channels along the axis; all as one without an axis."""
        rows = values.reshape(-1, 1 if self._axis is None else values.shape[self._axis])
        if self._axis is not None:
            rows = np.moveaxis(values, self._axis, -1).reshape(rows.shape)
        lows, highs = rows.min(axis=0, initial=0), rows.max(axis=0, initial=0)
        self._finite = self._finite and bool(np.isfinite(highs - lows).all())
        self.lows, self.highs = np.minimum(self.lows, lows), np.maximum(self.highs, highs)

    @property
    def obstacle(self) -> str | None:
        """Why there is no range; None if there is one."""
        if not self._finite:
            return "its data are not finite"
        some = np.any(self.highs - self.lows > _NOTHING)
        return None if some else "its data are 0 for all calibration inputs"

    def divided(self, factors: np.ndarray | None) -> tuple[float, float]:
        """The least and the largest number, divided by the factors of channels."""
        by = 1.0 if factors is None else factors
        return float(np.min(self.lows / by)), float(np.max(self.highs / by))


class Counted:
    """A histogram that fills from one sample to the next."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._counts = np.zeros(_BINS, np.int64)

    def see(self, values: np.ndarray) -> None:
        """Count values."""
        self._counts += np.histogram(values, _BINS, (self._low, self._high))[0]

    @property
    def histogram(self) -> Histogram:
        """What was counted."""
        return Histogram(self._low, self._high, self._counts)


def _minmax(seen: Histogram) -> tuple[float, float]:
    return seen.low, seen.high


def _percentile(seen: Histogram) -> tuple[float, float]:
    share = np.cumsum(seen.counts) / max(seen.counts.sum(), 1)
    middles = seen.middles
    low = middles[np.searchsorted(share, _TAIL)]
    high = middles[min(int(np.searchsorted(share, 1 - _TAIL)), len(middles) - 1)]
    found = min(float(low), 0.0), max(float(high), 0.0)
    # Of data that are 0 but for a few, the percentiles are 0 too.
    return found if found[1] - found[0] > _NOTHING else _minmax(seen)


def _least(seen: Histogram, loss: Callable[[float, float], float]) -> tuple[float, float]:
    """The range of the least loss: of shares of both ends, and of either end alone."""
    ranges = [
        (low * seen.low, high * seen.high)
        for share in _SHARES
        for low, high in {(share, share), (1.0, share), (share, 1.0)}
    ]
    return min(ranges, key=lambda each: loss(*each))


def _mse(seen: Histogram) -> tuple[float, float]:
    middles, counts = seen.middles, seen.counts

    def loss(low: float, high: float) -> float:
        step = (high - low) / LEVELS
        if step <= 0:
            return np.inf
        nearest = low + np.rint((np.clip(middles, low, high) - low) / step) * step
        return float(counts @ np.square(nearest - middles))

    return _least(seen, loss)


def _entropy(seen: Histogram) -> tuple[float, float]:
    """The divergence of the values' distribution from the one that levels tell, see [Migacz]: what
    is beyond the range is in its last bins, and a level's values are spread over its bins that had
    any."""
    middles, counts = seen.middles, seen.counts.astype(np.float64)
    total = max(counts.sum(), 1.0)

    def loss(low: float, high: float) -> float:
        step = (high - low) / LEVELS
        if step <= 0:
            return np.inf
        bins = np.clip(np.rint((np.clip(middles, low, high) - low) / step), 0, LEVELS).astype(int)
        inside = (middles >= low) & (middles <= high) & (counts > 0)
        known = np.bincount(bins[inside], counts[inside], LEVELS + 1)
        places = np.bincount(bins[inside], minlength=LEVELS + 1)
        spread = np.where(inside, (known / np.maximum(places, 1))[bins], 0.0)
        told = np.maximum(spread / max(spread.sum(), 1.0), _LITTLE)
        ends = np.flatnonzero(inside)
        if not ends.size:
            return np.inf
        found = np.where(inside, counts, 0.0)
        found[ends[0]] += counts[: ends[0]].sum()
        found[ends[-1]] += counts[ends[-1] + 1 :].sum()
        share = found / total
        some = share > 0
        return float(np.sum(share[some] * np.log(share[some] / told[some])))

    return _least(seen, loss)


RANGES: Mapping[RangeMethod, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
"""The methods: from a histogram to the least and the largest number, 0 between them."""
