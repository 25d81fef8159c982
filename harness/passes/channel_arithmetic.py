"""Folds constants per output channel into the weights of the layer before them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.passes.rewriter import Rewriter


@dataclass(frozen=True)
class _Anchor:
    """A convolution or dense layer with constant weights, and the arithmetic that followed it:
    `scale · anchor + shift`, both of shape [output channels]."""

    call: relax.Call
    weights: np.ndarray
    weight_axis: int
    output_axis: int
    rank: int
    scale: np.ndarray
    shift: np.ndarray


# Operator: axis of the output channels in the weights, and in the output.
_ANCHORS = {
    "relax.nn.conv1d": (0, 1),
    "relax.nn.conv2d": (0, 1),
    "relax.nn.conv3d": (0, 1),
    "relax.nn.conv2d_transpose": (1, 1),
    "relax.matmul": (-1, -1),
}


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
        if name in _ANCHORS:
            anchor = self._anchor(call, *_ANCHORS[name], rank=len(shape_of(original.var)))
            if anchor is not None:
                self._anchors[original.var] = anchor
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

    def _anchor(
        self, call: relax.Call, weight_axis: int, output_axis: int, rank: int
    ) -> _Anchor | None:
        weights = constant_array(call.args[1])
        if weights is None or weights.dtype.kind != "f":
            return None
        if operator_name(call) == "relax.matmul":
            if weights.ndim != 2:
                return None
        elif call.attrs.data_layout not in {"NCW", "NCHW", "NCDHW"}:
            return None
        if operator_name(call) == "relax.nn.conv2d_transpose" and int(call.attrs.groups) != 1:
            return None
        channels = weights.shape[weight_axis]
        return _Anchor(
            call=call,
            weights=weights,
            weight_axis=weight_axis % weights.ndim,
            output_axis=output_axis % rank,
            rank=rank,
            scale=np.ones(channels, np.float64),
            shift=np.zeros(channels, np.float64),
        )

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
        dtype = anchor.weights.dtype
        along = [1] * anchor.weights.ndim
        along[anchor.weight_axis] = -1
        weights = (anchor.weights * anchor.scale.reshape(along)).astype(dtype)
        call = anchor.call
        arguments = [call.args[0], relax.const(weights), *call.args[2:]]
        layer = self.builder.emit(relax.Call(call.op, arguments, call.attrs, call.ty_args))
        if not np.any(anchor.shift):
            return layer
        bias_shape = [1] * anchor.rank
        bias_shape[anchor.output_axis] = -1
        bias = relax.const(anchor.shift.reshape(bias_shape).astype(dtype))
        return relax.op.add(layer, bias)


def _per_channel(values: np.ndarray, anchor: _Anchor) -> np.ndarray | None:
    """A constant that broadcasts along the channel axis only, as [channels]; else None."""
    if values.ndim > anchor.rank:
        return None
    shape = (1,) * (anchor.rank - values.ndim) + values.shape
    channels = anchor.shift.shape[0]
    if any(
        extent != 1 and (axis != anchor.output_axis or extent != channels)
        for axis, extent in enumerate(shape)
    ):
        return None
    return np.broadcast_to(values.reshape(-1).astype(np.float64), (channels,))
