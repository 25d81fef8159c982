"""Recurrent layers with the batch first give what the specification says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import reference
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_nodes import assert_same, computed, drawn, network

from harness.models.onnx.shapes import fold
from harness.models.onnx.time_first import with_time_first

BATCH, STEPS, INPUTS, HIDDEN = 3, 4, 5, 2
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def layer(name: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A layer whose batch comes first, with all states it begins with and gives."""
    outputs = ["every", "last", *(["memory"] if name == "LSTM" else [])]
    began = ["h", *(["c"] if name == "LSTM" else [])]
    node = helper.make_node(
        name, ["x", "w", "r", "", "", *began], outputs, hidden_size=HIDDEN, layout=1
    )
    weights = {
        "w": drawn(1, _GATES[name] * HIDDEN, INPUTS), "r": drawn(1, _GATES[name] * HIDDEN, HIDDEN),
    }  # fmt: skip
    feeds = {"x": drawn(BATCH, STEPS, INPUTS), **{each: drawn(BATCH, 1, HIDDEN) for each in began}}
    return network([node], outputs, feeds, weights), feeds


@pytest.mark.parametrize("name", sorted(_GATES))
def test_layer_is_computed_and_the_reference_engine_runs_it(name: str, tmp_path: Path) -> None:
    model, feeds = layer(name)
    prepared = fold(model, tmp_path / "model.onnx")
    right = reference(prepared, feeds)
    assert [value.shape for value in right] == [
        (BATCH, STEPS, 1, HIDDEN), *[(BATCH, 1, HIDDEN)] * (len(right) - 1),
    ]  # fmt: skip
    assert_same(computed(model, feeds, tmp_path), right)


@pytest.mark.parametrize("name", sorted(_GATES))
def test_layer_agrees_with_the_specification(name: str) -> None:
    """`onnx.reference` takes one batch-first layout of a state alone: none is given."""
    model, feeds = layer(name)
    node = model.graph.node[0]
    del node.input[3:]
    del node.output[2:]
    del model.graph.output[2:]
    feeds = {"x": feeds["x"]}
    del model.graph.input[1:]
    right = ReferenceEvaluator(model).run(None, feeds)
    assert_same(reference(with_time_first(model), feeds), right)


def test_layer_in_a_branch_is_rewritten_too() -> None:
    model, feeds = layer("GRU")
    (node,) = model.graph.node
    body = helper.make_graph([node], "branch", [], model.graph.output)
    choice = helper.make_node("If", ["c"], ["a", "b"], then_branch=body, else_branch=body)
    feeds |= {"c": np.asarray(True)}
    weights = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    found = with_time_first(network([choice], ["a", "b"], feeds, weights))
    for attribute in found.graph.node[0].attribute:
        kinds = [each.op_type for each in attribute.g.node]
        assert kinds == ["Transpose", "Transpose", "GRU", "Transpose", "Transpose"]


def test_model_with_time_first_is_the_same_one() -> None:
    model, _ = layer("LSTM")
    del model.graph.node[0].attribute[:]
    assert with_time_first(model) is model
