"""Recurrent layers of ONNX in all their forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import assert_same, computed, drawn, network

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
SIMPLE = ["Sigmoid", "Tanh", "Relu", "Softsign", "HardSigmoid", "LeakyRelu", "Elu", "ScaledTanh"]


def layer(
    kind: str,
    form: dict[str, Any],
    steps: int,
    batch: int,
    inputs: int,
    hidden: int,
    parts: set[str],
) -> tuple[Any, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A layer with what `parts` names of its optional inputs: its model, feeds and weights."""
    directions = 2 if form.get("direction") == "bidirectional" else 1
    rows = GATES[kind] * hidden
    weights = {
        "W": drawn(directions, rows, inputs) / 2,
        "R": drawn(directions, rows, hidden) / hidden**0.5 / 2,
        "B": drawn(directions, 2 * rows),
        "P": drawn(directions, 3 * hidden),
    }
    feeds = {
        "X": drawn(steps, batch, inputs),
        "lengths": np.linspace(steps, 0, batch).round().astype(np.int32),
        "h": drawn(directions, batch, hidden),
        "c": drawn(directions, batch, hidden),
    }
    order = ["X", "W", "R", "B", "lengths", "h", *(["c", "P"] if kind == "LSTM" else [])]
    names = [name if name in {"X", "W", "R"} | parts else "" for name in order]
    while not names[-1]:
        names.pop()
    outputs = ["Y", "Y_h", "Y_c"][: 3 if kind == "LSTM" else 2]
    node = helper.make_node(kind, names, outputs, hidden_size=hidden, **form)
    feeds = {name: value for name, value in feeds.items() if name in names}
    used = {name: value for name, value in weights.items() if name in names}
    return network([node], outputs, feeds, used), feeds, used


CASES: list[tuple[str, dict[str, Any], int, int, int, set[str]]] = [
    ("LSTM", {}, 7, 1, 16, {"B"}),
    ("LSTM", {}, 1, 1, 128, {"B", "h", "c"}),
    ("LSTM", {"direction": "reverse"}, 5, 3, 20, set()),
    ("LSTM", {"direction": "bidirectional"}, 5, 4, 33, {"B", "h", "c", "P"}),
    ("LSTM", {"direction": "bidirectional"}, 6, 3, 5, {"B", "lengths", "h", "c"}),
    ("LSTM", {"clip": 0.4, "input_forget": 1}, 4, 2, 8, {"B"}),
    ("LSTM", {"clip": 0.4}, 9, 2, 8, {"B", "c"}),
    ("LSTM", {"activations": ["Relu", "Softsign", "Elu"]}, 4, 2, 8, {"B", "P"}),
    ("LSTM", {"activations": ["HardSigmoid", "ScaledTanh", "LeakyRelu"],
              "activation_alpha": [0.3, 0.5, 0.2], "activation_beta": [0.4, 1.5]},
     4, 2, 8, {"B"}),
    ("RNN", {"activations": ["Tanh", "Tanh"]}, 3, 2, 5, {"B"}),
    ("GRU", {}, 7, 1, 16, {"B"}),
    ("GRU", {"linear_before_reset": 1}, 7, 2, 20, {"B", "h"}),
    ("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}, 5, 4, 7, {"lengths"}),
    ("GRU", {"direction": "reverse", "clip": 0.5}, 5, 2, 7, {"B", "lengths", "h"}),
    ("GRU", {"direction": "bidirectional", "activations": ["Sigmoid", "Tanh", "Tanh", "Relu"]},
     5, 1, 64, {"B"}),
    ("RNN", {}, 7, 1, 16, {"B"}),
    ("RNN", {"direction": "bidirectional"}, 7, 4, 48, {"B", "lengths", "h"}),
    ("RNN", {"activations": ["Relu"], "direction": "reverse"}, 7, 2, 3, set()),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "form", "steps", "batch", "hidden", "parts"), CASES)
def test_layer_is_that_of_the_reference(
    tmp_path: Path,
    kind: str,
    form: dict[str, Any],
    steps: int,
    batch: int,
    hidden: int,
    parts: set[str],
) -> None:
    model, feeds, _ = layer(kind, form, steps, batch, 6, hidden, parts)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


@pytest.mark.parametrize("kind", GATES)
def test_weights_may_be_inputs(tmp_path: Path, kind: str) -> None:
    model, feeds, weights = layer(kind, {}, 3, 2, 4, 5, {"B"})
    right = reference(model, feeds)
    fed = {**feeds, **weights}
    changed = network(list(model.graph.node), [o.name for o in model.graph.output], fed)
    assert_same(computed(changed, fed, tmp_path), right)
