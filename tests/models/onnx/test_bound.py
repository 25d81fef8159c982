"""Inputs become constants of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import network
from small_models import save

from harness.errors import InputError
from harness.models.frontends import import_model
from harness.models.onnx.bound import parse_values, write_bound

FEEDS = {
    "x": np.ones((2, 3), np.float32),
    "many": np.zeros((2, 3), np.float32),
    "rate": np.asarray(0, np.uint8),
}


def file(folder: Path) -> Path:
    nodes = [
        helper.make_node("Cast", ["rate"], ["r"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "r"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "many"], ["y"]),
    ]
    return save(network(nodes, ["y"], FEEDS), folder / "model.onnx")


@pytest.mark.parametrize(
    ("text", "subtracted"), [("many=0.5", np.full((2, 3), 0.5)), ("many=1,2,3,4,5,6", None)]
)
def test_bound_model_has_the_other_inputs_alone(
    text: str, subtracted: np.ndarray | None, tmp_path: Path
) -> None:
    values = parse_values([text, "rate=200"])
    write_bound(file(tmp_path), values, tmp_path / "new" / "bound.onnx")
    model = onnx.load(tmp_path / "new" / "bound.onnx")
    assert [value.name for value in model.graph.input] == ["x"]
    less = np.arange(1, 7).reshape(2, 3) if subtracted is None else subtracted
    (found,) = reference(model, {"x": FEEDS["x"]})
    np.testing.assert_array_equal(found, (200 - less).astype(np.float32))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rate=300", "input 'rate' is uint8, which does not have --value rate=300"),
        ("rate=1.5", "does not have --value rate=1.5"),
        ("rate=inf", "does not have --value rate=inf"),
        ("many=1,2", "input 'many' has 6 elements, --value many=1.0,2.0 has 2"),
        ("rato=1", "did you mean 'rate'?"),
    ],
)
def test_values_that_do_not_fit_are_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        write_bound(file(tmp_path), parse_values([text]), tmp_path / "bound.onnx")
    assert said.replace("1.0,2.0", "1,2") in str(error.value)
    assert not (tmp_path / "bound.onnx").exists()


def test_binding_is_advised_where_an_input_chooses_a_branch(tmp_path: Path) -> None:
    """The other branch contradicts the shapes."""

    def framed(name: str, width: int) -> onnx.GraphProto:
        shape = onnx.numpy_helper.from_array(np.asarray([width, 2]), f"{name}_shape")
        return helper.make_graph(
            [helper.make_node("Reshape", ["x", f"{name}_shape"], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [width, 2])],
            [shape],
        )

    node = helper.make_node(
        "If", ["wide"], ["y"], then_branch=framed("a", 3), else_branch=framed("b", 4)
    )
    feeds = {"x": FEEDS["x"], "wide": np.asarray(False)}
    output = ("y", onnx.TensorProto.FLOAT, ["rows", 2])
    path = save(network([node], [output], feeds), tmp_path / "model.onnx")
    with pytest.raises(InputError, match="'layeredge models bind' writes the model"):
        import_model(path, {}, tmp_path)
    write_bound(path, {"wide": (1,)}, tmp_path / "bound.onnx")
    imported = import_model(tmp_path / "bound.onnx", {}, tmp_path)
    assert [spec.shape for spec in imported.outputs] == [(3, 2)]


@pytest.mark.parametrize("text", ["rate", "=1", "rate=", "rate=x", "rate=1;2"])
def test_text_that_is_no_value_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected NAME=16000"):
        parse_values([text])
