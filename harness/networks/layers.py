"""The layers of a network whose edges can be pruned: convolutions and dense layers.

An edge is one weight: it connects an input channel (under one tap of a filter) with an output
channel. Whatever order an operator keeps its weights in, here they are a matrix,
`[taps * inputs, outputs]`: a column has all edges that lead to one output channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.passes.rewriter import MAIN, Rewriter


@dataclass(frozen=True)
class Layer:
    """One layer. `weights` are as the operator keeps them; `axes` orders them taps, inputs,
    outputs. `positions` is how many places of the output the weights are used at."""

    name: str
    variable: relax.Var
    call: relax.Call
    weights: np.ndarray
    axes: tuple[int, ...]
    positions: int

    @property
    def matrix(self) -> np.ndarray:
        """The weights, `[taps * inputs, outputs]`."""
        return as_matrix(self.weights, self.axes)

    @property
    def flops(self) -> float:
        """Floating-point operations of one inference, dense."""
        return 2.0 * self.positions * self.weights.size

    def stored(self, matrix: np.ndarray) -> np.ndarray:
        """The weights that a matrix stands for, as the operator keeps them."""
        ordered = matrix.reshape([self.weights.shape[axis] for axis in self.axes])
        return np.ascontiguousarray(np.transpose(ordered, np.argsort(self.axes)))


@dataclass(frozen=True)
class Bias:
    """A bias of a layer: the variable that the sum is bound to, and the
    values, in a shape that goes with the layer's."""

    variable: relax.Var
    values: np.ndarray


def as_matrix(weights: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Weights as `[taps * inputs, outputs]`; `axes` orders them taps, inputs, outputs."""
    ordered = np.transpose(weights, axes)
    return ordered.reshape(-1, ordered.shape[-1])


def layers_of(module: tvm.IRModule) -> list[Layer]:
    """The prunable layers of a canonical network, in its order.

    Convolutions in groups, depthwise ones among them, have few edges for each output and stay as
    they are; so does a product of which both sides are computed.
    """
    return _layers(module, weight_axes, "")


def grouped_layers_of(module: tvm.IRModule) -> list[Layer]:
    """The convolutions in groups, of which no edge is dropped; their weights can be fitted too."""

    def grouped(call: relax.Expr) -> tuple[int, ...] | None:
        return None if weight_axes(call) else _axes(call)

    return _layers(module, grouped, "grouped_")


def _layers(
    module: tvm.IRModule, axes_of: Callable[[relax.Expr], tuple[int, ...] | None], prefix: str
) -> list[Layer]:
    found: list[Layer] = []
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            call = binding.value
            axes = axes_of(call)
            if axes is None:
                continue
            weights = constant_array(call.args[1])
            assert weights is not None
            written = [int(extent) for extent in binding.var.ty.shape]
            outputs = weights.shape[axes[-1]]
            kind = operator_name(call).rsplit(".", 1)[-1]
            found.append(
                Layer(
                    name=f"{prefix}{kind}{len(found)}",
                    variable=binding.var,
                    call=call,
                    weights=weights,
                    axes=axes,
                    positions=math.prod(written) // outputs,
                )
            )
    return found


def weight_axes(call: relax.Expr) -> tuple[int, ...] | None:
    """How a call's weights are brought into the order taps, inputs, outputs; None for a call that
    is no layer with edges to prune."""
    axes = _axes(call)
    if axes is None or operator_name(call) == "relax.matmul":
        return axes
    return axes if int(call.attrs.groups) == 1 else None


def _axes(call: relax.Expr) -> tuple[int, ...] | None:
    """How the weights of a dense layer or of any convolution are brought into that order."""
    name = operator_name(call)
    if name not in {"relax.nn.conv1d", "relax.nn.conv2d", "relax.matmul"}:
        return None
    weights = constant_array(call.args[1])
    if weights is None or weights.dtype != "float32":
        return None
    if name == "relax.matmul":
        return (0, 1) if weights.ndim == 2 else None
    layout = str(call.attrs.kernel_layout)
    taps = [at for at, axis in enumerate(layout) if axis not in "OI"]
    return (*taps, layout.index("I"), layout.index("O"))


def biases_of(module: tvm.IRModule, layers: Sequence[Layer]) -> dict[str, Bias]:
    """The biases right after layers, by the layer's name."""
    by_variable = {layer.variable: layer for layer in layers}
    found: dict[str, Bias] = {}
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            if operator_name(binding.value) != "relax.add":
                continue
            first, second = binding.value.args
            for one, other in ((first, second), (second, first)):
                values = constant_array(other)
                layer = by_variable.get(one) if isinstance(one, relax.Var) else None
                if values is None or layer is None:
                    continue
                if _is_along_outputs(values, layer):
                    found[layer.name] = Bias(binding.var, values)
    return found


def _is_along_outputs(values: np.ndarray, layer: Layer) -> bool:
    """Whether a bias is one number for each of a layer's outputs."""
    rank, attributes = len(shape_of(layer.variable)), layer.call.attrs
    if operator_name(layer.call) == "relax.matmul":
        channels = rank - 1
    else:
        channels = str(attributes.out_layout or attributes.data_layout).index("C")
    expected = [1] * rank
    expected[channels] = layer.weights.shape[layer.axes[-1]]
    return [1] * (rank - values.ndim) + list(values.shape) == expected


class ReplaceConstants(Rewriter):
    """The same network with other weights and biases, by the variable that the layer, or the sum of
    its output and the bias, is bound to."""

    def __init__(self, module: tvm.IRModule, arrays: Mapping[relax.Var, np.ndarray]) -> None:
        super().__init__(module)
        self._arrays = arrays

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        array = self._arrays.get(original.var)
        if array is None:
            return None
        return relax.Call(call.op, with_constant(call, array), call.attrs, call.ty_args)


def with_constant(call: relax.Call, array: np.ndarray) -> list[relax.Expr]:
    """A call's arguments with another array for the constant among them."""
    return [
        argument if constant_array(argument) is None else relax.const(array)
        for argument in call.args
    ]
