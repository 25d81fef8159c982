"""What a layer may lose is told by what the network's outputs lose."""

from __future__ import annotations

import numpy as np
import pytest
from calibrated_networks import TARGET
from compiling import imported
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.edges.blocks import Block
from harness.edges.patterns import mask_of
from harness.edges.scores.table import scores_of
from harness.edges.sensitivity import output_losses
from harness.networks.calibration import Calibration
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise

BLOCK = Block(1, 4)
COUNTS = 0
"""The place of the layer that does."""
LEVELS = (0.0, 0.25, 0.5, 0.75)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Two layers side by side, of which one hardly counts for what the network gives."""
    folder = tmp_path_factory.mktemp("model")
    nodes = [
        helper.make_node("MatMul", ["x", "b"], ["q"]),
        helper.make_node("Gemm", ["x", "a", "c"], ["p"]),
        helper.make_node("Mul", ["q", "little"], ["r"]),
        helper.make_node("Tanh", ["r"], ["s"]),
        helper.make_node("Add", ["p", "s"], ["y"]),
    ]
    constants = {
        "a": weights(16, 8), "b": weights(16, 8, seed=1), "c": weights(8, seed=2),
        "little": np.float32(0.01),
    }  # fmt: skip
    model = onnx_model(nodes, [("x", FLOAT, [1, 16])], ["y"], constants)
    module = canonicalise(imported(model, folder).module)
    generator = np.random.default_rng(0)
    mixing = generator.standard_normal((10, 16))
    samples = [
        [(generator.standard_normal((1, 10)) @ mixing + 1).astype(np.float32)] for _ in range(200)
    ]
    found = Calibration(module, layers_of(module), samples, TARGET, 2)
    np.testing.assert_array_equal(found.layers[COUNTS].matrix, constants["a"])
    return found


def lost(calibration: Calibration, fit: bool) -> dict[str, np.ndarray]:
    heard: list[tuple[int, int]] = []
    scores = scores_of(calibration.layers, "magnitude", BLOCK, 0)
    masks = {
        name: [mask_of(found, "block", level, BLOCK) for level in LEVELS]
        for name, found in scores.items()
    }
    found = output_losses(
        calibration.layers, masks, calibration, fit, lambda *done: heard.append(done)
    )
    assert heard == [(1, 2), (2, 2)]
    return found


def test_what_hardly_counts_loses_little(calibration: Calibration) -> None:
    found = lost(calibration, fit=False)
    counts, hardly = (found[layer.name] for layer in calibration.layers)
    assert counts[0] == hardly[0] == 0
    assert (np.diff(counts) > 0).all() and (np.diff(hardly) > 0).all()
    assert (hardly[1:] < 0.01 * counts[1:]).all()


def test_loss_is_that_of_the_outputs(calibration: Calibration) -> None:
    layer = calibration.layers[COUNTS]
    found = lost(calibration, fit=False)[layer.name][2]
    mask = mask_of(scores_of([layer], "magnitude", BLOCK, 0)[layer.name], "block", 0.5, BLOCK)
    wrong = []
    for (sample,) in calibration.samples[:32]:
        rows = sample.numpy().astype(np.float64)
        change = rows @ (layer.matrix * ~mask)
        wrong.append(np.square(change).sum() / np.square(calibration.outputs([sample], {})).sum())
    assert found == pytest.approx(np.mean(wrong), rel=1e-4)


def test_what_can_be_made_up_for_is_not_lost(calibration: Calibration) -> None:
    """Of sixteen inputs ten tell all."""
    masked, fitted = (
        lost(calibration, fit)[calibration.layers[COUNTS].name] for fit in (False, True)
    )
    assert (fitted[1:] < masked[1:]).all()
    assert fitted[1] < 0.2 * masked[1]
