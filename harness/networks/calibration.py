"""Inputs of a network's layers on calibration data, with weights that may change."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from harness.building.network import machine_of
from harness.compiler.api import constant_array, operator_name, relax, tvm
from harness.errors import CellFailure
from harness.networks.gradients import Backward
from harness.networks.layers import Bias, Layer, biases_of, layers_of
from harness.passes.fusion import fuse
from harness.passes.layout import to_channels_last
from harness.passes.rewriter import MAIN, Rewriter, with_arguments
from harness.passes.weighted import as_matrix

_ROWS = 256
"""Places of a layer's output that are looked at, of each sample."""


def no_samples(user: str) -> CellFailure:
    """An error: `user` needs data, and the model has none."""
    return CellFailure(
        f"{user} needs inputs to calibrate on and the model has no data; give it 'training', "
        "or 'data' and 'metric'"
    )


class _Observe(Rewriter):
    """A network that takes the weights of its layers, and then their biases, as parameters after
    its own, and returns the layers' inputs, and then the network's outputs."""

    def __init__(
        self, module: tvm.IRModule, layers: Sequence[Layer], biases: Mapping[str, Bias]
    ) -> None:
        super().__init__(module)
        self._weights = {
            layer.variable: _parameter(f"{layer.name}_weights", layer.weights) for layer in layers
        }
        self._biases = {
            bias.variable: _parameter(f"{name}_bias", bias.values) for name, bias in biases.items()
        }
        self._inputs: dict[relax.Var, relax.Expr] = {}

    def parameters(self) -> list[relax.Var]:
        return [*super().parameters(), *self._weights.values(), *self._biases.values()]

    def rewrite(self, call: relax.Call, original: relax.VarBinding) -> relax.Expr | None:
        if original.var in self._weights:
            self._inputs[original.var] = call.args[0]
            arguments = [call.args[0], self._weights[original.var]]
        elif original.var in self._biases:
            bias = self._biases[original.var]
            arguments = [each if constant_array(each) is None else bias for each in call.args]
        else:
            return None
        return with_arguments(call, arguments)

    def result(self) -> relax.Expr:
        result = super().result()
        outputs = result.fields if isinstance(result, relax.Tuple) else [result]
        return relax.Tuple([*(self._inputs[variable] for variable in self._weights), *outputs])


def _parameter(name: str, values: np.ndarray) -> relax.Var:
    return relax.Var(name, relax.TensorType(values.shape, "float32"))


class Calibration:
    """The layers of a canonical network as they see calibration data.

    `samples` are the network's inputs in the order of its parameters; `target` is this machine's.
    """

    def __init__(
        self,
        module: tvm.IRModule,
        layers: Sequence[Layer],
        samples: Sequence[Sequence[np.ndarray]],
        target: tvm.target.Target,
        threads: int,
    ) -> None:
        self._module = module
        self.layers = layers
        self._target, self._threads = target, threads
        self.samples = [[tvm.runtime.tensor(array) for array in sample] for sample in samples]
        self.biases = biases_of(module, layers)
        computed, self._computed, self._biases = _in_fast_layout(module, layers, self.biases)
        used = list(self._computed.values())
        observed = fuse(_Observe.apply(computed, used, self._biases), "full")
        self._machine = machine_of(observed, target, threads)

    @cached_property
    def dense(self) -> dict[str, np.ndarray]:
        """The inputs of each layer in the present network, by the layer's name."""
        return self.inputs(self.layers, {})

    @cached_property
    def _backward(self) -> Backward:
        return Backward(self._module, self.layers, self._target, self._threads)

    def gradients(
        self, sample: Sequence[tvm.runtime.Tensor], weights: Sequence[np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients of `Backward` for a sample, by the layer's name."""
        found = self._backward(sample, weights)
        return {layer.name: each for layer, each in zip(self.layers, found, strict=True)}

    def of_weights(
        self, layer: Layer, inputs: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """The gradient with respect to a layer's weights, `[taps * inputs, outputs]`, from the
        layer's inputs (`observed`) and the gradient of its outputs (`gradients`)."""
        rows = unfolded(self._computed[layer.name].call, inputs[layer.name])
        found: np.ndarray = rows.T @ folded(layer.call, gradients[layer.name])
        return found

    def observed(
        self, sample: Sequence[tvm.runtime.Tensor]
    ) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
        """The inputs of each layer for a sample in the present network, by the layer's name, as
        `of_weights` takes them; and the network's outputs."""
        found = [each.numpy() for each in self.run(sample, {})]
        count = len(self.layers)
        inputs = {layer.name: found[at] for at, layer in enumerate(self.layers)}
        return inputs, found[count:]

    def run(
        self, sample: Sequence[tvm.runtime.Tensor], weights: Mapping[relax.Var, np.ndarray]
    ) -> Sequence[tvm.runtime.Tensor]:
        """The inputs of each layer for a sample, and then the network's outputs, when the layers
        and biases that `weights` has compute with those."""
        passed = [
            self._computed[layer.name].stored(
                as_matrix(weights.get(layer.variable, layer.weights), layer.axes)
            )
            for layer in self.layers
        ] + [
            weights.get(bias.variable, bias.values).reshape(self._biases[name].values.shape)
            for name, bias in self.biases.items()
        ]
        found: Sequence[tvm.runtime.Tensor] = self._machine[MAIN](
            *sample, *map(tvm.runtime.tensor, passed)
        )
        return found

    def outputs(
        self, sample: Sequence[tvm.runtime.Tensor], weights: Mapping[relax.Var, np.ndarray]
    ) -> np.ndarray:
        """All numbers that the network gives for a sample, in a row, see `run`."""
        found = self.run(sample, weights)[len(self.layers) :]
        return np.concatenate([each.numpy().ravel().astype(np.float64) for each in found])

    def inputs(
        self, wanted: Sequence[Layer], weights: Mapping[relax.Var, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The inputs of some layers, `[rows, taps * inputs]` by name, when the layers and biases
        that `weights` has compute with those: the same places of the same samples each time."""
        found: dict[str, list[np.ndarray]] = {layer.name: [] for layer in wanted}
        for at, sample in enumerate(self.samples):
            given = self.run(sample, weights)
            for layer, tensor in zip(self.layers, given, strict=False):
                if layer.name in found:
                    found[layer.name].append(self.rows(layer, tensor.numpy(), at))
        return {name: np.concatenate(rows) for name, rows in found.items()}

    def input_axis(self, layer: Layer) -> int:
        """The axis of a layer's input, as `run` gives it, that has its channels."""
        return self._computed[layer.name].input_axis

    def rows(self, layer: Layer, data: np.ndarray, sample: int) -> np.ndarray:
        """What a layer's weights are multiplied with, `[rows, taps * inputs]`, of its input in the
        sample of such a number, as `run` gives it: some places where there are many."""
        return _some_unfolded(self._computed[layer.name].call, data, sample)


def _in_fast_layout(
    module: tvm.IRModule, layers: Sequence[Layer], biases: Mapping[str, Bias]
) -> tuple[tvm.IRModule, dict[str, Layer], dict[str, Bias]]:
    """The network with channels last, which is several times as fast, its layers by the names of
    `layers` and its biases; as it is where another order of channels makes other matrices of it."""
    changed = to_channels_last(module)
    by_name = {layer.name: layer for layer in layers_of(changed)}
    found = [by_name[layer.name] for layer in layers if layer.name in by_name]
    added = biases_of(changed, found)
    same = (
        len(found) == len(layers)
        and all(np.array_equal(a.matrix, b.matrix) for a, b in zip(found, layers, strict=True))
        and added.keys() == biases.keys()
    )
    if not same:
        return module, {layer.name: layer for layer in layers}, dict(biases)
    return changed, {layer.name: layer for layer in found}, {name: added[name] for name in biases}


def unfolded(call: relax.Call, data: np.ndarray) -> np.ndarray:
    """The factors of a layer's weights, for each position of its output:
    `[places, taps * inputs]`, in the order of the layer's matrix."""
    windows, places = _windows(call, data)
    return windows.reshape(math.prod(windows.shape[:places]), -1)


def _some_unfolded(call: relax.Call, data: np.ndarray, seed: int) -> np.ndarray:
    """The same of `_ROWS` places, drawn from a seed, where there are more."""
    windows, places = _windows(call, data)
    count = math.prod(windows.shape[:places])
    if count <= _ROWS:
        return windows.reshape(count, -1).copy()
    drawn = np.random.default_rng(seed).choice(count, _ROWS, replace=False)
    chosen: np.ndarray = windows[np.unravel_index(drawn, windows.shape[:places])]
    return chosen.reshape(_ROWS, -1)


def _windows(call: relax.Call, data: np.ndarray) -> tuple[np.ndarray, int]:
    """A view of a layer's input, `[*places, *factors]`, and how many dimensions the places have."""
    if operator_name(call) == "relax.matmul":
        return data, data.ndim - 1
    attributes = call.attrs
    layout, kernel = str(attributes.data_layout), str(attributes.kernel_layout)
    spatial = [at for at, axis in enumerate(layout) if axis not in "NC"]
    count = len(spatial)
    taps = [int(call.args[1].ty.shape[at]) for at, axis in enumerate(kernel) if axis not in "OI"]
    strides, dilation, padding = (
        [int(value) for value in values]
        for values in (attributes.strides, attributes.dilation, attributes.padding)
    )
    last = np.transpose(data, (layout.index("N"), *spatial, layout.index("C")))
    around = list(zip(padding[:count], padding[count:], strict=True))
    last = np.pad(last, [(0, 0), *around, (0, 0)])
    reach = [step * (extent - 1) + 1 for step, extent in zip(dilation, taps, strict=True)]
    axes = tuple(range(1, count + 1))
    windows = np.lib.stride_tricks.sliding_window_view(last, reach, axis=axes)
    # [batch, *places, channels, *reach]
    picked = windows[
        (
            slice(None),
            *(slice(None, None, stride) for stride in strides),
            slice(None),
            *(slice(None, None, step) for step in dilation),
        )
    ]
    return np.moveaxis(picked, count + 1, -1), count + 1


def folded(call: relax.Call, data: np.ndarray) -> np.ndarray:
    """A layer's outputs, or values of the same shape, for each position:
    `[places, outputs]`, the places as `unfolded` has them."""
    if operator_name(call) != "relax.matmul":
        layout = str(call.attrs.out_layout) or str(call.attrs.data_layout)
        data = np.moveaxis(data, layout.index("C"), -1)
    return data.reshape(-1, data.shape[-1])
