"""Quantizes a network: the ranges of its data, then weights, then biases layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from harness.compiler.api import relax, tvm
from harness.errors import CellFailure
from harness.networks.calibration import no_samples
from harness.networks.context import Context
from harness.networks.layers import Layer, biases_of, named_layers, weighted_layers_of
from harness.passes.steps import in_steps
from harness.quantization.lattice import Lattice
from harness.quantization.moments import Moments
from harness.quantization.placement import InsertQuantizers, Placement, placed
from harness.quantization.ranges import RANGES, Histogram, Observed
from harness.quantization.rounding import ROUNDINGS, best_rounding, scales_of
from harness.quantization.trial import Trial
from harness.records.record import LayerQuantization, Quantization
from harness.specs.quantization import Quantize, RangeMethod, Rounding

_ROUNDED_FOR = 32
"""How many samples weights are rounded for, at most."""
_CENTRED_FOR = 16
"""How many samples biases are corrected for: the means of the same samples, before and after, are
compared."""
_MOST_BYTES = 2**30
"""Of the moments of layers that are taken together."""
_BITS, _FLOAT_BITS = 8, 32


@dataclass(frozen=True)
class _Range:
    """The lattice of a value, and how it was chosen."""

    lattice: Lattice
    method: RangeMethod
    saturated: float


def quantized(
    canonical: tvm.IRModule, options: Quantize, dtype: str, context: Context
) -> tuple[tvm.IRModule, Quantization]:
    """A canonical network whose layers have data of `dtype` and int8 weights, as real numbers, and
    what was done. Raises InputError and CellFailure."""
    placement = placed(canonical, named_layers(options.exclude, canonical))
    _require_layers(placement)
    samples = context.calibration()
    if not samples:
        raise no_samples("'quantize'")
    trial = Trial(canonical, placement, samples, context.here, context.threads)
    work = _Work(trial, options, dtype, context)
    seen = work.observed(len(samples))
    placement = placement.without(
        {value: why for value, found in seen.items() if (why := found.obstacle) is not None}
    )
    _require_layers(placement)
    ranges = work.ranges({value: seen[value].histogram for value in placement.readers})
    lattices = {value: found.lattice for value, found in ranges.items()}
    wanted = {layer.name for layer in placement.layers}
    layers = [layer for layer in trial.layers if layer.name in wanted]
    arrays, roundings = work.rounded(layers, lattices)
    arrays |= work.biases(layers, lattices, arrays, corrected=options.bias)
    changes = work.changes(layers, lattices, arrays)
    described = [
        _described(layer, placement, ranges.get(trial.value_of.get(layer.name)), roundings, changes)
        for layer in weighted_layers_of(canonical)
    ]
    choice = options.choice
    entry = Quantization(
        ranges=choice.ranges,
        rounding=choice.rounding,
        bias=options.bias,
        calibration=len(samples),
        layers=tuple(described),
    )
    return InsertQuantizers.apply(canonical, lattices, _own(canonical, trial, arrays)), entry


def _require_layers(placement: Placement) -> None:
    if placement.readers:
        return
    reasons = [f"{name}: {why}" for name, why in placement.floats.items()]
    found = "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")
    raise CellFailure(
        f"no layer can be quantized: {found or 'there are none with constant weights'}"
    )


class _Work:
    """The parts of quantizing one network, as a step's context tells of them."""

    def __init__(self, trial: Trial, options: Quantize, dtype: str, context: Context) -> None:
        self._trial = trial
        self._choice = options.choice
        self._dtype = dtype
        self._context = context

    def observed(self, count: int) -> dict[relax.Var, Observed]:
        """What `count` samples show of each value that is to be quantized."""
        trial = self._trial
        found = {value: Observed() for value in trial.value_of.values()}
        for turn, see in enumerate((Observed.bound, Observed.count)):
            for at, inputs in enumerate(trial.inputs({}, {})):
                for name, data in inputs.items():
                    see(found[trial.value_of[name]], data)
                self._tell(turn * count + at + 1, 2 * count, "inputs observed")
        return found

    def ranges(self, seen: Mapping[relax.Var, Histogram]) -> dict[relax.Var, _Range]:
        """The range of each value; of several methods the one that changes the outputs least."""
        asked = self._choice.ranges
        found: dict[relax.Var, _Range] = {}
        for at, (value, histogram) in enumerate(seen.items()):
            if asked != "auto":
                found[value] = self._range(histogram, asked)
                continue
            choices = [self._range(histogram, method) for method in RANGES]
            lattices = {each.lattice: each for each in reversed(choices)}
            errors = {lattice: self._trial.change({value: lattice}, {}) for lattice in lattices}
            found[value] = lattices[min(errors, key=errors.__getitem__)]
            self._tell(at + 1, len(seen), "ranges chosen")
        return found

    def _range(self, histogram: Histogram, method: RangeMethod) -> _Range:
        lattice = Lattice.over(*RANGES[method](histogram), self._dtype)
        half = lattice.scale / 2
        low, high = lattice.bounds
        return _Range(lattice, method, histogram.outside(low - half, high + half))

    def rounded(
        self, layers: Sequence[Layer], lattices: Mapping[relax.Var, Lattice]
    ) -> tuple[dict[relax.Var, np.ndarray], dict[str, Rounding]]:
        """The weights of layers by variable, and how each was rounded, by name."""
        arrays: dict[relax.Var, np.ndarray] = {}
        roundings: dict[str, Rounding] = {}
        for together in _affordable(layers):
            moments = {layer.name: Moments(layer) for layer in together}
            for sample, inputs in enumerate(self._trial.inputs(lattices, {}, _ROUNDED_FOR)):
                for layer in together:
                    rows = self._trial.rows(layer, inputs[layer.name], sample)
                    moments[layer.name].see(rows, sample)
            for layer in together:
                found = moments.pop(layer.name)
                scales = scales_of(layer.matrix, found.power)
                asked = self._choice.rounding
                name: Rounding = (
                    "nearest" if not found.whole
                    else best_rounding(layer.matrix, scales, *found.halves) if asked == "auto"
                    else asked
                )  # fmt: skip
                steps = ROUNDINGS[name](layer.matrix, scales, found.total)
                arrays[layer.variable] = layer.stored((steps * scales).astype(np.float32))
                roundings[layer.name] = name
                self._tell(len(roundings), len(layers), "layers rounded")
        return arrays, roundings

    def biases(
        self,
        layers: Sequence[Layer],
        lattices: Mapping[relax.Var, Lattice],
        arrays: Mapping[relax.Var, np.ndarray],
        *,
        corrected: bool,
    ) -> dict[relax.Var, np.ndarray]:
        """The biases of layers, in steps of the sums of integers that they are added to. If they
        are `corrected`, the means of the outputs are what they were: each layer gets the inputs
        that the corrected layers before it leave."""
        trial = self._trial
        found: dict[relax.Var, np.ndarray] = {}
        biased = [layer for layer in layers if layer.name in trial.biases]
        before = trial.mean_inputs(biased, {}, {}, _CENTRED_FOR) if corrected and biased else {}
        done = 0
        for _, together in groupby(biased, key=lambda layer: layer.call.args[0]):
            reading = list(together)
            now = (
                trial.mean_inputs(reading, lattices, {**arrays, **found}, _CENTRED_FOR)
                if corrected
                else {}
            )
            for layer in reading:
                bias = trial.biases[layer.name]
                rounded = layer.matrix_of(arrays[layer.variable])
                values = bias.values.astype(np.float64)
                if corrected:
                    moved = _mean_output(layer, before[layer.name], layer.matrix)
                    moved -= _mean_output(layer, now[layer.name], rounded)
                    values = values + moved.reshape(values.shape)
                step = lattices[trial.value_of[layer.name]].scale * _steps_of(rounded)
                step = step.reshape(values.shape)
                found[bias.variable] = (np.rint(values / step) * step).astype(np.float32)
            done += len(reading)
            self._tell(done, len(biased), "biases corrected")
        return found

    def changes(
        self,
        layers: Sequence[Layer],
        lattices: Mapping[relax.Var, Lattice],
        arrays: Mapping[relax.Var, np.ndarray],
    ) -> dict[str, float]:
        """What each layer alone changes of the network's outputs, by name."""
        found = {}
        for at, layer in enumerate(layers):
            value = self._trial.value_of[layer.name]
            own = {layer.variable: arrays[layer.variable]}
            found[layer.name] = self._trial.change({value: lattices[value]}, own)
            self._tell(at + 1, len(layers), "layers' errors")
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


def _mean_output(layer: Layer, means: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The mean of a layer's outputs without bias, from the means of its inputs."""
    if layer.groups == 1:
        return np.asarray(means @ matrix.astype(np.float64))
    return np.asarray((means.reshape(matrix.shape) * matrix).sum(axis=0))


def _steps_of(rounded: np.ndarray) -> np.ndarray:
    """The scale of each output of rounded weights, `[outputs]`."""
    found = in_steps(rounded)
    assert found is not None, "weights were rounded to steps"
    return found[1]


def _own(
    canonical: tvm.IRModule, trial: Trial, arrays: Mapping[relax.Var, np.ndarray]
) -> dict[relax.Var, np.ndarray]:
    """Arrays of a trial by the variables of the canonical network."""
    layers = {layer.name: layer for layer in weighted_layers_of(canonical)}
    biases = biases_of(canonical, list(layers.values()))
    found = {
        layers[layer.name].variable: arrays[layer.variable]
        for layer in trial.layers
        if layer.variable in arrays
    }
    for name, bias in trial.biases.items():
        if bias.variable in arrays:
            found[biases[name].variable] = arrays[bias.variable]
    return found


def _described(
    layer: Layer,
    placement: Placement,
    found: _Range | None,
    roundings: Mapping[str, Rounding],
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
    low, high = found.lattice.bounds
    return bare.model_copy(
        update={
            "bits": _BITS,
            "low": low,
            "high": high,
            "ranges": found.method,
            "saturated": found.saturated,
            "rounding": roundings[layer.name],
            "output_change": changes[layer.name],
        }
    )
