"""Tells whose error a difference is, by values that are more exact than the reference's.

A judge evaluates the network in 64-bit floats, and again with intermediate results moved within
the rounding of the network's own floats (Monte Carlo arithmetic, Parker 1997): values that move
then are not determined by the network, and no engine is wrong about them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.measure.comparison import (
    Floats,
    errors,
    is_float,
    relative,
    sizes,
    tolerance_of,
)

Places = npt.NDArray[np.bool_]

_OF_REFERENCE = 4.0
"""How many times as far from the judge's value as the reference an engine may be: kernels that sum
one value after the other round more often."""
_OF_DOUBT = 8.0
"""The same, for changes by the rounding of intermediate results."""
_OF_MOVED = 2.0
"""The same, for values that were moved further than kernels move them."""
_QUANTILES = (0.5, 0.75, 0.9, 0.99, 1.0)
"""Of the errors of an output's values, which are compared where any value may move."""
_MOST = 1e-2
"""The share of a neighbourhood's size beyond which a reference's error excuses nobody's."""
_NEAR = 2
"""How many places further along an axis the reference's errors are like those of a value."""
_USUAL = 0.95
"""The quantile of the reference's errors that any of its values may have."""
STEPS = 1
"""How far apart the integers of a quantized output may be: kernels of one engine round halves up
or to even."""


@dataclass(frozen=True)
class Opinion:
    """A judge's value of an output, and its values with intermediate results rounded
    differently; shapes [output]."""

    value: np.ndarray
    others: tuple[np.ndarray, ...] = ()
    anywhere: bool = False
    """Whether any of the values may move as far as one of them does in `others`."""

    @property
    def doubt(self) -> Floats:
        """How far each value moves."""
        found = np.zeros(self.value.shape)
        for other in self.others:
            apart = errors(self.value, other)
            found = np.maximum(found, np.where(np.isfinite(apart), apart, 0.0))
        return found

    def spread(self, doubt: Floats) -> Floats:
        """A doubt of each value; of all of them the largest, if any may move as far."""
        return np.full(doubt.shape, doubt.max(initial=0)) if self.anywhere else doubt


@dataclass(frozen=True)
class Opinions:
    """A judge's opinions on all outputs for one input. `judge` is its name in words."""

    judge: str
    of: Sequence[Opinion]


Judge = Callable[[int, int], "Opinions | str"]
"""Asked by an input's index, and how many other possible values are wanted, only where outputs
differ. Returns its opinions, with as many of these as it has; or why there are none."""


@dataclass(frozen=True)
class Ruling:
    """Which values are right, and at which the reference is not, each of shape [output]."""

    right: Places
    reference_off: Places


def rule(
    opinion: Opinion, expected: np.ndarray, found: np.ndarray, allowed: Places, quantized: bool
) -> Ruling:
    """Compare found and expected values with a judge's opinion. An opinion that is like
    neither is not believed, and values `allowed` without a judge are right."""
    if is_float(expected.dtype):
        return _rule_floats(opinion, expected, found, allowed)
    exact = [opinion.value, *opinion.others]
    if quantized:
        room = STEPS + opinion.spread(opinion.doubt)
        ours = errors(opinion.value, found) <= room
        theirs = errors(opinion.value, expected) <= room
    else:
        ours = np.any([found == each for each in exact], axis=0)
        theirs = np.any([expected == each for each in exact], axis=0)
    return Ruling(np.where(ours | theirs, ours, allowed), ours & ~theirs)


def _rule_floats(
    opinion: Opinion, expected: np.ndarray, found: np.ndarray, allowed: Places
) -> Ruling:
    tolerance = tolerance_of(expected.dtype)
    with np.errstate(over="ignore"):
        value = opinion.value.astype(expected.dtype)
    size = sizes(value)
    ours = relative(errors(value, found), size)
    theirs = relative(errors(value, expected), size)
    doubt = _OF_DOUBT * relative(opinion.doubt, size)
    if opinion.anywhere:
        doubt = _doubt_anywhere(opinion, size, ours, tolerance.stated)
    elif np.median(doubt) > _MOST:
        # As a softmax of huge logits that are equal but for rounding: any of them may be the one.
        # Values that nothing moves, as scores beside them, are known nonetheless.
        doubt = np.where(doubt > tolerance.stated, doubt.max(), doubt)
    finite = theirs[np.isfinite(theirs) & (doubt <= _MOST)]
    usual = min(float(np.quantile(finite, _USUAL)), _MOST) if finite.size else 0.0
    as_good = _OF_REFERENCE * np.maximum(_around(np.where(theirs <= _MOST, theirs, 0.0)), usual)
    known = np.maximum(tolerance.stated, doubt)
    fits = ours <= np.maximum(known, as_good)
    believed = np.minimum(ours, theirs) <= known
    # Closer to the judge than the reference is nobody wrong, as long as the judge is near at all.
    closer = (ours <= theirs) & (ours <= _MOST)
    right = np.where(believed, fits, allowed) | closer
    return Ruling(right, right & believed & (theirs > known))


def _doubt_anywhere(opinion: Opinion, size: Floats, ours: Floats, tolerance: float) -> Floats:
    """The doubt of values of which any may move as far as one of them does, all alike. None where
    `ours` are further from the judge's than its others are, the middle ones or the furthest: that
    is not what rounding does."""
    if not opinion.others or not size.size or not np.isfinite(ours).all():
        return np.zeros(size.shape)
    moved = [relative(errors(opinion.value, other), size) for other in opinion.others]
    furthest = np.max([np.quantile(each, _QUANTILES) for each in moved], axis=0)
    if np.any(np.quantile(ours, _QUANTILES) > np.maximum(_OF_MOVED * furthest, tolerance)):
        return np.zeros(size.shape)
    return np.full(size.shape, _OF_MOVED * furthest[-1])


def _around(values: Floats) -> Floats:
    """The largest of each value and those around it: an error that happens to be small in one
    place says nothing of how exact an engine is there."""
    found = values
    for axis in range(values.ndim):
        padded = np.pad(found, [(_NEAR * (at == axis),) * 2 for at in range(values.ndim)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * _NEAR + 1, axis=axis)
        found = windows.max(axis=-1)
    return found
