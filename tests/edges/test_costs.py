"""Layers have prices that were measured, and a sparse one never costs more than the dense one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compiling import imported
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.compiler.api import tvm
from harness.edges import costs as costs_module
from harness.edges.costs import Appraiser
from harness.hardware import HOST, load_target
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise
from harness.tuning.database import TuningDatabase

SPARSITIES = (0.0, 0.5, 0.75)


def three_products(folder: Path) -> tvm.IRModule:
    """Products of 64 by 64, 64 by 64 and 64 by 32; the first two are the same kernel."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("MatMul", ["q", "b"], ["r"]),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("MatMul", ["s", "c"], ["y"]),
    ]
    constants = {"a": weights(64, 64), "b": weights(64, 64, seed=1), "c": weights(64, 32)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 16, 64])], ["y"], constants)
    return canonicalise(imported(model, folder).module)


def appraiser(
    target: str, database: TuningDatabase, folder: Path, heard: list[object]
) -> Appraiser:
    return Appraiser(
        load_target(target),
        "full",
        "block",
        database,
        lambda fused, into: {},
        folder,
        0,
        heard.append,
    )


@pytest.mark.slow
def test_kernels_of_the_network_are_measured_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs_module, "_TRIALS", 4)
    canonical, heard = three_products(tmp_path), list[object]()
    layers = layers_of(canonical)
    with TuningDatabase(tmp_path / "tuning") as database:
        prices = appraiser(HOST, database, tmp_path, heard).prices(canonical, layers, SPARSITIES)
        known = database.chosen()
    assert list(prices) == [layer.name for layer in layers]
    found = np.array([prices[layer.name] for layer in layers])
    assert found.shape == (3, 3) and (found > 0).all()
    assert (found <= found[:, :1]).all(), "a sparse layer costs no more than the dense one"
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()
    assert len(known) == 2 * 3 and heard, "two kernels, at three sparsities each"


def test_layer_without_a_kernel_of_its_own_is_free(tmp_path: Path) -> None:
    canonical = three_products(tmp_path)
    (layer,) = layers_of(canonical)[2:]
    foreign = [replace(layer, name="of another network")]
    with TuningDatabase(tmp_path / "tuning") as database:
        prices = appraiser(HOST, database, tmp_path, []).prices(canonical, foreign, SPARSITIES)
    assert list(prices["of another network"]) == [0.0] * 3
