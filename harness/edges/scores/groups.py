"""Groups of edges that are kept or dropped as one."""

from __future__ import annotations

import numpy as np


def grouped(edges: np.ndarray, group: int) -> np.ndarray:
    """The sums over the edges of each group, `[taps * inputs, outputs / group]`, of values of
    single edges, `[taps * inputs, outputs]`."""
    summed: np.ndarray = edges.reshape(len(edges), -1, group).sum(axis=2)
    return summed
