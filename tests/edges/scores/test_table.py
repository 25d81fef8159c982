"""Scores say what a network loses: the gradient's against taking blocks out one by one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from harness.compiler.api import tvm
from harness.edges.blocks import Block
from harness.edges.scores.table import scores_of
from harness.models.catalog.entries import resolve
from harness.models.frontends import import_model
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer, layers_of
from harness.passes.canonicalise import canonicalise
from harness.specs.scores import Score
from harness.specs.sweep import ModelSpec

TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})
VECTOR = 8
BLOCK = Block(1, VECTOR)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Calibration:
    """Of the embedded depthwise network on four of its images."""
    model = resolve(ModelSpec(name="fashion-dscnn"))
    imported = import_model(model.path, model.shapes, tmp_path_factory.mktemp("model"))
    module = canonicalise(imported.module)
    assert model.task is not None
    samples = [[model.task.feeds(at)[spec.name] for spec in imported.inputs] for at in range(4)]
    return Calibration(module, layers_of(module), samples, TARGET, 2)


def without(layer: Layer, row: int, vector: int) -> np.ndarray:
    matrix = layer.matrix.copy()
    matrix[row, vector * VECTOR : (vector + 1) * VECTOR] = 0
    return layer.stored(matrix)


@pytest.mark.slow
def test_gradient_score_ranks_blocks_as_taking_them_out_does(calibration: Calibration) -> None:
    generator = np.random.default_rng(0)
    layers = [layer for layer in calibration.layers if layer.matrix.shape[1] % VECTOR == 0]
    scores = scores_of(layers, "gradient", BLOCK, 0, calibration)
    expected, found = [], []
    dense = [calibration.run(sample, {})[-1].numpy() for sample in calibration.samples]
    for layer in layers:
        rows, vectors = scores[layer.name].shape
        for place in generator.choice(rows * vectors, 5, replace=False):
            row, vector = divmod(int(place), vectors)
            weights = {layer.variable: without(layer, row, vector)}
            wrong = [
                np.square(calibration.run(sample, weights)[-1].numpy() - before).sum()
                / np.square(before).sum()
                for sample, before in zip(calibration.samples, dense, strict=True)
            ]
            expected.append(np.mean(wrong))
            found.append(scores[layer.name][row, vector])
    assert spearmanr(expected, found).statistic > 0.8


@pytest.mark.parametrize("block", [BLOCK, Block(4, VECTOR)], ids=["block", "quad-block"])
@pytest.mark.parametrize(
    "method", ["magnitude", "activation", "second-order", "random", "gradient"]
)
def test_scores_are_of_blocks(calibration: Calibration, method: Score, block: Block) -> None:
    layers = [layer for layer in calibration.layers if layer.inputs % block.inputs == 0][:2]
    for layer in layers:
        found = scores_of(layers, method, block, 0, calibration)[layer.name]
        rows, columns = layer.matrix.shape
        assert found.shape == (rows // block.inputs, columns // VECTOR)
        assert (found >= 0).all() and found.any()


def test_inputs_of_other_than_whole_blocks_have_no_score(calibration: Calibration) -> None:
    """The first layer has one channel of the image."""
    found = scores_of(calibration.layers, "magnitude", Block(4, VECTOR), 0)
    assert calibration.layers[0].name not in found and len(found) > 3


def test_layer_of_other_than_whole_blocks_has_no_score(calibration: Calibration) -> None:
    assert (
        set(scores_of(calibration.layers, "magnitude", BLOCK, 0))
        == {layer.name for layer in calibration.layers if layer.matrix.shape[1] % VECTOR == 0}
        < {layer.name for layer in calibration.layers}
    )
