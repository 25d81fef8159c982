"""A network without some of its channels: constants are cut and shapes follow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.compiler.names import constant_like
from harness.networks.flow import Flow
from harness.networks.layers import with_constant
from harness.passes.rewriter import Rewriter, with_arguments


class KeepChannels(Rewriter):
    """A network without the channels that are False in `keep`. `weights` are other weights and
    biases of some layers, of the shapes that they have now, as `ReplaceConstants` takes them."""

    def __init__(
        self,
        module: tvm.IRModule,
        flow: Flow,
        keep: np.ndarray,
        weights: Mapping[relax.Var, np.ndarray] | None = None,
    ) -> None:
        super().__init__(module)
        self._flow = flow
        self._keep = keep
        self._weights = weights or {}

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        other = self._weights.get(original.var)
        arguments = list(call.args) if other is None else with_constant(call, other)
        for use in self._flow.uses.get(original.var, ()):
            values = constant_array(arguments[use.argument])
            assert values is not None
            kept = self._keep[use.channels]
            if not kept.all():
                cut = np.compress(kept, values, axis=use.axis)
                arguments[use.argument] = constant_like(arguments[use.argument], cut)
        name, attributes = operator_name(call), call.attrs
        if name == "relax.squeeze":
            # It might drop an axis that has one channel now.
            return relax.op.reshape(arguments[0], self._shape(original.var))
        if name in {"relax.reshape", "relax.broadcast_to"}:
            arguments[1] = relax.ShapeExpr(self._shape(original.var))
        elif name == "relax.strided_slice":
            return self._slice(arguments[0], call, original)
        elif name == "relax.split":
            return self._split(arguments[0], call, original)
        elif name in {"relax.nn.conv1d", "relax.nn.conv2d"} and int(attributes.groups) != 1:
            return self._grouped(call, arguments)
        return with_arguments(call, arguments)

    def _shape(self, variable: relax.Var) -> list[int]:
        axes = self._flow.axes[variable]
        return [
            int(self._keep[axes[axis]].sum()) if axis in axes else extent
            for axis, extent in enumerate(shape_of(variable))
        ]

    def _slice(
        self, data: relax.Expr, call: relax.Call, original: relax.VarBinding
    ) -> relax.Expr | None:
        """A slice that begins and ends where its first and last channels are now."""
        axes, begins, ends = ([int(value) for value in each] for each in call.args[1:4])
        sliced = self._flow.axes[original.var]
        given = self._flow.axes.get(original.value.args[0], {})
        for at, axis in enumerate(axes):
            along = axis % len(shape_of(original.var))
            if along in sliced:
                first, _, _ = slice(begins[at], ends[at]).indices(len(given[along]))
                begins[at] = int(self._keep[given[along][:first]].sum())
                ends[at] = begins[at] + int(self._keep[sliced[along]].sum())
        return relax.op.strided_slice(data, axes, begins, ends, *call.args[4:])

    def _split(
        self, data: relax.Expr, call: relax.Call, original: relax.VarBinding
    ) -> relax.Expr | None:
        rank = len(shape_of(original.value.args[0]))
        axis = int(call.attrs.axis) % rank
        given = self._flow.axes.get(original.value.args[0], {})
        if axis not in given:
            return None
        ends = np.cumsum([int(field.shape[axis]) for field in original.var.ty.fields])[:-1]
        kept = self._keep[given[axis]]
        return relax.op.split(data, [int(kept[:end].sum()) for end in ends], axis)

    def _grouped(self, call: relax.Call, arguments: list[relax.Expr]) -> relax.Expr:
        """A convolution in groups, of which there may be fewer: one a channel."""
        attributes = call.attrs
        kernel, data = str(attributes.kernel_layout), str(attributes.data_layout)
        build = getattr(relax.op.nn, operator_name(call).removeprefix("relax.nn."))
        inside = shape_of(arguments[1])[kernel.index("I")]
        return build(
            arguments[0],
            arguments[1],
            strides=list(attributes.strides),
            padding=list(attributes.padding),
            dilation=list(attributes.dilation),
            groups=shape_of(arguments[0])[data.index("C")] // inside,
            data_layout=data,
            kernel_layout=kernel,
            out_layout=str(attributes.out_layout),
            out_dtype=attributes.out_dtype,
        )
