"""If on what is computed: both branches, and a choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from compiling import reference
from onnx import TensorProto, helper
from onnx_nodes import assert_same, computed, drawn, network
from small_models import save

from harness.errors import InputError
from harness.models.frontends import import_model

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL


def branch(name: str, operator: str, shape: list[int], **weights: np.ndarray) -> Any:
    """One operator of the outer `x` and a weight of the branch; the names are the same in both."""
    return helper.make_graph(
        [
            helper.make_node(operator, ["x", "w"], ["inner"], name="inside"),
            helper.make_node("Relu", ["inner"], ["result"]),
        ],
        name,
        [],
        [
            helper.make_tensor_value_info("result", FLOAT, shape),
            helper.make_tensor_value_info("inner", FLOAT, shape),
        ],
        [onnx.numpy_helper.from_array(value, key) for key, value in weights.items()],
    )


def choice(
    condition: np.ndarray, opset: int = 17, other: Any = None
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    node = helper.make_node(
        "If",
        ["c"],
        ["y", "z"],
        name="choice",
        then_branch=branch("then", "Add", [2, 3], w=drawn(3)),
        else_branch=other or branch("else", "Mul", [2, 3], w=drawn(2, 3)),
    )
    feeds = {"x": drawn(2, 3), "c": condition}
    outputs = [(name, FLOAT, ["rows", "columns"]) for name in "yz"]
    return network([node], outputs, feeds, opset=opset), feeds


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("condition", [np.asarray(True), np.asarray(False), np.asarray([True])])
def test_if_gives_what_onnxruntime_does(condition: np.ndarray, opset: int, tmp_path: Path) -> None:
    model, feeds = choice(condition, opset)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def test_branch_that_is_not_taken_may_be_infinite(tmp_path: Path) -> None:
    model, feeds = choice(
        np.asarray(True), other=branch("else", "Div", [2, 3], w=np.zeros(3, np.float32))
    )
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        import_model(save(model, folder / "model.onnx"), {}, folder)
    return str(error.value)


def test_if_is_refused_where_shapes_of_branches_differ(tmp_path: Path) -> None:
    other = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], [name], axes=[0]) for name in ("a", "b")],
        "else",
        [],
        [helper.make_tensor_value_info(name, FLOAT, [1, 3]) for name in ("a", "b")],
    )
    said = refusal(choice(np.asarray(True), other=other)[0], tmp_path)
    assert "operator If of node 'choice'" in said
    assert "do not give its output 'y' one known shape" in said


def test_if_is_refused_before_there_was_a_where(tmp_path: Path) -> None:
    assert "opset 8 has no Where" in refusal(choice(np.asarray(True), opset=8)[0], tmp_path)


def test_if_is_refused_where_a_branch_divides_whole_numbers(tmp_path: Path) -> None:
    """By 0 where it is not taken, perhaps, which stops a process."""

    def side(name: str, operator: str) -> Any:
        return helper.make_graph(
            [helper.make_node(operator, ["x", "d"], [name], name="inside")],
            name,
            [],
            [helper.make_tensor_value_info(name, TensorProto.INT64, [2])],
        )

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=side("then", "Div"), else_branch=side("else", "Add")
    )
    feeds = {"x": np.arange(2), "d": np.asarray([1, 0]), "c": np.asarray(False)}
    said = refusal(network([node], ["y:int64"], feeds), tmp_path)
    assert "divides whole numbers" in said
