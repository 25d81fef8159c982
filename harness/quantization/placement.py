"""Which layers of a network compute in integers, and which values are quantized for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.compiler.api import operator_name, relax, shape_of, tvm
from harness.networks.layers import Layer, weighted_layers_of, with_constant
from harness.passes.integers import MOVING
from harness.passes.rewriter import MAIN, Rewriter, with_arguments
from harness.passes.weighted import PRODUCT
from harness.quantization.lattice import LEVELS, Lattice
from harness.quantization.rounding import MOST

_LARGEST_SUM = 2**31 - 1
_LARGEST_WHOLE = 2**24


@dataclass(frozen=True)
class Placement:
    """The layers that read each value that is quantized, and why other layers stay in floats, by
    their names."""

    readers: dict[relax.Var, list[Layer]]
    floats: dict[str, str] = field(default_factory=dict)

    @property
    def layers(self) -> list[Layer]:
        """The layers that compute in integers."""
        return [layer for found in self.readers.values() for layer in found]

    def without(self, reasons: Mapping[relax.Var, str]) -> Placement:
        """The same, but for values that cannot be quantized."""
        left = {value: found for value, found in self.readers.items() if value not in reasons}
        named = {layer.name: why for value, why in reasons.items() for layer in self.readers[value]}
        return Placement(left, self.floats | named)


def placed(module: tvm.IRModule, exclude: Collection[str]) -> Placement:
    """The placement in a canonical network."""
    bindings = {
        binding.var: binding.value
        for block in module[MAIN].body.blocks
        for binding in block.bindings
    }
    found = Placement({})
    for layer in weighted_layers_of(module):
        source = _source(layer.call.args[0], bindings)
        why = "it is excluded" if layer.name in exclude else _obstacle(layer, source, bindings)
        if why is not None:
            found.floats[layer.name] = why
        else:
            assert isinstance(source, relax.Var)
            found.readers.setdefault(source, []).append(layer)
    return found


def _source(value: relax.Expr, bindings: Mapping[relax.Var, relax.Expr]) -> relax.Expr:
    """The value that others are only moved from: so early is it quantized."""
    while operator_name(bindings.get(value)) in MOVING:
        value = bindings[value].args[0]
    return value


def _obstacle(
    layer: Layer, source: relax.Expr, bindings: Mapping[relax.Var, relax.Expr]
) -> str | None:
    """Why a layer has no kernel of integers; None if it has one."""
    depthwise = layer.groups == layer.matrix.shape[1] == _channels(layer)
    if layer.operator == PRODUCT:
        if len(shape_of(layer.call.args[0])) < 2:
            return "it multiplies a single vector"
    elif layer.operator != "relax.nn.conv2d":
        return f"{layer.operator.rpartition('.')[2]} has no kernel of integers"
    elif layer.groups > 1 and not depthwise:
        return "a convolution in groups has no kernel of integers"
    if not isinstance(source, relax.Var) or str(source.ty.dtype) != "float32":
        return "its data are no 32-bit floats"
    if operator_name(bindings.get(source)) == "relax.dequantize":
        return "the model has quantized its data already"
    most = _LARGEST_SUM if layer.groups == 1 else _LARGEST_WHOLE
    if len(layer.matrix) * MOST * LEVELS > most:
        return f"sums of {len(layer.matrix)} products could overflow"
    if not np.isfinite(layer.weights).all():
        return "its weights are not finite"
    return None


def _channels(layer: Layer) -> int:
    shape = shape_of(layer.call.args[0])
    if layer.operator == PRODUCT:
        return shape[-1]
    return shape[str(layer.call.attrs.data_layout).index("C")]


class _Between(Rewriter):
    """Every call that reads a value of `between` reads another in its place."""

    def __init__(self, module: tvm.IRModule, between: Collection[relax.Var]) -> None:
        super().__init__(module)
        self._between = frozenset(between)
        self._read: dict[relax.Var, relax.Expr] = {}
        self._in_call = False

    def other(self, value: relax.Expr, variable: relax.Var) -> relax.Expr:
        """What calls read instead of a value, which `variable` had in the network before."""
        raise NotImplementedError

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        return None

    def substituted(self, value: relax.Expr) -> relax.Expr:
        self._in_call = isinstance(value, relax.Call)  # outputs are what they were
        try:
            return super().substituted(value)
        finally:
            self._in_call = False

    def value(self, expr: relax.Expr) -> relax.Expr:
        if not (self._in_call and isinstance(expr, relax.Var) and expr in self._between):
            return super().value(expr)
        if expr not in self._read:
            self._read[expr] = self.emit(self.other(super().value(expr), expr))
        return self._read[expr]


class InsertQuantizers(_Between):
    """The same network with some values rounded to their lattices where calls read them, and other
    weights and biases, by the variable that their layer or sum is bound to."""

    def __init__(
        self,
        module: tvm.IRModule,
        lattices: Mapping[relax.Var, Lattice],
        arrays: Mapping[relax.Var, np.ndarray],
    ) -> None:
        super().__init__(module, lattices)
        self._lattices = lattices
        self._arrays = arrays

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        array = self._arrays.get(original.var)
        return None if array is None else with_arguments(call, with_constant(call, array))

    def other(self, value: relax.Expr, variable: relax.Var) -> relax.Expr:
        lattice = self._lattices[variable]
        scale = relax.const(lattice.scale, "float32")
        point = relax.const(lattice.zero_point, "int32")
        integers = self.emit(relax.op.quantize(value, scale, point, -1, lattice.dtype))
        return relax.op.dequantize(integers, scale, point, -1)


class QuantizersAsArguments(_Between):
    """The same network with some values rounded to lattices that are its last arguments: of each
    value the scale, the least and the largest step, of shape [1, ...] as the value has dimensions.
    A scale of 0 leaves a value as it is."""

    def __init__(self, module: tvm.IRModule, values: Sequence[relax.Var]) -> None:
        super().__init__(module, values)
        self._arguments = {
            value: [
                relax.Var(f"{name}_{at}", relax.TensorType([1] * len(shape_of(value)), "float32"))
                for name in ("scale", "least", "most")
            ]
            for at, value in enumerate(values)
        }

    def parameters(self) -> list[relax.Var]:
        return [*super().parameters(), *(one for each in self._arguments.values() for one in each)]

    def other(self, value: relax.Expr, variable: relax.Var) -> relax.Expr:
        scale, least, most = self._arguments[variable]
        emit = self.emit
        some = emit(relax.op.greater(scale, relax.const(0.0, "float32")))
        divisor = emit(relax.op.where(some, scale, relax.const(1.0, "float32")))
        steps = emit(relax.op.round(emit(relax.op.divide(value, divisor))))
        steps = emit(relax.op.minimum(emit(relax.op.maximum(steps, least)), most))
        return relax.op.where(some, emit(relax.op.multiply(steps, divisor)), value)


def arguments_of(
    values: Sequence[relax.Var], lattices: Mapping[relax.Var, Lattice]
) -> list[np.ndarray]:
    """The last arguments of a network of `QuantizersAsArguments`; values without a lattice stay."""
    found = []
    for value in values:
        lattice = lattices.get(value)
        numbers = (0.0, 0.0, 0.0) if lattice is None else (lattice.scale, *lattice.steps)
        shape = [1] * len(shape_of(value))
        found += [np.full(shape, number, np.float32) for number in numbers]
    return found
