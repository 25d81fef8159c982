"""Block-sparse kernels read their inputs without more index arithmetic than they need."""

from __future__ import annotations

import numpy as np
import pytest

from harness.compiler.api import te, tirx, tvm
from harness.kernels.block_sparse import WIDE, block_sparse, conv2d, offsets, widest

LANES, SIZE, CHANNELS = 4, 5, 6


def kernel(taps: int, kept: int) -> tirx.PrimFunc:
    data = te.placeholder((1, SIZE, SIZE, CHANNELS), name="data")
    weights = te.placeholder((2, kept, LANES), name="weights")
    indices = te.placeholder((2, kept), name="indices", dtype="int32")
    result = conv2d(data, weights, indices, [taps, taps], [1, 1], [0] * 4, [1, 1])
    return te.create_prim_func([data, weights, indices, result])


@pytest.mark.parametrize("taps", [1, 3])
def test_only_kernels_with_several_taps_divide_offsets(taps: int) -> None:
    """A remainder of an index that is read takes a dozen instructions, for each block."""
    assert (f"% {CHANNELS}" in kernel(taps, 3).script()) == (taps > 1)


@pytest.mark.parametrize("taps", [1, 3])
def test_what_is_left_is_convolved(taps: int) -> None:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(taps * taps * CHANNELS, 2 * LANES)).astype(np.float32)
    matrix[random.random(len(matrix)) < 0.6] = 0
    matrix[0] = 1  # one block at least
    sparse = block_sparse(matrix, LANES)
    assert sparse is not None
    places = offsets(sparse.indices, [taps, taps, CHANNELS], SIZE, [0] * 4, [1, 1])
    data = random.normal(size=(1, SIZE, SIZE, CHANNELS)).astype(np.float32)
    extent = SIZE - taps + 1
    result = tvm.runtime.tensor(np.zeros((1, extent, extent, 2 * LANES), np.float32))
    function = tvm.compile(tvm.IRModule({"main": kernel(taps, sparse.weights.shape[1])}), "llvm")
    function(*map(tvm.runtime.tensor, (data, sparse.weights, places)), result)
    windows = np.lib.stride_tricks.sliding_window_view(data[0], (taps, taps), axis=(0, 1))
    rows = windows.transpose(0, 1, 3, 4, 2).reshape(extent, extent, -1)
    np.testing.assert_allclose(result.numpy()[0], rows @ matrix, rtol=1e-5, atol=1e-5)


def test_blocks_are_wide_where_no_more_are_kept() -> None:
    matrix = np.zeros((6, 2 * WIDE * LANES), np.float32)
    matrix[[1, 4], : WIDE * LANES] = 1
    matrix[[0, 4], WIDE * LANES :] = 1
    wide = widest(matrix, LANES)
    assert wide is not None and wide.weights.shape == (2, 2, WIDE * LANES)
    assert wide.indices.tolist() == [[1, 4], [0, 4]]
    matrix[1, :LANES], matrix[2, :LANES] = 0, 1  # the first vector reads another input
    narrow = widest(matrix, LANES)
    assert narrow is not None and narrow.weights.shape == (2 * WIDE, 2, LANES)


def test_outputs_that_are_no_whole_wide_blocks_have_others() -> None:
    found = widest(np.ones((3, 3 * LANES), np.float32), LANES)
    assert found is not None and found.weights.shape == (3, 3, LANES)
