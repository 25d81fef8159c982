"""Sums over blocks of edges."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from harness.edges.blocks import EDGE, Block, summed, summed_squares


@pytest.mark.parametrize("block", [EDGE, Block(1, 8), Block(4, 8), Block(1, 16)])
@pytest.mark.parametrize("rows", [4, 1000, 140_000])
def test_squares_are_summed_in_parts_as_at_once(block: Block, rows: int) -> None:
    edges = np.random.default_rng(0).normal(size=(rows, 16)).astype(np.float32)
    expected = summed(np.square(edges, dtype=np.float64), block)
    np.testing.assert_array_equal(summed_squares(edges, block), expected)
    # Weights of a transposed product lie along the other axis.
    turned = np.asfortranarray(edges)
    np.testing.assert_array_equal(summed_squares(turned, block), expected)


def test_squares_take_little_memory_beside_the_weights() -> None:
    edges = np.ones((4096, 4096), np.float32)
    tracemalloc.start()
    summed_squares(edges, Block(1, 8))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < edges.nbytes / 2 + 2**24
