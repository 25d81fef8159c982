"""Models end before some of their nodes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from compiling import reference
from onnx import helper
from onnx_nodes import network
from small_models import save

from harness.cli.models import command
from harness.errors import InputError
from harness.models.frontends import import_model
from harness.models.onnx.cut import write_cut

X = np.random.default_rng(0).random((1, 10, 4)).astype(np.float32)


def detector() -> onnx.ModelProto:
    """Boxes and scores, of which some are selected: `picked`; `total` does not depend on that."""
    nodes = [
        helper.make_node("Mul", ["x", "size"], ["boxes"], name="scale"),
        helper.make_node("ReduceSum", ["x", "axis"], ["sums"], keepdims=0, name="sum"),
        helper.make_node("Unsqueeze", ["sums", "one"], ["scores"], name="scores"),
        helper.make_node("Constant", [], ["most"], value_ints=[3]),
        helper.make_node("NonMaxSuppression", ["boxes", "scores", "most"], ["s"], name="select"),
        helper.make_node("Shape", ["s"], ["n"], name="count"),
        helper.make_node("ReduceMean", ["boxes"], ["total"], keepdims=0, name="mean"),
        helper.make_node("Relu", ["x"], ["unused"], name="unused"),
    ]
    numbers = {"size": np.float32(9), "axis": np.array([2]), "one": np.array([1])}
    outputs = [("n", onnx.TensorProto.INT64, [2]), ("total", onnx.TensorProto.FLOAT, [])]
    return network(nodes, outputs, {"x": X}, numbers)


@pytest.mark.parametrize("before", ["NonMaxSuppression", "select"])
def test_cut_model_gives_what_the_rest_would_read(before: str, tmp_path: Path) -> None:
    path = save(detector(), tmp_path / "detector.onnx")
    assert write_cut(path, [before], tmp_path / "cut.onnx") == ["total", "boxes", "scores"]
    model = onnx.load(tmp_path / "cut.onnx")
    assert [node.name for node in model.graph.node] == ["scale", "sum", "scores", "mean"]
    total, boxes, scores = reference(model, {"x": X})
    np.testing.assert_allclose(boxes, 9 * X, rtol=1e-6)
    np.testing.assert_allclose(scores, X.sum(2)[:, None], rtol=1e-6)
    np.testing.assert_allclose(total, 9 * X.mean(), rtol=1e-6)
    imported = import_model(tmp_path / "cut.onnx", {}, tmp_path)
    assert [each.shape for each in imported.outputs] == [(), (1, 10, 4), (1, 1, 10)]


def test_branches_that_read_a_value_are_gone_with_it(tmp_path: Path) -> None:
    def branch(operator: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(operator, ["r"], ["b"])], operator, [], [out])

    nodes = [
        helper.make_node("Neg", ["x"], ["r"], name="first"),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("Abs"), else_branch=branch("Relu")),
        helper.make_node("Exp", ["x"], ["z"], name="other"),
    ]
    model = network(nodes, ["y", "z"], {"x": X}, {"c": np.array(True)})
    path = save(model, tmp_path / "branches.onnx")
    assert write_cut(path, ["first"], tmp_path / "cut.onnx") == ["z"]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (["NonMaxSupression"], "did you mean 'NonMaxSuppression'?"),
        (["Mul", "sum"], "nothing is computed before Mul, sum"),
    ],
)
def test_names_that_are_none_and_empty_models_are_refused(
    before: list[str], said: str, tmp_path: Path
) -> None:
    path = save(detector(), tmp_path / "detector.onnx")
    with pytest.raises(InputError, match=re.escape(said)):
        write_cut(path, before, tmp_path / "cut.onnx")
    assert not (tmp_path / "cut.onnx").exists()


def test_command_says_the_outputs(tmp_path: Path) -> None:
    path = save(detector(), tmp_path / "detector.onnx")
    arguments = ["cut", str(path), str(tmp_path / "cut.onnx"), "--before", "NonMaxSuppression"]
    found = CliRunner().invoke(command, arguments)
    assert found.exit_code == 0, found.output
    assert found.output.endswith("cut.onnx: outputs total, boxes, scores\n")
    with pytest.raises(InputError, match="'layeredge models cut' writes the model before it"):
        import_model(path, {}, tmp_path)
