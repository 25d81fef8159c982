"""Parts without elements go from the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from compiling import reference
from onnx import helper
from onnx_nodes import assert_same, computed, drawn, network

from harness.models.onnx.empties import without_empties

SIZES = np.asarray([0, 3, 0, 5])


@pytest.mark.parametrize("opset", [11, 17])
def test_split_and_concat_leave_empty_parts_out(opset: int, tmp_path: Path) -> None:
    given = {"split": SIZES} if opset < 13 else {}
    nodes = [
        helper.make_node(
            "Split", ["x", *([] if given else ["sizes"])], ["a", "b", "c", "d"], axis=-1, **given
        ),
        helper.make_node("Neg", ["a"], ["nothing"]),
        helper.make_node("Neg", ["b"], ["turned"]),
        helper.make_node("Concat", ["d", "c", "nothing", "turned"], ["y"], axis=1),
    ]
    feeds = {"x": drawn(2, 8)}
    model = network(nodes, ["y"], feeds, {} if given else {"sizes": SIZES}, opset)
    kept = without_empties(model).graph.node
    assert [(node.op_type, [*node.output]) for node in kept] == [
        ("Split", ["b", "d"]), ("Neg", ["turned"]), ("Concat", ["y"]),
    ]  # fmt: skip
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def test_one_part_that_is_all_is_no_split(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Slice", ["x", "end", "end", "axis"], ["none"]),
        helper.make_node("Concat", ["b", "r", "none"], ["y"], axis=1),
    ]
    feeds = {"x": drawn(2, 8)}
    weights = {
        "sizes": np.asarray([8, 0]), "end": np.asarray([8]), "axis": np.asarray([1]),
    }  # fmt: skip
    model = network(nodes, ["y"], feeds, weights)
    kept = [node.op_type for node in without_empties(model).graph.node]
    assert kept == ["Identity", "Relu", "Identity"]
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def test_part_that_something_reads_stays(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x", "sizes"], ["a", "b"], axis=1),
        helper.make_node("Shape", ["b"], ["y"]),
        helper.make_node("Relu", ["a"], ["z"]),
    ]
    model = network(nodes, ["y:int64", "z"], {"x": drawn(2, 8)}, {"sizes": np.asarray([8, 0])})
    assert without_empties(model).graph.node[0].output == ["a", "b"]


def test_model_without_empty_parts_is_the_same_one() -> None:
    nodes = [helper.make_node("Concat", ["x", "x"], ["y"], axis=1)]
    model = network(nodes, ["y"], {"x": drawn(2, 8)})
    assert without_empties(model) is model
