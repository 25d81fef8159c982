"""Kernels without blocks of zeros against integer arithmetic, over shapes and zero points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_kernels import drawn, run
from plain_convolution import plain_conv2d

from harness.kernels import block_sparse_integers
from harness.kernels.block_sparse_integers import byte_offsets, sparse_words
from harness.kernels.dot_products import BYTES

LANES = 8
DTYPES = st.sampled_from(["uint8", "int8"])


def with_zeros(weights: np.ndarray, kept: float) -> np.ndarray:
    """Weights of which about so many blocks are kept, as many or more in one vector than in
    another."""
    *taps, inputs, channels = weights.shape
    random = np.random.default_rng(7)
    blocks = random.random((*taps, -(-inputs // BYTES), -(-channels // LANES))) < kept
    mask = np.repeat(np.repeat(blocks, BYTES, axis=-2), LANES, axis=-1)
    return weights * mask[..., :inputs, :channels]


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(
    dtype=DTYPES,
    taps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    padding=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    dilation=st.integers(1, 2),
    inputs=st.integers(1, 9),
    vectors=st.integers(1, 2),
    kept=st.floats(0, 1),
    point=st.integers(-128, 255),
)
def test_convolution_is_that_of_integers(
    dtype: str,
    taps: tuple[int, int],
    stride: int,
    padding: list[int],
    dilation: int,
    inputs: int,
    vectors: int,
    kept: float,
    point: int,
) -> None:
    limits = np.iinfo(dtype)
    point = min(max(point, limits.min), limits.max)
    data = drawn(0, dtype, 1, 6, 7, inputs)
    weights = with_zeros(drawn(1, "int8", *taps, inputs, vectors * LANES), kept)
    blocks = sparse_words(weights, LANES)
    assert blocks is not None
    spread = (dilation, dilation)
    found = run(
        block_sparse_integers.conv2d,
        data,
        blocks.weights,
        byte_offsets(blocks.indices, weights.shape[:-1], 7, padding, spread),
        taps=taps,
        zero_point=point,
        strides=(stride, stride),
        padding=padding,
        dilation=spread,
    )
    centred = plain_conv2d(data.astype(float) - point, weights, stride, padding, dilation)
    np.testing.assert_array_equal(found, centred + point * weights.sum((0, 1, 2), dtype=int))


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(
    dtype=DTYPES,
    rows=st.integers(1, 3),
    inputs=st.integers(1, 40),
    vectors=st.integers(1, 3),
    kept=st.floats(0, 1),
)
def test_product_is_that_of_integers(
    dtype: str, rows: int, inputs: int, vectors: int, kept: float
) -> None:
    data = drawn(0, dtype, 2, rows, inputs)
    weights = with_zeros(drawn(1, "int8", inputs, vectors * LANES), kept)
    blocks = sparse_words(weights, LANES)
    assert blocks is not None
    first = BYTES * blocks.indices
    found = run(block_sparse_integers.matmul, data, blocks.weights, first, zero_point=3)
    np.testing.assert_array_equal(found, data.astype(int) @ weights.astype(int))


def test_blocks_of_zeros_are_not_stored() -> None:
    weights = np.zeros((3, 3, 8, LANES), np.int8)
    weights[1, 2, 5, 3] = -7
    blocks = sparse_words(weights, LANES)
    assert blocks is not None and blocks.weights.shape == (1, 1, LANES)
    assert blocks.indices.tolist() == [[(1 * 3 + 2) * 2 + 1]]
    assert blocks.weights.view(np.int8).reshape(LANES, BYTES)[3].tolist() == [0, -7, 0, 0]


def test_channels_that_are_no_whole_vectors_have_none() -> None:
    assert sparse_words(np.zeros((4, 12), np.int8), LANES) is None
