"""A network whose quantizers may change, on calibration data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType

import numpy as np

from harness.compiler.api import relax, tvm
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer, weighted_layers_of
from harness.quantization.decided import WithDecidingFloats
from harness.quantization.lattice import Quantizers
from harness.quantization.placement import Placement, QuantizersAsArguments, arguments_of

COMPARED = 8
"""How many samples the network's outputs are compared for."""
_LITTLE = 1e-12

Arrays = Mapping[relax.Var, np.ndarray]
"""Weights and biases, by the variables of the trial's layers; others are what they were."""


class Trial:
    """A canonical network with the values of a placement quantized. `samples` are the network's
    inputs, `here` is this machine's target."""

    def __init__(
        self,
        canonical: tvm.IRModule,
        placement: Placement,
        samples: Sequence[Sequence[np.ndarray]],
        here: tvm.target.Target,
        threads: int,
    ) -> None:
        self._placement = placement
        self._samples = samples
        self.value_of = {
            layer.name: value for value, layers in placement.readers.items() for layer in layers
        }
        """The value that a layer reads, by its name."""
        network = WithDecidingFloats.apply(QuantizersAsArguments.apply(canonical, placement))
        self.layers = {
            layer.name: layer
            for layer in weighted_layers_of(network)
            if layer.name in self.value_of
        }
        """The layers of the placement by name, in the network's order."""
        self.calibration = Calibration(network, list(self.layers.values()), [], here, threads)
        """What runs the network; it has no samples of its own."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    def inputs(
        self, quantizers: Quantizers, arrays: Arrays, count: int | None = None
    ) -> Iterator[dict[str, np.ndarray]]:
        """The inputs of layers by name, for one sample after the other: the first `count`, or
        all."""
        for sample in self._given(quantizers, count):
            found = self.calibration.run(sample, arrays)
            yield {name: each.numpy() for name, each in zip(self.layers, found, strict=False)}

    def mean_inputs(
        self, layers: Sequence[Layer], quantizers: Quantizers, arrays: Arrays, count: int
    ) -> dict[str, np.ndarray]:
        """The means of layers' inputs over places of the first samples, `[taps * inputs]`."""
        means: dict[str, list[np.ndarray]] = {layer.name: [] for layer in layers}
        for sample, inputs in enumerate(self.inputs(quantizers, arrays, count)):
            for layer in layers:
                rows = self.calibration.rows(layer, inputs[layer.name], sample)
                means[layer.name].append(rows.mean(axis=0, dtype=np.float64))
        return {name: np.asarray(np.mean(found, axis=0)) for name, found in means.items()}

    def change(
        self,
        quantizers: Quantizers,
        arrays: Arrays,
        moved: Mapping[relax.Var, float] = MappingProxyType({}),
    ) -> float:
        """The distance of the network's outputs from those in floats, see `distance`; `moved` is
        as in `arguments_of`."""
        found = [
            self.calibration.run(sample, arrays)[len(self.layers) :]
            for sample in self._given(quantizers, COMPARED, moved)
        ]
        return distance([[each.numpy() for each in row] for row in found], self.outputs)

    @cached_property
    def outputs(self) -> list[list[np.ndarray]]:
        """The network's outputs in floats, for the first samples, as `WithDecidingFloats` has
        them."""
        return [
            [each.numpy() for each in self.calibration.run(sample, {})[len(self.layers) :]]
            for sample in self._given({}, COMPARED)
        ]

    def _given(
        self,
        quantizers: Quantizers,
        count: int | None,
        moved: Mapping[relax.Var, float] = MappingProxyType({}),
    ) -> Iterator[list[tvm.runtime.Tensor]]:
        """The first samples, and the arguments of the quantizers after each."""
        found = arguments_of(self._placement, quantizers, moved)
        arguments = [tvm.runtime.tensor(each) for each in found]
        for sample in self._samples[:count]:
            yield [*map(tvm.runtime.tensor, sample), *arguments]


def distance(
    found: Sequence[Sequence[np.ndarray]], wanted: Sequence[Sequence[np.ndarray]]
) -> float:
    """How far outputs `[samples][outputs]` are from others, relative to their size: the root of the
    mean square over samples and outputs. Of floats, what is finite there counts, and it is infinite
    where something else is not; of other numbers, the share that differs."""
    squares = [
        _squared(one, other)
        for ours, theirs in zip(found, wanted, strict=True)
        for one, other in zip(ours, theirs, strict=True)
    ]
    return float(np.sqrt(np.mean(squares))) if squares else 0.0


def _squared(found: np.ndarray, wanted: np.ndarray) -> float:
    if wanted.dtype.kind != "f":
        return float(np.mean(found != wanted)) if wanted.size else 0.0
    finite = np.isfinite(wanted)
    theirs = wanted[finite].astype(np.float64)
    apart = found[finite].astype(np.float64) - theirs
    if not np.isfinite(apart).all():
        return float(np.inf)
    return float(np.square(apart).sum() / max(np.square(theirs).sum(), _LITTLE))
