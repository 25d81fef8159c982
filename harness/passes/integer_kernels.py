"""The kernel that sums a layer's products of 8-bit integers: dense, or without blocks of zeros."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from harness.compiler.api import shape_of, te
from harness.kernels import block_sparse_integers, packed_integers
from harness.kernels.dot_products import BYTES
from harness.passes.weighted import PRODUCT, Weighted

Kernel = Callable[..., te.Tensor]
"""Takes the data and constants."""
_MOST_KEPT = 0.65
"""With more blocks than this the layer stays dense: an input is loaded for each vector of weights,
where the dense kernel has several share it."""


class Window(NamedTuple):
    """Strides, padding (top, left, bottom, right) and dilation of a convolution."""

    strides: list[int]
    padding: list[int]
    dilation: list[int]


def window_of(layer: Weighted) -> Window:
    """The window of a convolution."""
    attributes = layer.call.attrs
    named = (getattr(attributes, name) for name in Window._fields)
    return Window(*([int(value) for value in values] for values in named))


def _windowed(kernel: Kernel, layer: Weighted, **options: Any) -> Kernel:
    """The kernel of a convolution with its window and other options."""
    return partial(kernel, **window_of(layer)._asdict(), **options)


def dense_kernel(
    layer: Weighted, steps: np.ndarray, zero_point: int, lanes: int
) -> tuple[Kernel, list[np.ndarray]]:
    """The kernel for weights int8 `[taps * inputs, outputs]`, and its constants."""
    outputs = steps.shape[1]
    shaped = steps.reshape(*layer.weights.shape[:-1], outputs)
    words = packed_integers.pack_integers(shaped, packed_integers.lanes_for(outputs, lanes))
    if layer.operator == PRODUCT:
        kernel = partial(packed_integers.matmul, channels=outputs, zero_point=zero_point)
        return kernel, [words]
    windowed = _windowed(packed_integers.conv2d, layer, channels=outputs, zero_point=zero_point)
    return windowed, [words]


def sparse_kernel(
    layer: Weighted, steps: np.ndarray, zero_point: int, lanes: int
) -> tuple[Kernel, list[np.ndarray]] | None:
    """The same without blocks of zeros; None where there are not enough of them."""
    outputs = steps.shape[1]
    shaped = steps.reshape(*layer.weights.shape[:-1], outputs)
    found = block_sparse_integers.sparse_words(shaped, packed_integers.lanes_for(outputs, lanes))
    if found is None:
        return None
    *taps, inputs = layer.weights.shape[:-1]
    blocks, kept = math.prod(taps) * -(-inputs // BYTES), found.indices.shape[1]
    # A mask keeps a block more where its sparsity leaves part of one: of few blocks, all.
    if kept == blocks or kept > math.ceil(_MOST_KEPT * blocks):
        return None
    if layer.operator == PRODUCT:
        kernel = partial(block_sparse_integers.matmul, zero_point=zero_point)
        return kernel, [found.weights, BYTES * found.indices]
    window = window_of(layer)
    places = block_sparse_integers.byte_offsets(
        found.indices,
        layer.weights.shape[:-1],
        shape_of(layer.call.args[0])[2],
        window.padding,
        window.dilation,
    )
    windowed = _windowed(block_sparse_integers.conv2d, layer, taps=taps, zero_point=zero_point)
    return windowed, [found.weights, places]
