"""Networks evaluated in 64-bit floats are what their formulas say, to 15 digits."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest
import tflite_graphs
from onnx import TensorProto, helper
from small_models import (
    FLOAT,
    convolutional,
    feeds,
    onnx_model,
    save,
    save_int8_tflite,
    save_torch,
    weights,
)

from harness.baselines.onnxruntime import OnnxRuntimeSession
from harness.baselines.registry import open_session, reference_engine
from harness.judges.base import CannotJudge
from harness.judges.onnx_float64 import OnnxFloat64
from harness.judges.registry import open_evaluation
from harness.judges.rounding import Rounding
from harness.measure.comparison import shares


def one_node(
    path: Path, node: onnx.NodeProto, shape: tuple[int, ...], constants: Mapping[str, np.ndarray]
) -> Path:
    return save(onnx_model([node], [("x", FLOAT, shape)], [*node.output], constants), path)


def softmax(x: np.ndarray) -> np.ndarray:
    grown = np.exp(x - x.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("node", "shape", "constants", "formula"),
    [
        (("Sigmoid", ["x"]), (3, 4), {}, lambda x: 1 / (1 + np.exp(-x))),
        (("Softmax", ["x"]), (3, 4), {}, softmax),
        (("Erf", ["x"]), (3, 4), {}, np.vectorize(__import__("math").erf)),
        (("MatMul", ["x", "w"]), (3, 4), {"w": weights(4, 5)}, lambda x: x @ weights(4, 5)),
        (("GlobalAveragePool", ["x"]), (1, 2, 3, 3), {}, lambda x: x.mean((2, 3), keepdims=True)),
        (("Cast", ["x"], {"to": TensorProto.FLOAT16}), (3, 4), {}, lambda x: x),
    ],
)
def test_operators_are_evaluated_in_float64(
    tmp_path: Path, node: tuple, shape: tuple[int, ...], constants: dict, formula: object
) -> None:
    attributes = node[2] if len(node) > 2 else {}
    made = helper.make_node(node[0], node[1], ["y"], **attributes)
    if node[0] == "Cast":
        model = onnx_model([made], [("x", FLOAT, shape)], [("y", TensorProto.FLOAT16, shape)])
        path = save(model, tmp_path / "m.onnx")
    else:
        path = one_node(tmp_path / "m.onnx", made, shape, constants)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    value, *others = islice(OnnxFloat64(path).outcomes({"x": x}), 3)
    assert value[0].dtype == np.float64 and len(others) == 2
    np.testing.assert_allclose(value[0], formula(x.astype(np.float64)), rtol=1e-14)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("operator", "more", "attributes"),
    [
        ("Resize", ["", "scales"], {"mode": "nearest"}),
        ("Resize", ["", "scales"], {"mode": "linear"}),
        ("AveragePool", [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("Conv", ["w"], {"pads": [1, 1, 1, 1], "group": 4}),
    ],
)
def test_what_onnx_runtime_has_for_narrow_floats_only_is_evaluated_too(
    tmp_path: Path, operator: str, more: list[str], attributes: dict
) -> None:
    node = helper.make_node(operator, ["x", *more], ["y"], **attributes)
    constants = {"scales": np.array([1, 1, 2, 2], np.float32), "w": weights(4, 1, 3, 3)}
    used = {name: constants[name] for name in more if name}
    path = one_node(tmp_path / "m.onnx", node, (1, 4, 6, 6), used)
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)
    value = next(OnnxFloat64(path).outcomes({"x": x}))[0]
    expected = OnnxRuntimeSession(path, 1).run({"x": x})[0]
    assert shares(expected, value.astype(np.float32)).max() < 1e-6


def test_subgraphs_read_what_is_around_them(tmp_path: Path) -> None:
    def branch(name: str, factor: str) -> onnx.GraphProto:
        return helper.make_graph(
            [helper.make_node("Mul", ["x", factor], [name])],
            name,
            [],
            [helper.make_tensor_value_info(name, FLOAT, [3])],
        )

    model = onnx_model(
        [
            helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
            helper.make_node("Greater", ["m", "two"], ["large"]),
            helper.make_node(
                "If", ["large"], ["y"], then_branch=branch("a", "two"), else_branch=branch("b", "w")
            ),
        ],
        [("x", FLOAT, [3])],
        [("y", FLOAT, [3])],
        {"two": np.float32(2), "w": np.float32(0.1)},
    )
    evaluation = OnnxFloat64(save(model, tmp_path / "m.onnx"))
    for largest, factor in ((3.0, 2.0), (1.0, np.float64(np.float32(0.1)))):
        x = np.array([0.3, largest, -1], np.float32)
        assert (
            next(evaluation.outcomes({"x": x}))[0].tolist()
            == (x.astype(np.float64) * factor).tolist()
        )


@pytest.mark.parametrize("kind", ["onnx", "torch"])
def test_a_network_is_what_its_engine_says_to_the_precision_of_that(
    tmp_path: Path, kind: str
) -> None:
    if kind == "onnx":
        path = save(convolutional(), tmp_path / "m.onnx")
    else:
        pytest.importorskip("torch")
        path = save_torch(tmp_path / "m.pt2")
    session = open_session(reference_engine(kind), path, 1)  # type: ignore[arg-type]
    given = feeds(session.inputs)
    outcomes = open_evaluation(kind, path).outcomes(given)  # type: ignore[arg-type]
    value, *others = islice(outcomes, 3)
    for found, one, other in zip(session.run(given), value, others[0], strict=True):
        assert one.dtype == np.float64
        assert shares(found, one.astype(np.float32)).max() < 1e-5
        assert 0 < shares(one, other).max() < 1e-5


def test_litert_runs_a_network_with_all_its_kernels(tmp_path: Path) -> None:
    save_int8_tflite(tmp_path / "m.tflite")
    x = np.arange(-4, 4, dtype=np.int8).reshape(1, 8)
    outcomes = [*open_evaluation("tflite", tmp_path / "m.tflite").outcomes({"x": x})]
    assert len(outcomes) == 3 and all(row[0].dtype == np.int8 for row in outcomes)


def test_litert_runs_floats_with_other_last_bits_too(tmp_path: Path) -> None:
    tflite_graphs.save(
        [tflite_graphs.Case("EXP", (tflite_graphs.Input((2, 3)),))], tmp_path / "m.tflite"
    )
    (name,) = (spec.name for spec in open_session("litert", tmp_path / "m.tflite", 1).inputs)
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    *same, moved = open_evaluation("tflite", tmp_path / "m.tflite").outcomes({name: x})
    assert len(same) == 3
    assert 0 < shares(same[0][0], moved[0]).max() < 1e-6


def test_what_cannot_be_evaluated_says_why(tmp_path: Path) -> None:
    node = helper.make_node("Inverse", ["x"], ["y"], domain="com.microsoft", name="flip")
    model = onnx_model(
        [node], [("x", FLOAT, [2, 2])], [("y", FLOAT, [2, 2])], domains={"com.microsoft": 1}
    )
    node.op_type = model.graph.node[0].op_type = "NoSuchOperator"
    evaluation = OnnxFloat64(save(model, tmp_path / "m.onnx"))
    with pytest.raises(CannotJudge, match="operator NoSuchOperator of node 'flip'"):
        next(evaluation.outcomes({"x": np.eye(2, dtype=np.float32)}))


def test_rounding_moves_what_is_rounded_and_nothing_else() -> None:
    exact = np.array([0.0, 1.0, -3.0, 1 / 3, 1e-9 / 3, np.inf, np.nan])
    moved = Rounding(0)(exact, "float32", terms=1)
    assert np.array_equal(moved[[0, 1, 2, 5, 6]], exact[[0, 1, 2, 5, 6]], equal_nan=True)
    assert 0 < abs(moved[3] / exact[3] - 1) < 1e-6 and 0 < abs(moved[4] / exact[4] - 1) < 1e-6
    assert 1e-6 < abs(Rounding(0)(exact, "float32", terms=2)[4] / exact[4] - 1) < 1e-4
    assert np.array_equal(Rounding(0)(exact, "float64", terms=2), exact, equal_nan=True)
