"""Folds constants per output channel into the weights of the layer before them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.compiler.names import constant_like
from harness.passes.rewriter import Rewriter, with_arguments
from harness.passes.weighted import PRODUCT, TRANSPOSED, Weighted, weighted


@dataclass(frozen=True)
class _Anchor:
    """A convolution or dense layer with constant weights, and the arithmetic that followed it:
    `scale · anchor + shift`, both of shape [output channels]."""

    layer: Weighted
    rank: int
    scale: np.ndarray
    shift: np.ndarray


class FoldChannelArithmetic(Rewriter):
    """Folds constants per output channel that are added or multiplied after a convolution or a
    dense layer into its weights and a single bias.

    Only while nobody else reads the values in between. DeadCodeElimination drops the old layer.
    """

    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self._anchors: dict[relax.Var, _Anchor] = {}

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        layer = weighted(call)
        # What follows 16-bit weights in single precision is not rounded to 16 bits.
        whole = layer is not None and str(original.var.ty.dtype) == str(layer.weights.dtype)
        if layer is not None and whole and _is_anchor(layer):
            rank = len(shape_of(original.var))
            self._anchors[original.var] = _Anchor(
                layer=layer,
                rank=rank,
                scale=np.ones(layer.outputs, np.float64),
                shift=np.zeros(layer.outputs, np.float64),
            )
            return None
        if name not in {"relax.add", "relax.subtract", "relax.multiply", "relax.divide"}:
            return None
        found = self._operands(call, original, commutes=name in {"relax.add", "relax.multiply"})
        if found is None:
            return None
        anchor, values = found
        if name == "relax.add":
            anchor = replace(anchor, shift=anchor.shift + values)
        elif name == "relax.subtract":
            anchor = replace(anchor, shift=anchor.shift - values)
        else:
            with np.errstate(divide="ignore"):
                factor = values if name == "relax.multiply" else 1.0 / values
            if not np.all(np.isfinite(factor)):
                return None
            anchor = replace(anchor, scale=anchor.scale * factor, shift=anchor.shift * factor)
        self._anchors[original.var] = anchor
        return self._emit(anchor)

    def _operands(
        self, call: relax.Call, original: relax.VarBinding, commutes: bool
    ) -> tuple[_Anchor, np.ndarray] | None:
        """The anchor that only this call reads, and the constant as one value a channel."""
        orders = [(0, 1), (1, 0)] if commutes else [(0, 1)]
        for value_at, constant_at in orders:
            source = original.value.args[value_at]
            values = constant_array(call.args[constant_at])
            if values is None or not isinstance(source, relax.Var):
                continue
            anchor = self._anchors.get(source)
            if anchor is None or self.uses[source] != 1:
                continue
            per_channel = _per_channel(values, anchor)
            if per_channel is not None:
                return anchor, per_channel
        return None

    def _emit(self, anchor: _Anchor) -> relax.Expr:
        call, weights = anchor.layer.call, anchor.layer.weights
        along = [1] * weights.ndim
        along[anchor.layer.axes[-1]] = -1
        scaled = (weights * anchor.scale.reshape(along)).astype(weights.dtype)
        arguments = [call.args[0], constant_like(call.args[1], scaled), *call.args[2:]]
        layer = self.emit(with_arguments(call, arguments))
        if not np.any(anchor.shift):
            return layer
        bias_shape = [1] * anchor.rank
        bias_shape[anchor.layer.channel_axis] = -1
        bias = relax.const(anchor.shift.reshape(bias_shape), str(weights.dtype))
        return relax.op.add(layer, bias)


def _is_anchor(layer: Weighted) -> bool:
    if layer.weights.dtype.kind != "f":
        return False
    if layer.operator == PRODUCT:
        return True
    if layer.operator in TRANSPOSED and layer.groups != 1:
        return False
    return str(layer.call.attrs.data_layout) in {"NCW", "NCHW", "NCDHW"}


def _per_channel(values: np.ndarray, anchor: _Anchor) -> np.ndarray | None:
    """A constant that broadcasts along the channel axis only, as [channels]; else None."""
    if values.ndim > anchor.rank:
        return None
    shape = (1,) * (anchor.rank - values.ndim) + values.shape
    channels = anchor.shift.shape[0]
    if any(
        extent != 1 and (axis != anchor.layer.channel_axis or extent != channels)
        for axis, extent in enumerate(shape)
    ):
        return None
    return np.broadcast_to(values.reshape(-1).astype(np.float64), (channels,))
