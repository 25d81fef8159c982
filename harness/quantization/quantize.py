"""Quantizes a network: ranges of its data, then its weights and biases layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np

from harness.compiler.api import relax, tvm
from harness.errors import CellFailure
from harness.networks.calibration import Calibration, no_samples
from harness.networks.context import Context
from harness.networks.layers import (
    Layer,
    biases_of,
    named_layers,
    weighted_layers_of,
)
from harness.quantization.lattice import Lattice
from harness.quantization.placement import (
    InsertQuantizers,
    Placement,
    QuantizersAsArguments,
    arguments_of,
    placed,
)
from harness.quantization.ranges import RANGES, Histogram, Observed
from harness.quantization.rounding import ROUNDINGS, best_rounding, scales_of
from harness.records.record import LayerQuantization, Quantization
from harness.specs.quantization import Quantize, RangeMethod, Rounding

_OUTPUTS_OF = 8
"""How many samples the network's outputs are compared for."""
_FITTED_TO = 32
"""How many samples a layer's weights are rounded for, at most."""
_MOST_BYTES = 2**28
"""Of a layer's inputs that are looked at together; of wide layers they are of fewer samples."""
_ROWS_OF_SAMPLE = 256
_BITS, _FLOAT_BITS = 8, 32
_LITTLE = 1e-12

Sample = Sequence[tvm.runtime.Tensor]


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
    if not placement.layers:
        raise _nothing_fits(placement)
    samples = context.calibration()
    if not samples:
        raise no_samples("'quantize'")
    return _Work(canonical, placement, options, dtype, samples, context).done()


def _nothing_fits(placement: Placement) -> CellFailure:
    reasons = [f"{name}: {why}" for name, why in placement.floats.items()]
    found = "; ".join(reasons[:3]) + ("; …" if len(reasons) > 3 else "")
    return CellFailure(
        f"no layer can be quantized: {found or 'there are none with constant weights'}"
    )


class _Work:
    """Everything that one network is quantized with."""

    def __init__(
        self,
        canonical: tvm.IRModule,
        placement: Placement,
        options: Quantize,
        dtype: str,
        samples: Sequence[Sequence[np.ndarray]],
        context: Context,
    ) -> None:
        self._canonical = canonical
        self._placement = placement
        self._options = options
        self._dtype = dtype
        self._context = context
        self._samples = samples
        self._values = list(placement.readers)
        self._value_of = {
            layer.name: value for value, layers in placement.readers.items() for layer in layers
        }
        trial = QuantizersAsArguments.apply(canonical, self._values)
        self._layers = [
            layer for layer in weighted_layers_of(trial) if layer.name in self._value_of
        ]
        self._calibration = Calibration(
            trial, self._layers, self._given({}), context.here, context.threads
        )

    def done(self) -> tuple[tvm.IRModule, Quantization]:
        """The quantized network, and its description."""
        seen = self._observed()
        obstacles = {
            value: why for value, found in seen.items() if (why := found.obstacle) is not None
        }
        self._placement = self._placement.without(obstacles)
        if not self._placement.layers:
            raise _nothing_fits(self._placement)
        ranges = self._ranges({value: seen[value].histogram for value in self._placement.readers})
        lattices = {value: found.lattice for value, found in ranges.items()}
        arrays, roundings = self._rounded(lattices)
        changes = self._changes(lattices, arrays)
        described = [
            self._described(layer, ranges, roundings, changes)
            for layer in weighted_layers_of(self._canonical)
        ]
        choice = self._options.choice
        entry = Quantization(
            ranges=choice.ranges,
            rounding=choice.rounding,
            bias=self._options.bias,
            calibration=len(self._samples),
            layers=tuple(described),
        )
        return InsertQuantizers.apply(self._canonical, lattices, self._own(arrays)), entry

    def _given(self, lattices: Mapping[relax.Var, Lattice]) -> list[list[np.ndarray]]:
        """The samples, and the quantizers' arguments after each."""
        arguments = arguments_of(self._values, lattices)
        return [[*sample, *arguments] for sample in self._samples]

    def _tensors(self, lattices: Mapping[relax.Var, Lattice], count: int) -> list[Sample]:
        """The same for the first samples, as TVM takes them."""
        return [
            [tvm.runtime.tensor(array) for array in sample]
            for sample in self._given(lattices)[:count]
        ]

    def _observed(self) -> dict[relax.Var, Observed]:
        """The values of each tensor that is to be quantized, by its layers' inputs."""
        found = {value: Observed() for value in self._values}
        samples = self._calibration.samples
        for turn, see in enumerate((Observed.bound, Observed.count)):
            for at, sample in enumerate(samples):
                given = self._calibration.run(sample, {})
                for layer, tensor in zip(self._layers, given, strict=False):
                    see(found[self._value_of[layer.name]], tensor.numpy())
                self._tell(turn * len(samples) + at + 1, 2 * len(samples), "inputs observed")
        return found

    def _ranges(self, seen: Mapping[relax.Var, Histogram]) -> dict[relax.Var, _Range]:
        asked = self._options.choice.ranges
        found: dict[relax.Var, _Range] = {}
        for at, (value, histogram) in enumerate(seen.items()):
            if asked != "auto":
                found[value] = self._range(histogram, asked)
                continue
            choices = [self._range(histogram, method) for method in RANGES]
            lattices = {each.lattice: each for each in reversed(choices)}
            errors = {lattice: self._output_change({value: lattice}, {}) for lattice in lattices}
            found[value] = lattices[min(errors, key=errors.__getitem__)]
            self._tell(at + 1, len(seen), "ranges chosen")
        return found

    def _range(self, histogram: Histogram, method: RangeMethod) -> _Range:
        lattice = Lattice.over(*RANGES[method](histogram), self._dtype)
        half = lattice.scale / 2
        low, high = lattice.bounds
        return _Range(lattice, method, histogram.outside(low - half, high + half))

    @cached_property
    def _outputs(self) -> list[np.ndarray]:
        """The network's outputs in floats."""
        return [self._calibration.outputs(each, {}) for each in self._tensors({}, _OUTPUTS_OF)]

    def _output_change(
        self, lattices: Mapping[relax.Var, Lattice], arrays: Mapping[relax.Var, np.ndarray]
    ) -> float:
        """The distance of the network's outputs from those in floats, relative to their size: the
        root of the mean square over samples."""
        squares = []
        for sample, wanted in zip(self._tensors(lattices, _OUTPUTS_OF), self._outputs, strict=True):
            apart = self._calibration.outputs(sample, arrays) - wanted
            squares.append(np.square(apart).sum() / max(np.square(wanted).sum(), _LITTLE))
        return float(np.sqrt(np.mean(squares)))

    def _rounded(
        self, lattices: Mapping[relax.Var, Lattice]
    ) -> tuple[dict[relax.Var, np.ndarray], dict[str, Rounding]]:
        """The constants of the layers in integers, by variable, with what each was rounded by. Each
        layer gets the inputs that the quantized layers before it leave."""
        arrays: dict[relax.Var, np.ndarray] = {}
        roundings: dict[str, Rounding] = {}
        wanted = {layer.name for layer in self._placement.layers}
        layers = [layer for layer in self._layers if layer.name in wanted]
        for _, together in groupby(layers, key=lambda layer: layer.call.args[0]):
            reading = list(together)
            count = self._affordable(reading)
            before = self._calibration.inputs(reading, {}, self._tensors({}, count))
            now = self._calibration.inputs(reading, arrays, self._tensors(lattices, count))
            for layer in reading:
                found, chosen = self._of_layer(layer, before[layer.name], now[layer.name])
                arrays |= found
                roundings[layer.name] = chosen
            self._tell(len(roundings), len(layers), "layers rounded")
        return arrays, roundings

    def _affordable(self, layers: Sequence[Layer]) -> int:
        widest = max(_factors(layer) for layer in layers)
        affordable = _MOST_BYTES // (_ROWS_OF_SAMPLE * 4 * widest)
        return max(1, min(_FITTED_TO, affordable, len(self._samples)))

    def _of_layer(
        self, layer: Layer, before: np.ndarray, now: np.ndarray
    ) -> tuple[dict[relax.Var, np.ndarray], Rounding]:
        """The constants of one layer; `before` and `now` are its inputs in floats and quantized."""
        matrix = layer.matrix.astype(np.float64)
        grouped = layer.groups > 1
        shape = matrix.shape if grouped else (len(matrix), 1)
        power = np.mean(np.square(now, dtype=np.float64), axis=0).reshape(shape)
        scales = scales_of(matrix, power)
        asked = self._options.choice.rounding
        rounding: Rounding = (
            "nearest" if grouped
            else best_rounding(matrix, scales, now) if asked == "auto"
            else asked
        )  # fmt: skip
        rounded = ROUNDINGS[rounding](matrix, scales, now) * scales
        found = {layer.variable: layer.stored(rounded.astype(np.float32))}
        bias = self._calibration.biases.get(layer.name)
        if bias is not None and self._options.bias:
            moved = (
                (before.mean(axis=0, dtype=np.float64).reshape(shape) * matrix)
                - (now.mean(axis=0, dtype=np.float64).reshape(shape) * rounded)
            ).sum(axis=0)
            shifted = bias.values + moved.reshape(bias.values.shape)
            found[bias.variable] = shifted.astype(np.float32)
        return found, rounding

    def _changes(
        self, lattices: Mapping[relax.Var, Lattice], arrays: Mapping[relax.Var, np.ndarray]
    ) -> dict[str, float]:
        """What each layer alone changes of the network's outputs, by name."""
        found = {}
        layers = [layer for layer in self._layers if layer.variable in arrays]
        for at, layer in enumerate(layers):
            value = self._value_of[layer.name]
            own = {layer.variable: arrays[layer.variable]}
            found[layer.name] = self._output_change({value: lattices[value]}, own)
            self._tell(at + 1, len(layers), "layers' errors")
        return found

    def _own(self, arrays: Mapping[relax.Var, np.ndarray]) -> dict[relax.Var, np.ndarray]:
        """The arrays by the variables of the canonical network."""
        layers = {layer.name: layer for layer in weighted_layers_of(self._canonical)}
        biases = biases_of(self._canonical, list(layers.values()))
        found = {
            layers[layer.name].variable: arrays[layer.variable]
            for layer in self._layers
            if layer.variable in arrays
        }
        for name, bias in self._calibration.biases.items():
            if bias.variable in arrays:
                found[biases[name].variable] = arrays[bias.variable]
        return found

    def _described(
        self,
        layer: Layer,
        ranges: Mapping[relax.Var, _Range],
        roundings: Mapping[str, Rounding],
        changes: Mapping[str, float],
    ) -> LayerQuantization:
        bare = LayerQuantization(
            name=layer.name,
            shape=layer.weights.shape,
            parameters=layer.weights.size,
            bits=_FLOAT_BITS,
            floats_because=self._placement.floats.get(layer.name),
        )
        if bare.floats_because is not None:
            return bare
        found = ranges[self._value_of[layer.name]]
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

    def _tell(self, done: int, total: int, detail: str) -> None:
        self._context.tell({"stage": "quantize", "done": done, "total": total, "detail": detail})


def _factors(layer: Layer) -> int:
    """How many inputs are looked at for one place of a layer's output."""
    return layer.weights.size if layer.groups > 1 else len(layer.matrix)
