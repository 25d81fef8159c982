"""Gradients of a network's outputs are what differences say, through every operator we rewrite."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper
from small_models import FLOAT, feeds, onnx_model, save, weights

from harness.edges.calibration import Calibration
from harness.edges.layers import Layer, layers_of
from harness.errors import CellFailure
from harness.models.imported import import_model
from harness.passes.canonicalise import canonicalise
from harness.tvm_api import tvm

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


def convolutions() -> onnx.ModelProto:
    """Strided, dilated, grouped and unevenly padded, with a bounded activation and a residual."""
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[0, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["p", "low", "high"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["r"], group=8, pads=[2, 2, 2, 2], dilations=[2, 2]),
        helper.make_node("Conv", ["r", "c"], ["s"]),
        helper.make_node("Add", ["s", "q"], ["t"]),
        helper.make_node("GlobalAveragePool", ["t"], ["u"]),
        helper.make_node("Flatten", ["u"], ["v"]),
        helper.make_node("Gemm", ["v", "d"], ["y"]),
    ]
    constants = {
        "a": weights(8, 3, 3, 3),
        "b": weights(8, 1, 3, 3),
        "c": weights(8, 8, 1, 1),
        "d": weights(8, 5),
        "low": np.float32(-0.7),
        "high": np.float32(0.7),
    }
    return onnx_model(nodes, [("x", FLOAT, [1, 3, 9, 8])], ["y"], constants)


def products() -> onnx.ModelProto:
    """With a normalisation and the error function between them, as transformers have."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("LayerNormalization", ["p", "scale", "shift"], ["q"], epsilon=1e-3),
        helper.make_node("Erf", ["q"], ["r"]),
        helper.make_node("MatMul", ["r", "b"], ["y"]),
    ]
    constants = {
        "a": weights(6, 8), "scale": weights(8), "shift": weights(8), "b": weights(8, 4),
    }  # fmt: skip
    return onnx_model(nodes, [("x", FLOAT, [1, 3, 6])], ["y"], constants)


def one_dimension() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["p"], pads=[1, 0], strides=[2]),
        helper.make_node("Sigmoid", ["p"], ["q"]),
        helper.make_node("Conv", ["q", "b"], ["y"], dilations=[2]),
    ]
    constants = {"a": weights(4, 2, 3), "b": weights(4, 4, 2)}
    return onnx_model(nodes, [("x", FLOAT, [1, 2, 14])], ["y"], constants)


def calibrated(
    model: onnx.ModelProto, folder: pytest.TempPathFactory
) -> tuple[list[Layer], Calibration]:
    path = folder.mktemp("model")
    imported = import_model(save(model, path / "net.onnx"), {}, path)
    module = canonicalise(imported.module)
    layers = layers_of(module)
    values = feeds(imported.inputs)
    sample = [values[spec.name] for spec in imported.inputs]
    return layers, Calibration(module, layers, [sample], TARGET, 2)


@pytest.mark.parametrize("model", [convolutions, products, one_dimension])
def test_gradient_is_the_slope(model: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Along a random direction of a layer's weights, by central differences."""
    assert callable(model)
    layers, calibration = calibrated(model(), tmp_path_factory)
    (sample,) = calibration.samples
    inputs, outputs = calibration.observed(sample)
    generator = np.random.default_rng(0)
    probes = [generator.standard_normal(each.shape).astype(np.float32) for each in outputs]
    gradients = calibration.gradients(sample, probes)
    for layer in layers:
        direction = generator.standard_normal(layer.matrix.shape)

        def along(step: float, layer: Layer = layer, direction: np.ndarray = direction) -> float:
            moved = (layer.matrix + step * direction).astype(np.float32)
            given = calibration.run(sample, {layer.variable: layer.stored(moved)})
            found = [each.numpy() for each in given[len(layers) :]]
            return float(
                sum(
                    np.vdot(probe.astype(float), each)
                    for probe, each in zip(probes, found, strict=True)
                )
            )

        step = 1e-4  # small: an activation with bounds has a kink nearby
        slope = (along(step) - along(-step)) / (2 * step)
        expected = np.vdot(calibration.of_weights(layer, inputs, gradients), direction)
        assert slope == pytest.approx(expected, rel=0.02, abs=2e-3)


def test_operator_without_a_gradient_is_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("ReduceMax", ["p"], ["y"], axes=[2], keepdims=0),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 6])], ["y"], {"a": weights(6, 8)})
    _, calibration = calibrated(model, tmp_path_factory)
    (sample,) = calibration.samples
    with pytest.raises(CellFailure, match=r"needs the gradient of relax\.max"):
        calibration.gradients(sample, [np.ones((1, 3), np.float32)])
