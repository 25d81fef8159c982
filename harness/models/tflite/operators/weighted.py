"""Operators of TFLite that sum: products with weights, and averages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import constant, relax
from harness.models.tflite.operation import Converter, Operation, Unsupported, activated, padding_of
from harness.models.tflite.quantization import within_activation


def _fully_connected(operation: Operation) -> relax.Expr:
    """All dimensions of the data but the last are rows; weights [outputs, inputs]."""
    options = operation.options("FullyConnectedOptions")
    if options.WeightsFormat():
        raise Unsupported("weights in a shuffled format")
    outputs, inputs = operation.shape(1)
    shape, data = operation.shape(0), operation.value(0)
    if len(shape) != 2 or shape[1] != inputs:
        data = operation.emit(relax.op.reshape(data, (-1, inputs)))
    if operation.known(1):
        weights = constant(operation.array(1).T.copy())
    else:
        weights = relax.op.permute_dims(operation.value(1))
    found = relax.op.matmul(data, weights)
    if operation.given(2):
        found = relax.op.add(found, operation.value(2))
    found = activated(found, options.FusedActivationFunction())
    if options.KeepNumDims() and len(shape) != 2:
        found = relax.op.reshape(found, (*shape[:-1], outputs))
    return found


def _batch_matmul(operation: Operation) -> relax.Expr:
    options = operation.options("BatchMatMulOptions")
    left, right = (
        _adjoint(operation, at) if adjoint else operation.value(at)
        for at, adjoint in enumerate((options.AdjX(), options.AdjY()))
    )
    return relax.op.matmul(left, right)


def _adjoint(operation: Operation, at: int) -> relax.Expr:
    *batch, rows, columns = range(len(operation.shape(at)))
    return relax.op.permute_dims(operation.value(at), [*batch, columns, rows])


_SAME = 0
"""TFLite's number of the padding that keeps extents."""


@dataclass(frozen=True)
class _Transposed:
    """A transposed convolution: Relax's operator, the table of options, the letters of its
    dimensions in their options, and the order of TFLite's weights as inputs, outputs, extents."""

    function: Callable[..., relax.Expr]
    table: str
    letters: str
    order: tuple[int, ...]

    def __call__(self, operation: Operation) -> relax.Expr:
        """Inputs: the shape of the result, weights, data and perhaps a bias. Images have channels
        first, in which TVM has kernels."""
        options, wanted = operation.options(self.table), operation.integers(0)
        weights = np.ascontiguousarray(operation.array(1).transpose(self.order))
        rank, count = len(wanted), len(self.letters)
        strides = [getattr(options, f"Stride{letter}")() for letter in self.letters]
        before, after, more = [], [], []
        for at in range(count):
            spread = (operation.shape(2)[at + 1] - 1) * strides[at] + weights.shape[at + 2]
            behind = spread - wanted[at + 1]
            first = max(behind, 0) // 2 if options.Padding() == _SAME else 0
            before.append(first)
            after.append(max(behind - first, 0))
            more.append(max(first - behind, 0))
        channels_first = [0, rank - 1, *range(1, rank - 1)]
        data = operation.emit(relax.op.permute_dims(operation.value(2), channels_first))
        found = self.function(
            data,
            constant(weights),
            strides=strides,
            padding=[*before, *after],
            output_padding=more,
        )
        found = relax.op.permute_dims(operation.emit(found), [0, *range(2, rank), 1])
        if operation.given(3):
            found = relax.op.add(found, operation.value(3))
        return activated(found, options.FusedActivationFunction())


def _average_pool(operation: Operation) -> relax.Expr:
    """Averages of integers are rounded, halves away from zero."""
    options, dtype = operation.options("Pool2DOptions"), operation.outputs[0].dtype
    size = (options.FilterHeight(), options.FilterWidth())
    strides = (options.StrideH(), options.StrideW())
    padding = padding_of(options.Padding(), operation.shape(0)[1:3], size, strides)
    data, steps = operation.value(0), operation.outputs[0].steps
    if steps is not None:
        data = operation.emit(relax.op.astype(data, "float32"))
    found = relax.op.nn.avg_pool2d(data, size, strides, padding, layout="NHWC")
    if steps is None:
        return activated(found, options.FusedActivationFunction())
    found = operation.emit(found)
    nearest = relax.op.floor(relax.op.add(relax.op.abs(found), relax.const(0.5, "float32")))
    found = relax.op.astype(relax.op.multiply(relax.op.sign(found), nearest), dtype)
    return within_activation(operation.emit(found), options.FusedActivationFunction(), steps, dtype)


WEIGHTED: dict[str, Converter] = {
    "AVERAGE_POOL_2D": _average_pool,
    "BATCH_MATMUL": _batch_matmul,
    "CONV_3D_TRANSPOSE": _Transposed(
        relax.op.nn.conv3d_transpose, "Conv3DOptions", "DHW", (4, 3, 0, 1, 2)
    ),
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _Transposed(
        relax.op.nn.conv2d_transpose, "TransposeConvOptions", "HW", (3, 0, 1, 2)
    ),
}
