"""Rounds intermediate results differently, as another order of summing would (Monte Carlo
arithmetic, Parker 1997)."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

_ROUNDINGS = 2.0
"""How many each result may be off by, at least."""

_MOST_CANCELLED = 2.0**8
"""How many times as large as a sum its terms are taken for, at most."""

FLOATS: dict[str, Any] = {
    "bfloat16": ml_dtypes.bfloat16,
    "float16": np.float16,
    "float32": np.float32,
}
"""The floats that networks compute in and judges do not, by their names."""
_EPSILON = {"bfloat16": 2.0**-7, "float16": 2.0**-10, "float32": 2.0**-23}
"""What lies between 1 and the next one of them."""

_OWN_ROUNDING = 16 * float(np.finfo(np.float64).eps)
"""What a sum in 64-bit floats leaves of its terms' size, at most, for each term: a value that is no
larger cancelled wholly, as the imaginary part of a spectrum's highest frequency does."""


class Rounding:
    """Moves values within the rounding of a network's own floats. `seed` decides the direction."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)

    def __call__(
        self, exact: np.ndarray, dtype: str, *, terms: int, sizes: np.ndarray | None = None
    ) -> np.ndarray:
        """A float64 result as a network of `dtype` floats may have it. Values that such floats hold
        exactly, as those of masks and indices, stay as they are. A sum of several `terms`
        was rounded while it was larger than its value after cancelling, and as many times: errors
        of n independent roundings add up to √n of them (Higham 2002, section 2.6). `sizes`
        are the sums of the terms' magnitudes, where they are known: what is left of
        terms of both signs is off by as much as they are, however little it is."""
        narrow = FLOATS.get(dtype)
        if narrow is None or exact.size == 0:
            return exact
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = np.isfinite(exact) & (exact.astype(narrow) != exact)
        if not rounded.any():
            return exact
        magnitude = np.abs(exact)
        share = self._generator.uniform(-1, 1, exact.shape)
        unit = max(_ROUNDINGS, math.sqrt(terms)) * _EPSILON[dtype] / 2
        if terms > 1:
            typical = np.median(magnitude[rounded])
            around = np.minimum(typical, _MOST_CANCELLED * magnitude)
            nothing = magnitude <= terms * _OWN_ROUNDING * typical
            magnitude = magnitude + np.where(nothing, typical, around)
            share = np.where(nothing, np.sign(share), share)  # there is no size to compare with
            rounded |= nothing & (exact != 0)
        amount = unit * magnitude
        if sizes is not None:
            known = np.where(np.isfinite(sizes), sizes, 0.0)
            amount = np.maximum(amount, _ROUNDINGS * _EPSILON[dtype] / 2 * known)
        moved = exact + amount * share
        return np.where(rounded, moved, exact)
