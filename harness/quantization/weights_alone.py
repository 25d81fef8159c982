"""Weights in fewer bits under data in floats.

A dense layer that meets each weight once reads them from memory for most of its time, so half the
bits take half of it. Nothing is calibrated: weights are rounded to the nearest, `int8` with a scale
for each output, by which the sums are multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from harness.building.network import arrays_of, machine_of
from harness.compiler.api import relax, shape_of, tvm
from harness.compiler.names import constant_like, name_of
from harness.errors import CellFailure, CellSkipped
from harness.kernels.vectors import vector_lanes, widened_types
from harness.networks.context import Context
from harness.networks.layers import named_layers, weighted_layers_of, why_no_layers
from harness.passes.fusion import fuse
from harness.passes.packing import packs
from harness.passes.rewriter import Rewriter, with_arguments
from harness.passes.weighted import Weighted, as_stored, weighted
from harness.quantization.rounding import MOST, nearest, scales_of
from harness.quantization.trial import COMPARED, distance
from harness.records.record import LayerQuantization, Quantization
from harness.specs.quantization import Quantize, WeightType

_FLOAT_BITS = 32


@dataclass(frozen=True)
class _Stored:
    """Weights as numbers of a narrower type, in float32, and what their sums are multiplied by, an
    array for the layer's output or None."""

    weights: np.ndarray
    scale: np.ndarray | None = None


def with_narrow_weights(
    canonical: tvm.IRModule, options: Quantize, context: Context
) -> tuple[tvm.IRModule, Quantization]:
    """A canonical network whose layers' weights a narrower type has, and what was done.

    Raises CellSkipped for a target that reads no such weights, InputError for an excluded layer
    that is not there, and CellFailure where no layer fits.
    """
    dtype, passes = options.weights, context.spec.passes
    if dtype not in widened_types(context.target):
        raise CellSkipped(
            f"target {context.spec.name} does not widen vectors of {dtype}: expected a processor "
            "of 64-bit ARM, or of x86 (with the feature 'f16c' for float16)"
        )
    if not passes.pack_weights or passes.layout != "NHWC":
        raise CellSkipped(
            f"target {context.spec.name} packs no weights: expected 'pack_weights: true' and "
            f"'layout: NHWC' under 'passes', found {str(passes.pack_weights).lower()} and "
            f"{passes.layout}"
        )
    excluded = named_layers(options.exclude, canonical)
    lanes = vector_lanes(context.target)
    stored: dict[str, _Stored] = {}
    kept: dict[str, str] = {}
    layers = weighted_layers_of(canonical)
    for layer in layers:
        reason = _obstacle(layer, lanes, dtype) if layer.name not in excluded else "excluded"
        if reason is None:
            stored[layer.name] = _TYPES[dtype](layer)
        else:
            kept[layer.name] = reason
    if not stored:
        reasons = [f"{name}: {why}" for name, why in kept.items()][:3]
        found = "; ".join(reasons) or why_no_layers(canonical)
        raise CellFailure(f"no layer's weights can be {dtype}: {found}")
    result = _StoreWeights.apply(canonical, stored)
    described = tuple(
        LayerQuantization(
            name=layer.name,
            shape=layer.weights.shape,
            parameters=layer.weights.size,
            bits=_FLOAT_BITS if layer.name in kept else 8 * np.dtype(dtype).itemsize,
            floats_because=kept.get(layer.name),
        )
        for layer in layers
    )
    entry = Quantization(
        weights=dtype,
        activations=options.activations,
        output_change=_change(canonical, result, context),
        layers=described,
    )
    return result, entry


def _obstacle(layer: Weighted, lanes: int, dtype: WeightType) -> str | None:
    if not packs(layer, lanes):
        return "its weights are not packed: it has groups, or its outputs fill no vectors"
    if not np.isfinite(layer.weights).all():
        return "a weight is not finite"
    most = float(np.abs(layer.weights).max(initial=0))
    if dtype == "float16" and most > float(np.finfo(np.float16).max):
        return f"a weight is {most:.3g}, more than float16 has"
    return None


def _halves(layer: Weighted) -> _Stored:
    return _Stored(layer.weights.astype(np.float16).astype(np.float32))


def _steps(layer: Weighted) -> _Stored:
    matrix = layer.matrix
    scales = scales_of(matrix, np.ones((len(matrix), 1)), MOST)
    steps = as_stored(nearest(matrix, scales, MOST), layer)
    along = [-1 if at == layer.channel_axis else 1 for at in range(len(shape_of(layer.call)))]
    return _Stored(steps.astype(np.float32), scales.reshape(along).astype(np.float32))


_TYPES: Mapping[WeightType, Callable[[Weighted], _Stored]] = {"float16": _halves, "int8": _steps}
"""How weights become a type's numbers."""


class _StoreWeights(Rewriter):
    """Gives layers other weights, by name, and multiplies what they give."""

    def __init__(self, module: tvm.IRModule, stored: dict[str, _Stored]) -> None:
        super().__init__(module)
        self._stored = stored

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        layer = weighted(call)
        found = layer and self._stored.get(name_of(call.args[1]) or "")
        if not found:
            return None
        data, weights, *others = call.args
        changed = with_arguments(call, [data, constant_like(weights, found.weights), *others])
        if found.scale is None:
            return changed
        return relax.op.multiply(self.emit(changed), relax.const(found.scale))


def _change(before: tvm.IRModule, after: tvm.IRModule, context: Context) -> float | None:
    """How far the outputs of one network are from another's, on inputs of the model; None where it
    has none."""
    samples = context.inputs()[:COMPARED]
    if not samples:
        return None

    def outputs(network: tvm.IRModule) -> list[list[np.ndarray]]:
        machine = machine_of(fuse(network, "full"), context.here, context.threads)
        return [arrays_of(machine, sample) for sample in samples]

    return distance(outputs(after), outputs(before))
