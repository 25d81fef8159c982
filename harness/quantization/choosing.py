"""Chooses how each value of a network is rounded, by what calibration data show of it.

Sources
-------
[SmoothQuant]  G. Xiao et al., SmoothQuant: accurate and efficient post-training quantization for
               large language models, ICML 2023, equation 4, with α = 1/2. Here factors are no part
               of the layer before: the value is divided where it is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.compiler.api import relax
from harness.networks.layers import Layer
from harness.quantization.lattice import Lattice, Quantizer
from harness.quantization.placement import Placement
from harness.quantization.ranges import RANGES, Counted, Ends, Histogram
from harness.quantization.rounding import Steps, nearest, scales_of
from harness.quantization.trial import Trial
from harness.specs.quantization import Quantize, RangeMethod

Progress = Callable[[int, int, str], None]
"""Told what is done, of how much, and what it is."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """The quantizer of a value, the method that chose its range, and the share of the data that
    calibration saw beyond it."""

    quantizer: Quantizer
    method: RangeMethod
    saturated: float


def ends_of(trial: Trial, placement: Placement, progress: Progress) -> dict[relax.Var, Ends]:
    """The least and the largest number of each value that is to be quantized."""
    axes = {
        value: trial.calibration.input_axis(layers[0])
        if placement.channel_axis(value) is not None
        else None
        for value, layers in placement.readers.items()
    }
    found = {value: Ends(axis) for value, axis in axes.items()}
    for at, inputs in enumerate(trial.inputs({}, {})):
        for name, data in inputs.items():
            found[trial.value_of[name]].see(data)
        progress(at + 1, trial.samples, "ranges observed")
    return found


def chosen(
    trial: Trial,
    placement: Placement,
    ends: dict[relax.Var, Ends],
    options: Quantize,
    steps: Steps,
    progress: Progress,
) -> dict[relax.Var, Chosen]:
    """The quantizer of each value. Of several, the one that changes the network's outputs least
    when this value, and the weights that it is multiplied with, are rounded."""
    factors = {
        value: _factors(ends[value], layers) if options.balance else None
        for value, layers in placement.readers.items()
        if value in ends
    }
    seen = _histograms(trial, ends, factors, progress)
    asked = options.choice.ranges
    methods = list(RANGES) if asked == "auto" else [asked]
    found: dict[relax.Var, Chosen] = {}
    for at, (value, layers) in enumerate(placement.readers.items()):
        candidates = [
            _candidate(histogram, method, divided, steps.data)
            for divided, histogram in seen[value]
            for method in methods
        ]
        different = {
            (each.quantizer.lattice, each.quantizer.factors is None): each
            for each in reversed(candidates)
        }
        choices = list(different.values())
        if len(choices) > 1:
            changes = [
                _change(trial, value, layers, each.quantizer, steps.most) for each in choices
            ]
            choices = [choices[int(np.argmin(changes))]]
        (found[value],) = choices
        progress(at + 1, len(placement.readers), "ranges chosen")
    return found


def _factors(ends: Ends, layers: Sequence[Layer]) -> np.ndarray | None:
    """A factor for each channel, of geometric mean 1; None for a value whose channels are not the
    inputs of its layers."""
    largest = np.maximum(-ends.lows, ends.highs)
    if len(largest) == 1:
        return None
    weights = np.max(
        [
            np.abs(layer.matrix).reshape(-1, len(largest), layer.outputs).max(axis=(0, 2))
            for layer in layers
        ],
        axis=0,
    )
    divided = (largest > 0) & (weights > 0)
    if not divided.any():
        return None
    found = np.sqrt(largest / np.where(weights > 0, weights, 1))
    mean = np.exp(np.mean(np.log(found[divided])))
    return np.asarray(np.where(divided, found / mean, 1.0))


Seen = list[tuple[np.ndarray | None, Histogram]]
"""Histograms of a value, each divided by such factors."""


def _histograms(
    trial: Trial,
    ends: dict[relax.Var, Ends],
    factors: dict[relax.Var, np.ndarray | None],
    progress: Progress,
) -> dict[relax.Var, Seen]:
    counted: dict[relax.Var, list[tuple[np.ndarray | None, Counted]]] = {}
    for value, divided in factors.items():
        forms = [None] if divided is None else [None, divided]
        counted[value] = [(each, Counted(*ends[value].divided(each))) for each in forms]
    axes = {
        name: trial.calibration.input_axis(layer)
        for name, layer in trial.layers.items()
        if trial.value_of[name] in counted
    }
    for at, inputs in enumerate(trial.inputs({}, {})):
        for name, axis in axes.items():
            for divided, histogram in counted[trial.value_of[name]]:
                histogram.see(_divided(inputs[name], divided, axis))
        progress(at + 1, trial.samples, "values counted")
    return {
        value: [(divided, histogram.histogram) for divided, histogram in found]
        for value, found in counted.items()
    }


def _divided(data: np.ndarray, factors: np.ndarray | None, axis: int) -> np.ndarray:
    if factors is None:
        return data
    shape = [1] * data.ndim
    shape[axis] = len(factors)
    return np.asarray(data / factors.astype(np.float32).reshape(shape))


def _candidate(
    seen: Histogram, method: RangeMethod, factors: np.ndarray | None, dtype: str
) -> Chosen:
    lattice = Lattice.over(*RANGES[method](seen), dtype)
    half = lattice.scale / 2
    low, high = lattice.bounds
    beyond = seen.outside(low - half, high + half)
    return Chosen(Quantizer(lattice, factors), method, beyond)


def _change(
    trial: Trial, value: relax.Var, layers: Sequence[Layer], quantizer: Quantizer, most: int
) -> float:
    arrays = dict(_nearest(trial, layers, quantizer, most))
    return trial.change({value: quantizer}, arrays)


def _nearest(
    trial: Trial, layers: Sequence[Layer], quantizer: Quantizer, most: int
) -> Iterator[tuple[relax.Var, np.ndarray]]:
    """The weights of layers, each rounded to the nearest."""
    for layer in layers:
        own = trial.layers[layer.name]
        by = spread(layer, quantizer.factors)
        matrix = layer.matrix * by
        scales = scales_of(matrix, np.ones((len(matrix), 1)), most)
        rounded = nearest(matrix, scales, most) * scales / by
        yield own.variable, own.stored(rounded.astype(np.float32))


def spread(layer: Layer, factors: np.ndarray | None) -> np.ndarray:
    """Factors of a layer's input channels, in a shape that goes with its matrix."""
    if factors is None:
        return np.ones((1, 1))
    return np.tile(factors, len(layer.matrix) // len(factors))[:, None]
