"""Transposed convolutions as matrix products, and as convolutions, without products with zeros.

TVM computes a transposed convolution as a convolution of the image with zeros between its pixels:
with a stride of two, three of four products are with such a zero. Where the kernel is as large as
the stride, as in most networks that scale an image up, each pixel of the result comes from one
pixel: a matrix product gives all of a window at once, and moving the data puts it in its place.
Where the kernel is several strides large, a convolution gives the pixels of a window as channels
[Shi].

Sources
-------
[Shi]  W. Shi et al., Is the deconvolution layer the same as a convolutional layer?,
       arXiv:1609.07009 (2016).
"""

from __future__ import annotations

import math

import numpy as np

from harness.compiler.api import constant, constant_array, operator_name, relax, shape_of
from harness.compiler.names import constant_like
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


_FORMS = {
    "relax.nn.conv1d_transpose": (relax.op.nn.conv1d, "NCW", "IOW", "OIW"),
    "relax.nn.conv2d_transpose": (relax.op.nn.conv2d, "NCHW", "IOHW", "OIHW"),
}


class ConvolveTransposedConvolutions(Rewriter):
    """Those with constant weights, without dilation. Where the kernel is a whole number
    of strides large one convolution gives all pixels of a window. Others take one for each: filled
    up with zeros, an infinity in the data would become NaN elsewhere."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        form = _FORMS.get(operator_name(call))
        if form is None:
            return None
        _, layout, transposed, _ = form
        weights, attributes = constant_array(call.args[1]), call.attrs
        strides = [int(each) for each in attributes.strides]
        begin = [int(each) for each in attributes.padding][: len(strides)]
        if (
            weights is None
            or (attributes.data_layout, attributes.kernel_layout) != (layout, transposed)
            or any(int(step) != 1 for step in attributes.dilation)
            or any(size < step for size, step in zip(weights.shape[2:], strides, strict=True))
        ):
            return None
        batch, _, *extents = shape_of(call.args[0])
        taps = [-(-size // step) for size, step in zip(weights.shape[2:], strides, strict=True)]
        image = [each + size - 1 for each, size in zip(extents, taps, strict=True)]
        results = shape_of(original.var)[2:]
        stops = [first + extent for first, extent in zip(begin, results, strict=True)]
        if any(stop > each * step for stop, each, step in zip(stops, image, strides, strict=True)):
            return None  # pixels that no window reaches
        whole = all(size % step == 0 for size, step in zip(weights.shape[2:], strides, strict=True))
        windows = (self._windows if whole else self._pixels)(call, weights, strides, taps)
        # Whole pixels are moved, with all their outputs.
        emit, op, axes = self.emit, relax.op, len(strides)
        outputs = weights.shape[1] * int(attributes.groups)
        found = emit(op.reshape(windows, (batch, *image, *strides, outputs)))
        placed = [1 + at + axes * which for at in range(axes) for which in (0, 1)]
        found = emit(op.permute_dims(found, [0, *placed, 1 + 2 * axes]))
        larger = [each * step for each, step in zip(image, strides, strict=True)]
        found = emit(op.reshape(found, (batch, *larger, outputs)))
        found = emit(op.strided_slice(found, [*range(1, 1 + axes)], begin, stops))
        return op.permute_dims(found, [0, 1 + axes, *range(1, 1 + axes)])

    def _windows(
        self, call: relax.Call, weights: np.ndarray, strides: list[int], taps: list[int]
    ) -> relax.Expr:
        """All pixels of each window, [batch, *image, pixels · outputs]."""
        groups, axes = int(call.attrs.groups), len(strides)
        inputs, outputs = weights.shape[0] // groups, weights.shape[1]
        # Axes: groups, inputs, outputs, and for each of the image's the strides and the place in
        # one.
        split = weights.reshape(groups, inputs, outputs, *_pairs(taps, strides))
        order = [0, *range(4, 4 + 2 * axes, 2), 2, 1, *range(3, 3 + 2 * axes, 2)]
        kernel = split.transpose(order).reshape(-1, inputs, *taps)
        found = self._convolved(call, kernel, taps)
        if groups == 1:
            return found
        batch, *image, _ = shape_of(found)
        pixels = math.prod(strides)
        split_up = self.emit(relax.op.reshape(found, (batch, *image, groups, pixels, outputs)))
        first = len(image) + 1
        order = [*range(first), first + 1, first, first + 2]
        return self.emit(relax.op.permute_dims(split_up, order))

    def _pixels(
        self, call: relax.Call, weights: np.ndarray, strides: list[int], taps: list[int]
    ) -> relax.Expr:
        """The same, one pixel after the other."""
        found, groups = [], int(call.attrs.groups)
        for pixel in np.ndindex(*strides):
            places = tuple(slice(at, None, step) for at, step in zip(pixel, strides, strict=True))
            part = weights[(slice(None), slice(None), *places)]
            size = part.shape[2:]
            grouped = part.reshape(groups, -1, part.shape[1], *size).swapaxes(1, 2)
            kernel = grouped.reshape(groups * part.shape[1], -1, *size)
            found.append(self._convolved(call, kernel, taps))
        return self.emit(relax.op.concat(found, axis=1 + len(strides)))

    def _convolved(self, call: relax.Call, kernel: np.ndarray, taps: list[int]) -> relax.Expr:
        """The convolution with a kernel, [outputs, inputs, *taps], of which the first taps come
        last, at each place that windows of so many `taps` reach: [batch, *image, outputs]."""
        convolution, layout, _, plain = _FORMS[operator_name(call)]
        turned = np.flip(kernel, tuple(range(2, kernel.ndim)))
        found = convolution(
            call.args[0],
            constant_like(call.args[1], np.ascontiguousarray(turned)),
            padding=[*(size - 1 for size in kernel.shape[2:]), *(size - 1 for size in taps)],
            groups=int(call.attrs.groups),
            data_layout=layout,
            kernel_layout=plain,
        )
        return self.emit(relax.op.permute_dims(self.emit(found), [0, *range(2, kernel.ndim), 1]))


def _pairs(one: list[int], other: list[int]) -> list[int]:
    return [each for pair in zip(one, other, strict=True) for each in pair]
