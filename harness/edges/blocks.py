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


def summed(edges: np.ndarray, block: Block) -> np.ndarray:
    """The sums over the edges of each block, `[taps * inputs / block.inputs, outputs /
    block.outputs]`, of values of single edges, `[taps * inputs, outputs]`."""
    rows, columns = edges.shape
    split = edges.reshape(rows // block.inputs, block.inputs, columns // block.outputs, -1)
    found: np.ndarray = split.sum(axis=(1, 3))
    return found
