"""Loop and Scan as nodes: what ONNX Runtime computes with them, and what is refused."""

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

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def body(nodes: list[Any], inputs: list[Any], outputs: list[Any], **weights: Any) -> Any:
    return helper.make_graph(
        nodes,
        "body",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )


def loop_body(condition: list[Any], extra: list[Any] | None = None) -> Any:
    """A loop's body: `state · w + its number` as the next state, and as a scanned output."""
    return body(
        [
            helper.make_node("Cast", ["at"], ["number"], to=FLOAT),
            helper.make_node("MatMul", ["state", "w"], ["product"], name="product"),
            helper.make_node("Add", ["product", "number"], ["next"]),
            helper.make_node("Identity", ["next"], ["seen"]),
            *condition,
            *(extra or []),
        ],
        [("at", INT64, []), ("go", BOOL, []), ("state", FLOAT, [1, 3])],
        [("on", BOOL, []), ("next", FLOAT, [1, 3]), ("seen", FLOAT, [1, 3])],
        w=drawn(3, 3) / 2,
    )


ALWAYS = [helper.make_node("Identity", ["go"], ["on"])]
BELOW_3 = [helper.make_node("Less", ["at", "three"], ["on"])]
LOOPED = [("y", FLOAT, [1, 3]), ("all", FLOAT, ["runs", 1, 3])]
COUNT = {
    "count": np.asarray(4, np.int64),
    "three": np.asarray(3),
    "none": np.asarray(0),
    "yes": np.asarray(True),
    "no": np.asarray(False),
}


def loop(inputs: list[str], condition: list[Any], opset: int = 17) -> onnx.ModelProto:
    node = helper.make_node(
        "Loop", [*inputs, "x"], ["y", "all"], name="looped", body=loop_body(condition)
    )
    return network([node], LOOPED, {"x": np.zeros((1, 3), np.float32)}, COUNT, opset)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    ("inputs", "condition"),
    [
        (["count", "yes"], ALWAYS),
        (["count", ""], BELOW_3),  # counts alone
        (["", "yes"], BELOW_3),
        (["count", "yes"], BELOW_3),
        (["three", "yes"], BELOW_3),
        (["none", "yes"], ALWAYS),
        (["count", "no"], ALWAYS),
    ],
    ids=["count", "without condition", "while", "while, counted", "count first", "none", "no run"],
)
def test_loop_gives_what_onnxruntime_does(
    inputs: list[str], condition: list[Any], opset: int, tmp_path: Path
) -> None:
    model = loop(inputs, condition, opset)
    feeds = {"x": drawn(1, 3)}
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def test_loop_inside_a_loop_is_unrolled_with_it(tmp_path: Path) -> None:
    inner = helper.make_node(
        "Loop",
        ["three", "go", "next"],
        ["sum", "parts"],
        body=body(
            [
                helper.make_node("Identity", ["inner_go"], ["inner_on"]),
                helper.make_node("Mul", ["part", "state"], ["product2"]),
                helper.make_node("Identity", ["part"], ["part_seen"]),
            ],
            [("inner_at", INT64, []), ("inner_go", BOOL, []), ("part", FLOAT, [1, 3])],
            [("inner_on", BOOL, []), ("product2", FLOAT, [1, 3]), ("part_seen", FLOAT, [1, 3])],
        ),
    )
    graph = loop_body(ALWAYS, [inner])
    graph.output.append(helper.make_tensor_value_info("parts", FLOAT, [3, 1, 3]))
    node = helper.make_node("Loop", ["count", "yes", "x"], ["y", "all", "nested"], body=graph)
    outputs = [*LOOPED, ("nested", FLOAT, ["runs", 3, 1, 3])]
    model = network([node], outputs, {"x": np.zeros((1, 3), np.float32)}, COUNT)
    feeds = {"x": drawn(1, 3)}
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def scan(opset: int, **attributes: Any) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A running sum of `x`, and what was added, scaled by a value outside."""
    shape = [2, 3]
    graph = body(
        [
            helper.make_node("Mul", ["part", "half"], ["scaled"]),
            helper.make_node("Add", ["sum", "scaled"], ["next"]),
            helper.make_node("Sub", ["next", "part"], ["seen"]),
        ],
        [("sum", FLOAT, shape), ("part", FLOAT, shape)],
        [("next", FLOAT, shape), ("seen", FLOAT, shape)],
    )
    batch = [2] if opset < 9 else []
    axis = attributes.get("scan_input_axes", [0])[0]
    extents = [*batch, *shape]
    extents.insert(axis + len(batch), 4)
    feeds = {"start": drawn(*batch, *shape), "x": drawn(*extents)}
    node = helper.make_node(
        "Scan",
        [*([""] if opset < 9 else []), "start", "x"],
        ["last", "all"],
        name="scanned",
        body=graph,
        num_scan_inputs=1,
        **attributes,
    )
    half = {"half": np.asarray(0.5, np.float32)}
    return network([node], ["last", "all"], feeds, half, opset), feeds


@pytest.mark.parametrize(
    ("opset", "attributes"),
    [
        (8, {}),
        (8, {"directions": [1]}),
        (9, {}),
        (17, {"scan_input_axes": [1], "scan_output_axes": [2]}),
        (17, {"scan_input_directions": [1]}),
        (17, {"scan_output_directions": [1], "scan_output_axes": [-1]}),
    ],
)
def test_scan_gives_what_onnxruntime_does(
    opset: int, attributes: dict[str, Any], tmp_path: Path
) -> None:
    model, feeds = scan(opset, **attributes)
    assert_same(computed(model, feeds, tmp_path), reference(model, feeds))


def refusal(model: onnx.ModelProto, folder: Path) -> str:
    with pytest.raises(InputError) as error:
        import_model(save(model, folder / "model.onnx"), {}, folder)
    return str(error.value)


def test_loop_is_refused_where_its_count_is_an_input(tmp_path: Path) -> None:
    node = helper.make_node(
        "Loop", ["n", "yes", "x"], ["y", "all"], name="looped", body=loop_body(ALWAYS)
    )
    feeds = {"x": np.zeros((1, 3), np.float32), "n": np.asarray(2, np.int64)}
    model = network([node], LOOPED, feeds, {"yes": np.asarray(True)})
    said = refusal(model, tmp_path)
    assert "operator Loop of node 'looped'" in said
    assert "how often it runs depends on the inputs' values" in said


def test_loop_is_refused_where_it_ends_by_what_is_computed(tmp_path: Path) -> None:
    until = [
        helper.make_node("ReduceSum", ["next"], ["total"], keepdims=0),
        helper.make_node("Less", ["total", "limit"], ["on"]),
    ]
    model = loop(["count", "yes"], until)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(9, np.float32), "limit"))
    assert "its condition depends on the inputs' values" in refusal(model, tmp_path)


def test_loop_is_refused_where_it_runs_too_often(tmp_path: Path) -> None:
    model = loop(["count", "yes"], ALWAYS)
    for tensor in model.graph.initializer:
        if tensor.name == "count":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.asarray(5000, np.int64), "count"))
    said = refusal(model, tmp_path)
    assert "node 'looped'" in said
    assert "it runs more than 1024 times" in said


def test_endless_loop_is_refused(tmp_path: Path) -> None:
    assert "more than 1024 times" in refusal(loop(["", "yes"], ALWAYS), tmp_path)
    assert "it never ends" in refusal(loop(["", ""], ALWAYS), tmp_path)
