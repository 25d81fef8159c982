"""Layers have prices that were measured, and a sparse one never costs more than the dense one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiling import imported
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from small_models import FLOAT, onnx_model, weights

from harness.edges import costs as costs_module
from harness.edges.costs import measured_prices, price
from harness.edges.layers import layers_of
from harness.errors import CellFailure
from harness.hardware import HOST, load_target
from harness.passes.canonicalise import canonicalise
from harness.tuning.database import TuningDatabase

seconds = st.floats(1e-6, 1e-3)


@given(dense=seconds, half=seconds, tenth=seconds, sparsity=st.floats(0, 0.99))
def test_price_is_positive_and_at_most_the_dense_kernels(
    dense: float, half: float, tenth: float, sparsity: float
) -> None:
    found = price(dense, half, tenth)(sparsity)
    assert 0 < found <= dense


def test_price_is_what_was_measured_where_it_was() -> None:
    found = price(10.0, 6.0, 2.0)
    assert [found(share) for share in (0.0, 0.5, 0.9)] == pytest.approx([10.0, 6.0, 2.0])
    assert found(0.1) == 10.0, "with nearly all of its blocks a layer stays dense"
    assert found(0.7) == pytest.approx(4.0)


def test_layers_of_one_geometry_are_measured_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs_module, "_TRIALS", 4)
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("MatMul", ["q", "b"], ["r"]),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("MatMul", ["s", "c"], ["y"]),
    ]
    constants = {"a": weights(64, 64), "b": weights(64, 64, seed=1), "c": weights(64, 32)}
    model = onnx_model(nodes, [("x", FLOAT, [1, 16, 64])], ["y"], constants)
    layers = layers_of(canonicalise(imported(model, tmp_path).module))
    heard: list[object] = []
    with TuningDatabase(tmp_path / "tuning") as database:
        prices = measured_prices(
            layers, load_target(HOST), database, tmp_path, 0, lambda progress: heard.append(1)
        )
        known = database.chosen()
    assert list(prices) == [layer.name for layer in layers]
    found = np.array([[prices[layer.name](share) for share in (0, 0.5, 0.9)] for layer in layers])
    assert (found > 0).all() and (found[0] == found[1]).all() and (found[0] != found[2]).any()
    assert len(known) == 2 * 3 and heard, "two geometries, at three sparsities each"


def test_latency_is_no_budget_where_nothing_is_timed(tmp_path: Path) -> None:
    with (
        TuningDatabase(tmp_path / "tuning") as database,
        pytest.raises(CellFailure, match=r"'raspberry-pi-4' is not here: .*use the budget 'edges'"),
    ):
        measured_prices(
            [], load_target("raspberry-pi-4"), database, tmp_path, 0, lambda progress: None
        )
