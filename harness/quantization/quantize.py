"""Quantizes a network: how its data are rounded, its weights and biases, and which layers stay in
floats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.building.network import arrays_of, machine_of
from harness.compiler.api import relax, tvm
from harness.errors import CellFailure
from harness.kernels.dot_products import Products
from harness.measure.plain_reference import MOVED, directions
from harness.networks.calibration import no_samples
from harness.networks.context import Context
from harness.networks.layers import Layer, named_layers, weighted_layers_of, why_no_layers
from harness.passes.fusion import fuse
from harness.quantization.choosing import Chosen, chosen, ends_of
from harness.quantization.constants import Constants, Fitting
from harness.quantization.decided import WithDecidingFloats
from harness.quantization.lattice import Quantizer
from harness.quantization.mixed import Rounded, back_to_floats
from harness.quantization.placement import InsertQuantizers, Placement, placed
from harness.quantization.rounding import steps_for
from harness.quantization.trial import COMPARED, Trial, distance
from harness.records.record import LayerQuantization, Quantization
from harness.specs.quantization import Quantize
from harness.tuning.layer_times import layer_seconds

_SLACK = 1e-3
"""Of the outputs' size: so far apart may two builds of a network be that rounds."""
_BITS, _FLOAT_BITS = 8, 32


def quantized(
    canonical: tvm.IRModule, options: Quantize, products: Products, context: Context
) -> tuple[tvm.IRModule, Quantization]:
    """A canonical network whose layers have data and weights, as real numbers, that the target
    multiplies as 8-bit integers, and what was done. Raises InputError and CellFailure."""
    steps = steps_for(products, options.reduce_range)
    placement = placed(canonical, named_layers(options.exclude, canonical))
    _require_layers(placement, canonical)
    samples = context.calibration()
    if not samples:
        raise no_samples("'quantize'")

    def progress(done: int, total: int, detail: str) -> None:
        context.tell({"stage": "quantize", "done": done, "total": total, "detail": detail})

    trial = Trial(canonical, placement, samples, context.here, context.threads)
    ends = ends_of(trial, placement, progress)
    obstacles = {value: why for value, found in ends.items() if (why := found.obstacle)}
    placement = placement.without(obstacles)
    _require_layers(placement, canonical)
    left = {value: found for value, found in ends.items() if value not in obstacles}
    found = chosen(trial, placement, left, options, steps, progress)
    fitting = Fitting(trial, placement, found, options, steps.most, progress)
    constants = fitting.rounded()
    fitting.add_biases(constants)
    changes = fitting.changes(constants)
    network = _Network(
        placement, {value: each.quantizer for value, each in found.items()}, constants
    )
    if (most := options.choice.max_change) is not None:
        network = _within(most, canonical, network, trial, changes, context)
    result = network.of(canonical)
    change = _change(result, trial, samples, context)
    tried = network.change(trial)
    if not change <= 2 * tried + _SLACK:
        tried = network.largest_change(trial, context.seed)
    if not change <= 2 * tried + _SLACK:
        raise CellFailure(
            f"the quantized network's outputs are {change:.3g} of their size away from those in "
            f"floats, where {tried:.3g} was found while it was chosen"
        )
    described = [
        _described(layer, network, found.get(trial.value_of.get(layer.name)), changes)
        for layer in weighted_layers_of(canonical)
    ]
    choice = options.choice
    entry = Quantization(
        ranges=choice.ranges,
        rounding=choice.rounding,
        balance=options.balance,
        bias=options.bias,
        weight_steps=steps.most,
        max_change=choice.max_change,
        calibration=len(samples),
        output_change=change,
        layers=tuple(described),
    )
    return result, entry


@dataclass(frozen=True)
class _Network:
    """A network whose values are rounded where they are placed, with such weights and biases."""

    placement: Placement
    quantizers: dict[relax.Var, Quantizer]
    constants: Constants

    def of(self, canonical: tvm.IRModule) -> tvm.IRModule:
        """The quantized form of a canonical network."""
        constants = self.constants.of(canonical)
        return InsertQuantizers.apply(canonical, self.placement, self.quantizers, constants)

    def change(self, trial: Trial) -> float:
        """What it changes of the outputs, relative to their size."""
        return trial.change(self.quantizers, self.constants.trial)

    def largest_change(self, trial: Trial, seed: int) -> float:
        """The same where values that lie between two steps become the other one: another build
        sums in another order."""
        random = np.random.default_rng(seed)
        return max(
            trial.change(
                self.quantizers,
                self.constants.trial,
                dict(zip(self.quantizers, map(float, 1 + MOVED * each), strict=True)),
            )
            for each in directions(len(self.quantizers), random)
        )

    def without(self, reasons: Mapping[relax.Var, str], trial: Trial) -> _Network:
        """The same with some values, and the layers that read them, in floats."""
        layers = {layer.name for value in reasons for layer in self.placement.readers[value]}
        left = {value: each for value, each in self.quantizers.items() if value not in reasons}
        constants = self.constants.without(layers, trial)
        return _Network(self.placement.without(reasons), left, constants)


def _within(
    most: float,
    canonical: tvm.IRModule,
    network: _Network,
    trial: Trial,
    changes: Mapping[str, float],
    context: Context,
) -> _Network:
    """A network with as many layers in floats as it takes to change the outputs by no more than
    `most`, the least worthwhile ones. `changes` are those of single layers."""
    readers = network.placement.readers
    saved = _seconds_saved(canonical, network, context)
    rounded = {
        value: Rounded(
            value,
            math.hypot(*(changes[layer.name] for layer in layers)),
            sum(saved[layer.name] for layer in layers),
        )
        for value, layers in readers.items()
    }
    context.tell({"stage": "quantize"})
    back = back_to_floats(
        rounded,
        most,
        lambda values: network.without(dict.fromkeys(values, ""), trial).change(trial),
        lambda done, total: context.tell(
            {"stage": "quantize", "done": done, "total": total, "detail": "layers weighed"}
        ),
    )
    found = network.without(
        {
            value: f"in 8 bits its value changes the outputs by {rounded[value].change:.2%} and "
            f"saves {1e6 * rounded[value].saved:.1f} µs"
            for value in back.values
        },
        trial,
    )
    if not found.placement.readers:
        least = min(each.change for each in rounded.values())
        raise CellFailure(
            f"no layer can be quantized with 'max_change: {most:g}': the outputs change by "
            f"{least:.3g} of their size at least"
        )
    return found


def _seconds_saved(
    canonical: tvm.IRModule, network: _Network, context: Context
) -> dict[str, float]:
    """How much less time each layer takes on the target in 8 bits, by its name; of a layer that
    shares its kernel with others this is not known, and 0."""
    layers = [layer.name for layer in network.placement.layers]
    seconds = layer_seconds(context, [canonical, network.of(canonical)], layers)
    return {name: float(in_floats - in_bytes) for name, (in_floats, in_bytes) in seconds.items()}


def _change(
    network: tvm.IRModule, trial: Trial, samples: Sequence[Sequence[np.ndarray]], context: Context
) -> float:
    """How far a network's outputs are from those that the trial has in floats."""
    compared = fuse(WithDecidingFloats.apply(network), "full")
    machine = machine_of(compared, context.here, context.threads)
    return distance([arrays_of(machine, sample) for sample in samples[:COMPARED]], trial.outputs)


def _require_layers(placement: Placement, network: tvm.IRModule) -> None:
    if placement.readers:
        return
    reasons = [f"{name}: {why}" for name, why in placement.floats.items()]
    found = "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")
    raise CellFailure("no layer can be quantized: " + (found or why_no_layers(network)))


def _described(
    layer: Layer,
    network: _Network,
    found: Chosen | None,
    changes: Mapping[str, float],
) -> LayerQuantization:
    bare = LayerQuantization(
        name=layer.name,
        shape=layer.weights.shape,
        parameters=layer.weights.size,
        bits=_FLOAT_BITS,
        floats_because=network.placement.floats.get(layer.name),
    )
    if found is None or layer.name not in network.constants.weights:
        return bare
    low, high = found.quantizer.lattice.bounds
    return bare.model_copy(
        update={
            "bits": _BITS,
            "low": low,
            "high": high,
            "ranges": found.method,
            "balanced": found.quantizer.factors is not None,
            "saturated": found.saturated,
            "rounding": network.constants.roundings[layer.name],
            "output_change": changes[layer.name],
        }
    )
