"""Convolution and matrix product of 8-bit data and weights, summed exactly in 32 bits.

Weights are packed as in `packed.py`, four inputs in a word: `[vectors, ..., words, lanes]`. Data
less their zero point are multiplied as they are: the sums of the weights times the zero point are
subtracted by the caller, and padding holds the zero point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.compiler.api import te, tirx, topi
from harness.kernels.dot_products import BYTES, dot4, packed_words
from harness.kernels.packed import convolved, first_channels, pack

_LEAST_LANES = 4


def lanes_for(channels: int, lanes: int) -> int:
    """The vectors that channels are computed in, which zeros fill: the target's, or the narrowest
    that hold all channels."""
    return min(lanes, max(_LEAST_LANES, 1 << (channels - 1).bit_length()))


def words_of(weights: np.ndarray) -> np.ndarray:
    """Weights int8 `[..., inputs, channels]` as words `[..., words, channels]`, zeros in the
    last."""
    *outer, inputs, channels = weights.shape
    fill = -inputs % BYTES
    whole = np.pad(weights, [*[(0, 0)] * len(outer), (0, fill), (0, 0)])
    words = whole.reshape(*outer, (inputs + fill) // BYTES, BYTES, channels)
    return packed_words(np.moveaxis(words, -2, -1))


def pack_integers(weights: np.ndarray, lanes: int) -> np.ndarray:
    """Weights int8 `[..., inputs, channels]` as words `[vectors, ..., words, lanes]`."""
    return pack(words_of(weights), lanes)


def in_words(data: te.Tensor, padding: Sequence[int], zero_point: int) -> te.Tensor:
    """NHWC data, or rows, in whole words of channels, the zero point around them."""
    *places, channels = (int(extent) for extent in data.shape)
    before, after = [0] * len(places), [0] * len(places)
    if padding:
        before[1], before[2], after[1], after[2] = padding
    before, after = [*before, 0], [*after, -channels % BYTES]
    if not any(before) and not any(after):
        return data
    value = tirx.const(zero_point, str(data.dtype))
    return topi.nn.pad(data, before, after, pad_value=value, name="pad_temp")


def conv2d(
    data: te.Tensor,
    weights: te.Tensor,
    channels: int,
    zero_point: int,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    pairs: int = 0,
) -> te.Tensor:
    """2-D convolution: data NHWC, weights packed from HWIO, result NHWC int32 of `channels`.

    `padding` is top, left, bottom, right, `pairs` what `words_in_16_bits` is of the weights.
    """
    data = in_words(data, padding, zero_point)
    batch = int(data.shape[0])
    vectors, rows, columns, words, lanes = (int(extent) for extent in weights.shape)
    out_height, out_width = convolved(data, (rows, columns), strides, dilation)
    row = te.reduce_axis((0, rows), name="row")
    column = te.reduce_axis((0, columns), name="column")
    together = max(1, pairs)
    run = te.reduce_axis((0, words // together), name="run")
    result = te.compute(
        (batch, out_height, out_width, vectors * lanes),
        lambda n, h, w, c: te.sum(
            dot4(
                data,
                n,
                h * strides[0] + row * dilation[0],
                w * strides[1] + column * dilation[1],
                run * together * BYTES,
                weights=[
                    weights[c // lanes, row, column, run * together + place, c % lanes]
                    for place in range(together)
                ],
                pairs=bool(pairs),
            ),
            axis=[row, column, run],
        ),
        name="conv2d_integers",
    )
    return first_channels(result, channels)


def matmul(
    data: te.Tensor, weights: te.Tensor, channels: int, zero_point: int, pairs: int = 0
) -> te.Tensor:
    """Matrix product: data `[..., inputs]`, weights packed from `[inputs, channels]`, result int32
    `[..., channels]`."""
    data = in_words(data, (), zero_point)
    vectors, words, lanes = (int(extent) for extent in weights.shape)
    together = max(1, pairs)
    run = te.reduce_axis((0, words // together), name="run")
    result = te.compute(
        (*data.shape[:-1], vectors * lanes),
        lambda *at: te.sum(
            dot4(
                data,
                *at[:-1],
                run * together * BYTES,
                weights=[
                    weights[at[-1] // lanes, run * together + place, at[-1] % lanes]
                    for place in range(together)
                ],
                pairs=bool(pairs),
            ),
            axis=run,
        ),
        name="matmul_integers",
    )
    return first_channels(result, channels)
