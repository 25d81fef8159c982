"""Convolution and matrix product of 8-bit data and weights of which most blocks are zero.

A block is four neighbouring inputs by one vector of output channels: a vector of words, as
`packed_integers.py` has them. Blocks of zeros are not stored, and each vector of channels keeps as
many as the others, as in `block_sparse.py`. A kept block costs one instruction for each row.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.compiler.api import te
from harness.kernels.block_sparse import BlockSparse, block_sparse, offsets, place_of
from harness.kernels.dot_products import BYTES, dot4
from harness.kernels.packed import convolved
from harness.kernels.packed_integers import in_words, words_of


def sparse_words(weights: np.ndarray, lanes: int) -> BlockSparse | None:
    """The non-zero blocks of weights int8 `[*taps, inputs, channels]`: words, and the number of
    each block's first word among those of the taps and inputs. None where lanes do not divide the
    channels."""
    words = words_of(weights)
    return block_sparse(words.reshape(-1, words.shape[-1]), lanes)


def byte_offsets(
    indices: np.ndarray,
    weights: Sequence[int],
    width: int,
    padding: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Where the first input of each block is in the padded image whose channels are whole words, in
    bytes from where the place's first tap begins. `indices` are of `sparse_words`, `weights` the
    extents of HWIO weights without the outputs, the others as in `block_sparse.offsets`."""
    rows, columns, inputs = weights
    words = -(-inputs // BYTES)
    found = BYTES * offsets(indices, (rows, columns, words), width, padding, dilation)
    return found.astype(np.int32)


def matmul(
    data: te.Tensor,
    weights: te.Tensor,
    indices: te.Tensor,
    zero_point: int,
    pairs: int = 0,
) -> te.Tensor:
    """Matrix product: data `[..., inputs]`, weights as in `sparse_words`, indices of the first
    input of each block. The result is int32."""
    data = in_words(data, (), zero_point)
    vectors, kept, lanes = (int(extent) for extent in weights.shape)
    block = te.reduce_axis((0, kept), name="block")
    return te.compute(
        (*data.shape[:-1], vectors * lanes),
        lambda *at: te.sum(
            dot4(
                data,
                *at[:-1],
                indices[at[-1] // lanes, block],
                weights=[weights[at[-1] // lanes, block, at[-1] % lanes]],
                pairs=bool(pairs),
            ),
            axis=block,
        ),
        name="matmul_sparse_integers",
    )


def conv2d(
    data: te.Tensor,
    weights: te.Tensor,
    indices: te.Tensor,
    taps: Sequence[int],
    zero_point: int,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    pairs: int = 0,
) -> te.Tensor:
    """2-D convolution: data NHWC, result NHWC int32, weights as in `sparse_words` of HWIO weights,
    indices as `byte_offsets` has them. `taps` are rows and columns, `padding` is top, left, bottom,
    right."""
    data = in_words(data, padding, zero_point)
    batch, _, width, channels = (int(extent) for extent in data.shape)
    vectors, kept, lanes = (int(extent) for extent in weights.shape)
    out_height, out_width = convolved(data, taps, strides, dilation)
    block = te.reduce_axis((0, kept), name="block")

    def products(n: te.Var, h: te.Var, w: te.Var, c: te.Var) -> te.PrimExpr:
        row, column, channel = place_of(indices[c // lanes, block], taps, width, channels)
        return te.sum(
            dot4(
                data,
                n,
                h * strides[0] + row,
                w * strides[1] + column,
                channel,
                weights=[weights[c // lanes, block, c % lanes]],
                pairs=bool(pairs),
            ),
            axis=block,
        )

    return te.compute(
        (batch, out_height, out_width, vectors * lanes), products, name="conv2d_sparse_integers"
    )
