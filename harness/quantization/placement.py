"""Which layers of a network compute in integers, and which values are quantized for them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from harness.compiler.api import constant, operator_name, relax, shape_of, tvm
from harness.networks.layers import Layer, weighted_layers_of, with_constant
from harness.passes.integers import MOVING
from harness.passes.rewriter import MAIN, Rewriter, uses_of, with_arguments
from harness.passes.weighted import PRODUCT
from harness.quantization.lattice import LEVELS, Quantizers
from harness.quantization.rounding import MOST

_LARGEST_SUM = 2**31 - 1


@dataclass(frozen=True)
class Placement:
    """The layers that read each value that is quantized, and why other layers stay in floats, by
    their names. `passing` are the results of calls that read the rounded value for a layer: the
    layers, and what only moves values before them. The calls whose results are `exact` read floats:
    layers that are excluded, and comparisons, which a rounded number decides otherwise."""

    readers: dict[relax.Var, list[Layer]] = field(default_factory=dict)
    floats: dict[str, str] = field(default_factory=dict)
    passing: set[relax.Var] = field(default_factory=set)
    exact: set[relax.Var] = field(default_factory=set)

    @property
    def layers(self) -> list[Layer]:
        """The layers that compute in integers."""
        return [layer for found in self.readers.values() for layer in found]

    def alone(self, value: relax.Var) -> bool:
        """Whether only layers read a value rounded: where all are products. A residual connection
        around products, as transformers have, keeps its floats."""
        return all(layer.operator == PRODUCT for layer in self.readers[value])

    def channel_axis(self, value: relax.Var) -> int | None:
        """The axis of a value whose channels its layers read as inputs; None where they read it
        moved, or disagree."""
        axes = {
            layer.input_axis if layer.call.args[0] == value else None
            for layer in self.readers[value]
        }
        return axes.pop() if len(axes) == 1 else None

    def without(self, reasons: Mapping[relax.Var, str]) -> Placement:
        """The same, but for values that cannot be quantized."""
        left = {value: found for value, found in self.readers.items() if value not in reasons}
        named = {layer.name: why for value, why in reasons.items() for layer in self.readers[value]}
        return Placement(left, self.floats | named, self.passing, self.exact)


def placed(module: tvm.IRModule, exclude: Collection[str]) -> Placement:
    """The placement in a canonical network."""
    bindings = {
        binding.var: binding.value
        for block in module[MAIN].body.blocks
        for binding in block.bindings
    }
    uses = uses_of(module[MAIN])
    found = Placement()
    for layer in weighted_layers_of(module):
        source, path = _source(layer, bindings, uses)
        excluded = layer.name in exclude
        why = "it is excluded" if excluded else _obstacle(layer, source, bindings)
        if why is not None:
            found.floats[layer.name] = why
            if excluded:
                found.exact.update([layer.variable, *_moved_to(layer, bindings)])
            continue
        assert isinstance(source, relax.Var)
        found.readers.setdefault(source, []).append(layer)
        found.passing.update([layer.variable, *path])
    found.exact.update(
        variable for variable, value in bindings.items() if operator_name(value) in _COMPARING
    )
    return found


_COMPARING = frozenset(
    f"relax.{name}"
    for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
)


def _source(
    layer: Layer, bindings: Mapping[relax.Var, relax.Expr], uses: Mapping[relax.Var, int]
) -> tuple[relax.Expr, list[relax.Var]]:
    """The value that is quantized for a layer, and those that only move it to the layer. It is what
    a convolution reads, moved, where nothing else reads it: the kernel that makes it stores bytes
    then. What others read has a range of its own."""
    value: relax.Expr = layer.call.args[0]
    path: list[relax.Var] = []
    if layer.operator == PRODUCT:
        return value, path
    while operator_name(bindings.get(value)) in MOVING and uses[value] == 1:
        before = bindings[value].args[0]
        if not isinstance(before, relax.Var) or uses[before] > 1:
            break
        path.append(value)
        value = before
    return value, path


def _moved_to(layer: Layer, bindings: Mapping[relax.Var, relax.Expr]) -> Iterator[relax.Var]:
    """The values that are moved on the way to a layer, whatever else reads them."""
    value = layer.call.args[0]
    while operator_name(bindings.get(value)) in MOVING:
        yield value
        value = bindings[value].args[0]


def _obstacle(
    layer: Layer, source: relax.Expr, bindings: Mapping[relax.Var, relax.Expr]
) -> str | None:
    """Why a layer has no kernel of integers; None if it has one."""
    if operator_name(bindings.get(source)) == "relax.dequantize":
        return "the model has quantized its data already"
    if layer.operator == PRODUCT:
        if len(shape_of(layer.call.args[0])) < 2:
            return "it multiplies a single vector"
    elif layer.operator != "relax.nn.conv2d":
        return f"{layer.operator.rpartition('.')[2]} has no kernel of integers"
    elif layer.groups > 1:
        return "convolutions in groups are faster in floats"
    if not isinstance(source, relax.Var) or str(source.ty.dtype) != "float32":
        return "its data are no 32-bit floats"
    if len(layer.matrix) * MOST * LEVELS > _LARGEST_SUM:
        return f"sums of {len(layer.matrix)} products could overflow"
    if not np.isfinite(layer.weights).all():
        return "its weights are not finite"
    return None


class _Between(Rewriter):
    """Calls that read a quantized value read another in its place: those of the placement, and
    others too where it is not the placement's alone."""

    def __init__(self, module: tvm.IRModule, placement: Placement) -> None:
        super().__init__(module)
        self._placement = placement
        self._read: dict[tuple[relax.Var, bool], relax.Expr] = {}
        self._reader: relax.Var | None = None

    def other(self, value: relax.Expr, variable: relax.Var, of_layer: bool) -> relax.Expr:
        """What a call reads instead of a value, which `variable` had in the network before. A call
        of the placement is `of_layer`."""
        raise NotImplementedError

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        return None

    def visit(self, binding: relax.VarBinding) -> None:
        self._reader = binding.var if isinstance(binding.value, relax.Call) else None
        super().visit(binding)
        self._reader = None  # outputs are what they were

    def value(self, expr: relax.Expr) -> relax.Expr:
        found, placement = super().value(expr), self._placement
        if self._reader is None or not isinstance(expr, relax.Var):
            return found
        if expr not in placement.readers:
            return found
        of_layer = self._reader in placement.passing
        if not of_layer and (placement.alone(expr) or self._reader in placement.exact):
            return found
        read = expr, of_layer
        if read not in self._read:
            self._read[read] = self.emitted(self.other(found, expr, of_layer))
        return self._read[read]


class InsertQuantizers(_Between):
    """The same network with some values rounded where calls read them, and other weights and
    biases, by the variable that their layer or sum is bound to."""

    def __init__(
        self,
        module: tvm.IRModule,
        placement: Placement,
        quantizers: Quantizers,
        arrays: Mapping[relax.Var, np.ndarray],
    ) -> None:
        super().__init__(module, placement)
        self._quantizers = quantizers
        self._arrays = arrays
        self._rounded: dict[relax.Var, relax.Expr] = {}

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        array = self._arrays.get(original.var)
        return None if array is None else with_arguments(call, with_constant(call, array))

    def other(self, value: relax.Expr, variable: relax.Var, of_layer: bool) -> relax.Expr:
        quantizer = self._quantizers[variable]
        lattice, factors = quantizer.lattice, quantizer.factors
        scale = relax.const(lattice.scale, "float32")
        point = relax.const(lattice.zero_point, "int32")
        along = None if factors is None else _along(factors, variable, self._placement)
        if variable not in self._rounded:
            # A division would take longer than all else of a kernel that sums few products.
            by = np.float32(1 / lattice.scale) / (np.float32(1) if along is None else along)
            value = self.emit(relax.op.multiply(value, constant(np.asarray(by, np.float32))))
            one = relax.const(1.0, "float32")
            integers = self.emit(relax.op.quantize(value, one, point, -1, lattice.dtype))
            self._rounded[variable] = self.emit(relax.op.dequantize(integers, scale, point, -1))
        rounded = self._rounded[variable]
        if of_layer or along is None:
            return rounded
        return relax.op.multiply(rounded, constant(along))


def _along(factors: np.ndarray, value: relax.Var, placement: Placement) -> np.ndarray:
    """Factors of channels in a shape that goes with the value."""
    shape = [1] * len(shape_of(value))
    axis = placement.channel_axis(value)
    assert axis is not None
    shape[axis] = len(factors)
    return factors.astype(np.float32).reshape(shape)


class QuantizersAsArguments(_Between):
    """The same network with quantizers that are its last arguments: of each value the factors (1,
    or one of each channel), the scale, the least and the largest step, in shapes that go with the
    value. A scale of 0 leaves a value as it is. Weights are not multiplied by factors: the
    rounded value is as large as the value."""

    def __init__(self, module: tvm.IRModule, placement: Placement) -> None:
        super().__init__(module, placement)
        self._arguments = {
            value: [
                relax.Var(f"{name}_{at}", relax.TensorType(shape, "float32"))
                for name, shape in _shapes(value, placement).items()
            ]
            for at, value in enumerate(placement.readers)
        }

    def parameters(self) -> list[relax.Var]:
        return [*super().parameters(), *(one for each in self._arguments.values() for one in each)]

    def other(self, value: relax.Expr, variable: relax.Var, of_layer: bool) -> relax.Expr:
        factors, scale, least, most = self._arguments[variable]
        emit = self.emit
        some = emit(relax.op.greater(scale, relax.const(0.0, "float32")))
        divisor = emit(relax.op.where(some, scale, relax.const(1.0, "float32")))
        divisor = emit(relax.op.multiply(factors, divisor))
        steps = emit(relax.op.round(emit(relax.op.divide(value, divisor))))
        steps = emit(relax.op.minimum(emit(relax.op.maximum(steps, least)), most))
        return relax.op.where(some, emit(relax.op.multiply(steps, divisor)), value)


def _shapes(value: relax.Var, placement: Placement) -> dict[str, list[int]]:
    """The shapes of a quantizer's arguments."""
    one = [1] * len(shape_of(value))
    axis, factors = placement.channel_axis(value), list(one)
    if axis is not None:
        factors[axis] = shape_of(value)[axis]
    return {"factors": factors, "scale": one, "least": one, "most": one}


def arguments_of(
    placement: Placement, quantizers: Quantizers, moved: Mapping[relax.Var, float]
) -> list[np.ndarray]:
    """The last arguments of a network of `QuantizersAsArguments`; other values stay. Some values
    are `moved` before they are rounded: divided by these numbers, which are nearly 1."""
    found = []
    for value in placement.readers:
        quantizer = quantizers.get(value)
        factors, *others = _shapes(value, placement).values()
        numbers, along = (0.0, 0.0, 0.0), np.ones(factors, np.float32)
        if quantizer is not None:
            numbers = (quantizer.lattice.scale, *quantizer.lattice.steps)
            if quantizer.factors is not None:
                along = _along(quantizer.factors, value, placement)
        found.append((along * moved.get(value, 1.0)).astype(np.float32))
        found += [
            np.full(shape, number, np.float32)
            for shape, number in zip(others, numbers, strict=True)
        ]
    return found
