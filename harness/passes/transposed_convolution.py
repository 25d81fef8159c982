"""Transposed convolutions whose windows do not overlap, as matrix products.

TVM computes a transposed convolution as a convolution of the image with zeros between its pixels:
with a stride of two, three of four products are with such a zero. Where the kernel is as large as
the stride, as in most networks that scale an image up, each pixel of the result comes from one
pixel: a matrix product gives all of a window at once, and moving the data puts it in its place.
"""

from __future__ import annotations

import numpy as np

from harness.compiler.api import constant, constant_array, operator_name, relax, shape_of
from harness.passes.rewriter import Rewriter


class MultiplyTransposedConvolutions(Rewriter):
    """Those with constant weights and without padding, groups or dilation."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) != "relax.nn.conv2d_transpose":
            return None
        weights, attributes = constant_array(call.args[1]), call.attrs
        if (
            weights is None
            or (attributes.data_layout, attributes.kernel_layout) != ("NCHW", "IOHW")
            or int(attributes.groups) != 1
            or any(int(extent) for extent in (*attributes.padding, *attributes.output_padding))
            or any(int(step) != 1 for step in attributes.dilation)
            or list(weights.shape[2:]) != [int(step) for step in attributes.strides]
        ):
            return None
        batch, _, height, width = shape_of(call.args[0])
        inputs, outputs, rows, columns = weights.shape
        matrix = np.ascontiguousarray(weights.transpose(0, 2, 3, 1)).reshape(inputs, -1)
        emit, op = self.emit, relax.op
        pixels = emit(op.permute_dims(call.args[0], [0, 2, 3, 1]))
        windows = emit(op.matmul(pixels, constant(matrix)))
        split = emit(op.reshape(windows, (batch, height, width, rows, columns, outputs)))
        placed = emit(op.permute_dims(split, [0, 1, 3, 2, 4, 5]))
        image = emit(op.reshape(placed, (batch, height * rows, width * columns, outputs)))
        return op.permute_dims(image, [0, 3, 1, 2])
