"""Compares two arrays that ought to be the same: exactly, but for the rounding of floats.

Shapes, dtypes, integers, booleans, and where NaN, inf and -inf are must be equal. A float may be
off by a share of the size of its neighbourhood, so that values of 0 to 1 are not judged by
coordinates of 9,000 in the same array. It needs NumPy alone: boards compare their results
themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tolerance:
    """Shares of a neighbourhood's size that a float may be off by: up to `certain` it is right;
    beyond `stated` it is wrong, unless something more exact than the reference says otherwise.
    `rounding` is the share of a value that rounding changes."""

    certain: float
    stated: float
    rounding: float


TOLERANCES = {
    "bfloat16": Tolerance(2**-6, 2**-4, 2**-8),
    "float16": Tolerance(2**-8, 2**-6, 2**-11),
    "float32": Tolerance(5e-5, 1e-4, 2**-24),
    # A network that computes in 64-bit floats is exact to 1e-12, one that converts its result to
    # them is as exact as one of 32-bit floats.
    "float64": Tolerance(1e-9, 1e-4, 2**-53),
}
"""By the dtype of an output. Summing in another order changes a 32-bit float by some 1e-6 of the
size of the terms, a wrong kernel by far more."""
_LEAST_NORMAL = float(np.finfo(np.float32).tiny)
EXACT = Tolerance(0.0, 0.0, 0.0)

_GAP = 10
"""Powers of two without any value in between that separate values of different sizes,
as logits from a mask of -3.4e38."""
_REMAINDER = 1 / 64
"""Fewer values than this share of larger ones are remainders of their cancelling: one in
a thousand values of a normal distribution is a thousand times as small as the others."""
_FEWEST = 8
"""Values that a slice must have to have a size of its own."""
_OF_LARGEST = 1 / 128
"""A slice's size is at least this share of its largest value."""


def is_float(dtype: np.dtype) -> bool:
    return dtype.name in TOLERANCES


def tolerance_of(dtype: np.dtype) -> Tolerance:
    return TOLERANCES.get(dtype.name, EXACT)


def unlike(expected: np.ndarray, found: np.ndarray) -> str | None:
    """Why two arrays cannot be compared value by value, in words; None where they can."""
    for attribute, one, other in (
        ("shape", list(expected.shape), list(found.shape)),
        ("dtype", expected.dtype.name, found.dtype.name),
    ):
        if one != other:
            return f"has {attribute} {other}, the reference's has {one}"
    return None


def errors(expected: np.ndarray, found: np.ndarray) -> Floats:
    """Absolute differences of two arrays of one shape: 0 where both are NaN or the same infinity,
    inf where one is and the other is not. Integers above 2^53 that differ do so by at least 1."""
    if not is_float(expected.dtype):
        apart = np.abs(expected.astype(np.float64) - found.astype(np.float64))
        return np.where(expected != found, np.maximum(apart, 1.0), 0.0)
    one, other = expected.astype(np.float64), found.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.asarray(np.abs(one - other))
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    apart[~(np.isfinite(one) & np.isfinite(other))] = np.inf
    apart[same] = 0.0
    return apart


def shares(expected: np.ndarray, found: np.ndarray) -> Floats:
    """`errors` as shares of the sizes of their neighbourhoods in `expected`. inf for
    any difference of other types. Floats that differ by less than the least normal float32 do not:
    below it numbers lose their digits one by one, and processors may take them for zero."""
    apart = errors(expected, found)
    if not is_float(expected.dtype):
        return np.where(apart > 0, np.inf, 0.0)
    apart[apart < _LEAST_NORMAL] = 0.0
    return relative(apart, sizes(expected))


def relative(apart: Floats, size: Floats) -> Floats:
    """Differences as shares of sizes; 0 where there is no difference."""
    found = np.zeros_like(apart)
    np.divide(apart, size, out=found, where=apart > 0)
    return found


def sizes(reference: np.ndarray) -> Floats:
    """How large each value's neighbourhood is, shape [reference]: the value's own magnitude, and
    the typical magnitude of the values around it.

    These are the ones that share its index along an axis, for the axis along which they are
    smallest; the median magnitude of such a slice, without zeros, is its typical one. Values
    that are 2^10 times as large as all others have a neighbourhood of their own. Where everything
    is zero the size is 1.
    """
    magnitude = np.abs(reference.astype(np.float64))
    counted = np.isfinite(magnitude) & (magnitude > 0)
    if not counted.any():
        return np.ones_like(magnitude)
    band = np.zeros(magnitude.shape, np.int64)
    band[counted] = _bands(magnitude[counted])
    typical = np.zeros_like(magnitude)
    for at in range(int(band.max()) + 1):
        # Zeros count as the smallest values.
        members = band == at
        typical[members] = _typical(magnitude, members & counted)[members]
    return np.where(np.isfinite(magnitude), magnitude, 0.0) + typical


def _bands(values: Floats) -> npt.NDArray[np.int64]:
    """Which band of sizes each of some positive values is in, 0 for the smallest."""
    exponents = np.frexp(values)[1]
    present, counts = np.unique(exponents, return_counts=True)
    gaps = np.flatnonzero(np.diff(present) > _GAP) + 1
    totals = np.add.reduceat(counts, [0, *gaps])
    starts, below = [], 0
    for start, count, above in zip(present[gaps], totals, totals[1:], strict=False):
        below += count
        if below >= _REMAINDER * above:
            starts.append(start)
            below = 0
    return np.searchsorted(np.array(starts, exponents.dtype), exponents, side="right")


def _typical(magnitude: Floats, members: npt.NDArray[np.bool_]) -> Floats:
    """The typical magnitude around each place, by those that are members."""
    values = magnitude[members]
    whole = max(float(np.quantile(values, 0.25)), float(values.max()) * _OF_LARGEST)
    found = np.full(magnitude.shape, np.inf)
    sliced = False
    for axis, extent in enumerate(magnitude.shape):
        if extent < 2 or magnitude.size // extent < _FEWEST:
            continue
        sliced = True
        rows = np.moveaxis(np.where(members, magnitude, np.inf), axis, 0).reshape(extent, -1)
        counts = np.moveaxis(members, axis, 0).reshape(extent, -1).sum(axis=1)
        ordered = np.sort(rows, axis=1)
        last = np.maximum(counts - 1, 0)[:, np.newaxis]
        middle = np.take_along_axis(ordered, last // 2, axis=1)[:, 0]
        largest = np.take_along_axis(ordered, last, axis=1)[:, 0]
        each = np.where(counts > 0, np.maximum(middle, largest * _OF_LARGEST), whole)
        shape = [1] * magnitude.ndim
        shape[axis] = extent
        found = np.minimum(found, each.reshape(shape))
    return found if sliced else np.full(magnitude.shape, whole)


def at_place(flat: int, shape: tuple[int, ...]) -> list[int]:
    """The index of an element, by its place in a flat array."""
    return [int(each) for each in np.unravel_index(flat, shape)]


def shown(array: np.ndarray, flat: int) -> str:
    """One value of an array as people read it."""
    value = array.reshape(-1)[flat]
    return f"{float(value):.9g}" if is_float(array.dtype) else str(value)
