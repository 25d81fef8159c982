"""A 2-D convolution in NumPy, as its definition has it."""

from __future__ import annotations

import numpy as np


def plain_conv2d(
    data: np.ndarray, weights: np.ndarray, stride: int, padding: list[int], dilation: int
) -> np.ndarray:
    """Data NHWC of one sample, weights HWIO, padding top, left, bottom, right."""
    top, left, bottom, right = padding
    data = np.pad(data, [(0, 0), (top, bottom), (left, right), (0, 0)])
    rows, columns = weights.shape[:2]
    height = (data.shape[1] - dilation * (rows - 1) - 1) // stride + 1
    width = (data.shape[2] - dilation * (columns - 1) - 1) // stride + 1
    result = np.zeros((1, height, width, weights.shape[3]))
    for y in range(height):
        for x in range(width):
            window = data[
                0,
                y * stride : y * stride + dilation * rows : dilation,
                x * stride : x * stride + dilation * columns : dilation,
            ]
            result[0, y, x] = np.tensordot(window[:rows, :columns], weights, 3)
    return result
