"""Weights that are whole multiples of a scale, as those of quantized networks are."""

from __future__ import annotations

import numpy as np

_STEPS = np.iinfo(np.int8)
_NEAR = 2e-5
"""How far weights in single precision are from whole steps at most: 128 · 2⁻²³, with some room."""
_SAMPLE = 64
"""Edges of an output that are looked at before all of them are."""
_AT_ONCE = 1 << 20
"""Weights that are looked at together: in double precision, several times over."""


def in_steps(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights `[edges, outputs]` of floats as int8, and a scale for each output of which they are
    multiples; None where they are not.

    The scale of an output is its largest weight divided by a whole number: by the first, from 128
    down, of which all weights are multiples within their rounding to single precision. The steps
    have no common divisor.
    """
    if weights.dtype != np.float32:
        return None
    edges, outputs = weights.shape
    steps, scales = np.empty((edges, outputs), np.int8), np.empty(outputs)
    together = max(1, _AT_ONCE // max(edges, 1))
    for begin in range(0, outputs, together):
        some = slice(begin, begin + together)
        found = _of_outputs(weights[:, some].astype(np.float64))
        if found is None:
            return None
        steps[:, some], scales[some] = found
    return steps, scales


def _of_outputs(exact: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The same of some outputs."""
    largest = np.abs(exact).max(axis=0, initial=0)
    if not np.isfinite(largest).all():
        return None
    scales, steps = np.ones(exact.shape[1]), np.zeros(exact.shape, np.int8)
    left = np.flatnonzero(largest)
    for most in range(-_STEPS.min, 0, -1):
        likely = left[_whole(exact[:_SAMPLE, left], largest[left] / most)]
        found = likely[_whole(exact[:, likely], largest[likely] / most)]
        scales[found] = largest[found] / most
        steps[:, found] = np.rint(exact[:, found] / scales[found])
        left = np.setdiff1d(left, found, assume_unique=True)
        if not left.size:
            common = np.maximum(np.gcd.reduce(np.abs(steps.astype(np.int64)), axis=0), 1)
            return (steps // common).astype(np.int8), scales * common
    return None


def _whole(weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Which outputs' weights are whole multiples of a scale that int8 has."""
    multiples = weights / scales
    rounded = np.rint(multiples)
    near = np.abs(multiples - rounded).max(axis=0, initial=0) <= _NEAR
    return np.asarray(near & (rounded.max(axis=0, initial=0) <= _STEPS.max))


def as_bytes(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights `[edges, outputs]` of wider integers as int8, and a number for each output that is
    added to all of its weights; None where a byte's range is too short."""
    if weights.dtype.kind != "i" or not weights.size:
        return None
    low, high = (find(axis=0).astype(np.int64) for find in (weights.min, weights.max))
    inside = (low >= _STEPS.min) & (high <= _STEPS.max)
    offsets = np.where(inside, 0, low - _STEPS.min)
    if np.any(high - offsets > _STEPS.max):
        return None
    return (weights - offsets).astype(np.int8), offsets
