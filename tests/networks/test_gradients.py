"""Gradients of a network's outputs are what differences say, through every operator we rewrite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from calibrated_networks import calibrated, convolutions, one_dimension, products
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.errors import CellFailure
from harness.networks.layers import Layer


@pytest.mark.slow
@pytest.mark.parametrize("model", [convolutions, products, one_dimension])
def test_gradient_is_the_slope(model: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    """Along a random direction of a layer's weights, by central differences."""
    calibration = calibrated(model(), tmp_path)
    layers = calibration.layers
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


def test_operator_without_a_gradient_is_named(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("ReduceMax", ["p"], ["y"], axes=[2], keepdims=0),
    ]
    model = onnx_model(nodes, [("x", FLOAT, [1, 3, 6])], ["y"], {"a": weights(6, 8)})
    calibration = calibrated(model, tmp_path)
    (sample,) = calibration.samples
    with pytest.raises(CellFailure, match=r"needs the gradient of relax\.max"):
        calibration.gradients(sample, [np.ones((1, 3), np.float32)])
