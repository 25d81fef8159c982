"""If on constants: the branch that is taken, whatever the other one says of shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_nodes import assert_same, computed, drawn, network

from harness.models.onnx.decided import with_decided_branches


def model_of(rate: int) -> onnx.ModelProto:
    """Frames of 4 at one rate, of 3 at another; `x` has 8 elements, which are no frames of 3."""

    def framed(name: str, width: int) -> onnx.GraphProto:
        shape = onnx.numpy_helper.from_array(np.asarray([-1, width]), f"{name}_shape")
        return helper.make_graph(
            [
                helper.make_node("Reshape", ["x", f"{name}_shape"], [f"{name}_frames"]),
                helper.make_node("ReduceSum", [f"{name}_frames", "axis"], [name], keepdims=0),
            ],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
            [shape],
        )

    nodes = [
        helper.make_node("Add", ["rate", "zero"], ["same"]),
        helper.make_node("Equal", ["same", "wanted"], ["is"]),
        helper.make_node(
            "If", ["is"], ["y"], then_branch=framed("a", 4), else_branch=framed("b", 3)
        ),
    ]
    weights = {
        "rate": np.asarray(rate), "wanted": np.asarray(16000), "zero": np.asarray(0),
        "axis": np.asarray([1]),
    }  # fmt: skip
    return network(
        nodes, [("y", TensorProto.FLOAT, ["frames"])], {"x": np.zeros(8, np.float32)}, weights
    )


def test_branch_that_is_taken_stays_alone(tmp_path: Path) -> None:
    decided = with_decided_branches(model_of(16000))
    assert [node.op_type for node in decided.graph.node] == ["Reshape", "ReduceSum", "Identity"]
    feeds = {"x": drawn(8)}
    wanted = feeds["x"].reshape(2, 4).sum(axis=1)
    assert_same(computed(model_of(16000), feeds, tmp_path), [wanted])


def test_other_branch_is_taken_where_the_constant_says_so() -> None:
    decided = with_decided_branches(model_of(8000))
    assert "else/b_shape" in "".join(name for node in decided.graph.node for name in node.input)


@pytest.mark.parametrize("kind", ["without", "with"])
def test_model_without_constant_conditions_is_the_same_one(kind: str) -> None:
    model = model_of(16000)
    if kind == "without":
        del model.graph.node[2]
    else:
        rate = next(each for each in model.graph.initializer if each.name == "rate")
        model.graph.initializer.remove(rate)
        model.graph.input.append(helper.make_tensor_value_info("rate", TensorProto.INT64, []))
    assert with_decided_branches(model) is model
