"""Operators with constant weights: convolutions of any kind, and matrix products.

An edge is one weight: it connects an input channel (under one tap of a filter) with an output
channel. Operators keep their weights in different orders; `Weighted.axes` brings them into one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of

PRODUCT = "relax.matmul"
CONVOLUTIONS = ("relax.nn.conv1d", "relax.nn.conv2d", "relax.nn.conv3d")
TRANSPOSED = ("relax.nn.conv1d_transpose", "relax.nn.conv2d_transpose")
WEIGHTED = (*CONVOLUTIONS, *TRANSPOSED, PRODUCT)
"""The operators of which the second argument is weights, where that is a constant."""


@dataclass(frozen=True)
class Weighted:
    """One call with constant weights, which are as the operator keeps them."""

    call: relax.Call
    operator: str
    weights: np.ndarray
    axes: tuple[int, ...]
    """The axes of the weights in the order taps, inputs, outputs."""
    groups: int

    @property
    def outputs(self) -> int:
        """How many output channels the weights lead to, of a transposed convolution in each
        group."""
        return int(self.weights.shape[self.axes[-1]])

    @property
    def inputs(self) -> int:
        """How many input channels each output has weights from, under each tap."""
        return int(self.weights.shape[self.axes[-2]])

    @property
    def matrix(self) -> np.ndarray:
        """The weights, `[taps * inputs, outputs]`."""
        return as_matrix(self.weights, self.axes)

    @property
    def input_axis(self) -> int:
        """The axis of the input channels in the operator's data."""
        if self.operator == PRODUCT:
            return len(shape_of(self.call.args[0])) - 1
        return str(self.call.attrs.data_layout).index("C")

    @property
    def channel_axis(self) -> int:
        """The axis of the output channels in the operator's output."""
        if self.operator == PRODUCT:
            return self.input_axis
        return str(self.call.attrs.out_layout or self.call.attrs.data_layout).index("C")

    @property
    def prunable(self) -> bool:
        """Whether edges can be dropped: float32 weights, each output reads every input channel, and
        it is no transposed convolution, nor one in three dimensions."""
        return self.fits and self.groups == 1

    @property
    def fits(self) -> bool:
        """Whether the weights can be fitted: as `prunable`, or a convolution in groups."""
        return self.weights.dtype == np.float32 and self.operator in _FITTED

    @property
    def channels_last(self) -> bool:
        """Whether it is a product, or a convolution (NHWC or NWC, one group) whose output channels
        are the last axis of its weights and of its output."""
        if self.operator == PRODUCT:
            return True
        layouts = str(self.call.attrs.data_layout), str(self.call.attrs.kernel_layout)
        return layouts in _CHANNELS_LAST and self.groups == 1


def as_matrix(weights: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Weights as `[taps * inputs, outputs]`; `axes` orders them taps, inputs, outputs."""
    ordered = np.transpose(weights, axes)
    return ordered.reshape(-1, ordered.shape[-1])


def as_stored(matrix: np.ndarray, layer: Weighted) -> np.ndarray:
    """The weights that a matrix stands for, as a layer's operator keeps them."""
    ordered = matrix.reshape([layer.weights.shape[axis] for axis in layer.axes])
    return np.ascontiguousarray(np.transpose(ordered, np.argsort(layer.axes)))


_CHANNELS_LAST = (("NHWC", "HWIO"), ("NWC", "WIO"))
_FITTED = ("relax.nn.conv1d", "relax.nn.conv2d", PRODUCT)


def weighted(call: relax.Expr) -> Weighted | None:
    """A call with constant weights of any type, at least one; None for any other expression.

    A product has weights where its second argument is a constant matrix.
    """
    operator = operator_name(call)
    if operator not in WEIGHTED:
        return None
    weights = constant_array(call.args[1])
    if weights is None or not weights.size:
        return None
    if operator == PRODUCT:
        return Weighted(call, operator, weights, (0, 1), 1) if weights.ndim == 2 else None
    layout = str(call.attrs.kernel_layout)
    taps = [at for at, axis in enumerate(layout) if axis not in "OI"]
    axes = (*taps, layout.index("I"), layout.index("O"))
    return Weighted(call, operator, weights, axes, int(call.attrs.groups))
