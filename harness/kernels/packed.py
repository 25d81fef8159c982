"""Convolution and matrix product that read their weights in the order in which they are needed.

A register tile of a few vectors of output channels reads, for each input channel, those channels'
weights. In the usual layout these are a row apart, on a page each; packed by vectors of channels,
`[channels / lanes, ..., inputs, lanes]`, they follow one another.

Weights may be stored in fewer bits than the data have. A vector of them is widened when it is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from harness.compiler.api import te, topi


def pack(weights: np.ndarray, lanes: int) -> np.ndarray:
    """Weights with the output channels last, `[..., channels]`, packed by vectors of them:
    `[vectors, ..., lanes]`. Zeros fill the last vector."""
    *rest, channels = weights.shape
    weights = np.pad(weights, [*[(0, 0)] * len(rest), (0, -channels % lanes)])
    *rest, channels = weights.shape
    split = weights.reshape(*rest, channels // lanes, lanes)
    return np.ascontiguousarray(np.moveaxis(split, -2, 0))


def padded(data: te.Tensor, padding: Sequence[int]) -> te.Tensor:
    """Channels-last data with zeros around: `padding` before each axis of the image, then after
    each (top, left, bottom, right)."""
    if not any(padding):
        return data
    axes = len(padding) // 2
    before, after = padding[:axes], padding[axes:]
    return topi.nn.pad(data, [0, *before, 0], [0, *after, 0], name="pad_temp")


def convolved(
    data: te.Tensor, taps: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """The image's extents (height and width, or width) in what a convolution of padded
    channels-last data gives."""
    return tuple(
        (int(extent) - spread * (count - 1) - 1) // stride + 1
        for extent, count, stride, spread in zip(
            data.shape[1:-1], taps, strides, dilation, strict=True
        )
    )


_TAPS = ("row", "column")


def convolution(
    data: te.Tensor,
    weights: te.Tensor,
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> te.Tensor:
    """1-D or 2-D convolution: data `[batch, *image, inputs]`, weights packed from
    `[*taps, inputs, channels]`, result `[batch, *image, channels]`. `padding` as in `padded`."""
    data = padded(data, padding)
    batch, *_, inputs = (int(extent) for extent in data.shape)
    vectors, *taps, _, lanes = (int(extent) for extent in weights.shape)
    names = _TAPS[-len(taps) :]
    steps = [te.reduce_axis((0, count), name=name) for count, name in zip(taps, names, strict=True)]
    channel = te.reduce_axis((0, inputs), name="channel")

    def products(n: te.Var, *at: te.Var) -> te.PrimExpr:
        *image, c = at
        place = (
            pixel * stride + step * spread
            for pixel, stride, step, spread in zip(image, strides, steps, dilation, strict=True)
        )
        weight = weights[(c // lanes, *steps, channel, c % lanes)]
        return te.sum(data[(n, *place, channel)] * weight.astype(data.dtype), [*steps, channel])

    return te.compute(
        (batch, *convolved(data, taps, strides, dilation), vectors * lanes),
        products,
        name=f"conv{len(taps)}d_packed",
    )


def is_worth_filling(channels: int, lanes: int) -> bool:
    """Whether channels are better computed with some more that fill the last vector: the vectors
    that divide them have less than half of the lanes."""
    return channels > lanes and 2 * math.gcd(channels, lanes) < lanes


def first_channels(result: te.Tensor, channels: int) -> te.Tensor:
    """The first channels of a result, `[..., channels]`; all that there are change nothing."""
    if int(result.shape[-1]) == channels:
        return result
    return te.compute((*result.shape[:-1], channels), lambda *at: result(*at), name="channels")


def product(left: te.Tensor, right: te.Tensor, lanes: int) -> te.Tensor:
    """Product of two computed matrices, `[..., rows, inputs]` and `[..., inputs, channels]`, with
    equal leading axes. The right one is packed by vectors of channels first, zeros in the last."""
    *batch, inputs, channels = (int(extent) for extent in right.shape)
    vectors = -(-channels // lanes)

    def packed(*at: te.Var) -> te.PrimExpr:
        *outer, vector, row, lane = at
        channel = vector * lanes + lane
        return te.if_then_else(channel < channels, right[(*outer, row, channel)], 0.0)

    source = te.compute((*batch, vectors, inputs, lanes), packed, name="right_packed")
    channel = te.reduce_axis((0, inputs), name="channel")
    result = te.compute(
        (*left.shape[:-1], vectors * lanes),
        lambda *at: te.sum(
            left[(*at[:-1], channel)]
            * source[(*at[:-2], at[-1] // lanes, channel, at[-1] % lanes)],
            axis=channel,
        ),
        name="product_packed",
    )
    return first_channels(result, channels)


def matmul(data: te.Tensor, weights: te.Tensor) -> te.Tensor:
    """Matrix product: data `[..., inputs]`, weights packed from `[inputs, channels]`."""
    vectors, inputs, lanes = (int(extent) for extent in weights.shape)
    channel = te.reduce_axis((0, inputs), name="channel")
    return te.compute(
        (*data.shape[:-1], vectors * lanes),
        lambda *at: te.sum(
            data[(*at[:-1], channel)]
            * weights[at[-1] // lanes, channel, at[-1] % lanes].astype(data.dtype),
            axis=channel,
        ),
        name="matmul_packed",
    )
