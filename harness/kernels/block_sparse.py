"""Convolution and matrix product with weights of which most blocks are zero and not stored.

A block is one input by one vector of output channels. Each vector of channels keeps as many blocks
as the others ("balanced"), so that every loop has a static extent:

    result[row, vector, lane] = sum over kept of data[row, index[vector, kept]]
                                                 * weights[vector, kept, lane]

A kept block costs one multiplication of vectors for each row: the weights are loaded once for a
register tile of rows, and the input is broadcast from memory. In wide blocks, where a vector stands
for two of the processor's, each input that is broadcast is multiplied twice: processors multiply as
often as they load.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.compiler.api import te
from harness.kernels.packed import convolved, padded

WIDE = 2
"""How many of a processor's vectors a wide block has: of 16 registers sums of six rows take 12."""


@dataclass(frozen=True)
class BlockSparse:
    """A sparse matrix `[inputs, outputs]`: `weights` [outputs / lanes, kept, lanes] and `indices`
    [outputs / lanes, kept], the input of each block, ascending."""

    weights: np.ndarray
    indices: np.ndarray


def block_sparse(matrix: np.ndarray, lanes: int) -> BlockSparse | None:
    """The non-zero blocks of a matrix `[inputs, outputs]`; None where lanes do not divide the
    outputs. A vector of outputs with fewer blocks than another is given blocks of zeros."""
    inputs, outputs = matrix.shape
    if outputs % lanes:
        return None
    blocks = matrix.reshape(inputs, outputs // lanes, lanes).transpose(1, 0, 2)
    used = np.any(blocks != 0, axis=2)
    kept = max(1, int(used.sum(axis=1).max()))
    # Blocks in use first, in their order; then as many others as it takes.
    order = np.argsort(~used, axis=1, kind="stable")[:, :kept]
    indices = np.sort(order, axis=1)
    weights = np.take_along_axis(blocks, indices[:, :, None], axis=1)
    return BlockSparse(np.ascontiguousarray(weights), indices.astype(np.int32))


def widest(matrix: np.ndarray, lanes: int) -> BlockSparse | None:
    """The non-zero blocks of a matrix, wide ones where each vector has no more of those."""
    wide, found = block_sparse(matrix, WIDE * lanes), block_sparse(matrix, lanes)
    if wide is None or found is None or wide.indices.shape[1] > found.indices.shape[1]:
        return found
    return wide


def matmul(data: te.Tensor, weights: te.Tensor, indices: te.Tensor) -> te.Tensor:
    """Matrix product: data `[..., inputs]`, weights and indices as in `BlockSparse`."""
    vectors, kept, lanes = (int(extent) for extent in weights.shape)
    block = te.reduce_axis((0, kept), name="block")
    return te.compute(
        (*data.shape[:-1], vectors * lanes),
        lambda *at: te.sum(
            data[(*at[:-1], indices[at[-1] // lanes, block])]
            * weights[at[-1] // lanes, block, at[-1] % lanes],
            axis=block,
        ),
        name="matmul_block_sparse",
    )


def offsets(
    indices: np.ndarray,
    weights: Sequence[int],
    width: int,
    padding: Sequence[int],
    dilation: Sequence[int],
) -> np.ndarray:
    """Where the input of each block of a convolution is in its padded image, in elements from where
    the place's first tap begins: one number to read, and nothing to multiply.

    `indices` are a `BlockSparse`'s of the matrix of HWIO weights, `weights` the extents of those
    without the outputs; `width` is that of the image, `padding` top, left, bottom, right.
    """
    row, column, channel = np.unravel_index(indices, tuple(weights))
    channels = weights[2]
    across = (padding[1] + width + padding[3]) * channels
    found = row * dilation[0] * across + column * dilation[1] * channels + channel
    return found.astype(np.int32)


def place_of(offset: te.PrimExpr, taps: Sequence[int], width: int, channels: int) -> list[Any]:
    """Row, column and channel of an offset, as `offsets` has them, in a padded image of so many
    columns and channels. TVM adds the parts up again, to the offset."""
    across = width * channels
    row = offset // across if taps[0] > 1 else 0
    column = offset % across // channels if taps[1] > 1 else 0
    return [row, column, offset % channels if max(taps) > 1 else offset]


def conv2d(
    data: te.Tensor,
    weights: te.Tensor,
    indices: te.Tensor,
    taps: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> te.Tensor:
    """2-D convolution: data NHWC, result NHWC, weights as in `BlockSparse` of the matrix of HWIO
    weights, indices as `offsets` has them. `taps` are rows and columns, `padding` is top, left,
    bottom, right.
    """
    data = padded(data, padding)
    batch, _, width, channels = (int(extent) for extent in data.shape)
    vectors, kept, lanes = (int(extent) for extent in weights.shape)
    out_height, out_width = convolved(data, taps, strides, dilation)
    block = te.reduce_axis((0, kept), name="block")

    def product(n: te.Var, h: te.Var, w: te.Var, c: te.Var) -> te.PrimExpr:
        row, column, channel = place_of(indices[c // lanes, block], taps, width, channels)
        value = data[n, h * strides[0] + row, w * strides[1] + column, channel]
        return te.sum(value * weights[c // lanes, block, c % lanes], axis=block)

    return te.compute(
        (batch, out_height, out_width, vectors * lanes), product, name="conv2d_block_sparse"
    )
