"""Makes an imported graph fusable: one form for each thing that frontends express in several.

- Kernels that a frontend emitted too early, as TIR (`Clip` as two of them), become operators again.
- BatchNorm becomes arithmetic; arithmetic with constants per channel that follows a convolution or
  a dense layer is folded into its weights and one bias.
- Layout changes that move only dimensions of extent 1 become reshapes, which cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from harness.errors import CellFailure
from harness.passes.rewriter import MAIN, Rewriter
from harness.tvm_api import (
    PrimFunc,
    constant_array,
    operator_name,
    relax,
    shape_of,
    structural_equal,
    tvm,
)


def canonicalise(module: tvm.IRModule) -> tvm.IRModule:
    """The same network in canonical form; numerically equal up to rounding.

    Raises CellFailure for control flow, which no later pass supports.
    """
    transform = relax.transform
    module = transform.CanonicalizeBindings()(module)
    module = transform.DecomposeOpsForInference()(module)
    module = transform.FoldConstant()(module)
    blocks = module[MAIN].body.blocks
    if len(blocks) != 1 or any(isinstance(b.value, relax.If) for b in blocks[0].bindings):
        raise CellFailure(
            "the network has control flow (If or Loop) that is not constant; "
            "fix the inputs it depends on so that it folds away"
        )
    module = RaiseEarlyKernels.apply(module)
    module = transform.FoldConstant()(module)
    module = Simplify.apply(module)
    module = FoldChannelArithmetic.apply(module)
    module = transform.FoldConstant()(module)
    module = transform.EliminateCommonSubexpr()(module)
    return transform.DeadCodeElimination()(module)


class RaiseEarlyKernels(Rewriter):
    """`call_tir` of a kernel that some operator's own legalisation gives becomes that operator.

    The kernels are compared structurally, so nothing is recognised by its name alone.
    """

    OPERATORS = {"maximum": relax.op.maximum, "minimum": relax.op.minimum}

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if operator_name(call) != "relax.call_tir":
            return None
        name = call.args[0].name_hint.rstrip("0123456789_")
        build = self.OPERATORS.get(name)
        arguments = list(call.args[1].fields)
        kernel = self.module[call.args[0]]
        if build is None or not structural_equal(
            kernel.without_attr("global_symbol"), _legalised(build, arguments)
        ):
            return None
        return build(*arguments)


def _legalised(build: object, arguments: list[relax.Expr]) -> PrimFunc | None:
    """The kernel that an operator becomes for arguments of these types, if it becomes just one."""
    builder = relax.BlockBuilder()
    parameters = [relax.Var(f"argument_{at}", value.ty) for at, value in enumerate(arguments)]
    with builder.function(MAIN, parameters):
        with builder.dataflow():
            result = builder.emit_output(builder.emit(build(*parameters)))  # type: ignore[operator]
        builder.emit_func_output(result)
    module = relax.transform.LegalizeOps()(builder.get())
    kernels = [function for function in module.functions.values() if isinstance(function, PrimFunc)]
    return kernels[0].without_attr("global_symbol") if len(kernels) == 1 else None


class Simplify(Rewriter):
    """Drops what does nothing, and turns layout changes that move no data into reshapes."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name == "relax.permute_dims":
            return permuted(call.args[0], permutation(call))
        if name in {"relax.reshape", "relax.broadcast_to"}:
            if shape_of(call.args[0]) == shape_of(original.var):
                return call.args[0]
        elif name in {"relax.add", "relax.subtract", "relax.multiply", "relax.divide"}:
            neutral = 0.0 if name in {"relax.add", "relax.subtract"} else 1.0
            values = constant_array(call.args[1])
            if (
                values is not None
                and np.all(values == neutral)
                and shape_of(call.args[0]) == shape_of(original.var)
            ):
                return call.args[0]
        return None


def permutation(call: relax.Call) -> tuple[int, ...]:
    """The axes of a `permute_dims` call; reversed order is what leaving them out means."""
    rank = len(shape_of(call.args[0]))
    axes = call.attrs.axes
    if axes is None:
        return tuple(reversed(range(rank)))
    return tuple(int(axis) % rank for axis in axes)


def permuted(value: relax.Expr, axes: tuple[int, ...]) -> relax.Expr:
    """`value` with its dimensions in another order: as it is, a reshape, or a real transpose."""
    if axes == tuple(range(len(axes))):
        return value
    shape = shape_of(value)
    moved = [axis for axis in axes if shape[axis] != 1]
    if moved == sorted(moved):
        return relax.op.reshape(value, tuple(shape[axis] for axis in axes))
    return relax.op.permute_dims(value, list(axes))


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


class FoldChannelArithmetic(Rewriter):
    """Folds constants per output channel that are added or multiplied after a convolution or a
    dense layer into its weights and a single bias.

    Only while nobody else reads the values in between. DeadCodeElimination drops the old layer.
    """

    # Operator: axis of the output channels in the weights, and in the output.
    ANCHORS = {
        "relax.nn.conv1d": (0, 1),
        "relax.nn.conv2d": (0, 1),
        "relax.nn.conv3d": (0, 1),
        "relax.nn.conv2d_transpose": (1, 1),
        "relax.matmul": (-1, -1),
    }

    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self._anchors: dict[relax.Var, _Anchor] = {}

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        name = operator_name(call)
        if name in self.ANCHORS:
            anchor = self._anchor(call, *self.ANCHORS[name], rank=len(shape_of(original.var)))
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
