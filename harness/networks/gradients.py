"""Gradients of a network's outputs with respect to its layers' outputs: reverse-mode
differentiation.

Relax differentiates; operators without a gradient are rewritten before, or have one here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from harness.building.network import machine_of
from harness.compiler.api import (
    Op,
    constant_array,
    no_gradient,
    operator_name,
    relax,
    shape_of,
    tvm,
)
from harness.errors import CellFailure
from harness.networks.layers import Layer
from harness.passes.fusion import fuse
from harness.passes.rewriter import MAIN, Rewriter, variables_of

_GRADIENT = "FPrimalGradient"
_BEFORE_TVMS_OWN = 11


class Backward:
    """The gradients of a canonical network's outputs with respect to the outputs of its layers.

    `target` is this machine's. Raises CellFailure, naming the operator, where an operator between a
    layer and an output has no known gradient.
    """

    def __init__(
        self,
        module: tvm.IRModule,
        layers: Sequence[Layer],
        target: tvm.target.Target,
        threads: int,
    ) -> None:
        _register()
        simple = _Decompose.apply(module)
        variables = _same_places(module, simple, layers)
        _check(simple, variables)
        nudged = _Nudge.apply(simple, variables)
        offsets = list(nudged[MAIN].params)[-len(layers) :]
        differentiated = relax.transform.Gradient(MAIN, require_grads=offsets)(nudged)
        backward = differentiated[f"{MAIN}_adjoint"].with_attr("global_symbol", MAIN)
        fused = fuse(tvm.IRModule({MAIN: backward}), "full")
        self._machine = machine_of(fused, target, threads)
        self._zeros = [
            tvm.runtime.tensor(np.zeros([int(extent) for extent in offset.ty.shape], np.float32))
            for offset in offsets
        ]

    def __call__(
        self, sample: Sequence[tvm.runtime.Tensor], weights: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """The gradient of the sum of all outputs, each weighted by an array of its shape, with
        respect to each layer's output, in the layer's shape."""
        weighted = [tvm.runtime.tensor(array) for array in weights]
        _, gradients = self._machine[MAIN](*sample, *weighted, *self._zeros)
        return [gradient.numpy() for gradient in gradients]


class _Nudge(Rewriter):
    """A network with an offset, a parameter, added to the results of some calls, and whose one
    result is the sum of its outputs, weighted by parameters too."""

    def __init__(self, module: tvm.IRModule, variables: Sequence[relax.Var]) -> None:
        super().__init__(module)
        self._offsets = {
            variable: relax.Var(f"offset{at}", variable.ty) for at, variable in enumerate(variables)
        }
        result = self.function.body.body.ty
        types = result.fields if isinstance(result, relax.TupleType) else [result]
        self._weights = [relax.Var(f"weights{at}", each) for at, each in enumerate(types)]

    def parameters(self) -> list[relax.Var]:
        return [*super().parameters(), *self._weights, *self._offsets.values()]

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        offset = self._offsets.get(original.var)
        return None if offset is None else relax.op.add(self.emit(call), offset)

    def result(self) -> relax.Expr:
        result = super().result()
        outputs = result.fields if isinstance(result, relax.Tuple) else [result]
        total: relax.Expr | None = None
        for output, weights in zip(outputs, self._weights, strict=True):
            product = self.emit(relax.op.multiply(output, weights))
            part = self.emit(relax.op.sum(product))
            total = part if total is None else self.emit(relax.op.add(total, part))
        assert total is not None
        return total


class _Decompose(Rewriter):
    """The same network without operators that Relax has no gradient of, where others do the same;
    its bindings that stay are in the same order."""

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        emit = self.emit
        match operator_name(call):
            case "relax.clip":
                data, least, most = call.args
                above = emit(relax.op.maximum(data, relax.const(float(least.value), "float32")))
                return relax.op.minimum(above, relax.const(float(most.value), "float32"))
            case "relax.squeeze":
                return relax.op.reshape(call.args[0], shape_of(original.var))
            case "relax.nn.layer_norm":
                data, scale, shift = call.args
                axes = [int(axis) for axis in call.attrs.axes]
                centred = emit(relax.op.subtract(data, emit(relax.op.mean(data, axes, True))))
                squares = emit(relax.op.multiply(centred, centred))
                variance = emit(relax.op.mean(squares, axes, True))
                epsilon = relax.const(float(call.attrs.epsilon), "float32")
                deviation = emit(relax.op.sqrt(emit(relax.op.add(variance, epsilon))))
                found = emit(relax.op.divide(centred, deviation))
                if call.attrs.scale:
                    found = emit(relax.op.multiply(found, scale))
                return relax.op.add(found, shift) if call.attrs.center else found
        return None


def _same_places(
    module: tvm.IRModule, simple: tvm.IRModule, layers: Sequence[Layer]
) -> list[relax.Var]:
    """The variables of `simple` that stand where the layers' stand in `module`: decomposing adds
    bindings and takes others away, but the layers' operators are as they were."""
    names = {operator_name(layer.call) for layer in layers}

    def those(of: tvm.IRModule) -> list[relax.Var]:
        return [
            binding.var
            for block in of[MAIN].body.blocks
            for binding in block.bindings
            if operator_name(binding.value) in names
        ]

    before, after = those(module), those(simple)
    assert len(before) == len(after)
    place = {variable: at for at, variable in enumerate(before)}
    return [after[place[layer.variable]] for layer in layers]


def _check(module: tvm.IRModule, layers: Sequence[relax.Var]) -> None:
    """That each operator between a layer and an output has a gradient."""
    reached = set(layers)
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            name = operator_name(binding.value)
            if reached.isdisjoint(variables_of(binding.value)):
                continue
            if str(getattr(binding.var.ty, "dtype", "float32")) != "float32":
                continue  # a comparison: nothing goes back through it
            reached.add(binding.var)
            if name and Op.get(name).get_attr(_GRADIENT) is None:
                raise CellFailure(
                    f"the score 'gradient' needs the gradient of {name}, which is not known; "
                    "score by activation, second-order or magnitude"
                )


@cache
def _register() -> None:
    """Give Relax the gradients that it lacks, or has of weights too, which are constants here."""
    for name, gradient in (
        ("relax.nn.conv2d", _conv2d),
        ("relax.nn.conv1d", _conv1d),
        ("relax.erf", _erf),
    ):
        tvm.ir.register_op_attr(name, _GRADIENT, gradient, level=_BEFORE_TVMS_OWN)


def _erf(
    variable: relax.Var, call: relax.Call, gradient: relax.Var, builder: relax.BlockBuilder
) -> list[relax.Expr]:
    """d erf(x) / dx = 2 / sqrt(pi) * exp(-x²)."""
    (data,) = call.args
    bell = relax.op.exp(relax.op.negative(relax.op.multiply(data, data)))
    slope = relax.op.multiply(bell, relax.const(2 / math.sqrt(math.pi), "float32"))
    return [relax.op.multiply(gradient, slope)]


def _conv2d(
    variable: relax.Var, call: relax.Call, gradient: relax.Var, builder: relax.BlockBuilder
) -> list[relax.Expr]:
    return _convolution(call, gradient, relax.op.nn.conv2d_transpose, "NCHW", "OIHW", "IOHW")


def _conv1d(
    variable: relax.Var, call: relax.Call, gradient: relax.Var, builder: relax.BlockBuilder
) -> list[relax.Expr]:
    return _convolution(call, gradient, relax.op.nn.conv1d_transpose, "NCW", "OIW", "IOW")


def _convolution(
    call: relax.Call,
    gradient: relax.Var,
    transpose: object,
    layout: str,
    kernel_layout: str,
    transposed_layout: str,
) -> list[relax.Expr]:
    """The transposed convolution of the result's gradient. The weights are no variable.

    TVM's own takes a dilated filter for as wide as one that is not.
    """
    attributes = call.attrs
    found = str(attributes.data_layout), str(attributes.kernel_layout)
    if found != (layout, kernel_layout):
        raise CellFailure(
            f"the score 'gradient' knows convolutions of {layout} and {kernel_layout}, not {found}"
        )
    data, weights = call.args
    rank = len(layout) - 2
    strides, dilation, padding = (
        [int(value) for value in values]
        for values in (attributes.strides, attributes.dilation, attributes.padding)
    )
    filters = constant_array(weights)
    assert filters is not None
    missing = [
        int(data.ty.shape[axis + 2])
        - (
            (int(gradient.ty.shape[axis + 2]) - 1) * strides[axis]
            - padding[axis]
            - padding[axis + rank]
            + dilation[axis] * (filters.shape[axis + 2] - 1)
            + 1
        )
        for axis in range(rank)
    ]
    assert callable(transpose)
    return [
        transpose(
            gradient, weights, strides=strides, padding=padding, output_padding=missing,
            dilation=dilation, groups=int(attributes.groups), data_layout=layout,
            kernel_layout=transposed_layout,
        ),
        no_gradient(weights),
    ]  # fmt: skip
