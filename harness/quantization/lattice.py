"""The real numbers that 8-bit integers stand for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.compiler.api import relax

LEVELS = 255
"""Steps from the least to the largest integer of 8 bits."""


@dataclass(frozen=True)
class Lattice:
    """Integers of 8 bits as real numbers: `scale * (integer - zero_point)`. 0 is one of them, which
    padding needs."""

    scale: float
    zero_point: int
    dtype: str

    @classmethod
    def over(cls, low: float, high: float, dtype: str) -> Lattice:
        """The lattice from `low` to `high`, moved by less than a step so that 0 is in it.

        Raises ValueError for a range that is not finite or has no width, and where a step would be
        a denormal number, of whose digits few are left.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        scale = float(np.float32((high - low) / LEVELS))
        if not np.isfinite(scale) or scale < np.finfo(np.float32).tiny:
            raise ValueError(f"a range from {low:g} to {high:g}")
        least = int(np.iinfo(dtype).min)
        return cls(scale, least + round(-low / scale), dtype)

    @property
    def steps(self) -> tuple[int, int]:
        """The least and the largest number, in steps."""
        limits = np.iinfo(self.dtype)
        return int(limits.min) - self.zero_point, int(limits.max) - self.zero_point

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest number."""
        low, high = self.steps
        return low * self.scale, high * self.scale


@dataclass(frozen=True, eq=False)
class Quantizer:
    """How one value is rounded: divided by the `factors` of its channels, if it has some, and then
    to the nearest of a lattice. Layers that read it have their weights multiplied by the factors:
    channels that are large no longer take the steps of those that are small."""

    lattice: Lattice
    factors: np.ndarray | None = None


Quantizers = Mapping["relax.Var", Quantizer]
"""By the values of the canonical network; others stay in floats."""
