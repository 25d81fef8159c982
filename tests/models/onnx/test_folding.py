"""Constants are folded where ONNX Runtime has no kernel for an operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_nodes import assert_same, computed, drawn, network

from harness.models.onnx.folding import folded_by_reference
from harness.models.onnx.shapes import fold


def unimplemented() -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Max of 16-bit integers, which ONNX Runtime 1.32 lacks, with a bound and a shape that are
    computed from constants and from the input's shape."""
    nodes = [
        helper.make_node("Add", ["one", "one"], ["two"]),
        helper.make_node("Max", ["x", "two"], ["bounded"]),
        helper.make_node("Shape", ["x"], ["extents"]),
        helper.make_node("ReduceProd", ["extents"], ["all"], keepdims=1),
        helper.make_node("Reshape", ["bounded", "all"], ["y"]),
    ]
    feeds = {"x": np.arange(-3, 3, dtype=np.int16).reshape(2, 3)}
    return network(nodes, ["y:int16"], feeds, {"one": np.asarray(1, np.int16)}), feeds


def test_model_is_folded_where_onnxruntime_has_no_kernel(tmp_path: Path) -> None:
    model, feeds = unimplemented()
    folded = fold(model, tmp_path / "model.onnx")
    assert [node.op_type for node in folded.graph.node] == ["Max", "Reshape"]
    right = ReferenceEvaluator(model).run(None, feeds)
    assert_same(computed(model, feeds, tmp_path), right)


def test_weights_that_nothing_reads_any_more_are_gone() -> None:
    folded = folded_by_reference(unimplemented()[0])
    assert {tensor.name for tensor in folded.graph.initializer} == {"two", "all"}


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_quantisation_of_the_newest_opset_is_imported(dtype: type, tmp_path: Path) -> None:
    weights = {"scale": np.asarray(0.05, np.float32), "zero": np.asarray(7, dtype)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["y"]),
    ]
    feeds = {"x": drawn(4, 6)}
    newest = onnx.defs.onnx_opset_version()
    model = network(nodes, ["y"], feeds, weights, newest)
    assert_same(computed(model, feeds, tmp_path), ReferenceEvaluator(model).run(None, feeds))


def test_places_of_constants_are_constants(tmp_path: Path) -> None:
    """Of which ONNX Runtime folds none, as their shapes depend on values."""
    nodes = [
        helper.make_node("NonZero", ["mask"], ["places"]),
        helper.make_node("Transpose", ["places"], ["indices"]),
        helper.make_node("GatherND", ["x", "indices"], ["y"]),
    ]
    feeds = {"x": drawn(2, 3)}
    mask = np.asarray([[1, 0, 1], [0, 0, 2]], np.float32)
    model = network(nodes, [("y", onnx.TensorProto.FLOAT, ["found"])], feeds, {"mask": mask})
    assert_same(computed(model, feeds, tmp_path), [feeds["x"][mask != 0]])


@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.uint8])
@pytest.mark.parametrize("name", ["ReduceMax", "ReduceMin"])
def test_extremum_of_nothing_is_the_outermost_value(
    name: str, dtype: type, keep: int, tmp_path: Path
) -> None:
    nodes = [
        helper.make_node("Slice", ["x", "start", "end", "axis"], ["nothing"]),
        helper.make_node(name, ["nothing", "axis"], ["y"], keepdims=keep),
    ]
    weights = {
        "start": np.asarray([2]), "end": np.asarray([2]), "axis": np.asarray([0]),
    }  # fmt: skip
    feeds = {"x": drawn(4, 3).astype(dtype)}
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape = [1, 3] if keep else [3]
    model = network(nodes, [("y", kind, shape)], feeds, weights, 20)
    if dtype is np.float32:
        most = np.float32(np.inf)
        least = -most
    else:
        limits = np.iinfo(dtype)
        least, most = limits.min, limits.max
    expected = np.full(shape, least if name == "ReduceMax" else most, dtype)
    assert_same(computed(model, feeds, tmp_path), [expected])
