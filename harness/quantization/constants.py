"""The weights of a quantized network, rounded, and then its biases, layer by layer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from harness.compiler.api import relax, tvm
from harness.networks.layers import Layer, biases_of, weighted_layers_of
from harness.passes.steps import in_steps
from harness.quantization.choosing import Chosen, Progress, spread
from harness.quantization.lattice import Quantizer
from harness.quantization.moments import Moments
from harness.quantization.placement import Placement
from harness.quantization.rounding import (
    ROUNDINGS,
    best_rounding,
    scales_of,
    summed_together,
    within_sums,
)
from harness.quantization.trial import Trial
from harness.specs.quantization import Quantize, Rounding

_ROUNDED_FOR = 32
"""How many samples weights are rounded for, at most."""
_CENTRED_FOR = 16
"""How many samples biases are corrected for: the means of the same samples, before and after, are
compared."""
_MOST_BYTES = 2**30
"""Of the moments of layers that are taken together."""


@dataclass
class Constants:
    """The weights and biases of a quantized network: by the variables of the trial, whose data are
    not divided by factors, and by the layer's name as the network has them."""

    trial: dict[relax.Var, np.ndarray] = field(default_factory=dict)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    biases: dict[str, np.ndarray] = field(default_factory=dict)
    roundings: dict[str, Rounding] = field(default_factory=dict)

    def of(self, canonical: tvm.IRModule) -> dict[relax.Var, np.ndarray]:
        """The constants by the variables of the canonical network."""
        layers = weighted_layers_of(canonical)
        biases = biases_of(canonical, layers)
        found = {
            layer.variable: self.weights[layer.name]
            for layer in layers
            if layer.name in self.weights
        }
        return found | {biases[name].variable: array for name, array in self.biases.items()}

    def without(self, layers: Collection[str], trial: Trial) -> Constants:
        """The same, but for some layers."""
        own = {trial.layers[name].variable for name in layers}
        own |= {bias.variable for name, bias in trial.calibration.biases.items() if name in layers}
        left = {variable: each for variable, each in self.trial.items() if variable not in own}
        return Constants(
            left,
            {name: each for name, each in self.weights.items() if name not in layers},
            {name: each for name, each in self.biases.items() if name not in layers},
            {name: each for name, each in self.roundings.items() if name not in layers},
        )


class Fitting:
    """The layers of one network whose data are rounded as was chosen."""

    def __init__(
        self,
        trial: Trial,
        placement: Placement,
        found: Mapping[relax.Var, Chosen],
        options: Quantize,
        most: int,
        progress: Progress,
    ) -> None:
        self._trial = trial
        self._quantizers = {value: each.quantizer for value, each in found.items()}
        self._options = options
        self._most = most
        self._progress = progress
        wanted = {layer.name for layer in placement.layers}
        self._layers = [layer for name, layer in trial.layers.items() if name in wanted]

    def _quantizer(self, layer: Layer) -> Quantizer:
        return self._quantizers[self._trial.value_of[layer.name]]

    def rounded(self) -> Constants:
        """The weights of the layers, and how each was rounded."""
        constants = Constants()
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
                summed = summed_together(self._most, layer.inputs)
                scales = scales_of(matrix, found.power, self._most, together=summed)
                name: Rounding = (
                    "nearest" if not found.whole
                    else best_rounding(matrix, scales, self._most, *found.halves) if asked == "auto"
                    else asked
                )  # fmt: skip
                steps = ROUNDINGS[name](matrix, scales, self._most, found.total)
                rounded = (within_sums(steps) if summed else steps) * scales
                constants.weights[layer.name] = layer.stored(rounded.astype(np.float32))
                constants.trial[layer.variable] = layer.stored((rounded / by).astype(np.float32))
                constants.roundings[layer.name] = name
                self._progress(len(constants.weights), len(self._layers), "layers rounded")
        return constants

    def add_biases(self, constants: Constants) -> None:
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
            self._progress(done, len(biased), "biases corrected")

    def _set_bias(self, layer: Layer, moved: np.ndarray, constants: Constants) -> None:
        """Set a layer's bias to what it was and `moved`, `[outputs]`, in steps."""
        bias = self._trial.calibration.biases[layer.name]
        found = in_steps(layer.matrix_of(constants.weights[layer.name]))
        assert found is not None, "weights were rounded to steps"
        step = (self._quantizer(layer).lattice.scale * found[1]).reshape(bias.values.shape)
        values = bias.values + moved.reshape(step.shape)
        some = np.any(layer.matrix_of(constants.weights[layer.name]), axis=0).reshape(step.shape)
        rounded = np.where(some, np.rint(values / step) * step, values).astype(np.float32)
        constants.trial[bias.variable] = constants.biases[layer.name] = rounded

    def changes(self, constants: Constants) -> dict[str, float]:
        """What each layer alone changes of the network's outputs, by name."""
        found = {}
        for at, layer in enumerate(self._layers):
            value = self._trial.value_of[layer.name]
            own = {layer.variable: constants.trial[layer.variable]}
            found[layer.name] = self._trial.change({value: self._quantizers[value]}, own)
            self._progress(at + 1, len(self._layers), "layers' errors")
        return found


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
