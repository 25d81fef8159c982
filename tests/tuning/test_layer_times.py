"""Layers have times that were measured, and one never counts for more than its first form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiling import imported
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.compiler.api import target_of, tvm
from harness.edges.thinning import thinned
from harness.hardware import HOST, load_target
from harness.kernels.vectors import vector_lanes
from harness.networks.layers import layers_of
from harness.passes.canonicalise import canonicalise
from harness.tuning import layer_times
from harness.tuning.database import TuningDatabase
from harness.tuning.layer_times import LayerTimer

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


def forms_of(canonical: tvm.IRModule) -> list[tvm.IRModule]:
    lanes = vector_lanes(target_of(load_target(HOST).tvm.as_tvm()))
    layers = layers_of(canonical)
    return [thinned(canonical, layers, each, "block", lanes) for each in SPARSITIES]


def timer(database: TuningDatabase, folder: Path, heard: list[object]) -> LayerTimer:
    return LayerTimer(
        load_target(HOST),
        "full",
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
    monkeypatch.setattr(layer_times, "_TRIALS", 4)
    canonical, heard = three_products(tmp_path), list[object]()
    names = [layer.name for layer in layers_of(canonical)]
    with TuningDatabase(tmp_path / "tuning") as database:
        seconds = timer(database, tmp_path, heard).seconds(forms_of(canonical), names)
        known = database.chosen()
    assert list(seconds) == names
    found = np.array(list(seconds.values()))
    assert found.shape == (3, 3) and (found > 0).all()
    assert (found <= found[:, :1]).all(), "a sparse layer costs no more than the dense one"
    assert (found[0] == found[1]).all() and (found[0] != found[2]).any()
    assert len(known) == 2 * 3 and heard, "two kernels, at three sparsities each"


def test_layer_without_a_kernel_of_its_own_is_free(tmp_path: Path) -> None:
    forms = forms_of(three_products(tmp_path))
    with TuningDatabase(tmp_path / "tuning") as database:
        found = timer(database, tmp_path, []).seconds(forms, ["of another network"])
    assert list(found["of another network"]) == [0.0] * 3
