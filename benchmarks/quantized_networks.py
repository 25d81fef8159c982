"""Do random quantized networks compute in integers what ONNX Runtime computes?

    python benchmarks/quantized_networks.py [--count N] [--first SEED] [--form signed]

Each network is drawn from a seed: convolutions, pools, elementwise operators, concatenations, and a
product at the end. `onnxruntime.quantization` quantizes it: in QDQ or QOperator form or
dynamically, data and weights with signs or without, weights by channel or not. It is compiled in
three forms: with the instructions of this machine, with those of AVX2, and for signed data, as
Arm's processors multiply. Its outputs may differ from ONNX Runtime's by 6 % of the largest, or
twice what those of the same network in floats do: where a sum lies between two steps, later layers
make more of it. Prints counts, and the seeds that differ or fail; exit code 1 where there are some.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import onnx
import onnxruntime
from case_children import run_all, work_through
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from harness.building.network import machine_of
from harness.compiler.api import target_of, tvm
from harness.hardware import HOST, load_target
from harness.models.frontends import import_model
from harness.passes.adapt import adapt
from harness.passes.canonicalise import canonicalise
from harness.passes.fusion import fuse
from harness.passes.integers import ComputeInIntegers
from harness.passes.layout import to_channels_last
from harness.specs.target import Passes

_BATCH = 20
_APART = 0.06
_TYPES = (QuantType.QUInt8, QuantType.QInt8)
_PLAIN = tvm.target.Target({"kind": "llvm", "num-cores": 2, "opt-level": 1})
_AVX2 = tvm.target.Target(
    {"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mattr": ["+avx2", "+fma"], "num-cores": 2}
)
Compiled = tuple[tvm.IRModule, tvm.target.Target]


def _here(network: tvm.IRModule) -> Compiled:
    target = target_of(load_target(HOST).tvm.as_tvm())
    return adapt(network, Passes(), target), target


FORMS: dict[str, Callable[[tvm.IRModule], Compiled]] = {
    "here": _here,
    "avx2": lambda network: (adapt(network, Passes(), _AVX2), _AVX2),
    "signed": lambda network: (
        ComputeInIntegers.apply(to_channels_last(network), 4, "int8"),
        _PLAIN,
    ),
}


@dataclass
class _Network:
    """A network that grows: its last value, of shape [1, *shape], and those before it."""

    random: np.random.Generator
    shape: tuple[int, int, int]
    value: str = "x"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    before: list[tuple[str, tuple[int, int, int]]] = field(default_factory=list)

    def one_of(self, choices: Sequence[int]) -> int:
        return int(self.random.choice(choices))

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        spread = np.sqrt(np.prod(shape[1:]))
        self.weights[name] = (self.random.standard_normal(shape) / spread).astype(np.float32)
        return name

    def add(
        self, operator: str, inputs: Sequence[str], channels: int, **attributes: object
    ) -> None:
        """Add a node whose output has so many channels; its extents are those that ONNX infers."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        graph = onnx.shape_inference.infer_shapes(self.model(name)).graph
        dims = graph.output[0].type.tensor_type.shape.dim
        self.before.append((self.value, self.shape))
        self.value, self.shape = name, (channels, dims[2].dim_value, dims[3].dim_value)

    def model(self, output: str) -> onnx.ModelProto:
        first = self.before[0][1] if self.before else self.shape
        graph = helper.make_graph(
            self.nodes,
            "drawn",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *first])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 8
        return model


def _convolution(net: _Network) -> None:
    size, outputs = net.one_of([1, 2, 3]), net.one_of([1, 3, 4, 7, 8, 16, 20])
    if min(net.shape[1:]) < size:
        return
    inputs = [net.value, net.weight(outputs, net.shape[0], size, size)]
    if net.one_of([0, 1]):
        inputs.append(net.weight(outputs))
    pads = [net.one_of([0, 1]) for _ in range(4)] if size > 1 else [0] * 4
    net.add("Conv", inputs, outputs, strides=[net.one_of([1, 1, 2])] * 2, pads=pads)


def _depthwise(net: _Network) -> None:
    channels = net.shape[0] * net.one_of([1, 1, 2])
    if net.shape[0] > 1:
        inputs = [net.value, net.weight(channels, 1, 3, 3), net.weight(channels)]
        net.add("Conv", inputs, channels, pads=[1] * 4, group=net.shape[0])


def _transposed(net: _Network) -> None:
    net.add("ConvTranspose", [net.value, net.weight(net.shape[0], 4, 2, 2)], 4, strides=[2, 2])


def _pool(net: _Network) -> None:
    if min(net.shape[1:]) > 2:
        options = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
        net.add(
            str(net.random.choice(["MaxPool", "AveragePool"])), [net.value], net.shape[0], **options
        )


def _elementwise(net: _Network) -> None:
    net.add(str(net.random.choice(["Relu", "Sigmoid"])), [net.value], net.shape[0])


def _both(net: _Network) -> None:
    others = [name for name, shape in net.before if shape == net.shape]
    other = others[-1] if others else net.weight(1, net.shape[0], 1, 1)
    net.add(str(net.random.choice(["Add", "Mul"])), [net.value, other], net.shape[0])


def _joined(net: _Network) -> None:
    others = [each for each in net.before if each[1][1:] == net.shape[1:]]
    if others:
        name, shape = others[-1]
        net.add("Concat", [net.value, name], net.shape[0] + shape[0], axis=1)


_LAYERS = (_convolution, _convolution, _depthwise, _transposed, _pool, _elementwise, _both, _joined)


def drawn(seed: int) -> tuple[onnx.ModelProto, tuple[int, ...]]:
    """A network of a seed, and the shape of its input."""
    random = np.random.default_rng(seed)
    shape = (int(random.choice([1, 2, 3, 4, 5, 8, 16])), *map(int, random.integers(5, 10, 2)))
    net = _Network(random, (shape[0], shape[1], shape[2]))
    for _ in range(int(random.integers(2, 7))):
        _LAYERS[int(random.integers(len(_LAYERS)))](net)
    outputs = net.one_of([1, 3, 10, 16])
    net.weights["flat"] = np.array([1, -1])
    product = net.weight(int(np.prod(net.shape)), outputs)
    net.nodes += [
        helper.make_node("Reshape", [net.value, "flat"], ["flattened"]),
        helper.make_node("MatMul", ["flattened", product], ["product"]),
        helper.make_node("Add", ["product", net.weight(outputs)], ["y"]),
    ]
    if not net.before:
        net.before.append(("x", net.shape))
    return net.model("y"), (1, *shape)


class _Normal(CalibrationDataReader):  # type: ignore[misc]
    """Some inputs of normal distribution."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        random = np.random.default_rng(0)
        self._left = [random.standard_normal(shape).astype(np.float32) for _ in range(3)]

    def get_next(self) -> dict[str, np.ndarray] | None:
        return {"x": self._left.pop()} if self._left else None


def quantized(seed: int, folder: Path) -> tuple[Path, np.ndarray]:
    """A quantized network of a seed, and an input."""
    model, shape = drawn(seed)
    plain, result = folder / "plain.onnx", folder / "quantized.onnx"
    onnx.save(model, plain)
    random = np.random.default_rng(seed)
    kind = random.choice(["qdq", "qdq", "operators", "dynamic"])
    data, weights = (_TYPES[at] for at in random.integers(0, 2, 2))
    options = {"weight_type": weights, "per_channel": bool(random.integers(0, 2))}
    if kind == "dynamic":
        quantize_dynamic(plain, result, **options)
    else:
        form = QuantFormat.QDQ if kind == "qdq" else QuantFormat.QOperator
        quantize_static(
            plain, result, _Normal(shape), quant_format=form, activation_type=data, **options
        )
    return result, random.standard_normal(shape).astype(np.float32)


def result_of(seed: int, form: str, folder: Path) -> str:
    """`ok`, or why the network of a seed is not; `not quantized` where ONNX Runtime cannot."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        path, given = quantized(seed, folder)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (right,) = session.run(None, {"x": given})
    except Exception as error:
        return f"not quantized: {type(error).__name__}"
    try:
        imported = import_model(path, {}, folder)
        network = canonicalise(imported.module, imported.layer_names)
        errors = []
        for module, target in ((to_channels_last(network), _PLAIN), FORMS[form](network)):
            machine = machine_of(fuse(module, "full", target), target, 2)
            found = machine["main"](tvm.runtime.tensor(given)).numpy()
            errors.append(float(np.abs(found - right).max() / max(np.abs(right).max(), 1e-9)))
    except Exception as error:
        return f"failed: {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"
    in_floats, in_integers = errors
    if in_integers <= max(_APART, 2 * in_floats):
        return "ok"
    return f"wrong: {in_integers:.3f} of the largest, in floats {in_floats:.3f}"


@click.command()
@click.option("--count", default=200, show_default=True, help="Networks.")
@click.option("--first", default=0, show_default=True, help="The seed of the first.")
@click.option("--form", type=click.Choice([*FORMS]), help="One form instead of all.")
@click.option("--child", hidden=True)
def main(count: int, first: int, form: str | None, child: str | None) -> None:
    """Compare random quantized networks with ONNX Runtime."""
    if child is not None:
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        with tempfile.TemporaryDirectory() as folder:
            work_through(child, lambda name, of: result_of(int(name), of, Path(folder)))
        return
    forms = [form] if form else [*FORMS]
    results = run_all(__file__, [str(first + at) for at in range(count)], forms, _BATCH)
    for each in forms:
        kinds = Counter(r.partition(":")[0] for (_, of), r in results.items() if of == each)
        print(f"{each}: {kinds['ok']} of {count} are the same; {dict(kinds)}")
    for (seed, of), result in sorted(results.items()):
        if not result.startswith(("ok", "not quantized")):
            print(f"seed {seed}, {of}: {result}")
    if any(not result.startswith(("ok", "not quantized")) for result in results.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
