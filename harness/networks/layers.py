"""The layers of a network whose edges can be pruned: convolutions and dense layers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import constant_array, operator_name, relax, shape_of, tvm
from harness.compiler.names import constant_like, name_of
from harness.errors import unknown_name
from harness.passes.rewriter import MAIN, Rewriter, with_arguments
from harness.passes.weighted import Weighted, as_matrix, as_stored, weighted


@dataclass(frozen=True, kw_only=True)
class Layer(Weighted):
    """A weighted operator under the name that it has from the end of canonicalisation on. The
    weights are used at `positions` places of the output, which is bound to `variable`."""

    name: str
    variable: relax.Var
    positions: int

    @property
    def flops(self) -> float:
        """Floating-point operations of one inference, dense."""
        return 2.0 * self.positions * self.weights.size

    def matrix_of(self, stored: np.ndarray) -> np.ndarray:
        """The matrix of weights as the operator keeps them: the inverse of `stored`."""
        return as_matrix(stored, self.axes)

    def stored(self, matrix: np.ndarray) -> np.ndarray:
        """The weights that a matrix stands for, as the operator keeps them."""
        return as_stored(matrix, self)


@dataclass(frozen=True)
class Bias:
    """A bias of a layer: the variable that the sum is bound to, and the
    values, in a shape that goes with the layer's."""

    variable: relax.Var
    values: np.ndarray


def layers_of(module: tvm.IRModule) -> list[Layer]:
    """The prunable layers of a canonical network, in its order.

    Convolutions in groups, depthwise ones among them, have few edges for each output and stay as
    they are; so does a product of which both sides are computed.
    """
    return [layer for layer in weighted_layers_of(module) if layer.prunable]


def grouped_layers_of(module: tvm.IRModule) -> list[Layer]:
    """The convolutions in groups, of which no edge is dropped; their weights can be fitted too."""
    return [layer for layer in weighted_layers_of(module) if not layer.prunable]


def weighted_layers_of(module: tvm.IRModule) -> list[Layer]:
    """The layers of either kind, in the network's order."""
    found: list[Layer] = []
    for block in module[MAIN].body.blocks:
        for binding in block.bindings:
            operator = weighted(binding.value)
            if operator is None or not operator.fits:
                continue
            name = name_of(operator.call.args[1])
            assert name is not None, "layers are named at the end of canonicalisation"
            found.append(
                Layer(
                    **vars(operator),
                    name=name,
                    variable=binding.var,
                    positions=math.prod(shape_of(binding.var)) // operator.outputs,
                )
            )
    return found


def why_no_layers(module: tvm.IRModule) -> str:
    """Why a network has no layers: the types of its weights, or that it has none."""
    found = [
        weighted(binding.value) for block in module[MAIN].body.blocks for binding in block.bindings
    ]
    dtypes = sorted({str(each.weights.dtype) for each in found if each is not None} - {"float32"})
    if not dtypes:
        return "it has no convolution, and no product with a constant matrix"
    return f"its weights are {' and '.join(dtypes)}, expected float32"


def weight_axes(call: relax.Expr) -> tuple[int, ...] | None:
    """How the weights of a call are brought into the order taps, inputs, outputs; None for a call
    that is no layer with edges to prune."""
    operator = weighted(call)
    return operator.axes if operator is not None and operator.prunable else None


def named_layers(patterns: Sequence[str], module: tvm.IRModule) -> tuple[str, ...]:
    """The names of a canonical network's layers that are in `patterns` or match one, in which `*`
    stands for any characters. Raises InputError for a pattern that matches no layer."""
    names = [layer.name for layer in weighted_layers_of(module)]
    found: list[str] = []
    for pattern in patterns:
        matching = [pattern] if pattern in names else _matching(names, pattern)
        if not matching:
            raise unknown_name("layer", pattern, names)
        found += matching
    return tuple(found)


def _matching(names: Sequence[str], pattern: str) -> list[str]:
    """All other characters stand for themselves: names of nodes have brackets."""
    expression = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    return [name for name in names if expression.fullmatch(name)]


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
    rank = len(shape_of(layer.variable))
    expected = [1] * rank
    expected[layer.channel_axis] = layer.outputs
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
        return with_arguments(call, with_constant(call, array))


def with_constant(call: relax.Call, array: np.ndarray) -> list[relax.Expr]:
    """A call's arguments with another array for the constant among them."""
    return [
        argument if constant_array(argument) is None else constant_like(argument, array)
        for argument in call.args
    ]
