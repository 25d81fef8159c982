"""Quantizes a network: how its data are rounded, then weights, then biases layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from harness.building.network import arrays_of, machine_of
from harness.compiler.api import relax, tvm
from harness.errors import CellFailure
from harness.kernels.dot_products import Products
from harness.networks.calibration import no_samples
from harness.networks.context import Context
from harness.networks.layers import Layer, biases_of, named_layers, weighted_layers_of
from harness.passes.fusion import fuse
from harness.passes.steps import in_steps
from harness.quantization.choosing import Chosen, chosen, ends_of, spread
from harness.quantization.lattice import Quantizer
from harness.quantization.moments import Moments
from harness.quantization.placement import InsertQuantizers, Placement, placed
from harness.quantization.rounding import ROUNDINGS, best_rounding, scales_of, steps_for
from harness.quantization.trial import COMPARED, Trial, distance
from harness.records.record import LayerQuantization, Quantization
from harness.specs.quantization import Quantize, Rounding

_ROUNDED_FOR = 32
"""How many samples weights are rounded for, at most."""
_CENTRED_FOR = 16
"""How many samples biases are corrected for: the means of the same samples, before and after, are
compared."""
_MOST_BYTES = 2**30
"""Of the moments of layers that are taken together."""
_SLACK = 1e-3
"""Of the outputs' size: so far apart may two builds of a network be that rounds."""
_BITS, _FLOAT_BITS = 8, 32


@dataclass
class _Constants:
    """The weights and biases of a quantized network: by the variables of the trial, whose data are
    not divided by factors, and by the layer's name as the network has them."""

    trial: dict[relax.Var, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    biases: dict[str, np.ndarray] = field(default_factory=dict)
    roundings: dict[str, Rounding] = field(default_factory=dict)


def quantized(
    canonical: tvm.IRModule, options: Quantize, products: Products, context: Context
) -> tuple[tvm.IRModule, Quantization]:
    """A canonical network whose layers have data and weights, as real numbers, that the target
    multiplies as 8-bit integers, and what was done. Raises InputError and CellFailure."""
    steps = steps_for(products, options.reduce_range)
    placement = placed(canonical, named_layers(options.exclude, canonical))
    _require_layers(placement)
    samples = context.calibration()
    if not samples:
        raise no_samples("'quantize'")

    def progress(done: int, total: int, detail: str) -> None:
        context.tell({"stage": "quantize", "done": done, "total": total, "detail": detail})

    trial = Trial(canonical, placement, samples, context.here, context.threads)
    ends = ends_of(trial, placement, progress)
    obstacles = {value: why for value, found in ends.items() if (why := found.obstacle)}
    placement = placement.without(obstacles)
    _require_layers(placement)
    left = {value: found for value, found in ends.items() if value not in obstacles}
    found = chosen(trial, placement, left, options, steps, progress)
    work = _Work(trial, placement, found, options, steps.most, context)
    constants = work.rounded()
    work.add_biases(constants)
    changes = work.changes(constants)
    quantizers = {value: each.quantizer for value, each in found.items()}
    result = InsertQuantizers.apply(canonical, placement, quantizers, _own(canonical, constants))
    change = _change(result, trial, samples, context)
    tried = trial.change(quantizers, constants.trial)
    if not change <= 2 * tried + _SLACK:
        raise CellFailure(
            f"the quantized network's outputs are {change:.3g} of their size away from those in "
            f"floats, where {tried:.3g} was found while it was chosen"
        )
    described = [
        _described(layer, placement, found.get(trial.value_of.get(layer.name)), constants, changes)
        for layer in weighted_layers_of(canonical)
    ]
    choice = options.choice
    entry = Quantization(
        ranges=choice.ranges,
        rounding=choice.rounding,
        balance=options.balance,
        bias=options.bias,
        weight_steps=steps.most,
        calibration=len(samples),
        output_change=change,
        layers=tuple(described),
    )
    return result, entry


def _change(
    network: tvm.IRModule, trial: Trial, samples: Sequence[Sequence[np.ndarray]], context: Context
) -> float:
    """How far a network's outputs are from those that the trial has in floats."""
    machine = machine_of(fuse(network, "full"), context.here, context.threads)
    return distance([arrays_of(machine, sample) for sample in samples[:COMPARED]], trial.outputs)


def _require_layers(placement: Placement) -> None:
    if placement.readers:
        return
    reasons = [f"{name}: {why}" for name, why in placement.floats.items()]
    found = "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")
    raise CellFailure(
        "no layer can be quantized: "
        + (found or "it has no convolution, and no product with a constant matrix")
    )


class _Work:
    """The layers of one network whose data are rounded as was chosen."""

    def __init__(
        self,
        trial: Trial,
        placement: Placement,
        found: Mapping[relax.Var, Chosen],
        options: Quantize,
        most: int,
        context: Context,
    ) -> None:
        self._trial = trial
        self._quantizers = {value: each.quantizer for value, each in found.items()}
        self._options = options
        self._most = most
        self._context = context
        wanted = {layer.name for layer in placement.layers}
        self._layers = [layer for name, layer in trial.layers.items() if name in wanted]

    def _quantizer(self, layer: Layer) -> Quantizer:
        return self._quantizers[self._trial.value_of[layer.name]]

    def rounded(self) -> _Constants:
        """The weights of the layers, and how each was rounded."""
        constants = _Constants()
        asked = self._options.choice.rounding
        for together in _affordable(self._layers):
            moments = {layer.name: Moments(layer) for layer in together}
            samples = self._trial.inputs(self._quantizers, {}, _ROUNDED_FOR)
            for sample, inputs in enumerate(samples):
                for layer in together:
                    rows = self._trial.calibration.rows(layer, inputs[layer.name], sample)
                    moments[layer.name].see(rows, sample)
            for layer in together:
                found, factors = moments.pop(layer.name), self._quantizer(layer).factors
                by = spread(layer, factors)
                if factors is not None:
                    found.divide(factors)
                matrix = layer.matrix * by
                scales = scales_of(matrix, found.power, self._most)
                name: Rounding = (
                    "nearest" if not found.whole
                    else best_rounding(matrix, scales, self._most, *found.halves) if asked == "auto"
                    else asked
                )  # fmt: skip
                rounded = ROUNDINGS[name](matrix, scales, self._most, found.total) * scales
                constants.weights[layer.name] = layer.stored(rounded.astype(np.float32))
                constants.trial[layer.variable] = layer.stored((rounded / by).astype(np.float32))
                constants.roundings[layer.name] = name
                self._tell(len(constants.weights), len(self._layers), "layers rounded")
        return constants

    def add_biases(self, constants: _Constants) -> None:
        """Add the biases of the layers, in steps of the sums of integers that they are added to.
        With `bias` the means of the outputs are what they were, where that brings the network's
        outputs nearer: each layer gets the inputs that the layers before it leave."""
        trial, corrects = self._trial, self._options.bias
        biased = [layer for layer in self._layers if layer.name in trial.calibration.biases]
        for layer in biased:
            self._set_bias(layer, np.zeros(layer.outputs), constants)
        if not (corrects and biased):
            return
        before = trial.mean_inputs(biased, {}, {}, _CENTRED_FOR)
        change, done = trial.change(self._quantizers, constants.trial), 0
        for _, together in groupby(biased, key=lambda layer: layer.call.args[0]):
            reading = list(together)
            now = trial.mean_inputs(reading, self._quantizers, constants.trial, _CENTRED_FOR)
            kept = dict(constants.trial), dict(constants.biases)
            for layer in reading:
                rounded = layer.matrix_of(constants.trial[layer.variable])
                moved = before[layer.name] @ layer.matrix - now[layer.name] @ rounded
                self._set_bias(layer, moved, constants)
            corrected = trial.change(self._quantizers, constants.trial)
            if corrected < change:
                change = corrected
            else:
                constants.trial, constants.biases = kept
            done += len(reading)
            self._tell(done, len(biased), "biases corrected")

    def _set_bias(self, layer: Layer, moved: np.ndarray, constants: _Constants) -> None:
        """Set a layer's bias to what it was and `moved`, `[outputs]`, in steps."""
        bias = self._trial.calibration.biases[layer.name]
        found = in_steps(layer.matrix_of(constants.weights[layer.name]))
        assert found is not None, "weights were rounded to steps"
        step = (self._quantizer(layer).lattice.scale * found[1]).reshape(bias.values.shape)
        values = bias.values + moved.reshape(step.shape)
        some = np.any(layer.matrix_of(constants.weights[layer.name]), axis=0).reshape(step.shape)
        rounded = np.where(some, np.rint(values / step) * step, values).astype(np.float32)
        constants.trial[bias.variable] = constants.biases[layer.name] = rounded

    def changes(self, constants: _Constants) -> dict[str, float]:
        """What each layer alone changes of the network's outputs, by name."""
        found = {}
        for at, layer in enumerate(self._layers):
            value = self._trial.value_of[layer.name]
            own = {layer.variable: constants.trial[layer.variable]}
            found[layer.name] = self._trial.change({value: self._quantizers[value]}, own)
            self._tell(at + 1, len(self._layers), "layers' errors")
        return found

    def _tell(self, done: int, total: int, detail: str) -> None:
        self._context.tell({"stage": "quantize", "done": done, "total": total, "detail": detail})


def _affordable(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Layers whose moments fit into memory together, in their order."""
    part: list[Layer] = []
    held = 0
    for layer in layers:
        size = Moments.size_of(layer)
        if part and held + size > _MOST_BYTES:
            yield part
            part, held = [], 0
        part.append(layer)
        held += size
    yield part


def _own(canonical: tvm.IRModule, constants: _Constants) -> dict[relax.Var, np.ndarray]:
    """The constants by the variables of the canonical network."""
    layers = weighted_layers_of(canonical)
    biases = biases_of(canonical, layers)
    found = {
        layer.variable: constants.weights[layer.name]
        for layer in layers
        if layer.name in constants.weights
    }
    return found | {biases[name].variable: array for name, array in constants.biases.items()}


def _described(
    layer: Layer,
    placement: Placement,
    found: Chosen | None,
    constants: _Constants,
    changes: Mapping[str, float],
) -> LayerQuantization:
    bare = LayerQuantization(
        name=layer.name,
        shape=layer.weights.shape,
        parameters=layer.weights.size,
        bits=_FLOAT_BITS,
        floats_because=placement.floats.get(layer.name),
    )
    if found is None:
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
            "rounding": constants.roundings[layer.name],
            "output_change": changes[layer.name],
        }
    )
