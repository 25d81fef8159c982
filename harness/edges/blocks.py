"""Blocks of edges that are kept or dropped as one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Block(NamedTuple):
    """The edges from so many neighbouring inputs (under one tap) to so many neighbouring
    outputs."""

    inputs: int
    outputs: int


EDGE = Block(1, 1)
"""A single edge."""


_AT_ONCE = 1 << 20
"""How many values are squared at once: in double precision they take twice their memory."""


def summed(edges: np.ndarray, block: Block) -> np.ndarray:
    """The sums over the edges of each block, `[taps * inputs / block.inputs, outputs /
    block.outputs]`, of values of single edges, `[taps * inputs, outputs]`."""
    rows, columns = edges.shape
    split = edges.reshape(rows // block.inputs, block.inputs, columns // block.outputs, -1)
    found: np.ndarray = split.sum(axis=(1, 3))
    return found


def summed_squares(edges: np.ndarray, block: Block) -> np.ndarray:
    """The sums of `summed` of squared values, in double precision."""
    rows, columns = edges.shape
    found = np.empty((rows // block.inputs, columns // block.outputs))
    step = max(1, _AT_ONCE // (columns * block.inputs))
    for begin in range(0, len(found), step):
        part = edges[begin * block.inputs : (begin + step) * block.inputs]
        found[begin : begin + step] = summed(np.square(part, dtype=np.float64, order="C"), block)
    return found
