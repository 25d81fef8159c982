"""Recurrent nodes in steps are the nodes, and tell what rounding leaves of their states."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from small_models import FLOAT, onnx_model, save

from harness.judges.onnx_float64 import OnnxFloat64
from harness.judges.recurrent import in_steps

STEPS, BATCH, INPUTS, SIZE = 5, 2, 3, 4
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(0, 0.5, shape)


def evaluated(node: onnx.NodeProto, given: dict[str, np.ndarray]) -> list[np.ndarray]:
    graph = helper.make_graph(
        [node],
        "node",
        [helper.make_tensor_value_info(name, 11, array.shape) for name, array in given.items()],
        [helper.make_empty_tensor_value_info(name) for name in node.output],
    )
    found = ReferenceEvaluator(helper.make_model(graph)).run(None, dict(given))
    return [np.asarray(each) for each in found]


def recurrent(operator: str, count: int, **attributes: Any) -> tuple[onnx.NodeProto, Any]:
    """A node with every input that its operator has, and values for these."""
    gates = GATES[operator] * SIZE
    given = {
        "data": drawn(STEPS, BATCH, INPUTS),
        "weights": drawn(count, gates, INPUTS),
        "recurrent": drawn(count, gates, SIZE),
        "biases": drawn(count, 2 * gates),
        "first": drawn(count, BATCH, SIZE),
    }
    names = ["data", "weights", "recurrent", "biases", "", "first"]
    outputs = ["all", "last"]
    if operator == "LSTM":
        given |= {"cell": drawn(count, BATCH, SIZE), "peepholes": drawn(count, 3 * SIZE)}
        names += ["cell", "peepholes"]
        outputs += ["last cell"]
    return helper.make_node(operator, names, outputs, hidden_size=SIZE, **attributes), given


@pytest.mark.parametrize("operator", GATES)
def test_steps_are_the_node_where_nothing_is_moved(operator: str) -> None:
    node, given = recurrent(operator, 1)
    found = in_steps(node, given, evaluated, lambda state: state)
    assert found is not None
    for one, other in zip(found, evaluated(node, given), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


@pytest.mark.parametrize("operator", GATES)
def test_directions_are_evaluated_one_by_one(operator: str) -> None:
    node, given = recurrent(operator, 2, direction="bidirectional")
    found = in_steps(node, given, evaluated, lambda state: state)
    assert found is not None and found[0].shape == (STEPS, 2, BATCH, SIZE)
    for at, backwards in enumerate([False, True]):
        alone, _ = recurrent(operator, 1)
        own = {name: each if name == "data" else each[at : at + 1] for name, each in given.items()}
        if backwards:
            own["data"] = own["data"][::-1]
        rows, *last = evaluated(alone, own)
        np.testing.assert_allclose(found[0][:: -1 if backwards else 1, at], rows[:, 0], rtol=1e-13)
        for one, other in zip(found[1:], last, strict=True):
            np.testing.assert_allclose(one[at : at + 1], other, rtol=1e-13)


@pytest.mark.parametrize(
    "attributes", [{"layout": 1}, {"activations": ["HardSigmoid"], "activation_alpha": [0.2]}]
)
def test_other_forms_are_left_to_the_whole_node(attributes: dict[str, Any]) -> None:
    node, given = recurrent("RNN", 1, **attributes)
    assert in_steps(node, given, evaluated, lambda state: state) is None


def test_cell_whose_parts_cancel_is_as_uncertain_as_they_are(tmp_path: Path) -> None:
    """The cell of an LSTM is -1 + sigmoid(14.1) after one step, and the next adds 1."""
    nothing, much = 0.0, 40.0

    def gates(i: float, o: float, f: float, c: float) -> np.ndarray:
        return np.array([[[i], [o], [f], [c]]], np.float32)

    # Data say by themselves what each gate is to be; a unit vector for each step.
    weights = np.concatenate([gates(14.1, much, -much, -much), gates(much, much, much, much)], 2)
    node = helper.make_node("LSTM", ["x", "w", "r"], ["", "", "cell"], hidden_size=1, name="lstm")
    constants = {"w": weights, "r": np.full((1, 4, 1), nothing, np.float32)}
    model = onnx_model([node], [("x", FLOAT, [2, 1, 2])], ["cell"], constants)
    evaluation = OnnxFloat64(save(model, tmp_path / "net.onnx"))
    outcomes = evaluation.outcomes({"x": np.eye(2, dtype=np.float32)[:, np.newaxis]})
    value, *others = (each[0].item() for each in islice(outcomes, 3))
    assert value == pytest.approx(1 - 1 / (1 + np.exp(-14.1)), rel=1e-6)
    # In single precision there is nothing between 0.9999999404 and 1.
    assert max(abs(other - value) for other in others) > 2e-8
