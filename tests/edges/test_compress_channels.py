"""The pattern `channel` of a compressed network: sizes, controls, and fitting what is left."""

from __future__ import annotations

import numpy as np
import pytest
from channel_networks import Builder, depthwise, inputs_of, pooled_end, residual, run, wide
from evaluation import evaluate

from harness.compiler.api import shape_of, tvm
from harness.edges.compress import compress
from harness.errors import CellFailure
from harness.networks.calibration import Calibration
from harness.networks.layers import Layer, ReplaceConstants, layers_of
from harness.passes.rewriter import MAIN
from harness.specs.edges import Edges

LANES = 4
TARGET = tvm.target.Target({"kind": "llvm", "num-cores": 2})


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> tvm.IRModule:
    net = Builder()
    for step in (wide, residual, depthwise, wide, pooled_end):
        step(net)
    return net.module(tmp_path_factory.mktemp("model"))


def inner_widths(module: tvm.IRModule) -> list[int]:
    return [layer.matrix.shape[1] for layer in layers_of(module)]


def test_record_says_what_is_left(module: tvm.IRModule) -> None:
    compressed, summary = compress(module, Edges(pattern="channel", sparsity=0.5), LANES, seed=0)
    assert inner_widths(module) == [8, 6, 8, 21, 5]
    # Half of each, where there are two vectors of 4 rounded up to whole ones.
    assert inner_widths(compressed) == [4, 3, 4, 12, 5]
    sizes = [layer.weights.size for layer in layers_of(compressed)]
    assert [layer.parameters_kept for layer in summary.layers] == sizes
    assert [layer.shape for layer in summary.layers] == [
        layer.weights.shape for layer in layers_of(module)
    ]
    assert 0.5 < summary.sparsity_measured < 0.75


def test_channels_that_matter_least_go(module: tvm.IRModule) -> None:
    """Some have small weights on both sides: the network without them hardly differs."""
    layers = layers_of(module)
    small = np.where(np.arange(21) % 2, np.float32(1), np.float32(1e-3))
    weights = {
        layers[3].variable: layers[3].stored(layers[3].matrix * small),
        layers[4].variable: layers[4].stored(layers[4].matrix * small[:, None]),
    }
    uneven = ReplaceConstants.apply(module, weights)
    others = tuple(layer.name for layer in layers[:3])

    def change(shuffle: bool) -> float:
        edges = Edges(pattern="channel", sparsity=0.5, exclude=others, shuffle=shuffle)
        return float(np.abs(run(compress(uneven, edges, 1, seed=0)[0]) - run(uneven)).max())

    assert change(shuffle=False) < 0.01 < change(shuffle=True)


def test_layer_to_exclude_keeps_its_channels(module: tvm.IRModule) -> None:
    edges = Edges(pattern="channel", sparsity=0.5, exclude=("conv2d1",))
    assert inner_widths(compress(module, edges, LANES, seed=0)[0]) == [8, 6, 8, 12, 5]


def test_network_of_one_layer_has_no_channels_to_remove(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    net = Builder()
    wide(net)
    single = net.module(tmp_path_factory.mktemp("model"))
    with pytest.raises(CellFailure, match="none has channels that can be removed"):
        compress(single, Edges(pattern="channel", sparsity=0.5), LANES, seed=0)


@pytest.mark.slow
def test_reconstructed_network_is_closer(module: tvm.IRModule) -> None:
    generator = np.random.default_rng(0)
    shape = shape_of(module[MAIN].params[0])
    samples = [[generator.standard_normal(shape).astype(np.float32)] for _ in range(24)]

    def calibrate(network: tvm.IRModule, layers: list[Layer]) -> Calibration:
        return Calibration(network, layers, samples, TARGET, 2)

    def error(edges: Edges) -> float:
        compressed, _ = compress(module, edges, LANES, 0, calibrate)
        assert inner_widths(compressed) == [4, 3, 4, 12, 5]
        return sum(
            float(np.square(evaluate(compressed, one)[0] - evaluate(module, one)[0]).sum())
            for one in [inputs_of(module), *samples[:4]]
        )

    plain = Edges(pattern="channel", sparsity=0.5)
    assert error(plain.model_copy(update={"reconstruct": True})) < error(plain)
